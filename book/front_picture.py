"""Makes the front page's picture, one scene and what three tasks say of it, and its live network.

``python -m book.front_picture`` writes ``book/static/front.webp`` and ``book/front_live.html``
again, with the same versions byte for byte.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from segedu.data.scenes import CLASSES, SceneConfig, generate
from segedu.data.scenes.classes import CAR
from segedu.files import write_bytes
from segedu.models import get_model
from segedu.viz import Layer, live, overlay, overlay_instances, overlay_panoptic

SEED = 3
CONFIG = SceneConfig(
    size=(440, 1180), kind="street", occlusion=0.3, fine_detail=0.6, clutter=0.4, noise=0.0
)
TARGET = Path(__file__).parent / "static" / "front.webp"
QUALITY = {"quality": 82, "method": 6}
LIVE = Path(__file__).parent / "front_live.html"
LIVE_SEED, LIVE_CONFIG = 5031, SceneConfig(size=(128, 192), kind="street", noise=0.0)


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


def live_figure() -> str:
    """A street whose nearest car can be moved, and a U-Net that answers in the page."""
    street = generate(LIVE_SEED, LIVE_CONFIG)
    cars = [segment for segment in street.segments_info if segment["category_id"] == CAR]
    car = max(cars, key=lambda segment: segment["area"])["id"]
    empty = generate(LIVE_SEED, LIVE_CONFIG, without=car)
    layer = Layer(street.panoptic == car, empty.image, empty.semantic)
    return live(
        {"what the network sees ｜ 网络看到了什么": get_model("unet", weights="scenes")},
        {"your picture ｜ 你的图片": (street.image, street.semantic, layer)},
        {f"{c.name} ｜ {c.name_zh}": c.color for c in CLASSES},
        brushes={
            "grey ｜ 灰色": np.full((8, 8, 3), 128, np.uint8),
            "water ｜ 水": street.image[66:76, 30:40],
        },
        tools=("blur",),
        sliders=("brightness",),
    ).html


if __name__ == "__main__":
    write_bytes(LIVE, live_figure().encode())
    print(f"{LIVE.name}: {LIVE.stat().st_size} bytes")
    Image.fromarray(picture()).save(TARGET, **QUALITY)
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes")
