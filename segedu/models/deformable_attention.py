"""Multi-scale deformable attention. Zhu et al., Deformable DETR, ICLR 2021 (arXiv:2010.04159)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.transformer import MLP, initialize
from segedu.ops.precision import full_dtype, full_precision

Size = Sequence[int]
LEVELS = 3  # strides 32, 16 and 8


class DeformableAttention(nn.Module):
    """Multi-scale deformable attention (equation 3).

    Each token looks at a few points of every level only, and says itself where they are (an offset
    from its own place, in pixels of the level) and what each is worth: no keys, no comparison.

    Args:
        width: channels of a token.
        heads: each has points of its own.
        points: for each head and level.
    """

    def __init__(self, width: int, heads: int, points: int = 4) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"heads must divide the {width} channels, got {heads}")
        self.heads, self.points = heads, points
        self.offset = nn.Linear(width, heads * LEVELS * points * 2)
        self.weight = nn.Linear(width, heads * LEVELS * points)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self._initialize()

    def _initialize(self) -> None:
        """At first all points weigh the same, and those of a head lie on a ray of its own."""
        initialize(self)
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.weight.weight)
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ray = torch.stack([angle.cos(), angle.sin()], dim=1)  # (heads, 2)
        ray = ray / ray.abs().amax(1, keepdim=True)
        steps = torch.arange(1, self.points + 1)[:, None]  # (points, 1)
        start = (ray[:, None, None] * steps).expand(-1, LEVELS, -1, -1)
        with torch.no_grad():
            self.offset.bias.copy_(start.flatten())

    def forward(self, query: Tensor, tokens: Tensor, places: Tensor, sizes: list[Size]) -> Tensor:
        """Queries and tokens (N, L, C), places (L, 2), x and y in [0, 1] -> (N, L, C)."""
        # half precision would round places
        offsets = full_precision(self.offset(query))
        offsets = offsets.unflatten(2, (self.heads, LEVELS, self.points, 2))
        weights = self.weight(query).unflatten(2, (self.heads, -1)).softmax(3)  # (N, L, heads, .)
        values = self.value(tokens).unflatten(2, (self.heads, -1))  # (N, L, heads, C / heads)
        samples = []
        for level, value in enumerate(values.split([h * w for h, w in sizes], dim=1)):
            height, width = sizes[level]
            value = value.permute(0, 2, 3, 1).flatten(0, 1).unflatten(2, (height, width))
            scale = offsets.new_tensor([width, height])
            where = places[:, None, None] + offsets[:, :, :, level] / scale  # (N, L, heads, P, 2)
            grid = 2 * where.transpose(1, 2).flatten(0, 1) - 1  # (N * heads, L, P, 2)
            samples.append(F.grid_sample(value.to(grid.dtype), grid, align_corners=False))
        sampled = torch.cat(samples, dim=3)  # (N * heads, C / heads, L, levels * P)
        weights = weights.transpose(1, 2).flatten(0, 1)[:, None]  # (N * heads, 1, L, levels * P)
        y = (sampled * weights).sum(3).unflatten(0, (-1, self.heads))  # (N, heads, C / heads, L)
        return self.out(y.flatten(1, 2).transpose(1, 2).to(query.dtype))


class DeformableLayer(nn.Module):
    """An encoder layer: tokens of all levels look at one another's maps, then each by itself."""

    def __init__(self, width: int, heads: int, ffn_width: int) -> None:
        super().__init__()
        self.self_attention = DeformableAttention(width, heads)
        self.self_norm = nn.LayerNorm(width)
        self.ffn = MLP(width, ffn_width, width, layers=2)
        self.ffn_norm = nn.LayerNorm(width)
        initialize(self.ffn)

    def forward(self, x: Tensor, codes: Tensor, places: Tensor, sizes: list[Size]) -> Tensor:
        """(N, L, C), codes (L, C), places (L, 2) -> (N, L, C)."""
        x = self.self_norm(x + self.self_attention(x + codes, x, places, sizes))
        return self.ffn_norm(x + self.ffn(x))


def centres(like: Tensor) -> Tensor:
    """Where the pixels of a map (N, C, h, w) lie: (h * w, 2) as x, y in [0, 1]."""
    pixels = {"device": like.device, "dtype": full_dtype(like)}
    y, x = ((torch.arange(n, **pixels) + 0.5) / n for n in like.shape[2:])
    return torch.cartesian_prod(y, x).flip(1)
