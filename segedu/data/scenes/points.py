"""Scenes as clouds of points, as a depth camera would measure them."""

from typing import NamedTuple

import numpy as np

from segedu.data.scenes.classes import CLASSES, GRASS, PAVEMENT, ROAD, WATER
from segedu.data.scenes.config import SceneConfig
from segedu.data.scenes.generator import FIRST_THING, generate
from segedu.data.scenes.layout import Layout

GROUND = (ROAD, PAVEMENT, GRASS, WATER)
LABELS = (("ground", "地面"), *((c.name, c.name_zh) for c in CLASSES if c.isthing))
FARTHEST = 40.0  # metres


class Cloud(NamedTuple):
    """Points of one scene.

    Attributes:
        points: float32 (P, 3), metres: x to the right of the camera, y above the ground, z away.
        colors: uint8 (P, 3).
        labels: int64 (P,), 0 ground, then tree, car, person, sign, animal, as in `LABELS`.
        pixels: int64 (P, 2), row and column that show each point.
    """

    points: np.ndarray
    colors: np.ndarray
    labels: np.ndarray
    pixels: np.ndarray


def distances(seed: int, config: SceneConfig | None = None) -> np.ndarray:
    """How far away what each pixel shows is, along the viewing direction: float32 (H, W), metres.

    Of the ground (road, pavement, grass, water) the pinhole camera says it: a row that lies d below
    the horizon shows what is focal · height / d away. A thing is taken as flat, at the distance of
    its foot. NaN elsewhere: the sky has no distance, and of buildings and walls it is not known.

    Args:
        seed: of the scene, non-negative.
        config: the knobs; defaults to `SceneConfig()`.
    """
    config = config or SceneConfig()
    return _distances(generate(seed, config).panoptic, Layout(int(seed), config))


def _distances(panoptic: np.ndarray, layout: Layout) -> np.ndarray:
    camera, height = layout.canvas.camera, len(panoptic)
    below = (np.arange(height) + 0.5) / height - camera.horizon  # (H,), in heights of the image
    ground = np.full(height, np.nan)
    ground[below > 0] = camera.focal * camera.height / below[below > 0]
    table = np.full((256, height), np.nan)  # segment id, row -> metres
    table[[label + 1 for label in GROUND]] = ground
    for number, thing in enumerate(layout.things()):
        table[FIRST_THING + 1 + number] = thing.z
    return table[panoptic, np.arange(height)[:, None]].astype(np.float32)


def point_cloud(seed: int, config: SceneConfig | None = None, *, number: int = 512) -> Cloud:
    """Some points of a scene, drawn at random among the pixels whose distance is known.

    Args:
        seed: of the scene and the draw, non-negative.
        config: the knobs; defaults to `SceneConfig()`.
        number: of points, P, at least 1. What is more than 40 m away is left out.

    Raises:
        ValueError: if the scene has fewer such pixels.

    Example:
        >>> cloud = point_cloud(7, SceneConfig(size=64), number=100)
        >>> cloud.points.shape, int(cloud.labels.max()) < len(LABELS)
        ((100, 3), True)
    """
    config = config or SceneConfig()
    scene, layout = generate(seed, config), Layout(int(seed), config)
    depth = _distances(scene.panoptic, layout)
    rows, columns = np.nonzero(depth <= FARTHEST)
    if not 1 <= number <= len(rows):
        raise ValueError(f"number must be within 1 and {len(rows)} of this scene, got {number}")
    chosen = np.sort(layout.rng("points").choice(len(rows), number, replace=False))
    rows, columns = rows[chosen], columns[chosen]
    camera, height, z = layout.canvas.camera, len(depth), depth[rows, columns]
    x = ((columns + 0.5) / height - camera.center) * z / camera.focal
    y = camera.height - ((rows + 0.5) / height - camera.horizon) * z / camera.focal
    semantic = scene.semantic[rows, columns].astype(np.int64)
    first = next(c.id for c in CLASSES if c.isthing)
    return Cloud(
        np.stack([x, y, z], 1).astype(np.float32),
        scene.image[rows, columns],
        np.where(semantic < first, 0, semantic - first + 1),
        np.stack([rows, columns], 1),
    )
