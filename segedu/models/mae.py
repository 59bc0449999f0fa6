"""Masked autoencoder. He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022.

arXiv:2111.06377. A network hides most of an image from itself and learns to paint it, without
labels. What it learns on the way, its encoder, is then the start of another training.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.vision_transformer import Encoder

from segedu.models.backbones import ViTFeatures
from segedu.models.transformer import sine_codes


class PatchEncoder(ViTFeatures):
    """The plain vision transformer in small, with fixed sines as position codes.

    Args:
        image_size, patch_size: pixels a side; the second divides the first.
        layers, width, heads: of the transformer; ``width`` is a multiple of 4.
        in_channels: channels of the images.
    """

    def __init__(
        self,
        image_size: int = 64,
        patch_size: int = 8,
        *,
        layers: int = 4,
        width: int = 96,
        heads: int = 3,
        in_channels: int = 3,
    ) -> None:
        if image_size % patch_size:
            raise ValueError(
                f"patch_size must divide the image_size of {image_size}, got {patch_size}"
            )
        size = {"image_size": image_size, "patch_size": patch_size, "in_channels": in_channels}
        super().__init__(layers, width, heads, [layers - 1], **size)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        fix_positions(self.encoder, image_size // patch_size)

    def tokens(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """As those of `ViTFeatures`, but nothing is padded: a patch holds pixels of the image only.

        Raises:
            ValueError: if a side is no multiple of the patch.
        """
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"sides must be multiples of the patch of {self.patch_size}, got {height} x {width}"
            )
        return super().tokens(images)

    def encode(self, tokens: Tensor) -> Tensor:
        """Any number of tokens (N, L, C) -> (N, L, C), after all layers, normalised."""
        return self.norm(self.encoder.layers(tokens))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> a map (N, C, H / patch, W / patch)."""
        tokens, size = self.tokens(images)
        return self.encode(tokens)[:, 1:].transpose(1, 2).unflatten(2, size)


def fix_positions(encoder: Encoder, side: int) -> None:
    """Sines for the places of ``side`` x ``side`` patches, zeros for the class token."""
    codes = encoder.pos_embedding  # (1, 1 + side * side, C)
    codes.requires_grad_(False).zero_()
    codes[0, 1:] = sine_codes(codes.new_zeros(1, codes.shape[2], side, side))


def to_patches(images: Tensor, patch_size: int) -> Tensor:
    """Images (N, C, H, W) -> (N, L, C * patch * patch), the L patches row by row."""
    return F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)


def from_patches(patches: Tensor, patch_size: int, size: tuple[int, int]) -> Tensor:
    """The inverse of `to_patches`: (N, L, C * patch * patch) -> (N, C, H, W) of that ``size``."""
    return F.fold(patches.transpose(1, 2), size, patch_size, stride=patch_size)


def random_mask(
    count: int, patches: int, ratio: float, generator: torch.Generator | None = None
) -> Tensor:
    """Which patches are hidden, equally many in each image: bool (count, patches), True is hidden.

    Args:
        count: of images.
        patches: of an image.
        ratio: share of the patches that is hidden, rounded to whole patches.
        generator: makes it repeatable.

    Raises:
        ValueError: if no patch would be hidden, or none visible.

    Example:
        >>> random_mask(2, 16, 0.75).sum(1)
        tensor([12, 12])
    """
    hidden = round(patches * ratio) if 0 < ratio < 1 else 0
    if not 0 < hidden < patches:
        raise ValueError(
            f"ratio must hide some of the {patches} patches and leave some, got {ratio}"
        )
    rank = torch.rand(count, patches, generator=generator).argsort(1).argsort(1)
    return rank < hidden


