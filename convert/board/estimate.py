"""Whether a tower fits a board, estimated from its shapes before anything is converted; and what would fit instead."""

from __future__ import annotations

from collections.abc import Iterator

from convert.model.tower import Tower
from convert.request import Request
from convert.support.errors import DoesNotFit
from targets import profile as boards
from targets.memory import MB, Shape, arena_bytes, file_bytes, flash_bytes, peak_bytes
from targets.profile import Profile


def check_fits(request: Request) -> None:
    """Returns when the board holds what would be built. Raises DoesNotFit, with the numbers and the nearest thing that would fit, else."""
    shape = shape_of(request.model.tower(), len(request.exits) + 1)
    missed = misses(shape, request.profile)
    if missed:
        target = request.profile.name
        raise DoesNotFit(f"{request.model.name} does not fit {target}: {'; '.join(missed)}; {_instead(shape, request.profile)}")


def shape_of(tower: Tower, stages: int) -> Shape:
    """The sizes that the estimates need, of a tower that is cut into so many stages."""
    layers = (tower.projection, *(layer for head in tower.exit_heads.values() for layer in head.linear.values()))
    return Shape(
        image_px=max(tower.image_size),
        tokens=tower.tokens,
        width=tower.width,
        hidden=int(tower.blocks[0].fc_1.weight.shape[0]),
        blocks=len(tower.blocks),
        heads=tower.heads,
        patch=int(tower.patch.weight[0].numel()),
        head_weights=sum(layer.weight.numel() for layer in layers),
        head_outputs=sum(int(layer.weight.shape[0]) for layer in layers),
        pre_norm=tower.norm_pre is not None,
        stages=stages,
    )


def misses(shape: Shape, profile: Profile) -> tuple[str, ...]:
    """What of the board's limits the tower would miss, each with its numbers; empty when it fits."""
    sizes: tuple[tuple[str, float, str, int], ...] = (
        ("a file of about", file_bytes(shape) / MB, "MB", profile.model_mb),
        ("peak memory of about", peak_bytes(shape) / MB, "MB", profile.peak_mb),
    )
    if profile.micro:
        sizes = (
            ("about", flash_bytes(shape) / MB, "MB of flash", profile.model_mb),
            ("an arena of about", arena_bytes(shape) / 1024, "KB", profile.arena_kb),
        )
    estimates = (*sizes, ("images of", shape.image_px, "pixels", profile.image_px))
    return tuple(f"{what} {found:.0f} {unit}, at most {limit}" for what, found, unit, limit in estimates if found > limit)


def _instead(shape: Shape, profile: Profile) -> str:
    """The largest of open_clip's towers that this board holds, and the smallest board that holds this tower."""
    fitting = [(name, other) for name, other in open_clip_shapes() if not misses(other, profile)]
    smaller = [(name, other) for name, other in fitting if other.macs < shape.macs] or fitting
    found = []
    if smaller:
        name, other = max(smaller, key=lambda entry: (entry[1].macs, -len(entry[0])))
        taken = f"{file_bytes(other) / MB:.0f} MB, {peak_bytes(other) / MB:.0f} MB at the peak"
        if profile.micro:
            taken = f"{flash_bytes(other) / MB:.0f} MB of flash, {arena_bytes(other) / 1024:.0f} KB of arena"
        found.append(f"--model {name} would fit (about {taken})")
    alike = [board for board in map(boards.load, boards.names()) if board.runtime == profile.runtime]
    holding = [board for board in alike if not misses(shape, board)]
    if holding:
        board = min(holding, key=lambda entry: (entry.memory_mb, entry.name))
        found.append(f"this model would fit --target {board.name}")
    return ", and ".join(found) or "no board of ours holds it; a board with more memory is a file more (docs/targets.md)"


def open_clip_shapes() -> Iterator[tuple[str, Shape]]:
    """Every ViT that open_clip configures in the plain form that can be converted, by name; no weights are read."""
    from convert.model.torchvision_ops import open_clip

    for name in open_clip.list_models():
        settings = open_clip.get_model_config(name)
        vision, text = settings["vision_cfg"], settings["text_cfg"]
        if not isinstance(vision.get("layers"), int) or "hf_model_name" in text or "multimodal_cfg" in settings:
            continue  # a ResNet, a text tower of another library's, a captioner
        if any(vision.get(key) for key in ("timm_model_name", "attentional_pool", "block_type", "qk_norm")):
            continue
        side, patch, width = vision.get("image_size", 224), vision.get("patch_size", 16), vision.get("width", 768)
        if not isinstance(side, int) or not isinstance(patch, int):
            continue
        yield (
            name,
            Shape(
                image_px=side,
                tokens=1 + (side // patch) ** 2,
                width=width,
                hidden=int(width * vision.get("mlp_ratio", 4.0)),
                blocks=vision["layers"],
                heads=width // vision.get("head_width", 64),
                patch=3 * patch**2,
                head_weights=width * settings["embed_dim"],
                head_outputs=settings["embed_dim"],
                pre_norm=not vision.get("no_ln_pre", False),
            ),
        )
