"""The backbone out of an ONNX file: the same function as the network that was exported, on images normalised CLIP's way."""

import io

import onnx
import torch
from torch import nn

from convert.model.torchvision_ops import open_clip
from models.recipe import backbone, plan

WIDTH, PATCH, SIDE = 24, 4, 3


class Layer(nn.Module):
    """One of DINOv2's, with its names."""

    def __init__(self):
        super().__init__()
        inner = nn.Module()
        inner.query, inner.key, inner.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.attention = nn.Module()
        self.attention.attention, self.attention.output = inner, nn.Module()
        self.attention.output.dense = nn.Linear(WIDTH, WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, 1e-5), nn.LayerNorm(WIDTH, 1e-5)
        self.layer_scale1, self.layer_scale2 = nn.Module(), nn.Module()
        self.mlp = nn.Module()
        self.mlp.fc1, self.mlp.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        for scale in (self.layer_scale1, self.layer_scale2):
            scale.lambda1 = nn.Parameter(torch.rand(WIDTH))

    def forward(self, x):
        y, inner = self.norm1(x), self.attention.attention
        q, k, v = (part(y).unflatten(2, (2, -1)).transpose(1, 2) for part in (inner.query, inner.key, inner.value))
        y = (q @ k.transpose(2, 3) / (WIDTH / 2) ** 0.5).softmax(-1) @ v
        x = x + self.attention.output.dense(y.transpose(1, 2).flatten(2)) * self.layer_scale1.lambda1
        return x + self.mlp.fc2(nn.functional.gelu(self.mlp.fc1(self.norm2(x)))) * self.layer_scale2.lambda1


class Encoder(nn.Module):
    """DINOv2's encoder, small."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.embeddings, self.backbone.encoder = nn.Module(), nn.Module()
        self.backbone.embeddings.patch_embeddings = nn.Module()
        self.backbone.embeddings.patch_embeddings.projection = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.backbone.embeddings.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.table = nn.Parameter(torch.randn(1, 1 + SIDE * SIDE, WIDTH))
        self.backbone.encoder.layer = nn.ModuleList([Layer(), Layer()])
        self.backbone.layernorm = nn.LayerNorm(WIDTH, 1e-5)

    def forward(self, x):
        embeddings = self.backbone.embeddings
        x = embeddings.patch_embeddings.projection(x).flatten(2).transpose(1, 2) + (self.table * 1.0)[:, 1:]
        x = torch.cat([embeddings.cls_token.expand(x.shape[0], -1, -1) + (self.table * 1.0)[:, :1], x], 1)
        for layer in self.backbone.encoder.layer:
            x = layer(x)
        return self.backbone.layernorm(x)


def test_the_backbone_is_the_exported_network_on_pictures_normalised_clips_way():
    torch.manual_seed(0)
    encoder, file = Encoder().eval(), io.BytesIO()
    for parameter in encoder.parameters():  # the exporter joins weights that are equal, as those of fresh norms
        nn.init.normal_(parameter, std=0.3)
    pictures = torch.rand(2, 3, PATCH * SIDE, PATCH * SIDE)
    torch.onnx.export(encoder, (pictures,), file, dynamo=False, input_names=["x"])
    held = backbone.parameters(onnx.load_from_string(file.getvalue()).graph)
    vision = open_clip.model.CLIPVisionCfg(
        layers=2, width=WIDTH, head_width=WIDTH // 2, patch_size=PATCH, image_size=PATCH * SIDE
    )
    vision.ls_init_value, vision.no_ln_pre = 1.0, True
    tower = open_clip.model._build_vision_tower(8, vision).eval()
    missing, unexpected = tower.load_state_dict(backbone.visual(held, SIDE), strict=False)
    assert (missing, unexpected) == (["proj"], [])

    def normalised(mean, deviation):
        return (pictures - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(deviation).view(1, 3, 1, 1)

    with torch.no_grad():
        wanted = encoder(normalised(*backbone.IMAGENET))[:, 0] @ tower.proj
        torch.testing.assert_close(tower(normalised(plan.CLIP_MEAN, plan.CLIP_DEVIATION)), wanted, atol=2e-5, rtol=1e-4)
