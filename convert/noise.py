"""Noise-to-signal ratio of the residual stream after each block, of the finished integer file against float.

NSR_l = sqrt( sum |ĥ_l - h_l|^2 / sum |h_l|^2 ), over images, tokens and channels, both h centred over channels; ĥ the integer network,
h the float one in the same basis (orthogonal rewrites change neither norm, so the ratio is that of the original tower's basis).
The paper's own formula is not public; this is ours. `power` is its square, the ratio of energies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from calibration.ranges import Grid
from calibration.samples import pixels
from convert.flatbuffer import read_model, signatures, text
from convert.roles import preserving_interpreter
from convert.stages import Stage, stream_role


@dataclass(frozen=True, slots=True)
class Noise:
    """NSR after each block, counted from 1, on so many images."""

    nsr: tuple[float, ...]
    images: int

    @property
    def power(self) -> tuple[float, ...]:
        """The squares: noise energy over signal energy."""
        return tuple(value**2 for value in self.nsr)


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
    streams = {
        key: [
            (roles[by_name[text(t.name)]], number) for number, t in enumerate(graph.tensors) if by_name.get(text(t.name)) in roles
        ]
        for key, (_, graph) in places.items()
    }
    noise, signal, count = np.zeros(blocks), np.zeros(blocks), 0
    for image in images:
        count += 1
        float_streams = _float_streams(stages, image, roles)
        value = image[None]
        for stage in stages:
            key = f"stage_{stage.part.index}"
            outputs = interpreter.get_signature_runner(key)(**{stage.input_name: value})
            for block, number in streams[key]:
                if stage.part.first < block <= stage.part.blocks_done:
                    grid, exact = grids[stream_role(block)], float_streams[block]
                    codes = interpreter.get_tensor(number, places[key][0]).astype(np.float64)
                    if codes.size != exact.size:
                        continue  # a slice of the stream: the class token, the patch tokens
                    found = _centred((codes - grid.zero_point) * grid.scale, exact.shape[-1])
                    noise[block - 1] += ((found - exact) ** 2).sum()
                    signal[block - 1] += (exact**2).sum()
            value = outputs.get("hidden")
    # A stream that appears twice in a file (as it is and reshaped) adds the same to both sums.
    return Noise(tuple(float(r) for r in np.sqrt(noise / np.maximum(signal, 1e-30))), count)


def _float_streams(stages: Sequence[Stage], image: NDArray[np.int8], roles: Mapping[str, int]) -> dict[int, NDArray[np.float64]]:
    """The float stream after each block [T, D], centred over channels."""
    found: dict[int, NDArray[np.float64]] = {}

    def tap(role: str, x: torch.Tensor) -> None:
        if role in roles and roles[role] not in found:
            found[roles[role]] = _centred(x.numpy().astype(np.float64), x.shape[-1])

    value = torch.from_numpy(pixels(image[None]))
    with torch.no_grad():
        for stage in stages:
            stage.tap = tap
            value = stage(value)[0]
            stage.tap = None
    return found


def _centred(x: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    rows = x.reshape(-1, width)
    centred: NDArray[np.float64] = rows - rows.mean(1, keepdims=True)
    return centred
