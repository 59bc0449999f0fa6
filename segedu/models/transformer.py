"""Pieces of the transformer (Vaswani et al., NeurIPS 2017), as DETR arranges them for images.

Carion et al., ECCV 2020 (arXiv:2005.12872): a set of learned queries looks at a feature map.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.ops.precision import full_dtype


class Attention(nn.Module):
    """Scaled dot-product attention in several heads (Vaswani et al., section 3.2).

    Args:
        width: channels of the tokens.
        heads: number of heads; divides ``inner_width``.
        inner_width: channels of queries, keys and values; ``width`` if not given.
    """

    def __init__(self, width: int, heads: int, inner_width: int | None = None) -> None:
        super().__init__()
        inner_width = inner_width or width
        if inner_width % heads:
            raise ValueError(f"heads must divide the {inner_width} channels, got {heads}")
        self.heads = heads
        self.query = nn.Linear(width, inner_width)
        self.key = nn.Linear(width, inner_width)
        self.value = nn.Linear(width, inner_width)
        self.out = nn.Linear(inner_width, width)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """(N, L, C), (N, S, C), (N, S, C) -> (N, L, C); False in ``mask`` (N, L, S) is hidden."""
        q, k, v = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (N, heads, L or S, C / heads)
            for layer, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        if mask is not None:
            mask = mask[:, None]  # (N, 1, L, S): the same for all heads
        y = F.scaled_dot_product_attention(q, k, v, mask)  # (N, heads, L, C / heads)
        return self.out(y.transpose(1, 2).flatten(2))


class MLP(nn.Sequential):
    """Linear layers with ReLU between them, all hidden ones equally wide."""

    def __init__(self, in_width: int, hidden_width: int, out_width: int, layers: int) -> None:
        widths = [in_width] + [hidden_width] * (layers - 1) + [out_width]
        steps: list[nn.Module] = []
        for i in range(layers):
            steps += [nn.Linear(widths[i], widths[i + 1]), nn.ReLU()]
        super().__init__(*steps[:-1])


class DecoderLayer(nn.Module):
    """Queries look at one another, then at the image, then each is changed by itself (figure 10).

    Position codes are added to what is compared (queries and keys), never to what is read (values);
    the sum with the input is normalised after each of the three steps.

    Args:
        width: channels of the queries and of the image's tokens.
        heads: attention heads.
        ffn_width: hidden channels of the last step.
        dropout: after each step.
    """

    def __init__(self, width: int, heads: int, ffn_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.self_attention = Attention(width, heads)
        self.self_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.ffn = MLP(width, ffn_width, width, layers=2)
        self.ffn_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def among_queries(self, x: Tensor, codes: Tensor) -> Tensor:
        """(N, Q, C), codes (Q, C) -> (N, Q, C)."""
        y = self.self_attention(x + codes, x + codes, x)
        return self.self_norm(x + self.dropout(y))

    def over_image(
        self,
        x: Tensor,
        codes: Tensor,
        memory: Tensor,
        memory_codes: Tensor,
        mask: Tensor | None = None,
    ) -> Tensor:
        """(N, Q, C), codes (Q, C), memory (N, hw, C), its codes (hw, C) -> (N, Q, C)."""
        y = self.cross_attention(x + codes, memory + memory_codes, memory, mask)
        return self.cross_norm(x + self.dropout(y))

    def feed_forward(self, x: Tensor) -> Tensor:
        """(N, Q, C) -> (N, Q, C)."""
        return self.ffn_norm(x + self.dropout(self.ffn(x)))

    def forward(self, x: Tensor, codes: Tensor, memory: Tensor, memory_codes: Tensor) -> Tensor:
        """(N, Q, C), codes (Q, C), memory (N, hw, C), its codes (hw, C) -> (N, Q, C)."""
        x = self.among_queries(x, codes)
        x = self.over_image(x, codes, memory, memory_codes)
        return self.feed_forward(x)


def sine_codes(like: Tensor) -> Tensor:
    """Sines of the row, then of the column, of each pixel of a map (N, C, h, w) -> (h * w, C).

    DETR's version of Vaswani et al., section 3.5: positions run to 2 pi over the map's side, half
    of the channels are for the row, wavelengths go up to 10000, sine and cosine take turns.
    """
    channels, height, width = like.shape[1:]
    if channels % 4:
        raise ValueError(f"sine codes need a multiple of 4 channels, got {channels}")
    number = {"device": like.device, "dtype": full_dtype(like)}
    exponent = torch.arange(channels // 4, **number) / (channels // 4)
    wavelength = 10000**exponent  # (C/4,)

    def code(length: int) -> Tensor:
        position = torch.arange(1, length + 1, **number) / (length + 1e-6) * 2 * math.pi
        angle = position[:, None] / wavelength  # (length, C/4)
        return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)  # (length, C/2)

    rows = code(height)[:, None].expand(-1, width, -1)  # (h, w, C/2)
    columns = code(width)[None].expand(height, -1, -1)  # (h, w, C/2)
    return torch.cat([rows, columns], dim=2).flatten(0, 1).to(like.dtype)


def initialize(module: nn.Module) -> None:
    """Weights after Glorot and Bengio (2010), biases 0, as DETR's."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
