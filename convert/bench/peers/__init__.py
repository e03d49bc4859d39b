"""What a bundle is timed against. A peer is a module here with one function, `prepare(subject) -> Peer`; a new one is a new file.

Libraries that only the peer needs are named in its LIBRARIES and imported inside that function, so that a missing one is an error
of its own peer alone.
"""

from __future__ import annotations

import importlib.util
import pkgutil
from types import ModuleType

from convert.bench.subject import Peer, Subject
from convert.support.errors import UsageError

NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def parse_names(option: str) -> tuple[str, ...]:
    """The peers that `--against` lists, each once. Raises UsageError naming those that exist."""
    names = tuple(dict.fromkeys(name.strip() for name in option.split(",") if name.strip()))
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise UsageError(f"--against {unknown[0]!r} is none of {', '.join(NAMES)}")
    return names


def require(names: tuple[str, ...]) -> None:
    """Returns when the libraries of all of them are installed; raises UsageError naming the first that is not."""
    for name in names:
        for library in getattr(_module(name), "LIBRARIES", ()):
            if importlib.util.find_spec(library) is None:
                raise UsageError(
                    f"--against {name} needs {library}, which is not installed; install it with: pip install 'clip-rescue[bench]'"
                )


def prepare(name: str, subject: Subject) -> Peer:
    """The peer, ready to run. Raises UsageError when its file is missing, EmitError when it cannot be made of this tower."""
    peer: Peer = _module(name).prepare(subject)
    return peer


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
