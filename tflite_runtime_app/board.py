"""What the board says of itself: memory, temperature, throttling, when this process began, and which board it is.

Linux; elsewhere it says little.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from tflite_runtime_app.files import cache_folder, write_atomically

MOST_THREADS = 64
DEFAULT_THREADS = 4  # a Raspberry Pi's cores; beyond them a little image tower gains nothing
THERMAL = Path("/sys/class/thermal")
# Bits of `vcgencmd get_throttled`, by Raspberry Pi's documentation; sixteen higher stand for "has happened since start".
THROTTLED = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}


def system_file(path: str | os.PathLike[str]) -> str:
    """The text of one of the system's files, "" where there is none."""
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return ""


def memory_bytes(pid: int | str = "self") -> int:
    """Resident memory of a process, 0 where the system does not say."""
    try:
        pages = int(system_file(f"/proc/{pid}/statm").split()[1])
    except (ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def celsius(folder: Path = THERMAL) -> float | None:
    """The hottest thermal zone, None where there is none."""
    found = []
    for path in sorted(folder.glob("thermal_zone*/temp")):
        try:
            found.append(int(path.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(found) if found else None


def throttled() -> str | None:
    """What holds the board back now or did since it started, "no" for nothing; None where there is no `vcgencmd`."""
    import shutil  # late, as all that is imported late here: a picture must not wait for it
    import subprocess

    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        said = subprocess.run([program, "get_throttled"], capture_output=True, text=True, timeout=1, check=True).stdout
        return throttled_words(int(said.strip().split("=")[1], 16))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def throttled_words(bits: int) -> str:
    """The bits in words."""
    now = [word for bit, word in THROTTLED.items() if bits >> bit & 1]
    before = [f"{word} earlier" for bit, word in THROTTLED.items() if bits >> (bit + 16) & 1 and not bits >> bit & 1]
    return ", ".join(now + before) or "no"


def clock() -> float:
    """Seconds of one clock for all processes of this machine, which goes on while it is suspended and which nobody sets."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def usable_processors() -> int:
    """How many processors this process may use: fewer than the machine has, where it was told so (taskset, a container, systemd)."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def default_threads() -> int:
    """Threads where nobody asked for a number."""
    return min(DEFAULT_THREADS, usable_processors())


def usable_threads(wanted: int) -> tuple[int, str]:
    """`wanted`, or as many as there is any use for; and a notice, empty where it is `wanted`. Raises ValueError below 1.

    Each thread takes memory and a process number, and beyond the processors it only waits for its turn.
    """
    if wanted < 1:
        raise ValueError(f"expected 1 thread or more, found {wanted}")
    most = min(MOST_THREADS, usable_processors())
    if wanted <= most:
        return wanted, ""
    return most, f"{wanted} threads were asked for, {most} are of use here: running on {most}"


def seconds_since_start() -> float | None:
    """How long this process has been running, the interpreter's own start included."""
    try:
        fields = system_file("/proc/self/stat").rpartition(")")[2].split()
        started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def board_id(root: str | os.PathLike[str] = "/") -> str:
    """What tells this board from all others, at every start the same; not to be shown or sent, only hashed.

    It is the machine id with the board's serial number, as copied cards have one machine id; else a random word that is kept in the
    service's state folder or the cache; else the number of the network card; else a word for this run.
    """
    serial = system_file(Path(root, "proc/device-tree/serial-number")).strip("\0 \n")
    for path in ("etc/machine-id", "var/lib/dbus/machine-id"):
        machine = system_file(Path(root, path)).strip()
        if re.fullmatch(r"[0-9a-f]{32}", machine) and machine.strip("0"):
            return f"{machine} {serial}"
    if serial.strip("0"):
        return serial
    return _kept_word() or _network_card() or os.urandom(16).hex()


def _kept_word() -> str:
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd's, for a service
    path = Path(state, "board-id") if state else cache_folder("board-id")
    try:
        if not system_file(path).strip():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, os.urandom(16).hex().encode(), mode=0o600)
        return system_file(path).strip()
    except OSError:
        return ""


def _network_card() -> str:
    import uuid

    number = uuid.getnode()
    made_up = number >> 40 & 0b11  # multicast: Python's own dice; local: a container's or a phone's
    return "" if made_up else f"{number:012x}"
