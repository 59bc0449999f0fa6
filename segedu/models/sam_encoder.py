"""SAM's image encoder: a vision transformer, mostly in windows, with relative positions.

Kirillov et al., Segment Anything, ICCV 2023 (arXiv:2304.02643), after Li et al., Exploring Plain
Vision Transformer Backbones for Object Detection, ECCV 2022 (arXiv:2203.16527).
"""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.blocks import ChannelNorm


class RelativeAttention(nn.Module):
    """Self-attention of a map, with a bias for the distance in rows and in columns.

    The biases are products of the query with a learned vector for each distance (Li et al.,
    MViTv2, CVPR 2022, equation 4).

    Args:
        width: channels of a token.
        heads: attention heads.
        size: rows and columns of the (square) map.
    """

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads must divide the {width} channels, got {heads}")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.rows = nn.Parameter(torch.zeros(2 * size - 1, width // heads))
        self.columns = nn.Parameter(torch.zeros(2 * size - 1, width // heads))
        place = torch.arange(size)
        distance = place[:, None] - place + size - 1  # (S, S), 0 to 2 S - 2
        self.register_buffer("distance", distance, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, S, S, C) -> (N, S, S, C)."""
        size = x.shape[1:3]
        qkv = self.qkv(x).flatten(1, 2).unflatten(2, (3, self.heads, -1))  # (N, SS, 3, heads, d)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (N, heads, SS, d) each
        grid = q.unflatten(2, size)  # (N, heads, S, S, d)
        rows = torch.einsum("nhyxd,ykd->nhyxk", grid, self.rows[self.distance])
        columns = torch.einsum("nhyxd,xkd->nhyxk", grid, self.columns[self.distance])
        bias = rows[..., :, None] + columns[..., None, :]  # (N, heads, S, S, S, S)
        y = F.scaled_dot_product_attention(q, k, v, bias.flatten(4).flatten(2, 3))
        return self.out(y.transpose(1, 2).flatten(2)).unflatten(1, size)


class EncoderLayer(nn.Module):
    """Attention in windows or over the whole map, then an MLP; both normalise first.

    Args:
        width: channels of a token.
        heads: attention heads.
        size: of the windows, or of the map.
        windowed: cut the map into windows, padded with zeros where they reach beyond it.
    """

    def __init__(self, width: int, heads: int, size: int, windowed: bool) -> None:
        super().__init__()
        self.window = size if windowed else None
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attention = RelativeAttention(width, heads, size)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def attend(self, x: Tensor) -> Tensor:
        """(N, h, w, C) -> (N, h, w, C), each window by itself."""
        if self.window is None:
            return self.attention(x)
        (height, width), s = x.shape[1:3], self.window
        x = F.pad(x, (0, 0, 0, -width % s, 0, -height % s))
        down, across = x.shape[1] // s, x.shape[2] // s
        x = x.unflatten(2, (across, s)).unflatten(1, (down, s))  # (N, down, s, across, s, C)
        x = x.transpose(2, 3).flatten(0, 2)  # (N * windows, s, s, C)
        x = self.attention(x).unflatten(0, (-1, down, across)).transpose(2, 3)
        return x.flatten(3, 4).flatten(1, 2)[:, :height, :width]

    def forward(self, x: Tensor) -> Tensor:
        """(N, h, w, C) -> (N, h, w, C)."""
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ImageEncoder(nn.Module):
    """A vision transformer pre-trained as a masked auto-encoder, and a neck (appendix A).

    Args:
        image_size: pixels a side, a multiple of ``patch_size``.
        patch_size: pixels a side of a patch.
        layers, width, heads: of the transformer.
        window_size: patches a side of a window.
        global_layers: indices of the layers that look at the whole map.
        out_width: channels of the result.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        layers: int,
        width: int,
        heads: int,
        window_size: int,
        global_layers: Collection[int],
        out_width: int,
    ) -> None:
        super().__init__()
        size = image_size // patch_size
        self.embed = nn.Conv2d(3, width, patch_size, stride=patch_size)
        self.position = nn.Parameter(torch.zeros(1, size, size, width))
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, size, windowed=False)
            if i in global_layers
            else EncoderLayer(width, heads, window_size, windowed=True)
            for i in range(layers)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(width, out_width, 1, bias=False),
            ChannelNorm(out_width, eps=1e-6),
            nn.Conv2d(out_width, out_width, 3, padding=1, bias=False),
            ChannelNorm(out_width, eps=1e-6),
        )
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, batch: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, out_width, S/16, S/16)."""
        x = self.embed(batch).movedim(1, 3) + self.position  # (N, S/16, S/16, width)
        for layer in self.layers:
            x = layer(x)
        return self.neck(x.movedim(3, 1))
