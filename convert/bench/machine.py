"""What the processor is and which instructions it has for int8 products, read from /proc/cpuinfo: speed ratios hold for those only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convert.support.errors import UsageError

CPUINFO = Path("/proc/cpuinfo")
# The kernel's name for a feature -> ours, the fastest first; `asimd` is what 64-bit Arm calls NEON.
INSTRUCTION_SETS = {
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "avx2": "avx2",
    "asimddp": "asimddp",
    "asimd": "neon",
    "neon": "neon",
}
VNNI = ("avx512_vnni", "avx_vnni")
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Machine:
    """The processor by name, and the best instruction set for int8 products that all of its cores have."""

    cpu: str
    instruction_set: str


def this_machine(cpuinfo: Path = CPUINFO) -> Machine:
    """The machine that this runs on. Raises UsageError where the kernel does not say."""
    try:
        return parse(cpuinfo.read_text("utf-8", "replace"))
    except OSError as error:
        raise UsageError(f"cannot read {cpuinfo} ({error.strerror}); convert bench runs on Linux") from error


def parse(text: str) -> Machine:
    """The machine that a cpuinfo text describes. Cores of several kinds count with what they have in common."""
    features: list[set[str]] = []
    named: dict[str, str] = {}
    for line in text.splitlines():
        key, found, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if not found or not value:
            continue
        if key in ("flags", "Features"):
            features.append(set(value.split()))
        else:
            named.setdefault(key, value)
    common = set.intersection(*features) if features else set()
    best = next((ours for theirs, ours in INSTRUCTION_SETS.items() if theirs in common), OTHER)
    return Machine(_name(named), best)


def _name(named: dict[str, str]) -> str:
    """x86 names the model; Arm numbers implementer and part, and boards name themselves in a line `Model`."""
    for key in ("model name", "Model", "Hardware"):
        if key in named:
            return named[key]
    if "CPU part" in named:
        return f"CPU implementer {named.get('CPU implementer', 'unknown')}, part {named['CPU part']}"
    return "unknown"
