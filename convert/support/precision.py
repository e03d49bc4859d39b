"""The arithmetic of a pass through a tower: what is fast where it runs, and loses nothing that training would miss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

PLAIN = 64


@contextmanager
def fast(device: torch.device, tokens: int = 0) -> Iterator[None]:
    """Matrix products in bfloat16 where there are units for them: on a GPU, and on a processor with AMX or AVX-512 BF16.

    There attention over up to `PLAIN` tokens goes through plain products too: on a few dozen PyTorch's fused backward pass takes a
    quarter of a step on a processor, and the products a tenth; on 145 the fused one is faster.
    """
    units = device.type == "cuda" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    attention = sdpa_kernel(SDPBackend.MATH) if units and device.type == "cpu" and tokens <= PLAIN else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=units), attention:
        yield
