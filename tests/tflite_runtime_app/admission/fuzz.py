"""Thousands of mutants and where each one ends: `python -m tests.tflite_runtime_app.admission.fuzz [COUNT]`, or `make fuzz`."""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.tflite_runtime_app.admission.fuzz_worker import Outcome, Worker

SEED, WORKERS, COUNT = 20261124, 2, 25_000
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


def table(found: list[Outcome]) -> str:
    """What became of each kind, as the table of docs/trust.md."""
    lines = ["| mutants of | tried | refused | let in | crashes | hangs | tracebacks |", "|---|---|---|---|---|---|---|"]
    for kind in (*sorted({outcome.kind for outcome in found}), "all"):
        verdicts = Counter(outcome.verdict for outcome in found if kind in (outcome.kind, "all"))
        cells = (sum(verdicts.values()), *(verdicts[verdict] for verdict in ("refused", "valid", "died", "hung", "bug")))
        lines.append(f"| {kind} | {' | '.join(f'{cell:,}' for cell in cells)} |")
    return "\n".join(lines)


def told(found: list[Outcome]) -> str:
    """How many of which kind ended where."""
    lines = [f"{len(found)} mutants, seed {SEED}"]
    for kind in sorted({outcome.kind for outcome in found}):
        counts = Counter(f"{o.verdict} by {o.stage}" if o.verdict != "valid" else "valid" for o in found if o.kind == kind)
        peak = max(outcome.peak for outcome in found if outcome.kind == kind)
        parts = ", ".join(f"{count} {what}" for what, count in counts.most_common())
        lines.append(f"  {kind}: {parts}; at most {peak >> 20} MB")
    return "\n".join(lines)


def wrong(found: list[Outcome]) -> list[Outcome]:
    """Those that were neither let in nor refused in one line, and images that took gigabytes."""
    return [
        outcome
        for outcome in found
        if outcome.verdict not in ("valid", "refused") or (outcome.kind == "image" and outcome.peak > GIGABYTE)
    ]


if __name__ == "__main__":
    fates = outcomes(SEED, int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
    print(f"{told(fates)}\n\n{table(fates)}")
    for fate in wrong(fates)[:20]:
        print(fate)
    sys.exit(bool(wrong(fates)))
