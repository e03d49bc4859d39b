"""The one interpreter: signatures of a flatbuffer, run by LiteRT."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tflite_runtime_app.errors import BUILD_AGAIN, BundleIncompatible, InferenceError
from tflite_runtime_app.inference.direct import Codes, direct
from tflite_runtime_app.inference.huge_pages import huge_pages

MINIMUM_LITERT = (2, 3, 0)
FAILURES = 1000  # of one interpreter, which keeps a line of each for ever; then comes a new one
_MARK = "failed to invoke."  # ends each of its complaints
OP_RESOLVERS = {"xnnpack": "AUTO", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}


class Engine(Protocol):
    """What the cascade needs of an engine: one signature, run on named tensors."""

    def invoke(self, signature: str, inputs: Mapping[str, npt.NDArray[np.int8]]) -> Codes: ...


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """One tensor of a signature as the flatbuffer states it; `scales` has one entry for a grid common to all elements."""

    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """Inputs and outputs of a signature by name."""

    inputs: dict[str, TensorFacts]
    outputs: dict[str, TensorFacts]


class LiteRtEngine:
    """A flatbuffer in one LiteRT interpreter, each signature allocated once.

    `op_resolver` picks the kernels: "xnnpack" (fast, the default), "builtin" (LiteRT's own), "reference" (plain loops).
    Pass only bytes that `read_bundle` has checked: LiteRT may end the process on malformed ones. Raises BundleIncompatible
    when the machine, the installed LiteRT or the flatbuffer does not do.
    """

    def __init__(self, flatbuffer: bytes, threads: int = 1, op_resolver: str = "xnnpack") -> None:
        if op_resolver not in OP_RESOLVERS:
            raise ValueError(f"op_resolver should be one of {', '.join(OP_RESOLVERS)}, found {op_resolver!r}")
        check_platform(struct.calcsize("P") * 8)
        check_litert(installed_litert())
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType  # late: --help must not wait for it
        except (ImportError, OSError, ValueError) as error:  # OSError: its library; ValueError: numpy of another binary interface
            raise BundleIncompatible(
                f"ai-edge-litert does not load here ({error}); it needs a 64-bit Raspberry Pi OS, Bookworm or newer"
            ) from error
        kernels = getattr(OpResolverType, OP_RESOLVERS[op_resolver])
        self._load = partial(Interpreter, model_content=flatbuffer, num_threads=threads, experimental_op_resolver_type=kernels)
        self._size = len(flatbuffer) * 5 // 4  # of the packed weights at most
        self._failures = 0
        runners = self._loaded()
        self.signatures: dict[str, SignatureFacts] = {
            name: SignatureFacts(_facts(runner.get_input_details()), _facts(runner.get_output_details()))
            for name, runner in runners.items()
        }
        self._calls = {name: direct(runner) for name, runner in runners.items()}
        self._takes = {
            name: [(key, tensor.shape, np.dtype(tensor.dtype)) for key, tensor in facts.inputs.items()]
            for name, facts in self.signatures.items()
        }

    def invoke(self, signature: str, inputs: Mapping[str, npt.NDArray[np.int8]]) -> Codes:
        """The outputs of `signature` by name, as copies.

        Raises ValueError for inputs of another name, shape or type, InferenceError when an operator fails on these values; what comes next
        may succeed.
        """
        takes = self._takes[signature]
        if len(inputs) != len(takes) or any(
            key not in inputs or inputs[key].shape != shape or inputs[key].dtype != dtype for key, shape, dtype in takes
        ):
            wanted = {key: (shape, dtype.name) for key, shape, dtype in takes}
            found = {name: (value.shape, value.dtype.name) for name, value in inputs.items()}
            raise ValueError(f"{signature} takes {wanted}, found {found}")
        try:
            return self._calls[signature](inputs)
        except (RuntimeError, ValueError) as error:
            self._failures += 1
            if self._failures % FAILURES == 0:
                self._calls = {name: direct(runner) for name, runner in self._loaded().items()}
            raise InferenceError(f"the model fails on this input in {signature}: {_newest(str(error))}") from error

    def _loaded(self) -> dict[str, Any]:
        """A runner for each signature of a new interpreter, which they keep. Raises BundleIncompatible."""
        try:
            with huge_pages(self._size):
                interpreter = self._load()
                interpreter.allocate_tensors()  # packs the weights of every signature
            return {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise BundleIncompatible(f"LiteRT refuses the model: {reason}; {BUILD_AGAIN}") from error


def check_platform(pointer_bits: int) -> None:
    """Returns on a 64-bit Python; else raises BundleIncompatible. The kernel's word is no help: it may be 64-bit alone."""
    if pointer_bits < 64:
        raise BundleIncompatible(
            "expected a 64-bit Python, found a 32-bit one; LiteRT has no 32-bit builds: install the 64-bit OS"
        )


def installed_litert() -> str:
    """The version of the installed ai-edge-litert. Raises BundleIncompatible when there is none."""
    with suppress(ImportError, OSError, ValueError, AttributeError):  # older ones do not say it, and one may be broken
        import ai_edge_litert  # in any case needed, unlike importlib.metadata, which takes longer than all of LiteRT

        return str(ai_edge_litert.__version__)
    import importlib.metadata

    try:
        return importlib.metadata.version("ai-edge-litert")
    except importlib.metadata.PackageNotFoundError:
        raise BundleIncompatible("expected ai-edge-litert, found none; install it with: pip install ai-edge-litert") from None


def check_litert(version: str) -> None:
    """Returns when LiteRT `version` is new enough; raises BundleIncompatible else, since older ones compute wrongly."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if numbers < MINIMUM_LITERT:
        raise BundleIncompatible(
            f"expected ai-edge-litert 2.3.0 or newer, found {version}, which computes int8 BATCH_MATMUL wrongly; "
            "update it with: pip install -U ai-edge-litert"
        )


def _newest(said: str) -> str:
    """The last of LiteRT's complaints, in one line: an interpreter repeats all that it ever said."""
    last = " ".join(said.split()).removesuffix(_MARK).rpartition(_MARK)[2]
    return last.replace("Node number", "; node number").strip()[:200] or "it does not say why"


def _facts(details: Mapping[str, Mapping[str, Any]]) -> dict[str, TensorFacts]:
    return {
        name: TensorFacts(
            shape=tuple(int(size) for size in detail["shape"]),
            dtype=np.dtype(detail["dtype"]).name,
            scales=tuple(float(scale) for scale in detail["quantization_parameters"]["scales"]),
            zero_points=tuple(int(point) for point in detail["quantization_parameters"]["zero_points"]),
        )
        for name, detail in details.items()
    }
