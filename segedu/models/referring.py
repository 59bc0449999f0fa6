"""A small network that a sentence steers: which pixels does it mean?

The pixels get features from a U-Net that also sees where in the picture they are, as in Hu et al.
2016, "Segmentation from natural language expressions" (ECCV); the sentence scales and shifts these
features channel by channel (FiLM: Perez et al. 2018, "FiLM: visual reasoning with a general
conditioning layer", AAAI), as it does in CLIPSeg (Lüddecke & Ecker 2022, "Image segmentation using
text and image prompts", CVPR).
"""

import torch
from torch import Tensor, nn

from segedu.models.unet import UNet


class BagOfWords(nn.Module):
    """Sentences as the mean of the vectors of their words: int64 (N, L) -> (N, D).

    The order of the words is lost.

    Args:
        num_words: of the vocabulary; their numbers begin with 1, 0 is no word.
        width: D.
    """

    def __init__(self, num_words: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(num_words + 1, width, padding_idx=0)

    def forward(self, words: Tensor) -> Tensor:
        """Mean over the words; zeros for a sentence without a word."""
        count = (words > 0).sum(1, keepdim=True).clamp(min=1)
        return self.vectors(words).sum(1) / count


class FiLM(nn.Module):
    """Scale and shift each channel by what a text says: (N, C, H, W), (N, D) -> (N, C, H, W)."""

    def __init__(self, channels: int, text_width: int) -> None:
        super().__init__()
        self.scale = nn.Linear(text_width, channels)
        self.shift = nn.Linear(text_width, channels)

    def forward(self, maps: Tensor, text: Tensor) -> Tensor:
        """(1 + scale) · maps + shift."""
        return (1 + self.scale(text))[..., None, None] * maps + self.shift(text)[..., None, None]


class ReferringNet(nn.Module):
    """One mask for each image and sentence.

    Args:
        num_words: size of the vocabulary; numbers of words begin with 1.
        base_width: of the U-Net.
        width: channels of the features that the sentence steers, and of the sentence.

    Example:
        >>> net = ReferringNet(num_words=9, base_width=4, width=8).eval()
        >>> net(torch.zeros(2, 3, 32, 48), torch.tensor([[1, 5, 0], [2, 3, 9]])).shape
        torch.Size([2, 1, 32, 48])
    """

    def __init__(self, num_words: int, *, base_width: int = 8, width: int = 32) -> None:
        super().__init__()
        if min(num_words, base_width, width) < 1:
            raise ValueError(
                "num_words, base_width and width must be at least 1, got "
                f"{num_words}, {base_width}, {width}"
            )
        self.num_words = num_words
        self.pixels = UNet(width, in_channels=5, base_width=base_width)
        self.sentence = nn.Sequential(BagOfWords(num_words, width), nn.Linear(width, width))
        self.films = nn.ModuleList(FiLM(width, width) for _ in range(2))
        self.mixer = nn.Conv2d(width, width, 1)
        self.classifier = nn.Conv2d(width, 1, 1)

    def forward(self, images: Tensor, words: Tensor) -> Tensor:
        """Images (N, 3, H, W) and words int64 (N, L), 0 where there is none -> logits (N, 1, H, W).

        Raises:
            ValueError: numbers of images and sentences differ, or a word is not in the vocabulary.
        """
        if words.ndim != 2 or len(words) != len(images):
            raise ValueError(
                f"words must be (N, L) for {len(images)} images, got {tuple(words.shape)}"
            )
        if not words.is_cuda and ((words < 0) | (words > self.num_words)).any():
            raise ValueError(
                f"words must be within 0 and {self.num_words}, got up to {int(words.max())}, "
                f"from {int(words.min())}"
            )
        x = self.pixels(torch.cat([images, coordinates(images)], 1)).relu()  # (N, width, H, W)
        text = self.sentence(words).relu()  # (N, width)
        x = self.mixer(self.films[0](x, text).relu())
        return self.classifier(self.films[1](x, text).relu())


def coordinates(images: Tensor) -> Tensor:
    """x and y of each pixel, -1 to 1 over the picture: (N, 3, H, W) -> (N, 2, H, W)."""
    height, width = images.shape[-2:]
    y = torch.linspace(-1, 1, height, device=images.device, dtype=images.dtype)
    x = torch.linspace(-1, 1, width, device=images.device, dtype=images.dtype)
    grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    return grid.expand(len(images), -1, -1, -1)
