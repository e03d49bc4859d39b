"""open_clip's own image tower in float32."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from convert.bench.subject import Peer, Subject


def prepare(subject: Subject) -> Peer:
    """The module as open_clip runs it; torch's threads are those of the subject from here on."""
    torch.set_num_threads(subject.threads)
    visual = subject.model.module.visual

    def embed(image: torch.Tensor) -> NDArray[np.float32]:
        with torch.inference_mode():
            embedding: NDArray[np.float32] = visual(image)[0].numpy()
        return embedding

    size = sum(value.numel() * value.element_size() for value in visual.parameters())
    inputs = tuple(torch.from_numpy(image[np.newaxis]) for image in subject.normalised())
    return Peer(f"PyTorch {torch.__version__.split('+')[0]} float32", size, inputs, embed)
