"""Own images with masks: bright rectangles on dark ground, as a newcomer has them."""

from pathlib import Path

import numpy as np
from PIL import Image

TINY_SEMANTIC = [*("--set", "base_width=2", "--set", "depth=2", "--crop", "16", "16")]
QUICK = ["--batch-size", "2", "--epochs", "1"]
_REGIONS = ("base_width=4", "channels=8", "box_width=8", "mask_width=8")
#: Settings of networks for objects with which they take less time than their data.
NARROW = {
    "mask_rcnn_tiny": _REGIONS,
    "panoptic_fpn_tiny": (*_REGIONS, "width=8"),
    "yolact_tiny": ("base_width=8",),
    "panoptic_deeplab_tiny": ("base_width=8",),
    "embedding_tiny": ("base_width=8",),
    "sam_tiny": ("image_size=32", "width=32", "embed_width=32", "decoder_ffn_width=32"),
}


def narrow(model: str) -> list[str]:
    """The options that train a narrow network for objects."""
    return ["--model", model, *(part for pair in NARROW[model] for part in ("--set", pair))]


def write(root: Path, count: int = 8, *, channels: int = 3, value: int = 1) -> Path:
    """``images/`` and ``masks/`` of ``count`` pairs of 24 x 32 pixels."""
    draw = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        mask = np.zeros((24, 32), np.uint8)
        top, left = draw.integers(1, 10, 2)
        mask[top : top + 10, left : left + 14] = 1
        noise = draw.integers(0, 40, (24, 32, channels))
        image = (40 + 150 * mask[..., None] + noise).astype(np.uint8)
        shown = image[..., 0] if channels == 1 else image
        Image.fromarray(shown).save(root / "images" / f"{number}.png")
        Image.fromarray(mask * value).save(root / "masks" / f"{number}.png")
    return root
