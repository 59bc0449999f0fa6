"""MaskFormer. Cheng et al., NeurIPS 2021 (arXiv:2107.06278)."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import ResNetFeatures, Weights, read_weights
from segedu.models.blocks import check_width, conv_norm
from segedu.models.hugging_face import rename_maskformer as from_hugging_face
from segedu.models.mask_classification import Criterion, MaskClassifier, Prediction
from segedu.models.mask_losses import focal_loss, pairwise_focal_loss
from segedu.models.transformer import MLP, DecoderLayer, initialize, sine_codes


class PixelDecoder(nn.Module):
    """The per-pixel embeddings, at stride 4: a light feature pyramid (section 4.1).

    From stride 32 up: the coarser map is enlarged, the 1x1 convolution of the backbone's own map is
    added, a 3x3 convolution follows; each with group normalisation.

    Args:
        in_channels: channels of the backbone's maps, finest first.
        width: channels of the pyramid and of the embeddings, a multiple of 32.
    """

    def __init__(self, in_channels: Sequence[int], width: int) -> None:
        super().__init__()
        *finer, coarsest = in_channels
        self.stem = conv_norm(coarsest, width, 3).append(nn.ReLU(inplace=True))
        self.lateral = nn.ModuleList(conv_norm(channels, width, 1) for channels in finer[::-1])
        self.merge = nn.ModuleList(
            conv_norm(width, width, 3).append(nn.ReLU(inplace=True)) for _ in finer
        )
        self.embed = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H/4 .. H/32, W/4 .. W/32), finest first -> (N, width, H/4, W/4)."""
        *finer, coarsest = features
        x = self.stem(coarsest)  # (N, width, H/32, W/32)
        for lateral, merge, own in zip(self.lateral, self.merge, finer[::-1], strict=True):
            x = F.interpolate(x, own.shape[-2:], mode="nearest")  # (N, width, H/16 .. H/4, ...)
            x = merge(x + lateral(own))
        return self.embed(x)


