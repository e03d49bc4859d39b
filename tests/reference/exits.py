"""The exit heads in numpy, written from the definition and from open_clip's own parameters: no code of the converter."""

from __future__ import annotations

import numpy as np


def parameters(visual) -> dict[str, np.ndarray]:
    """ln_post and projection of an open_clip tower, in float64."""
    named = {"weight": visual.ln_post.weight, "bias": visual.ln_post.bias, "projection": visual.proj}
    found = {name: value.detach().numpy().astype(np.float64) for name, value in named.items()}
    return {**found, "eps": np.float64(visual.ln_post.eps)}


def exit_embedding(hidden: np.ndarray, ln_post: dict[str, np.ndarray]) -> np.ndarray:
    """P^T LN_post(mean over patch tokens of h), for h [n, T, D] with the class token first."""
    pooled = hidden[:, 1:].astype(np.float64).mean(1)
    deviation = pooled - pooled.mean(-1, keepdims=True)
    normed = deviation / np.sqrt((deviation**2).mean(-1, keepdims=True) + ln_post["eps"])
    return (normed * ln_post["weight"] + ln_post["bias"]) @ ln_post["projection"]


def exit_variance(hidden: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean over channels of the population variance over patch tokens of n(h), and by how much epsilon alone may move it."""
    patches = hidden[:, 1:].astype(np.float64)
    deviation = patches - patches.mean(-1, keepdims=True)
    power = (deviation**2).mean(-1, keepdims=True)
    normed = deviation / np.sqrt(power + eps)
    return normed.var(axis=1).mean(-1, keepdims=True), (eps / (power + eps)).mean(1)
