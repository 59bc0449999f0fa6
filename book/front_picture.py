"""Paints the picture of the front page: one scene, and what the three tasks say about it.

``python -m book.front_picture`` writes ``book/static/front.webp`` again, byte for byte.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from segedu.data.scenes import CLASSES, SceneConfig, generate
from segedu.viz import overlay, overlay_instances, overlay_panoptic

SEED = 3
CONFIG = SceneConfig(
    size=(440, 1180), kind="street", occlusion=0.3, fine_detail=0.6, clutter=0.4, noise=0.0
)
TARGET = Path(__file__).parent / "static" / "front.webp"


def picture(seed: int = SEED) -> np.ndarray:
    """The scene in four slanted bands: image, semantic, instances, panoptic; uint8 (H, W, 3)."""
    scene = generate(seed, CONFIG)
    colors = [scene_class.color for scene_class in CLASSES]
    bands = [
        scene.image,
        overlay(scene.image, scene.semantic, colors, alpha=0.65),
        overlay_instances(scene.image, scene.instances.masks, alpha=0.65),
        overlay_panoptic(scene.image, scene.panoptic, scene.segments_info, colors, alpha=0.7),
    ]
    height, width = scene.semantic.shape
    rows, columns = np.mgrid[:height, :width]
    place = (columns + 0.25 * (rows - height / 2)) * len(bands) / width
    result = np.choose(np.clip(place, 0, len(bands) - 1).astype(int)[..., None], bands)
    seam = (np.abs(place - np.rint(place)) < 0.008) & (place > 0.5) & (place < len(bands) - 0.5)
    result[seam] = 255
    return result.astype(np.uint8)


if __name__ == "__main__":
    Image.fromarray(picture()).save(TARGET, quality=82, method=6)
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")
