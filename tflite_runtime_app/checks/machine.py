"""The board: what it is, what its CPU can do, how much memory is free, whether it is too hot or short of power."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from tflite_runtime_app import board
from tflite_runtime_app.checks import Check

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
LEAST_MEMORY = 200e6  # free, for a ViT-B/32 bundle
LEAST_DISK = 100e6
# What makes int8 fast: ARM's dot product (Cortex-A76, A55), x86's VNNI.
FAST = {"asimddp": "int8 dot product", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX VNNI"}


def checks() -> Iterator[Check]:
    """All of them."""
    yield Check("board", "ok", model() or platform.platform())
    yield cpu(flags(board.system_file("/proc/cpuinfo")))
    yield governor(board.system_file(GOVERNOR).strip())
    yield memory(board.system_file("/proc/meminfo"))
    yield temperature(board.celsius())
    yield power(board.throttled())
    yield disk(Path(os.path.expanduser("~")))


def disk(folder: Path) -> Check:
    """Room where the program remembers things; a service may have no folder of its own."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check(
            "disk", "note", f"not told: {folder}: {error.strerror}", "set HOME, or XDG_CACHE_HOME for what is remembered"
        )
    enough = free > LEAST_DISK
    return Check("disk", "ok" if enough else "bad", f"{free / 1e9:.1f} GB free", "" if enough else "make room")


def model() -> str:
    """As in "Raspberry Pi 5 Model B Rev 1.0"; empty elsewhere."""
    return board.system_file("/proc/device-tree/model").strip("\0\n ")


def flags(cpuinfo: str) -> frozenset[str]:
    """What the CPU says that it can do."""
    lines = [line.partition(":")[2] for line in cpuinfo.splitlines() if line.lower().startswith(("features", "flags"))]
    return frozenset(lines[0].split()) if lines else frozenset()


def cpu(found: frozenset[str]) -> Check:
    """Without a dot product int8 is little faster than float."""
    fast = [word for flag, word in FAST.items() if flag in found]
    if fast:
        return Check("CPU", "ok", ", ".join(fast))
    return Check(
        "CPU", "note", "no int8 dot product" + (", AVX2" if "avx2" in found else ""), "it runs; int8 earns little over float here"
    )


def governor(found: str) -> Check:
    """A powersaving clock makes the first frames slow."""
    if found == "powersave":
        return Check("governor", "note", found, "echo ondemand | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
    return Check("governor", "ok", found or "not told")


def memory(meminfo: str) -> Check:
    """What programs can have without swapping."""
    sizes = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in meminfo.splitlines())
        if rest.split()
    }
    if "MemAvailable" not in sizes:
        return Check("memory", "note", "not told")
    free, total = sizes["MemAvailable"], sizes.get("MemTotal", 0)
    words = f"{free / 1e6:.0f} MB free of {total / 1e6:.0f} MB"
    return (
        Check("memory", "ok", words)
        if free > LEAST_MEMORY
        else Check("memory", "bad", words, "stop the desktop: sudo systemctl set-default multi-user.target")
    )


def temperature(celsius: float | None) -> Check:
    """A Pi slows down from 80 °C on."""
    if celsius is None:
        return Check("temperature", "ok", "not told")
    return Check(
        "temperature",
        "ok" if celsius < 80 else "bad",
        f"{celsius:.0f} °C",
        "" if celsius < 80 else "it slows down from 80 on: give it a heat sink",
    )


def power(held: str | None) -> Check:
    """Under-voltage also makes cameras drop out."""
    if held is None or held == "no":
        return Check("power", "ok", "not told" if held is None else "never held back since it started")
    now = any(not part.endswith("earlier") for part in held.split(", "))
    remedy = "use the official power supply and a short cable" if "voltage" in held else "give it a heat sink or a fan"
    return Check("power", "bad" if now else "note", held, remedy)
