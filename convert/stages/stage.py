"""A tower cut at its exits into disjoint stages, as torch modules that run in float and export to ONNX.

Every intermediate result passes through `tap(role, tensor)`: calibration listens there, the simulation puts quantized values in their
place, and `convert/emit/roles.py` recognises the converted file's tensors by their values. What every linear layer reads passes through
`reader(role of its result, rows)`. A role is `block_03/scores`, `stage_1/exit/embedding`,
`image`; equal roles share one range.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convert.model.tower import Attention, Block, Head, Linear, Norm, Tower
from convert.stages.cut import StageSplit, split

Tap = Callable[[str, Tensor], Tensor | None]


def stream_role(blocks_done: int) -> str:
    """The role of the residual stream after so many blocks; what one stage hands to the next."""
    return f"block_{blocks_done:02d}/stream"


class Stage(nn.Module):
    """One stage. Input: image [B, H, W, 3] in 0..1 for the first, else hidden [B, T, D].

    Output: (hidden [B, T, D], embedding [B, E], variance [B, 1]); of the last stage (embedding,).
    The exit's embedding is P^T LN_post(mean over patch tokens of h) (SSA, shared head); its variance is the mean over channels of
    the variance over patch tokens of n(h), taken as 1 - |mean over tokens of n(h)|^2 / D, n the norm without affine.
    Where the tower's embedding is read off the class token, the last block computes that token's row alone, from the keys and values of
    all; a `whole` stage computes its other rows too, for those who look at them.
    """

    def __init__(self, tower: Tower, part: StageSplit, whole: bool = False) -> None:
        super().__init__()
        if part.index == 0 and tower.pixel_mean is not None:
            raise ValueError("the first stage takes raw pixels: apply the input rewrite first")
        self.tower, self.part = tower, part
        self.narrows = part.last and tower.pooling == "class_token" and not whole
        # The patch convolution as a matrix product of rows of pixels: XNNPACK's strided convolution takes 3 to 6 times as long (AVX2).
        self.patch = Linear(tower.patch.weight.permute(0, 2, 3, 1).flatten(1).contiguous(), tower.patch.bias)
        self.tap: Tap | None = None
        self.reader: Callable[[str, Tensor], None] | None = None

    @property
    def input_name(self) -> str:
        """The name of the signature's input."""
        return "image" if self.part.index == 0 else "hidden"

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the signature's outputs, in the order that `forward` returns them."""
        return ("embedding",) if self.part.last else ("hidden", "embedding", "variance")

    def input_shape(self, batch: int = 1) -> tuple[int, ...]:
        """The shape of the input for a batch."""
        tower = self.tower
        return (batch, *tower.image_size, 3) if self.part.index == 0 else (batch, tower.tokens, tower.width)

    def macs(self) -> int:
        """Multiply-accumulates of the blocks of this stage, and of the patch embedding in the first."""
        tower, part = self.tower, self.part
        blocks = (part.blocks_done - part.first - self.narrows) * tower.block_macs() + self.narrows * tower.block_macs(rows=1)
        return blocks + (tower.patch_macs() if part.index == 0 else 0)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        tower, part = self.tower, self.part
        batch, tokens, width = x.shape[0], tower.tokens, tower.width
        h = self._embed(x) if part.index == 0 else x
        if part.index:
            self._tap(stream_role(part.first), h)
        h = h.reshape(batch * tokens, 1, width)
        for number in range(part.first, part.blocks_done):
            h = self._block(h, tower.blocks[number], number + 1, batch)
        h = h.reshape(batch, -1, width)
        return (self._final(h),) if part.last else self._exit(h)

    def _tap(self, role: str, x: Tensor) -> Tensor:
        """`x`, or what the listener puts in its place."""
        replaced = None if self.tap is None else self.tap(role, x)
        return x if replaced is None else replaced

    def _embed(self, image: Tensor) -> Tensor:
        """Pixels to the stream before the first block."""
        tower, batch = self.tower, image.shape[0]
        self._tap("image", image)
        x = self._linear(self._patches(image), self.patch, "embed/patch").reshape(batch, tower.tokens - 1, tower.width)
        role = "embed/tokens" if tower.norm_pre else stream_role(0)
        x = self._tap(role, x + tower.position[1:])
        class_token = (tower.class_token + tower.position[0]).expand(batch, 1, tower.width)
        x = self._tap(role, torch.cat([class_token, x], 1))  # one range: a concatenation does not rescale
        if tower.norm_pre:
            x = self._norm(x.reshape(batch * tower.tokens, 1, tower.width), tower.norm_pre, "embed/norm_pre")
            role = stream_role(0)
            x = self._linear(x, tower.after_norm_pre, role) if tower.after_norm_pre else self._tap(role, x)
            x = x.reshape(batch, tower.tokens, tower.width)
        return x

    def _patches(self, image: Tensor) -> Tensor:
        """The pixels of every patch in a row: [B * N, ph * pw * 3], pixels in the order of the image; what no patch covers is cut off."""
        (down, across), (height, width) = self.tower.grid, self.tower.patch_size
        for axis, length in ((1, down * height), (2, across * width)):
            image = image.narrow(axis, 0, length)
            self._tap("image", image)
        rows = image.reshape(-1, height, across, width * 3).transpose(1, 2)  # [B * down, across, ph, pw * 3]
        return rows.reshape(-1, height * width * 3)

    def _norm(self, x: Tensor, norm: Norm, role: str) -> Tensor:
        """LayerNorm over channels of [rows, 1, D], written so that the converter finds RSQRT and MUL (x*x, never a power)."""
        if not norm.centred:
            x = self._tap(f"{role}/centred", x - self._tap(f"{role}/mean", x.mean(-1, keepdim=True)))
        if norm.unit:
            energy = self._tap(f"{role}/energy", _energy(x)) + norm.eps * x.shape[-1]
            spread = self._tap(f"{role}/energy_eps", energy)
        else:
            square = self._tap(f"{role}/square", x * x)
            variance = self._tap(f"{role}/variance", square.mean(-1, keepdim=True))
            spread = self._tap(f"{role}/variance_eps", variance + norm.eps)
        # The converter makes RSQRT and MUL of a division by a root; a listener gets the same two steps.
        x = x / torch.sqrt(spread) if self.tap is None else x * self._tap(f"{role}/rsqrt", torch.rsqrt(spread))
        x = self._tap(f"{role}/normed", x)
        return self._affine(x, norm, role)

    def _result_of(self, norm: Norm, role: str) -> str:
        """The role of what the norm puts out."""
        return f"{role}/{'normed' if norm.weight is None and norm.bias is None else 'scaled' if norm.bias is None else 'shifted'}"

    def _affine(self, x: Tensor, norm: Norm, role: str) -> Tensor:
        """The norm's weight and bias, where it still has them."""
        if norm.weight is not None:
            x = self._tap(f"{role}/scaled", x * norm.weight)
        if norm.bias is not None:
            x = self._tap(f"{role}/shifted", x + norm.bias)
        return x

    def _linear(self, x: Tensor, layer: Linear, role: str) -> Tensor:
        if self.reader is not None:
            self.reader(role, x)
        return self._tap(role, F.linear(x, layer.weight, layer.bias))

    def _block(self, h: Tensor, block: Block, number: int, batch: int) -> Tensor:
        role, narrow = f"block_{number:02d}", self.narrows and number == self.part.blocks_done
        attention = self._attention(h, block, role, batch, narrow)
        h = self._class_token(h, stream_role(number - 1), batch) if narrow else h
        h = self._add(h, attention, block.scale_1, f"{role}/attention", f"{role}/middle")
        return self._add(h, self._mlp(h, block, role), block.scale_2, f"{role}/mlp", f"{role}/stream")

    def _add(self, h: Tensor, branch: Tensor, scale: Tensor | None, branch_role: str, role: str) -> Tensor:
        if scale is not None:
            branch = self._tap(f"{branch_role}_scaled", branch * scale)
        return self._tap(role, h + branch)

    def _class_token(self, rows: Tensor, role: str, batch: int) -> Tensor:
        """The class token's rows [B, 1, D] of [B * T, 1, D]."""
        return self._tap(role, rows.reshape(batch, -1, self.tower.width)[:, :1])  # a slice: GATHER is slow

    def _attention(self, h: Tensor, block: Block, role: str, batch: int, narrow: bool) -> Tensor:
        """Attention's result for every token [B * T, 1, D], or for the class token alone [B, 1, D]."""
        tower = self.tower
        heads, size = tower.heads, tower.width // tower.heads
        x = self._norm(h, block.norm_1, f"{role}/norm_1")

        def split_heads(y: Tensor) -> Tensor:
            return y.reshape(batch, -1, heads, size).transpose(1, 2)

        asking = self._class_token(x, self._result_of(block.norm_1, f"{role}/norm_1"), batch) if narrow else x
        query = split_heads(self._linear(asking, block.query, f"{role}/query"))
        key = split_heads(self._linear(x, block.key, f"{role}/key"))
        value = split_heads(self._linear(x, block.value, f"{role}/value"))
        scores = self._tap(f"{role}/scores", query @ key.transpose(-1, -2))
        if tower.attention_scale != 1.0:
            scores = self._tap(f"{role}/scores_scaled", scores * tower.attention_scale)
        weights = self._tap(f"{role}/softmax", torch.softmax(scores, -1))
        mixed = self._tap(f"{role}/mixed", weights @ value)
        return self._linear(mixed.transpose(1, 2).reshape(-1, 1, tower.width), block.out, f"{role}/attention")

    def _mlp(self, h: Tensor, block: Block, role: str) -> Tensor:
        x = self._linear(self._norm(h, block.norm_2, f"{role}/norm_2"), block.fc_1, f"{role}/fc_1")
        return self._linear(self._gelu(x, role), block.fc_2, f"{role}/mlp")

    def _gelu(self, x: Tensor, role: str) -> Tensor:
        if self.tower.activation == "quick_gelu":
            slope = self._tap(f"{role}/gelu_slope", x * 1.702)
            x = x * self._tap(f"{role}/gelu_gate", torch.sigmoid(slope))
        else:
            x = F.gelu(x)
        return self._tap(f"{role}/gelu", x)

    def _head(self, x: Tensor, role: str) -> Tensor:
        """P^T LN_post(x) [B, E] of [B, 1, D]."""
        normed = self._norm(x, self.tower.norm_post, f"{role}/norm_post")
        return self._linear(normed.flatten(1), self.tower.projection, f"{role}/embedding")

    def _own_head(self, patches: Tensor, normed: Tensor, head: Head) -> Tensor:
        """An exit's own head of the patch tokens [B, N, D] as they are, and of those that it reads behind the plain norm; its roles are a
        block's, `head_06`."""
        role = head_role(self.part.blocks_done)
        if head.attention is None:
            x = self._norm(self._pooled(patches), self.tower.norm_post, f"{role}/norm_post").flatten(1)
        else:
            x = self._attending(normed, head.attention, role)
        if len(head.layers) > 1:
            x = self._gelu(self._linear(x, head.layers[0], f"{role}/fc_1"), role)
        return self._linear(x, head.layers[-1], f"{role}/embedding")

    def _attending(self, normed: Tensor, attention: Attention, role: str) -> Tensor:
        """Every query's mean of the values, side by side [B, Q V], of tokens [B, N, D] behind the plain norm."""
        batch, tokens, width = normed.shape
        x = self._affine(normed, self.tower.norm_post, f"{role}/norm_post").reshape(batch * tokens, 1, width)
        scores = self._linear(x, attention.queries, f"{role}/scores").reshape(batch, tokens, -1)
        scores = self._tap(f"{role}/scores", scores.transpose(1, 2))  # as softmax reads them
        weights = self._tap(f"{role}/softmax", torch.softmax(scores, -1))
        values = self._linear(x, attention.values, f"{role}/value").reshape(batch, tokens, -1)
        return self._tap(f"{role}/mixed", weights @ values).reshape(batch, -1)

    def _pooled(self, patches: Tensor) -> Tensor:
        """The mean [B, 1, D] of the patch tokens [B, N, D] at an exit."""
        return self._tap(f"stage_{self.part.index}/exit/pooled", patches.mean(1, keepdim=True))

    def _exit(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tower, batch, role = self.tower, h.shape[0], f"stage_{self.part.index}/exit"
        self._tap(stream_role(self.part.blocks_done), h)
        patches = self._tap(stream_role(self.part.blocks_done), h[:, 1:])
        plain = Norm(None, None, tower.norm_post.eps, tower.norm_post.centred, tower.norm_post.unit)
        own = tower.exit_heads.get(self.part.blocks_done)
        attention = None if own is None else own.attention
        everywhere = attention is not None and attention.class_token
        rows = (h if everywhere else patches).reshape(-1, 1, tower.width)
        behind = f"{role}/spread" if attention is None else f"{head_role(self.part.blocks_done)}/norm_post"
        normed = self._norm(rows, plain, behind).reshape(batch, -1, tower.width)
        embedding = self._head(self._pooled(patches), role) if own is None else self._own_head(patches, normed, own)
        if everywhere:
            normed = self._tap(f"{behind}/normed", normed[:, 1:])
        mean = self._tap(f"{role}/spread/token_mean", normed.mean(1, keepdim=True))
        if plain.unit:
            power = self._tap(f"{role}/spread/power", _energy(mean))
        else:
            square = self._tap(f"{role}/spread/mean_square", mean * mean)
            power = self._tap(f"{role}/spread/power", square.mean(-1, keepdim=True))
        return h, embedding, self._tap(f"{role}/variance", 1.0 - power.flatten(1))

    def _final(self, h: Tensor) -> Tensor:
        tower, batch, role = self.tower, h.shape[0], f"stage_{self.part.index}/final"
        name = stream_role(self.part.blocks_done)
        if tower.pooling == "class_token":
            return self._head(h if self.narrows else self._class_token(h, name, batch), role)
        patches = self._tap(name, h[:, 1:])
        if tower.pooling == "average_then_norm":
            return self._head(self._tap(f"{role}/pooled", patches.mean(1, keepdim=True)), role)
        rows = self._norm(patches.reshape(-1, 1, tower.width), tower.norm_post, f"{role}/norm_post")
        pooled = self._tap(f"{role}/pooled", rows.reshape(batch, tower.tokens - 1, tower.width).mean(1))
        return self._linear(pooled, tower.projection, f"{role}/embedding")


def _energy(x: Tensor) -> Tensor:
    """The squared length of every row of [rows, 1, D] as [rows, 1, 1], by one product each: summed before anything is rounded."""
    return x @ x.reshape(len(x), -1, 1)


def head_role(blocks_done: int) -> str:
    """The role of an exit's own head."""
    return f"head_{blocks_done:02d}"


def build_stages(tower: Tower, exits: tuple[int, ...], whole: bool = False) -> tuple[Stage, ...]:
    """The tower's stages in order, in evaluation mode; run one after another they give the tower's embedding.

    `whole` stages compute every row of the last block, read or not.
    """
    return tuple(Stage(tower, part, whole).eval() for part in split(len(tower.blocks), exits))