def masked_loss(prediction: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """Mean squared error of the hidden patches alone.

    Args:
        prediction, target: (N, L, P), P numbers for each patch.
        hidden: bool (N, L).
    """
    return (prediction - target).square().mean(2)[hidden].mean()


def normalized(patches: Tensor) -> Tensor:
    """Each patch (N, L, P) minus its mean, divided by its standard deviation (section 4.1)."""
    mean, variance = patches.mean(2, keepdim=True), patches.var(2, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


class MAE(nn.Module):
    """A masked autoencoder: the encoder sees few patches, a light decoder paints the others.

    Faithful: random patches, three quarters hidden; the encoder takes the visible patches only; a
    learned token stands for each hidden one in the decoder; the loss counts hidden patches only;
    fixed sines as position codes. Different: small, for images of 64 pixels (the paper's ViT-L has
    24 layers of 1024 channels and 224 pixels, its decoder 8 layers of 512).

    Args:
        image_size, patch_size: pixels a side; the second divides the first.
        layers, width, heads: of the encoder, a `PatchEncoder`.
        decoder_layers, decoder_width, decoder_heads: of the decoder.
        in_channels: channels of the images.
        mask_ratio: share of the patches that `loss` hides.
        normalize: paint each patch less its mean and divided by its standard deviation, not its
            colours.

    Example:
        >>> model = MAE()
        >>> model(torch.zeros(2, 3, 64, 64), random_mask(2, 64, 0.75)).shape
        torch.Size([2, 64, 192])
        >>> model.encoder(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 96, 8, 8])
    """

    def __init__(
        self,
        *,
        image_size: int = 64,
        patch_size: int = 8,
        layers: int = 4,
        width: int = 96,
        heads: int = 3,
        decoder_layers: int = 2,
        decoder_width: int = 64,
        decoder_heads: int = 2,
        in_channels: int = 3,
        mask_ratio: float = 0.75,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        self.patch_size, self.mask_ratio, self.normalize = patch_size, mask_ratio, normalize
        size = {"layers": layers, "width": width, "heads": heads, "in_channels": in_channels}
        self.encoder = PatchEncoder(image_size, patch_size, **size)
        self.narrow = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, decoder_width).normal_(std=0.02))
        side = image_size // patch_size
        length, wide = side**2 + 1, 4 * decoder_width
        self.decoder = Encoder(
            length,
            decoder_layers,
            decoder_heads,
            decoder_width,
            wide,
            dropout=0,
            attention_dropout=0,
        )
        fix_positions(self.decoder, side)
        self.paint = nn.Linear(decoder_width, in_channels * patch_size**2)

    def forward(self, images: Tensor, hidden: Tensor) -> Tensor:
        """What the patches hold, painted from the visible ones.

        Args:
            images: (N, C, S, S), S the ``image_size``.
            hidden: bool (N, L), equally many True in each row.

        Returns:
            (N, L, C * patch * patch), as `to_patches` gives them, or `normalized`.
        """
        if (hidden.sum(1) != hidden[0].sum()).any():
            raise ValueError(
                f"hidden must hold equally many patches in each image, got {hidden.sum(1).tolist()}"
            )
        tokens, _ = self.encoder.tokens(images)  # (N, 1 + L, C)
        first, patches = tokens[:, :1], tokens[:, 1:]
        visible = patches[~hidden].unflatten(0, (len(images), -1))  # (N, few, C)
        seen = self.narrow(self.encoder.encode(torch.cat([first, visible], dim=1)))
        canvas = self.mask_token.expand(*hidden.shape, -1)
        place = (~hidden)[..., None].expand_as(canvas)
        canvas = canvas.masked_scatter(place, seen[:, 1:])  # row by row, as they were taken
        return self.paint(self.decoder(torch.cat([seen[:, :1], canvas], dim=1))[:, 1:])

    def target(self, images: Tensor) -> Tensor:
        """What is to be painted: (N, C, S, S) -> (N, L, C * patch * patch)."""
        patches = to_patches(images, self.patch_size)
        return normalized(patches) if self.normalize else patches

    def loss(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """`masked_loss` of images (N, C, S, S) of which `random_mask` hides ``mask_ratio``."""
        target = self.target(images)
        hidden = random_mask(*target.shape[:2], self.mask_ratio, generator).to(images.device)
        return masked_loss(self(images, hidden), target, hidden)
