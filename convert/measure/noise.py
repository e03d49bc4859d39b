"""Noise-to-signal ratio of the residual stream after each block, of the finished integer file against float.

NSR_l = sqrt( sum |ĥ_l - h_l|^2 / sum |h_l|^2 ), over images, tokens and channels, both h centred over channels; ĥ the integer network,
h the float one in the same basis (orthogonal rewrites change neither norm, so the ratio is that of the original tower's basis). After a
last block that computes the class token alone it is that token's.
The paper's own formula is not public; this is ours. `power` is its square, the ratio of energies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.ranges import Grid
from calibration.samples import pixels
from convert.passes.int16_stream import WIDE
from convert.stages.run import walk
from convert.stages.stage import Stage, stream_role
from convert.tflite.flatbuffer import read_model, signatures, text
from convert.tflite.interpreter import preserving_interpreter

NOISE_MACS = 20e9  # multiply-accumulates on the plain kernels, which are slow, at most
FEWEST, MOST = 6, 32  # images; every one has thousands of values


@dataclass(frozen=True, slots=True)
class Noise:
    """NSR after each block, counted from 1, on so many images."""

    nsr: tuple[float, ...]
    images: int

    @property
    def power(self) -> tuple[float, ...]:
        """The squares: noise energy over signal energy."""
        return tuple(value**2 for value in self.nsr)


def noise_images(stages: Sequence[Stage]) -> int:
    """On how many images the noise is measured, by what one costs."""
    return int(np.clip(NOISE_MACS // sum(stage.macs() for stage in stages), FEWEST, MOST))


def measure(
    content: bytes,
    stages: Sequence[Stage],
    by_name: Mapping[str, str],
    grids: Mapping[str, Grid],
    images: Iterable[NDArray[np.int8]],
) -> Noise:
    """NSR after every block, by running the integer file on LiteRT's plain kernels with its tensors preserved."""
    blocks = stages[-1].part.blocks_done
    roles = {stream_role(block): block for block in range(1, blocks + 1)}
    model, interpreter = read_model(content), preserving_interpreter(content)
    places = {key: (model.subgraphs.index(graph), graph) for key, graph, _, _ in signatures(model)}
    mean = stages[0].tower.mean_direction.double().numpy()
    noise, signal, count = np.zeros(blocks), np.zeros(blocks), 0
    for image in images:
        count += 1
        exact = _float_streams(stages, image, roles, mean)
        given = {"image": image[None]}
        for stage in stages:
            key = f"stage_{stage.part.index}"
            runner = interpreter.get_signature_runner(key)
            given = runner(**{name: given[name] for name in runner.get_input_details()})
            number, graph = places[key]
            for block in range(stage.part.first + 1, stage.part.blocks_done + 1):
                wanted = exact[block]
                found = _stream(stream_role(block), wanted.size, number, graph, interpreter, by_name, grids)
                noise[block - 1] += ((_centred(found, mean) - wanted) ** 2).sum()
                signal[block - 1] += (wanted**2).sum()
    return Noise(tuple(float(r) for r in np.sqrt(noise / np.maximum(signal, 1e-30))), count)


def _stream(
    role: str, size: int, number: int, graph: Any, interpreter: Any, by_name: Mapping[str, str], grids: Mapping[str, Grid]
) -> NDArray[np.float64]:
    """The integer file's stream of that role in real values: the wide tensor where there is one, else hi, and lo where there is one."""
    total = np.zeros(size)
    wide = f"{role}/{WIDE}"
    for part in (wide,) if wide in grids else (role, f"{role}_lo"):
        for index, tensor in enumerate(graph.tensors):
            if by_name.get(text(tensor.name)) == part and int(np.prod(tensor.shape)) == size:  # a slice of it is smaller
                codes = interpreter.get_tensor(index, number).astype(np.float64).ravel()
                total += (codes - grids[part].zero_point) * grids[part].scale
                break
    return total


def _float_streams(
    stages: Sequence[Stage], image: NDArray[np.int8], roles: Mapping[str, int], mean: NDArray[np.float64]
) -> dict[int, NDArray[np.float64]]:
    """The float stream after each block [T, D], centred over channels."""
    found: dict[int, NDArray[np.float64]] = {}

    def tap(role: str, x: torch.Tensor) -> None:
        if role in roles and roles[role] not in found:
            found[roles[role]] = _centred(x.numpy().astype(np.float64), mean)

    walk(stages, torch.from_numpy(pixels(image[None])), tap)
    return found


def _centred(x: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows [tokens, D] without their part along the original tower's mean over channels."""
    rows = x.reshape(-1, len(mean))
    centred: NDArray[np.float64] = rows - np.outer(rows @ mean, mean)
    return centred
