"""Pickles of strangers, read without running anything of theirs.

A pickle names functions and classes that rebuild its objects. Here only torch's own makers of tensors are called; for any other name a
`Placeholder` is put, which keeps what it is given and does nothing. So settings, numpy's scalars and whole modules are no obstacle, and no
code of the file, of this machine's packages or of TorchScript runs.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch


class Placeholder(dict[Any, Any]):
    """Stands for an object of whatever class. Its attributes and items are entries of the dictionary that it is."""

    dump_patches: ClassVar[bool] = False  # torch asks that of modules saved whole in its old format
    __hash__ = object.__hash__  # type: ignore[assignment]  # it may be a key, as what it stands for was

    def __new__(cls, *_: Any, **__: Any) -> Placeholder:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __call__(self, *_: Any, **__: Any) -> Placeholder:
        return Placeholder()

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.update(part)

    def append(self, _: Any) -> None:
        """Nothing is kept of lists."""

    add = extend = append


class Unpickler(pickle.Unpickler):
    """Python's unpickler, for which only torch's makers of tensors have a meaning."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """What the name stands for here."""
        if (module_name, global_name) in _MAKERS:
            return _MAKERS[module_name, global_name]
        if module_name == "torch":
            found = getattr(torch, global_name, None)
            if isinstance(found, torch.dtype) or (isinstance(found, type) and issubclass(found, torch.storage._LegacyStorage)):
                return found
        return Placeholder


# What torch.load takes in the place of the module `pickle`.
RESTRICTED = SimpleNamespace(
    __name__="pickle",
    Unpickler=Unpickler,
    load=lambda file, **options: Unpickler(file, **options).load(),
    loads=lambda content, **options: Unpickler(io.BytesIO(content), **options).load(),
)


def load_checkpoint(path: Path) -> Any:
    """What torch.save wrote, with placeholders for all but tensors and plain Python data."""
    with path.open("rb") as file:  # of a path torch would judge by the suffix
        return torch.load(file, map_location="cpu", weights_only=False, pickle_module=RESTRICTED)


def load_torchscript(path: Path) -> tuple[Any, str]:
    """The module of a TorchScript archive as nested placeholders, and the text of its code, which is not run."""
    with zipfile.ZipFile(path) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        sources = [name for name in archive.namelist() if name.startswith(f"{root}code/") and name.endswith(".py")]
        code = b"\n".join(archive.read(name) for name in sources)
        storages: dict[str, Any] = {}

        class Reader(Unpickler):
            def persistent_load(self, identifier: Any, /) -> Any:
                _, kind, key, *_rest = identifier
                if key not in storages:
                    content = bytearray(archive.read(f"{root}data/{key}")) or bytearray(1)  # of no bytes torch makes no tensor
                    values = torch.frombuffer(content, dtype=torch.uint8).untyped_storage()
                    storages[key] = torch.storage.TypedStorage(  # type: ignore[no-untyped-call]
                        wrap_storage=values, dtype=kind.dtype, _internal=True
                    )
                return storages[key]

        module = Reader(io.BytesIO(archive.read(f"{root}data.pkl"))).load()
    return module, code.decode("utf-8", errors="replace")


def _from_type(make: Any, _kind: Any, arguments: Any, _state: Any) -> Any:
    """A tensor of a subclass, or one with attributes: the plain tensor."""
    return make(*arguments)


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _tensor(*arguments: Any) -> Any:
    return torch._utils._rebuild_tensor_v2(*arguments)  # type: ignore[no-untyped-call]


def _tensor_of_bytes(*arguments: Any) -> Any:
    return torch._utils._rebuild_tensor_v3(*arguments)  # type: ignore[no-untyped-call]


def _first_tensor(*arguments: Any) -> Any:
    return torch._utils._rebuild_tensor(*arguments)  # type: ignore[no-untyped-call]


_MAKERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _first_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_bytes,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch.storage", "UntypedStorage"): torch.UntypedStorage,
}
