"""The arithmetic of a pass through a tower: what is fast where it runs, and loses nothing that training would miss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def fast(device: torch.device) -> Iterator[None]:
    """Matrix products in bfloat16 where there are units for them: on a GPU, and on a processor with AMX or AVX-512 BF16.

    There attention goes through plain products too: on a few dozen tokens PyTorch's fused backward pass takes a quarter of a step on a
    processor, and the products a tenth.
    """
    units = device.type == "cuda" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    attention = sdpa_kernel(SDPBackend.MATH) if units and device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=units), attention:
        yield
