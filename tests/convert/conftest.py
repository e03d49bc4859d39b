"""The conversions, made once."""

import pytest

from tests.convert import conversion


@pytest.fixture(scope="session")
def rotated() -> conversion.Conversion:
    return conversion.rotated()


@pytest.fixture(scope="session")
def plain() -> conversion.Conversion:
    return conversion.plain()


@pytest.fixture(scope="session")
def two_term(rotated) -> conversion.Conversion:
    """`rotated` with a residual stream of two int8 terms."""
    return conversion.with_stream(rotated, "two_term")


@pytest.fixture(scope="session")
def plain_two_term(plain) -> conversion.Conversion:
    """`plain` with a residual stream of two int8 terms."""
    return conversion.with_stream(plain, "two_term")


@pytest.fixture(scope="session", params=["rotated", "two_term", "plain", "plain_two_term"])
def converted(request) -> conversion.Conversion:
    return request.getfixturevalue(request.param)
