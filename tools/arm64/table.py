"""Runs and claims as two tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tools.arm64.claims import Claim
from tools.arm64.emulator import CPUS
from tools.arm64.runs import Run


def of_claims(claims: Iterable[Claim]) -> str:
    rows = [(claim.sentence, claim.found, "yes" if claim.holds else "**no**") for claim in claims]
    return markdown(("what is claimed", "what was found", "holds"), rows)


def of_runs(runs: Iterable[Run]) -> str:
    """Seconds an image are medians of all stages' time; wall time includes the start of Python and the reading of the bundle."""
    rows = []
    for run in runs:
        board = f" ({CPUS[run.machine]})" if run.machine in CPUS else ""
        times = sorted(one.seconds for one in run.seen)
        versions = [run.versions[name] for name in ("python", "numpy", "pillow", "ai-edge-litert")]
        threads = str(run.threads) if run.threads == run.asked else f"{run.threads}, asked for {run.asked}"
        size = [run.kernels, threads, str(len(times)), f"{times[len(times) // 2]:.3f}", f"{run.wall:.0f}"]
        rows.append((run.machine + board, *versions, *size))
    heads = ("processor", "Python", "numpy", "Pillow", "LiteRT", "kernels", "threads", "images", "s an image", "wall, s")
    return markdown(heads, rows)


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = (heads, ["---"] * len(heads), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
