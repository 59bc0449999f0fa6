"""Vision transformer. Dosovitskiy et al., ICLR 2021 (arXiv:2010.11929)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from segedu.models.backbones.weights import Weights, load_weights


class ViTFeatures(VisionTransformer):
    """Vision transformer (Dosovitskiy et al., ICLR 2021) that returns the maps of chosen layers.

    The layers are torchvision's and keep its names. Images of any size: the border is padded with
    zeros to whole patches, position codes are interpolated from ``image_size``.

    Args:
        layers: number of layers.
        width: channels of a token.
        heads: attention heads per layer.
        taps: indices of the layers whose maps are returned.
        in_channels: channels of the images.
        image_size: size that the position codes are made for, a multiple of ``patch_size``.
        patch_size: pixels a side of a patch.
        weights: see `read_weights`; must be of the same widths, depth and image size.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        taps: Sequence[int],
        *,
        in_channels: int = 3,
        image_size: int = 224,
        patch_size: int = 16,
        weights: Weights = None,
    ) -> None:
        super().__init__(image_size, patch_size, layers, heads, width, 4 * width)
        del self.heads, self.encoder.ln  # each decoder normalises what it takes
        if in_channels != 3:
            self.conv_proj = nn.Conv2d(in_channels, width, patch_size, stride=patch_size)
        self.taps = tuple(taps)
        load_weights(self, weights, drop=("heads.", "encoder.ln."))

    def positions(self, size: tuple[int, int]) -> Tensor:
        """Position codes of the class token and of h x w patches: (1, 1 + h * w, width)."""
        token, patches = self.encoder.pos_embedding.split([1, self.seq_length - 1], dim=1)
        side = self.image_size // self.patch_size
        if size == (side, side):
            return self.encoder.pos_embedding
        grid = patches.transpose(1, 2).unflatten(2, (side, side))  # (1, width, side, side)
        grid = F.interpolate(grid, size, mode="bilinear")
        return torch.cat([token, grid.flatten(2).transpose(1, 2)], dim=1)

    def tokens(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Images (N, 3, H, W) -> class token and patches with their codes, and the size (h, w).

        The tokens have the shape (N, 1 + h * w, width), the patches stand row by row.
        """
        height, width = images.shape[-2:]
        patch = self.patch_size
        images = F.pad(images, (0, -width % patch, 0, -height % patch))
        x = self.conv_proj(images)  # (N, width, h, w)
        size = tuple(x.shape[-2:])
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
        return self.encoder.dropout(x + self.positions(size)), size

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> one map (N, width, ceil(H/16), ceil(W/16)) per tap."""
        x, size = self.tokens(images)
        features = []
        for index, layer in enumerate(self.encoder.layers):
            x = layer(x)
            if index in self.taps:
                features.append(x[:, 1:].transpose(1, 2).unflatten(2, size))
        return features

    def attention(self, images: Tensor, layer: int) -> Tensor:
        """Images (N, 3, H, W) -> the weights of a layer, (N, heads, 1 + h * w, 1 + h * w).

        Each row belongs to a token that asks and sums to 1; the class token is the first.
        """
        x, _ = self.tokens(images)
        for before in self.encoder.layers[:layer]:
            x = before(x)
        block = self.encoder.layers[layer]
        x = block.ln_1(x)
        return block.self_attention(x, x, x, average_attn_weights=False)[1]
