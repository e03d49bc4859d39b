"""Huge pages for every contestant alike: glibc gives them to a process that starts with a variable, so the command starts anew with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

VARIABLE, VALUE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart(words: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
    """The process of `convert bench` begins again with huge pages asked for; returns for other commands, and in a process that has them."""
    command = next((word for word in words if not word.startswith("-")), "")
    if command != "bench" or sys.platform != "linux" or "glibc.malloc.hugetlb=" in environment.get(VARIABLE, ""):
        return
    asked = ":".join(filter(None, (environment.get(VARIABLE), VALUE)))
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environment, VARIABLE: asked})


def in_use(environment: Mapping[str, str] = os.environ, enabled: Path = ENABLED) -> bool:
    """Whether this process asked for them and the kernel gives them to those who ask."""
    given = enabled.is_file() and "[never]" not in enabled.read_text()
    return given and VALUE in environment.get(VARIABLE, "").split(":")


def without(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that nobody asked them for."""
    return {key: value for key, value in environment.items() if key != VARIABLE}
