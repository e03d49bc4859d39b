"""Thousands of mutants: each is an ordinary file or is refused in one line, and none that is let in kills LiteRT."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.tflite_runtime_app.admission.fuzz_worker import Outcome, Worker

SEED, WORKERS = 20261124, 2
GIGABYTE = 1 << 30


def outcomes(seed: int, count: int) -> list[Outcome]:
    """The fate of mutants 0 … count - 1."""

    def part(first: int) -> list[Outcome]:
        worker = Worker()
        try:
            return [worker.outcome(seed, number) for number in range(first, count, WORKERS)]
        finally:
            worker.close()

    with ThreadPoolExecutor(WORKERS) as pool:
        return [outcome for found in pool.map(part, range(WORKERS)) for outcome in found]


def told(found: list[Outcome]) -> str:
    """How many of which kind ended where."""
    lines = [f"{len(found)} mutants, seed {SEED}"]
    for kind in sorted({outcome.kind for outcome in found}):
        counts = Counter(f"{o.verdict} by {o.stage}" if o.verdict != "valid" else "valid" for o in found if o.kind == kind)
        peak = max(outcome.peak for outcome in found if outcome.kind == kind)
        parts = ", ".join(f"{count} {what}" for what, count in counts.most_common())
        lines.append(f"  {kind}: {parts}; at most {peak >> 20} MB")
    return "\n".join(lines)


def check(found: list[Outcome]) -> None:
    wrong = [outcome for outcome in found if outcome.verdict not in ("valid", "refused")]
    assert not wrong, (
        f"seed {SEED}, see one again with: python -m tests.tflite_runtime_app.admission.fuzz_worker {SEED} NUMBER: {wrong[:5]}"
    )
    hungry = [outcome for outcome in found if outcome.kind == "image" and outcome.peak > GIGABYTE]
    assert not hungry, f"images may not take gigabytes: {hungry[:5]}"


def reached(found: list[Outcome]) -> Counter[tuple[str, str]]:
    return Counter((outcome.kind, outcome.stage) for outcome in found)


def test_five_thousand_mutants(capsys):
    found = outcomes(SEED, 5000)
    with capsys.disabled():
        print(f"\n{told(found)}")
    check(found)
    stages, valid = reached(found), Counter(outcome.kind for outcome in found if outcome.verdict == "valid")
    # A fuzz test that is stopped at the first door tests that door alone.
    assert stages["bundle", "flatbuffer_check"] > 500
    assert stages["bundle", "interpreter"] > 200
    assert stages["image", "image_to_tensor"] > 100
    assert min(valid[kind] for kind in ("bundle", "labels", "image")) > 20


@pytest.mark.slow
def test_fifty_thousand_mutants(capsys):
    found = outcomes(SEED + 1, 50_000)
    with capsys.disabled():
        print(f"\n{told(found)}")
    check(found)