class TransformerDecoder(nn.Module):
    """DETR's decoder: queries look at the map of stride 32 and become segments (section 3.3).

    Args:
        in_channels: channels of the map.
        width: channels of a query.
        heads: attention heads.
        ffn_width: hidden channels of a layer.
        num_queries: number of segments proposed.
        num_layers: of the decoder.
        dropout: in a layer.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        heads: int,
        ffn_width: int,
        num_queries: int,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, width, 1)
        self.queries = nn.Embedding(num_queries, width)
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, ffn_width, dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor) -> list[Tensor]:
        """(N, C, H/32, W/32) -> after each layer the normalised queries (N, Q, width)."""
        memory = self.project(features)  # (N, width, H/32, W/32)
        codes = sine_codes(memory)  # (hw, width)
        memory = memory.flatten(2).transpose(1, 2)  # (N, hw, width)
        learned = self.queries.weight  # (Q, width): where to look, not what was seen
        x = torch.zeros_like(learned).expand(len(memory), -1, -1)  # (N, Q, width)
        outputs = []
        for layer in self.layers:
            x = layer(x, learned, memory, codes)
            outputs.append(self.norm(x))
        return outputs


def at_low_resolution(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """(Q, h, w) and (M, H, W) -> (Q, hw), (M, hw): enough to tell who matches whom."""
    masks = F.interpolate(masks[:, None], logits.shape[-2:], mode="nearest")
    return logits.flatten(1), masks.flatten(1)


def at_full_resolution(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """(K, h, w) and (K, H, W) -> (K, HW) each: every pixel of the image counts."""
    logits = F.interpolate(logits[:, None], masks.shape[-2:], mode="bilinear")
    return logits.flatten(1), masks.flatten(1)


CRITERION = Criterion(
    focal_loss,
    pairwise_focal_loss,
    at_low_resolution,
    at_full_resolution,
    class_weight=1.0,
    mask_weight=20.0,
    dice_weight=1.0,
)  # section 4.1


class MaskFormer(MaskClassifier):
    """MaskFormer: each query of a transformer gives a class and an embedding that makes its mask.

    What goes in and what comes out is said at `segedu.models.mask_classification.MaskClassifier`.

    Faithful: the ResNet variant for semantic segmentation, in which the transformer has a decoder
    only (section 4.1), losses after every layer. Different: the panoptic variant of the paper has
    six encoder layers more. Compared with transformers 5: the same outputs, matches and losses, but
    its own inner predictions are of queries without the last normalisation, the first of zeros.

    Parameters: 41,307,863 with 150 classes.

    Args:
        num_classes: number of classes C.
        depth: of the ResNet.
        base_width: width of the first ResNet stage; 64 is the paper's.
        layers: blocks per ResNet stage, overrides ``depth``.
        max_pool: see `segedu.models.backbones.ResNetFeatures`.
        width: channels of queries and embeddings; a multiple of 32.
        heads: attention heads; divides ``width``.
        ffn_width: hidden channels of a decoder layer.
        num_queries: largest number of segments.
        num_layers: of the decoder.
        dropout: in the decoder.
        task, things, criterion: see `MaskClassifier`.
        weights: a Hugging Face file (``pytorch_model.bin``) for the whole network, see
            `from_hugging_face`.
        weights_backbone: of the ResNet, see `segedu.models.backbones.read_weights`.

    Raises:
        ValueError: an unknown task, a width or heads that do not fit, things that are no classes.

    Example:
        >>> small = {"base_width": 8, "layers": (1, 1, 1, 1), "width": 32, "num_queries": 5}
        >>> model = MaskFormer(3, **small).eval()
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
        ffn_width: int = 2048,
        num_queries: int = 100,
        num_layers: int = 6,
        dropout: float = 0.1,
        task: str = "panoptic",
        things: Collection[int] | None = None,
        criterion: Criterion = CRITERION,
        weights: Weights = None,
        weights_backbone: Weights = None,
    ) -> None:
        super().__init__(num_classes, task, things, criterion)
        check_width(width)
        self.backbone = ResNetFeatures(
            depth,
            base_width=base_width,
            layers=layers,
            max_pool=max_pool,
            weights=weights_backbone,
        )
        channels = self.backbone.channels
        self.pixel_decoder = PixelDecoder(channels, width)
        self.transformer = TransformerDecoder(
            channels[-1], width, heads, ffn_width, num_queries, num_layers, dropout
        )
        self.classify = nn.Linear(width, num_classes + 1)
        self.embed_mask = MLP(width, width, width, layers=3)
        for head in (self.pixel_decoder, self.transformer.project, self.transformer.layers):
            initialize(head)
        if weights is not None:
            self.load_state_dict(from_hugging_face(read_weights(weights)))

    def predict(self, batch: Tensor, *, only_last: bool = False) -> list[Prediction]:
        """Normalised images (N, 3, H, W) -> predictions after each layer, the last one counts."""
        features = self.backbone(batch)  # 4 x (N, C_i, H/4 .. H/32, W/4 .. W/32)
        pixels = self.pixel_decoder(features)  # (N, width, H/4, W/4)
        layers = self.transformer(features[-1])
        predictions = []
        for queries in layers[-1:] if only_last else layers:  # (N, Q, width)
            masks = torch.einsum("nqc,nchw->nqhw", self.embed_mask(queries), pixels)
            predictions.append(Prediction(self.classify(queries), masks))
        return predictions


def maskformer_tiny(num_classes: int, **settings: Any) -> MaskFormer:
    """A MaskFormer that learns 128 x 128 scenes on a CPU; ``settings`` as for `MaskFormer`.

    Example:
        >>> sum(p.numel() for p in maskformer_tiny(12).parameters())
        712733
    """
    return MaskFormer(num_classes, **(TINY | settings))


TINY = {
    "depth": 18,
    "base_width": 16,
    "layers": (1, 1, 1, 1),
    "width": 64,
    "heads": 4,
    "ffn_width": 128,
    "num_queries": 24,
    "num_layers": 3,
    "dropout": 0.0,
}
