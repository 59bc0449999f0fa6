"""Mask2Former. Cheng et al., CVPR 2022 (arXiv:2112.01527)."""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import ResNetFeatures, Weights, read_weights
from segedu.models.blocks import check_width, conv_norm, resize
from segedu.models.deformable_attention import LEVELS, DeformableLayer, Size, centres
from segedu.models.hugging_face import rename_mask2former as from_hugging_face
from segedu.models.mask_classification import Criterion, MaskClassifier, Prediction
from segedu.models.mask_losses import cross_entropy, pairwise_cross_entropy
from segedu.models.maskformer import TINY as TINY_MASKFORMER
from segedu.models.transformer import MLP, DecoderLayer, initialize, sine_codes


class PixelDecoder(nn.Module):
    """Deformable attention over strides 32, 16 and 8, then one step of a pyramid to stride 4.

    Args:
        in_channels: channels of the backbone's four maps, finest first.
        width: channels of all results, a multiple of 32.
        heads: of the deformable attention.
        ffn_width: hidden channels of an encoder layer.
        num_layers: of the encoder.
    """

    def __init__(
        self, in_channels: Sequence[int], width: int, heads: int, ffn_width: int, num_layers: int
    ) -> None:
        super().__init__()
        finest, *coarser = in_channels
        self.project = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1), nn.GroupNorm(32, width))
            for channels in coarser[::-1]
        )
        self.level_codes = nn.Parameter(torch.randn(LEVELS, width))
        self.lateral = conv_norm(finest, width, 1)
        self.merge = conv_norm(width, width, 3).append(nn.ReLU(inplace=True))
        self.embed = nn.Conv2d(width, width, 1)
        initialize(self)
        self.layers = nn.ModuleList(
            DeformableLayer(width, heads, ffn_width) for _ in range(num_layers)
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Four maps -> (N, width, H/32 .. H/8, W/32 .. W/8), and (N, width, H/4, W/4)."""
        finest, *coarser = features
        maps = [layer(x) for layer, x in zip(self.project, coarser[::-1], strict=True)]
        sizes = [x.shape[-2:] for x in maps]
        codes = [sine_codes(x) + code for x, code in zip(maps, self.level_codes, strict=True)]
        codes = torch.cat(codes)  # (L, width)
        places = torch.cat([centres(x) for x in maps])  # (L, 2)
        x = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], dim=1)  # (N, L, width)
        for layer in self.layers:
            x = layer(x, codes, places, sizes)
        tokens = x.split([h * w for h, w in sizes], dim=1)
        levels = [
            x.transpose(1, 2).unflatten(2, size) for x, size in zip(tokens, sizes, strict=True)
        ]
        x = self.lateral(finest)  # (N, width, H/4, W/4)
        x = self.merge(x + resize(levels[-1], x))
        return levels, self.embed(x)


class MaskedDecoderLayer(DecoderLayer):
    """A decoder layer: the image first, and each query sees its own mask alone (section 3.2)."""

    def forward(
        self, x: Tensor, codes: Tensor, memory: Tensor, memory_codes: Tensor, mask: Tensor
    ) -> Tensor:
        """As `DecoderLayer`, with ``mask`` bool (N, Q, hw): what each query may look at."""
        x = self.over_image(x, codes, memory, memory_codes, mask)
        x = self.among_queries(x, codes)
        return self.feed_forward(x)


def foreground(mask_logits: Tensor, size: Size) -> Tensor:
    """Where each mask is, on a map of ``size``: (N, Q, h, w) -> bool (N, Q, hw); all if nowhere."""
    inside = F.interpolate(mask_logits.detach(), tuple(size), mode="bilinear").flatten(2) >= 0
    return inside | ~inside.any(2, keepdim=True)


class MaskedDecoder(nn.Module):
    """Queries that predict before every layer and attend inside what they predicted (figure 2).

    Args:
        num_classes: number of classes C.
        width: channels of queries and maps.
        heads: attention heads.
        ffn_width: hidden channels of a layer.
        num_queries: number of segments proposed.
        num_layers: they take strides 32, 16 and 8 in turn.
        dropout: in a layer.
    """

    def __init__(
        self,
        num_classes: int,
        width: int,
        heads: int,
        ffn_width: int,
        num_queries: int,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.queries = nn.Embedding(num_queries, width)  # position codes
        self.contents = nn.Embedding(num_queries, width)  # learned, too, so that they have a mask
        self.level_codes = nn.Embedding(LEVELS, width)
        self.layers = nn.ModuleList(
            MaskedDecoderLayer(width, heads, ffn_width, dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, num_classes + 1)
        self.embed_mask = MLP(width, width, width, layers=3)
        initialize(self.layers)

    def read(self, x: Tensor, pixels: Tensor) -> Prediction:
        """Queries (N, Q, width) and embeddings (N, width, H/4, W/4) -> classes and masks."""
        x = self.norm(x)
        masks = torch.einsum("nqc,nchw->nqhw", self.embed_mask(x), pixels)  # (N, Q, H/4, W/4)
        return Prediction(self.classify(x), masks)

    def forward(self, levels: Sequence[Tensor], pixels: Tensor) -> list[Prediction]:
        """Three maps (N, width, h_i, w_i), embeddings (N, width, H/4, W/4) -> num_layers + 1."""
        codes = [sine_codes(level) for level in levels]  # (hw, width)
        memories = [
            level.flatten(2).transpose(1, 2) + code  # (N, hw, width)
            for level, code in zip(levels, self.level_codes.weight, strict=True)
        ]
        x = self.contents.weight.expand(len(pixels), -1, -1)  # (N, Q, width)
        predictions = [self.read(x, pixels)]
        for i, layer in enumerate(self.layers):
            k = i % LEVELS
            mask = foreground(predictions[-1].mask_logits, levels[k].shape[-2:])  # (N, Q, hw)
            x = layer(x, self.queries.weight, memories[k], codes[k], mask)
            predictions.append(self.read(x, pixels))
        return predictions


# The loss (section 3.3): cross-entropy and Dice at a few points in place of all pixels.


def sample(maps: Tensor, points: Tensor) -> Tensor:
    """Maps (K, h, w) at points (K, P, 2), x and y in [0, 1], bilinearly -> (K, P)."""
    return F.grid_sample(maps[:, None], 2 * points[:, :, None] - 1, align_corners=False)[:, 0, :, 0]


def at_random_points(logits: Tensor, masks: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(Q, h, w) and (M, H, W) -> (Q, P), (M, P): the same points for all, so that all compare."""
    points = torch.rand(1, count, 2, device=logits.device, dtype=logits.dtype)
    return tuple(sample(x, points.expand(len(x), -1, -1)) for x in (logits, masks))


def at_uncertain_points(logits: Tensor, masks: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(K, h, w) and (K, H, W) -> (K, P) each: mostly where the mask is undecided.

    Importance sampling of PointRend (Kirillov et al., CVPR 2020, section 3.1): three times as many
    points are drawn, three quarters of P are the most uncertain of them, the rest drawn anew.
    """
    with torch.no_grad():
        some = {"device": logits.device, "dtype": logits.dtype}
        points = torch.rand(len(logits), 3 * count, 2, **some)
        certainty = sample(logits, points).abs()  # (K, 3P)
        chosen = certainty.topk(count * 3 // 4, dim=1, largest=False).indices
        points = points.gather(1, chosen[:, :, None].expand(-1, -1, 2))  # (K, 3/4 P, 2)
        others = torch.rand(len(logits), count - chosen.shape[1], 2, **some)
        points = torch.cat([points, others], dim=1)  # (K, P, 2)
    return sample(logits, points), sample(masks, points)


def point_criterion(num_points: int) -> Criterion:
    """The loss at ``num_points`` points of each mask, with the weights of section 4.1."""
    return Criterion(
        cross_entropy,
        pairwise_cross_entropy,
        partial(at_random_points, count=num_points),
        partial(at_uncertain_points, count=num_points),
        class_weight=2.0,
        mask_weight=5.0,
        dice_weight=5.0,
    )


class Mask2Former(MaskClassifier):
    """Mask2Former: MaskFormer with masked attention, three scales and a loss at points.

    What goes in and what comes out is said at `segedu.models.mask_classification.MaskClassifier`.

    Faithful: all of section 3; the loss is taken before the first layer and after each of the nine.
    The points are drawn from PyTorch's generator. Different: deformable attention is written with
    ``grid_sample``, there is no kernel of its own.

    Parameters: 44,036,998 with 133 classes.

    Args:
        num_classes: number of classes C.
        depth: of the ResNet.
        base_width: width of the first ResNet stage; 64 is the paper's.
        layers: blocks per ResNet stage, overrides ``depth``.
        max_pool: see `segedu.models.backbones.ResNetFeatures`.
        width: channels of queries and embeddings; a multiple of 32.
        heads: attention heads; divides ``width``.
        encoder_ffn_width: hidden channels of a layer of the pixel decoder.
        encoder_layers: of the pixel decoder.
        ffn_width: hidden channels of a layer of the transformer decoder.
        num_queries: largest number of segments.
        num_layers: of the transformer decoder.
        dropout: in the transformer decoder.
        num_points: at which a mask is compared in the loss.
        task, things: see `MaskClassifier`.
        weights: a Hugging Face file (``pytorch_model.bin``) for the whole network, see
            `from_hugging_face`.
        weights_backbone: of the ResNet, see `segedu.models.backbones.read_weights`.

    Raises:
        ValueError: an unknown task, a width or heads that do not fit, things that are no classes.

    Example:
        >>> small = {"base_width": 8, "layers": (1, 1, 1, 1), "width": 32, "num_queries": 5}
        >>> model = Mask2Former(3, **small).eval()
        >>> model([torch.zeros(3, 97, 131)])[0]["panoptic_seg"].shape
        torch.Size([97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        depth: int = 50,
        base_width: int = 64,
        layers: Sequence[int] | None = None,
        max_pool: bool = True,
        width: int = 256,
        heads: int = 8,
        encoder_ffn_width: int = 1024,
        encoder_layers: int = 6,
        ffn_width: int = 2048,
        num_queries: int = 100,
        num_layers: int = 9,
        dropout: float = 0.0,
        num_points: int = 112 * 112,
        task: str = "panoptic",
        things: Collection[int] | None = None,
        weights: Weights = None,
        weights_backbone: Weights = None,
    ) -> None:
        super().__init__(num_classes, task, things, point_criterion(num_points))
        check_width(width)
        self.backbone = ResNetFeatures(
            depth,
            base_width=base_width,
            layers=layers,
            max_pool=max_pool,
            weights=weights_backbone,
        )
        self.pixel_decoder = PixelDecoder(
            self.backbone.channels, width, heads, encoder_ffn_width, encoder_layers
        )
        self.transformer = MaskedDecoder(
            num_classes, width, heads, ffn_width, num_queries, num_layers, dropout
        )
        if weights is not None:
            self.load_state_dict(from_hugging_face(read_weights(weights)))

    def predict(self, batch: Tensor, *, only_last: bool = False) -> list[Prediction]:
        """Normalised images (N, 3, H, W) -> predictions before and after each layer."""
        features = self.backbone(batch)  # 4 x (N, C_i, H/4 .. H/32, W/4 .. W/32)
        levels, pixels = self.pixel_decoder(features)  # 3 x (N, width, ..), (N, width, H/4, W/4)
        predictions = self.transformer(levels, pixels)  # each one masks the attention of the next
        return predictions[-1:] if only_last else predictions


def mask2former_tiny(num_classes: int, **settings: Any) -> Mask2Former:
    """A Mask2Former that learns 128 x 128 scenes on a CPU; ``settings`` as for `Mask2Former`.

    Example:
        >>> sum(p.numel() for p in mask2former_tiny(12).parameters())
        568813
    """
    return Mask2Former(num_classes, **(TINY | settings))


TINY = TINY_MASKFORMER | {"encoder_ffn_width": 128, "encoder_layers": 1, "num_points": 1024}
