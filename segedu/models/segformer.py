"""SegFormer. Xie et al., NeurIPS 2021 (arXiv:2105.15203)."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from segedu.models.backbones import Weights, read_weights, rename
from segedu.models.blocks import conv_bn_relu, require_size, resize

# B0 ... B5: blocks per stage (table 6); B0 has half the channels of the others.
DEPTHS = ((2, 2, 2, 2), (2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 18, 3), (3, 8, 27, 3), (3, 6, 40, 3))


class OverlapPatchEmbedding(nn.Module):
    """Patches that overlap: a strided convolution, then layer normalisation (section 3.1)."""

    def __init__(self, in_channels: int, channels: int, size: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, size, stride, padding=size // 2)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, torch.Size]:
        """(N, C, H, W) -> tokens (N, hw, C') and the size (h, w)."""
        x = self.proj(x)
        return self.norm(x.flatten(2).transpose(1, 2)), x.shape[-2:]


def _to_map(tokens: Tensor, size: torch.Size) -> Tensor:
    """(N, hw, C) -> (N, C, h, w)."""
    # Not unflatten: PyTorch's way to ONNX would keep the size of the example.
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *size)


class EfficientAttention(nn.Module):
    """Self-attention whose keys and values come from a map reduced by R x R (equation 2)."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        self.reduce = None
        if reduction > 1:
            self.reduce = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        """Tokens (N, hw, C) -> (N, hw, C)."""
        source = x
        if self.reduce is not None:
            source = self.reduce(_to_map(x, size)).flatten(2).transpose(1, 2)  # (N, hw/R^2, C)
            source = self.norm(source)
        query, key, value = (
            layer(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (N, heads, L, C/heads)
            for layer, tokens in ((self.query, x), (self.key, source), (self.value, source))
        )
        y = F.scaled_dot_product_attention(query, key, value)
        return self.out(y.transpose(1, 2).flatten(2))


class MixFFN(nn.Module):
    """Linear, depthwise 3x3 convolution, GELU, linear: positions come from the padding (eq. 3)."""

    def __init__(self, channels: int, expansion: int = 4) -> None:
        super().__init__()
        wide = expansion * channels
        self.fc1 = nn.Linear(channels, wide)
        self.conv = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.fc2 = nn.Linear(wide, channels)

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        """Tokens (N, hw, C) -> (N, hw, C)."""
        x = self.conv(_to_map(self.fc1(x), size))  # (N, 4C, h, w)
        return self.fc2(F.gelu(x).flatten(2).transpose(1, 2))


class Block(nn.Module):
    """Attention and Mix-FFN, each on normalised tokens and with a shortcut."""

    def __init__(self, channels: int, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attention = EfficientAttention(channels, heads, reduction)
        self.norm2 = nn.LayerNorm(channels)
        self.ffn = MixFFN(channels)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        """Tokens (N, hw, C) -> (N, hw, C)."""
        x = x + self.drop_path(self.attention(self.norm1(x), size))
        return x + self.drop_path(self.ffn(self.norm2(x), size))


class Stage(nn.Module):
    """A patch embedding and the blocks that work at its resolution."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        first: bool,
        heads: int,
        reduction: int,
        drop_paths: Sequence[float],
    ) -> None:
        super().__init__()
        size, stride = (7, 4) if first else (3, 2)
        self.embed = OverlapPatchEmbedding(in_channels, channels, size, stride)
        self.blocks = nn.ModuleList(Block(channels, heads, reduction, p) for p in drop_paths)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H/stride, W/stride)."""
        tokens, size = self.embed(x)
        for block in self.blocks:
            tokens = block(tokens, size)
        return _to_map(self.norm(tokens), size)


class SegFormer(nn.Module):
    """SegFormer: a pyramid of attention without position codes, and a decoder of linear layers.

    Faithful: overlapping patches (7x7 of stride 4, then 3x3 of stride 2), attention with keys
    reduced by 8, 4, 2 and 1, Mix-FFN, stochastic depth up to 0.1, and an all-MLP decoder that
    projects the four maps to one width, brings them to stride 4, concatenates (coarsest first) and
    fuses them with batch normalisation and ReLU. Different: the logits are upsampled here; the
    normalisations have Hugging Face's epsilon 1e-5.

    Parameters with 19 classes: 3,719,027 (B0); with 150: 3,752,694 (B0), 13,715,798 (B1),
    27,461,974 (B2), 84,708,694 (B5).

    Args:
        num_classes: classes, including the background.
        variant: 0 to 5 for B0 to B5; sets the three widths below and the depths.
        in_channels: channels of the images.
        base_width: channels of the first stage (32 in B0, 64 in the others); the stages have 1, 2,
            5 and 8 times as many, in heads of ``base_width`` channels each.
        depths: blocks per stage.
        decoder_width: channels of the decoder (256 in B0 and B1, 768 in the others).
        drop_path: probability with which the last block is skipped; earlier ones less often.
        weights: a Hugging Face file (``pytorch_model.bin``) for the whole network, translated by
            `from_hugging_face`.

    Example:
        >>> small = {"base_width": 8, "depths": (1, 1, 1, 1), "decoder_width": 16}
        >>> SegFormer(5, **small).eval()(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        variant: int = 0,
        *,
        in_channels: int = 3,
        base_width: int | None = None,
        depths: Sequence[int] | None = None,
        decoder_width: int | None = None,
        drop_path: float = 0.1,
        weights: Weights = None,
    ) -> None:
        super().__init__()
        if variant not in range(len(DEPTHS)):
            raise ValueError(f"variant must be 0 to {len(DEPTHS) - 1}, got {variant}")
        base_width = base_width or (32 if variant == 0 else 64)
        depths = depths or DEPTHS[variant]
        decoder_width = decoder_width or (256 if variant < 2 else 768)
        widths = [base_width * heads for heads in (1, 2, 5, 8)]
        drop_paths = torch.linspace(0, drop_path, sum(depths), device="cpu").tolist()
        self.stages, channels = nn.ModuleList(), in_channels
        for i, (width, heads, reduction, depth) in enumerate(
            zip(widths, (1, 2, 5, 8), (8, 4, 2, 1), depths, strict=True)
        ):
            own, drop_paths = drop_paths[:depth], drop_paths[depth:]
            stage = Stage(
                channels, width, first=i == 0, heads=heads, reduction=reduction, drop_paths=own
            )
            self.stages.append(stage)
            channels = width
        self.project = nn.ModuleList(nn.Linear(width, decoder_width) for width in widths)
        self.fuse = conv_bn_relu(4 * decoder_width, decoder_width, 1)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Conv2d(decoder_width, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        if weights is not None:
            self.load_state_dict(from_hugging_face(read_weights(weights)))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W).

        Raises:
            ValueError: if a side has fewer than 32 pixels.
        """
        require_size(images, 32)
        x, maps = images, []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)  # (N, 32, H/4, W/4), (N, 64, H/8, W/8), (N, 160, H/16, W/16), ...
        projected = [
            resize(layer(x.movedim(1, 3)).movedim(3, 1), maps[0])  # (N, 256, H/4, W/4)
            for layer, x in zip(self.project, maps, strict=True)
        ]
        x = self.fuse(torch.cat(projected[::-1], dim=1))  # (N, 256, H/4, W/4)
        return resize(self.classifier(self.dropout(x)), images)  # (N, C, H, W)


# Hugging Face's names on the left, those of published files (transformers 4) and of the module in
# memory (transformers 5); ours on the right. Applied in this order.
HUGGING_FACE_NAMES = (
    (r"^segformer\.(encoder\.)?", ""),
    (r"^patch_embeddings\.(\d)\.", r"stages.\1.patch_embeddings."),
    (r"^block\.(\d)\.", r"stages.\1.blocks."),
    (r"^layer_norm\.(\d)\.", r"stages.\1.norm."),
    (r"\.patch_embeddings\.layer_norm\.", ".embed.norm."),
    (r"\.patch_embeddings\.", ".embed."),
    (r"\.(layer_norm_1|layernorm_before)\.", ".norm1."),
    (r"\.(layer_norm_2|layernorm_after)\.", ".norm2."),
    (r"\.(self\.query|q_proj)\.", ".query."),
    (r"\.(self\.key|k_proj)\.", ".key."),
    (r"\.(self\.value|v_proj)\.", ".value."),
    (r"\.(output\.dense|o_proj)\.", ".out."),
    (r"\.(self\.sr|sequence_reduction\.sequence_reduction)\.", ".reduce."),
    (r"\.(self|sequence_reduction)\.layer_norm\.", ".norm."),
    (r"^(stages\.\d)\.layer_norm\.", r"\1.norm."),
    (r"\.mlp\.(dense|fc)([12])\.", r".ffn.fc\2."),
    (r"\.mlp\.dwconv\.dwconv\.", ".ffn.conv."),
    (r"^decode_head\.(linear_c|linear_projections)\.(\d)\.proj\.", r"project.\2."),
    (r"^decode_head\.linear_fuse\.", "fuse.0."),
    (r"^decode_head\.batch_norm\.", "fuse.1."),
    (r"^decode_head\.classifier\.", "classifier."),
)


def from_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the entries of a ``SegformerForSemanticSegmentation`` state dict for `SegFormer`."""
    return rename(state, HUGGING_FACE_NAMES)
