"""Thousands of mutants: each is an ordinary file or is refused in one line, and none that is let in kills LiteRT or hangs what follows."""

from collections import Counter

import pytest

from tests.tflite_runtime_app.admission.fuzz import SEED, outcomes, told, wrong


def check(found):
    assert not wrong(found), (
        f"seed {SEED}, see one again with: python -m tests.tflite_runtime_app.admission.fuzz_worker {SEED} NUMBER: {wrong(found)[:5]}"
    )


def test_five_thousand_mutants(capsys):
    found = outcomes(SEED, 5000)
    with capsys.disabled():
        print(f"\n{told(found)}")
    check(found)
    stages = Counter((outcome.kind, outcome.stage) for outcome in found)
    valid = Counter(outcome.kind for outcome in found if outcome.verdict == "valid")
    # A fuzz test that is stopped at the first door tests that door alone.
    assert stages["bundle", "flatbuffer_check"] > 500
    assert stages["bundle", "answers"] > 200
    assert stages["text", "flatbuffer_check"] > 200
    assert stages["text", "answers"] > 50
    assert stages["image", "image_to_tensor"] > 100
    assert min(valid[kind] for kind in ("bundle", "text", "labels", "image")) > 20


@pytest.mark.slow
def test_fifty_thousand_mutants(capsys):
    found = outcomes(SEED + 1, 50_000)
    with capsys.disabled():
        print(f"\n{told(found)}")
    check(found)
