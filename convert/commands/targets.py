"""`convert targets`: the boards that a build can be for, as a table."""

from __future__ import annotations

from rich import box
from rich.table import Table

from convert.support.console import Terminal
from targets.cost import fit
from targets.profile import Profile, load, names

WIDTH = 100
DEFAULT = "rpi"


def targets() -> None:
    """Prints the table, at most `WIDTH` columns wide."""
    Terminal(width=WIDTH).print(table([load(name) for name in names()]))


def table(profiles: list[Profile]) -> Table:
    """A row a board, the limits of a build for it, and the rate that published times amount to."""
    shown = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for column in ("target", "board", "cores", "GHz", "int8", "GMAC/s", "RAM MB", "peak MB", "file MB", "side px", "ms"):
        shown.add_column(column, justify="left" if column in ("target", "board", "int8") else "right", no_wrap=column != "board")
    for profile in profiles:
        cost = fit(profile.published, profile.threads, profile.bandwidth_gb_s, profile.clock_mhz)
        shown.add_row(
            profile.name,
            profile.title,
            str(profile.cores),
            f"{profile.clock_mhz / 1000:.1f}",
            profile.simd,
            "-" if cost is None else f"{cost.rate / 1e9:.{0 if cost.rate >= 1e9 else 1}f}",
            *(
                str(limit)
                for limit in (profile.memory_mb, profile.peak_mb, profile.model_mb, profile.image_px, profile.latency_ms)
            ),
        )
    shown.caption = (
        f"{DEFAULT} is the default. Peak, file, side of an image and ms are limits. GMAC/s: all threads,\n"
        "from times that others published. A board is a file: docs/targets.md."
    )
    return shown
