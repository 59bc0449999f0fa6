"""Paint the scene of a seed and read off image, masks and panoptic map."""

from dataclasses import dataclass

import numpy as np

from segedu.data.scenes import stuff, textures
from segedu.data.scenes.classes import VOID, WATER
from segedu.data.scenes.config import SceneConfig
from segedu.data.scenes.layout import Layout
from segedu.data.scenes.things import Thing, cast_shadow, paint

FIRST_THING = 16  # segment ids on the canvas: classes of stuff below, things from here on


@dataclass(frozen=True)
class Instances:
    """The visible parts of the N things.

    Attributes:
        masks: bool (N, H, W).
        boxes: float32 (N, 4), x0 y0 x1 y1 with exclusive right and bottom edges, in pixels.
        labels: int64 (N,), class ids.
        kinds: what each thing is, more precisely than its class ("dog", "poplar", ...).
    """

    masks: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    kinds: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """One scene; all maps come from one id map and agree in every pixel.

    Attributes:
        image: uint8 (H, W, 3).
        semantic: uint8 (H, W), class ids, 255 void.
        panoptic: int32 (H, W), segment ids as in `segments_info`, 0 void.
        segments_info: one dict per segment: id, category_id, isthing, area (pixels).
        instances: the things once more, as masks, boxes and labels.
    """

    image: np.ndarray
    semantic: np.ndarray
    panoptic: np.ndarray
    segments_info: list[dict[str, int | bool]]
    instances: Instances


def generate(seed: int, config: SceneConfig | None = None, *, without: int | None = None) -> Scene:
    """Paint the scene that belongs to a seed.

    Args:
        seed: non-negative; the same seed and configuration give the same bytes.
        config: the knobs; defaults to `SceneConfig()`.
        without: id of a thing in ``segments_info`` of the whole scene, which is left out with its
            shadow: what it hid is seen, all else stays.

    Raises:
        ValueError: if the seed is negative, or there is no such thing.
        TypeError: if the seed is not an integer.
    """
    if not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be an int; got {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0; got {seed}")
    return _paint(Layout(int(seed), config or SceneConfig()), without)


def _paint(layout: Layout, without: int | None) -> Scene:
    """Background, ground texture and shadows, things from far to near, finishing."""
    canvas, config = layout.canvas, layout.config
    layout.paint_background()
    things = layout.things()
    if without is not None:
        number = without - 1 - FIRST_THING
        if not 0 <= number < len(things):
            raise ValueError(f"without must be the id of a thing, got {without}")
        del things[number]
    for thing in things:
        cast_shadow(canvas, thing)
    colors, segments = canvas.read()
    canvas.replace(textures.ground(colors, segments, canvas, layout.rng("ground")))
    stuff.tufts(canvas, layout.rng("tufts"), segments)
    pieces = layout.railings()
    for i, thing in enumerate(things):
        while pieces and pieces[0].depth > thing.z:
            pieces.pop(0).paint(canvas)
        canvas.segment = FIRST_THING + i
        paint(canvas, thing, layout.rng(f"look{thing.slot}"))
    for piece in pieces:
        piece.paint(canvas)
    colors, segments = canvas.read()
    image = textures.reflect(colors.astype(np.float32), segments == WATER, layout.rng("water"))
    image = textures.grade(image, canvas.light, layout.rng("grade"))
    if config.boundary_blur > 0:
        image = textures.soften_boundaries(image, segments, config.boundary_blur)
    image = textures.add_noise(image, config.noise, layout.rng("noise"))
    return _annotate(image, segments, things, config.void_border)


def _annotate(
    image: np.ndarray, segments: np.ndarray, things: list[Thing], void_border: int
) -> Scene:
    """Semantic, instance and panoptic maps from the one id map (H, W)."""
    lookup = np.arange(256, dtype=np.uint8)
    for i, thing in enumerate(things):
        lookup[FIRST_THING + i] = thing.category
    semantic = lookup[segments]
    panoptic = segments.astype(np.int32) + 1
    if void_border:
        void = _border(segments, void_border)
        semantic[void], panoptic[void] = VOID, 0
    ids, areas = np.unique(panoptic[panoptic > 0], return_counts=True)
    info, masks, boxes, labels, kinds = [], [], [], [], []
    for segment, area in zip(ids.tolist(), areas.tolist(), strict=True):
        isthing = segment > FIRST_THING
        category = int(lookup[segment - 1])
        info.append({"id": segment, "category_id": category, "isthing": isthing, "area": area})
        if isthing:
            mask = panoptic == segment
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            masks.append(mask)
            boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
            labels.append(category)
            kinds.append(things[segment - 1 - FIRST_THING].kind)
    instances = Instances(
        np.array(masks, bool).reshape(-1, *segments.shape),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        tuple(kinds),
    )
    return Scene(image, semantic, panoptic, info, instances)


def _border(segments: np.ndarray, width: int) -> np.ndarray:
    """Pixels nearer than `width` (in steps along rows and columns) to another segment."""
    void = np.zeros(segments.shape, bool)
    for axis in (0, 1):
        for step in range(1, width + 1):
            a = np.swapaxes(segments, 0, axis)
            differs = a[step:] != a[:-step]
            view = np.swapaxes(void, 0, axis)
            view[step:] |= differs
            view[:-step] |= differs
    return void
