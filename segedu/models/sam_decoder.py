"""SAM's prompt encoder and mask decoder. Kirillov et al., ICCV 2023 (arXiv:2304.02643)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.blocks import ChannelNorm
from segedu.models.transformer import MLP, Attention
from segedu.ops.precision import full_dtype


class FourierCode(nn.Module):
    """Places as sines and cosines of random frequencies (Tancik et al., NeurIPS 2020)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(2, width // 2))

    def forward(self, places: Tensor) -> Tensor:
        """(..., 2) as x, y in [0, 1] -> (..., width)."""
        # a product of matrices, written out: mixed precision would round it
        angle = (2 * places - 1)[..., None] * self.frequencies  # (..., 2, width / 2)
        angle = 2 * math.pi * angle.sum(-2)  # (..., width / 2)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)

    def map(self, size: int) -> Tensor:
        """The codes of all pixels of a square map: (size * size, width), row by row."""
        like = self.frequencies
        centre = (torch.arange(size, device=like.device, dtype=full_dtype(like)) + 0.5) / size
        return self(torch.cartesian_prod(centre, centre).flip(1))


class PromptEncoder(nn.Module):
    """Points and corners of boxes as tokens, a mask as a map (section 3 and appendix A).

    A token is the code of its place plus a learned vector of its kind: background point,
    foreground point, first corner, second corner.

    Args:
        width: channels of tokens and map.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.code = FourierCode(width)
        self.kinds = nn.Embedding(4, width)
        self.no_point = nn.Embedding(1, width)
        self.no_mask = nn.Embedding(1, width)
        self.embed_mask = nn.Sequential(
            nn.Conv2d(1, 4, 2, stride=2),
            ChannelNorm(4, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(4, 16, 2, stride=2),
            ChannelNorm(16, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(16, width, 1),
        )

    def forward(
        self,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None,
        masks: Tensor | None,
    ) -> tuple[Tensor | None, Tensor]:
        """Points (B, n, 2), labels (B, n), boxes (B, 2, 2), both in [0, 1]; masks (B, 1, 4h, 4w).

        Returns:
            Tokens (B, n + 1 or n + 2, width), None without points and boxes; map (B, width, h, w)
            or, without masks, (1, width, 1, 1).
        """
        tokens = []
        if points is not None:
            if boxes is None:  # one more point that is none, in the place of the box
                points, labels = F.pad(points, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=-1)
            known = self.code(points) + self.kinds(labels.clamp(min=0))  # (B, n, width)
            tokens.append(torch.where(labels[..., None] < 0, self.no_point.weight, known))
        if boxes is not None:
            tokens.append(self.code(boxes) + self.kinds.weight[2:])  # (B, 2, width)
        sparse = torch.cat(tokens, dim=1) if tokens else None
        dense = self.no_mask.weight[:, :, None, None] if masks is None else self.embed_mask(masks)
        return sparse, dense


class TwoWayLayer(nn.Module):
    """Tokens look at one another, then at the image; then the image looks at them (figure 14).

    Args:
        width: channels of tokens and image.
        heads: attention heads.
        ffn_width: hidden channels of the tokens' MLP.
        first: tokens have only their own codes yet: no residual, no codes in self-attention.
    """

    def __init__(self, width: int, heads: int, ffn_width: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attention = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.token_to_image = Attention(width, heads, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, ffn_width, width, layers=2)
        self.norm3 = nn.LayerNorm(width)
        self.image_to_token = Attention(width, heads, width // 2)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor, codes: Tensor, image: Tensor, image_codes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens and codes (B, T, C), image (B, hw, C), its codes (hw, C) -> tokens, image."""
        if self.first:
            tokens = self.norm1(self.self_attention(tokens, tokens, tokens))
        else:
            query = tokens + codes
            tokens = self.norm1(tokens + self.self_attention(query, query, tokens))
        key = image + image_codes  # (B, hw, C)
        tokens = self.norm2(tokens + self.token_to_image(tokens + codes, key, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.image_to_token(key, tokens + codes, tokens))
        return tokens, image


class MaskDecoder(nn.Module):
    """Four masks of a prompt, and how good each will be (section 3, figure 14).

    Mask 0 is the answer to a clear prompt; masks 1 to 3 are the whole, a part and a sub-part of
    what an unclear one may mean.

    Args:
        width: channels of tokens and image, a multiple of 8.
        heads: attention heads.
        ffn_width: hidden channels of the tokens' MLP.
        layers: two-way layers.
    """

    def __init__(self, width: int, heads: int, ffn_width: int, layers: int = 2) -> None:
        super().__init__()
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(4, width)
        self.layers = nn.ModuleList(
            TwoWayLayer(width, heads, ffn_width, first=i == 0) for i in range(layers)
        )
        self.last_attention = Attention(width, heads, width // 2)
        self.last_norm = nn.LayerNorm(width)
        self.upscale = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            ChannelNorm(width // 4, eps=1e-6),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.hypernetworks = nn.ModuleList(
            MLP(width, width, width // 8, layers=3) for _ in range(4)
        )
        self.iou_head = MLP(width, width, 4, layers=3)

    def forward(self, image: Tensor, image_codes: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w), (hw, C), (B, n, C) -> mask logits (B, 4, 4h, 4w), IoU (B, 4)."""
        size = image.shape[-2:]
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])  # (5, C)
        codes = torch.cat([own.expand(len(image), -1, -1), prompts], dim=1)  # (B, 5 + n, C)
        tokens, x = codes, image.flatten(2).transpose(1, 2)  # (B, hw, C)
        for layer in self.layers:
            tokens, x = layer(tokens, codes, x, image_codes)
        attended = self.last_attention(tokens + codes, x + image_codes, x)
        tokens = self.last_norm(tokens + attended)
        pixels = self.upscale(x.transpose(1, 2).unflatten(2, size))  # (B, C/8, 4h, 4w)
        kernels = [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(self.hypernetworks)]
        masks = torch.einsum("bkc,bchw->bkhw", torch.stack(kernels, dim=1), pixels)
        return masks, self.iou_head(tokens[:, 0])
