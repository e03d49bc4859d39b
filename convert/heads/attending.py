"""A head that pools by attention while it is trained, and in float what any head gives."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from convert.model.supported import Activation
from convert.model.tower import Attention, Head, Linear


def sizes(width: int) -> tuple[int, int, int]:
    """Queries, values and hidden units of a head in a tower so wide: small beside its blocks, 16, 96 and 512 at 384 channels.

    Half of that is the least.
    """
    return max(8, width // 24), max(48, width // 4), max(256, 4 * width // 3)


class Attending(nn.Module):
    """Q queries and V values of the normed tokens [n, N, D], the Q means side by side, two layers: [n, E].

    The tokens are the patches', with `class_token` that one in front of them.
    """

    def __init__(self, width: int, embedding: int, activation: Activation, dropout: float, class_token: bool = False) -> None:
        super().__init__()
        queries, values, hidden = sizes(width)
        self.class_token = class_token
        self.queries = nn.Linear(width, queries, bias=False)  # softmax would not see one
        self.values = nn.Linear(width, values)
        self.first, self.second = nn.Linear(queries * values, hidden), nn.Linear(hidden, embedding)
        self.activation, self.dropout = activation, dropout

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = activate(self.first(pooled(self.queries(tokens), self.values(tokens))), self.activation)
        result: Tensor = self.second(F.dropout(hidden, self.dropout, self.training))
        return result

    def head(self) -> Head:
        """The head as it stands."""
        values, first, second = (
            Linear(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in (self.values, self.first, self.second)
        )
        queries = Linear(self.queries.weight.detach().clone(), torch.zeros(len(self.queries.weight)))
        return Head((first, second), Attention(queries, values, self.class_token))


def pooled(scores: Tensor, values: Tensor) -> Tensor:
    """Means [n, Q V] of the values [n, N, V], each weighted by the softmax of one column of the scores [n, N, Q]."""
    return (scores.softmax(1).transpose(1, 2) @ values).flatten(1)


def embed_tokens(head: Head, tokens: Tensor, activation: Activation) -> NDArray[np.float32]:
    """The embeddings [n, E] that a head which pools by attention gives of the normed tokens [n, N, D] that it reads."""
    if head.attention is None:
        raise ValueError("this head reads the mean patch token: use `embed`")
    queries, values = head.attention.queries, head.attention.values
    scores = F.linear(tokens, queries.weight, queries.bias)
    return embed(head, pooled(scores, F.linear(tokens, values.weight, values.bias)).numpy(), activation)


def embed(head: Head, read: NDArray[np.float32], activation: Activation) -> NDArray[np.float32]:
    """The embeddings [n, E] that a head's layers give of what they read [n, ·]: the mean patch token behind norm_post, or pooled values."""
    x = torch.from_numpy(read)
    for layer in head.layers[:-1]:
        x = activate(F.linear(x, layer.weight, layer.bias), activation)
    result: NDArray[np.float32] = F.linear(x, head.layers[-1].weight, head.layers[-1].bias).numpy()
    return result


def activate(x: Tensor, activation: Activation) -> Tensor:
    """The tower's GELU."""
    return F.gelu(x) if activation == "gelu" else x * torch.sigmoid(1.702 * x)
