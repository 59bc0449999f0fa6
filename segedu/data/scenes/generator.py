"""Compose a scene from a seed, paint it and read off image, masks and panoptic map."""

import zlib
from dataclasses import dataclass
from math import pi

import numpy as np

from segedu.data.scenes import stuff, textures
from segedu.data.scenes.canvas import Camera, Canvas, Light, mix
from segedu.data.scenes.classes import SKY, VOID, WATER
from segedu.data.scenes.things import PAINTERS, Thing, cast_shadow

FIRST_THING = 16  # canvas segment ids below are classes of stuff, from here on things
MAX_THINGS = 200
KNOBS = (
    "boundary_blur", "scale_range", "occlusion", "imbalance", "fine_detail", "clutter", "noise",
    "light",
)  # fmt: skip


@dataclass(frozen=True)
class SceneConfig:
    """What a scene is like. Every knob goes from 0 to 1 and changes the picture visibly.

    Turning one knob leaves the rest of a scene as it is: each part of a scene has random numbers
    of its own, and positions are in units of the image height, so the size changes only the
    sampling.

    Attributes:
        size: image height and width in pixels, or one number for a square; at least 32.
        kind: "street", "park" or "mixed" (the seed decides).
        boundary_blur: blur along the boundaries of segments; sigma = 2.2 % of the height at 1.
        scale_range: 0, all things at about the same distance; 1, distances differ by up to 10.
        occlusion: 0, things stand apart; 1, they crowd together and hide each other.
        imbalance: 0, every kind of thing is about equally frequent; 1, only trees and cars
            remain frequent, people become rarer, signs and animals rare.
        fine_detail: 0, sturdy forms only; 1, railings, leashes, thin poles, twigs, blades.
        clutter: 0, plain surfaces, few things; 1, posters, leaves, patches, strong texture and
            twice as many things.
        noise: sensor noise; standard deviation of 14 grey levels at 1.
        light: 0, dusk with lit windows; 1, noon.
        void_border: width in pixels of a band of void (255) along all segment boundaries.
    """

    size: int | tuple[int, int] = 128
    kind: str = "mixed"
    boundary_blur: float = 0.0
    scale_range: float = 0.4
    occlusion: float = 0.3
    imbalance: float = 0.2
    fine_detail: float = 0.3
    clutter: float = 0.2
    noise: float = 0.2
    light: float = 0.85
    void_border: int = 0

    def __post_init__(self) -> None:
        size = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        if len(size) != 2 or not all(isinstance(s, int) and s >= 32 for s in size):
            raise ValueError(f"size must be an int or (height, width), each >= 32; got {self.size}")
        if self.kind not in ("street", "park", "mixed"):
            raise ValueError(f"kind must be 'street', 'park' or 'mixed'; got {self.kind!r}")
        for name in KNOBS:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be within [0, 1]; got {value}")
        if not (isinstance(self.void_border, int) and 0 <= self.void_border <= 8):
            raise ValueError(f"void_border must be an int within [0, 8]; got {self.void_border}")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)


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


def generate(seed: int, config: SceneConfig | None = None) -> Scene:
    """Paint the scene that belongs to a seed.

    Args:
        seed: non-negative; the same seed and configuration give the same bytes.
        config: the knobs; defaults to `SceneConfig()`.

    Raises:
        ValueError: if the seed is negative.
        TypeError: if the seed is not an integer.
    """
    if not isinstance(seed, int | np.integer):
        raise TypeError(f"seed must be an int; got {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0; got {seed}")
    return _Composer(int(seed), config or SceneConfig()).paint()


def _lerp(a: float, b: float, t: float) -> float:
    return a + (b - a) * t


class _Composer:
    """Decides what is where; `stuff` and `things` know how it looks."""

    def __init__(self, seed: int, config: SceneConfig):
        self.seed, self.config = seed, config
        rng = self.rng("frame")
        height, width = config.shape
        self.aspect = width / height
        self.street = config.kind == "street" or (config.kind == "mixed" and rng.random() < 0.55)
        camera = Camera(
            center=self.aspect * (0.5 + 0.16 * (rng.random() - 0.5)),
            horizon=0.38 + 0.09 * rng.random(),
            focal=0.95,
            height=1.9 + 0.5 * rng.random(),
        )
        self.canvas = Canvas(height, width, camera, self.make_light(rng))
        self.road_x = 3.6 * (rng.random() - 0.5)
        self.half, self.pavement = 2.5 + 0.6 * rng.random(), 1.7 + 0.6 * rng.random()

    def rng(self, part: str) -> np.random.Generator:
        """Random numbers of one part of the scene, independent of all other parts."""
        return np.random.Generator(np.random.PCG64([self.seed, zlib.crc32(part.encode())]))

    def make_light(self, rng: np.random.Generator) -> Light:
        day = min(1.0, max(0.0, self.config.light + 0.1 * (rng.random() - 0.5)))
        side = 1.0 if rng.random() < 0.5 else -1.0
        sun = (side * (0.55 + 0.2 * rng.random()), 0.35 + 0.35 * day, -0.45)
        low = mix((246, 188, 150), (222, 232, 240), min(1.0, 1.3 * day))
        top = mix((88, 92, 142), (92, 152, 214), day)
        warm = 0.06 * rng.random()
        tint = (_lerp(0.72, 1.0, day) + warm, _lerp(0.62, 1.0, day), _lerp(0.74, 1.0, day) - warm)
        return Light(day, sun, top, low, tint)

    # ------------------------------------------------------------------------ background

    def paint_background(self) -> None:
        canvas = self.canvas
        canvas.segment = SKY
        height, width = self.config.shape
        sky = textures.sky(height, width, canvas.camera, canvas.light, self.rng("sky"))
        canvas.replace(sky)
        stuff.hills(canvas, self.rng("hills"))
        stuff.lawn(canvas, self.rng("lawn"))
        if self.street:
            self.paint_street()
        else:
            self.paint_park()

    def paint_street(self) -> None:
        canvas, config, rng = self.canvas, self.config, self.rng("street")
        closing = rng.random(6)
        for i, u in enumerate(closing.tolist()):
            stuff.cottage(
                canvas,
                (i - 2.5) * 13 + 6 * u,
                75 - 8 * u,
                9 + 6 * u,
                5 + 9 * u,
                self.rng(f"closing{i}"),
                config.fine_detail,
                0.0,
            )
        stuff.street(canvas, self.road_x, self.half, self.pavement, self.rng("road"))
        sides = rng.permutation(("houses", "houses", "wall", "lawn", "canal"))[:2]
        for side, kind in zip((-1, 1), sides.tolist(), strict=True):
            edge = self.road_x + side * (self.half + self.pavement)
            getattr(self, f"_side_{kind}")(side, edge, self.rng(f"side{side}"))
        stuff.litter(canvas, self.road_x, self.half, config.clutter, self.rng("litter"))

    def _side_houses(self, side: int, edge: float, rng: np.random.Generator) -> None:
        setback = 0.2 + 2.2 * rng.random()
        plots, z = [], 2.0 + 6 * rng.random()
        while z < 62:
            length = 6 + 6 * rng.random()
            plots.append((z, z + length, 4.5 + 7.5 * rng.random()))
            z += length + (2.5 * rng.random() if rng.random() < 0.4 else 0.0)
        for i, (z0, z1, height) in reversed(list(enumerate(plots))):
            stuff.house(
                self.canvas,
                side,
                edge + side * setback,
                z0,
                z1,
                height,
                self.rng(f"house{side}{i}"),
                self.config.fine_detail,
                self.config.clutter,
            )

    def _side_wall(self, side: int, edge: float, rng: np.random.Generator) -> None:
        x, height = edge + side * (0.2 + rng.random()), 1.5 + 1.2 * rng.random()
        for i in range(2):
            stuff.cottage(
                self.canvas,
                x + side * (8 + 4 * i),
                30 - 12 * i,
                8,
                6 + 2 * rng.random(),
                self.rng(f"behind{side}{i}"),
                self.config.fine_detail,
                0.0,
            )
        stuff.wall(
            self.canvas, (x, 0, 2.0), (x, 0, 50.0), height, (-side, 0, 0), rng, self.config.clutter
        )

    def _side_lawn(self, side: int, edge: float, rng: np.random.Generator) -> None:
        for i in range(2):
            stuff.cottage(
                self.canvas,
                edge + side * (9 + 9 * i + 4 * rng.random()),
                34 - 7 * i,
                8 + 4 * rng.random(),
                4 + 3 * rng.random(),
                self.rng(f"cottage{side}{i}"),
                self.config.fine_detail,
                0.0,
            )

    def _side_canal(self, side: int, edge: float, rng: np.random.Generator) -> None:
        x = edge + side * 0.3
        stuff.canal(self.canvas, side, x, x + side * (7 + 5 * rng.random()))

    def paint_park(self) -> None:
        canvas, config, rng = self.canvas, self.config, self.rng("park")
        backdrop = rng.random((5, 3)).tolist()
        for i, (u, v, w) in enumerate(backdrop):
            if w < 0.7:
                stuff.cottage(
                    canvas,
                    (i - 2) * 15 * self.aspect + 8 * (u - 0.5),
                    52 - 6 * v,
                    8 + 6 * u,
                    5 + 8 * v,
                    self.rng(f"cottage{i}"),
                    config.fine_detail,
                    0.0,
                )
        self.road_z = 27.0 + 6 * rng.random()
        if rng.random() < 0.75:
            z = self.road_z + 7.0
            stuff.wall(
                canvas,
                (-60.0, 0, z),
                (60.0, 0, z),
                1.8 + rng.random(),
                (0, 0, -1),
                self.rng("wall"),
                config.clutter,
            )
        asphalt = canvas.air((98, 96, 100), self.road_z)
        canvas.segment = stuff.PAVEMENT
        stuff.band(
            canvas, -200, 200, self.road_z - 1.5, self.road_z + 6.5, canvas.air((184, 178, 168), 30)
        )
        canvas.segment = stuff.ROAD
        stuff.band(canvas, -200, 200, self.road_z, self.road_z + 5.0, asphalt)
        stuff.path(canvas, self.rng("path"))
        u, v, w = rng.random(3).tolist()
        self.pond_x, self.pond_z = 7 * (u - 0.5) * self.aspect, 9.0 + 5 * v
        stuff.pond(canvas, self.pond_x, self.pond_z, 3.2 + 2.4 * w, 2.2 + 1.6 * v, self.rng("pond"))
        stuff.litter(canvas, 0.0, 8.0, 0.6 * config.clutter, self.rng("litter"))

    # ---------------------------------------------------------------------------- things

    def things(self) -> list[Thing]:
        """All things, far ones first."""
        config = self.config
        keep = {
            "tree": 1.0,
            "car": 1.0,
            "person": 1 - 0.75 * config.imbalance,
            "sign": 1 - 0.92 * config.imbalance,
            "animal": 1 - 0.96 * config.imbalance,
        }
        slots = (
            "tree",
            "car",
            "person",
            "animal",
            "sign",
            "tree",
            "person",
            "car",
            "animal",
            "sign",
            "person",
            "tree",
        )
        count = 9 + round(9 * config.clutter)
        things = []
        for i in range(count):
            group = slots[i % len(slots)]
            rng = self.rng(f"slot{i}")
            u = rng.random(8).tolist()
            if u[7] > keep[group]:
                continue
            things.append(self.place(group, i, count, u))
        return sorted(things, key=lambda thing: -thing.z)

    def place(self, group: str, index: int, count: int, u: list[float]) -> Thing:
        """Where and how big the thing of one slot is, from its eight random numbers."""
        config = self.config
        ratio = 1 + 2.2 * config.scale_range
        z = 10.0 * ratio ** (2 * u[0] - 1)
        # apart: an own share of the picture's width each; crowded: around one spot
        share = ((index * 0.618034 + 0.37 * u[1] / count) % 1.0 - 0.5) * 0.92
        crowd = 0.5 * (self.rng("crowd").random() - 0.5) + 0.2 * (u[1] - 0.5)
        across = _lerp(share, crowd, config.occlusion) * self.aspect  # relative to the middle
        middle = 0.5 * self.aspect - self.canvas.camera.center
        x = (across + middle) * z / self.canvas.camera.focal
        size, facing = 0.88 + 0.24 * u[2], 1 if u[3] < 0.5 else -1
        if group == "tree":
            kind = ("tree", "tree", "conifer", "poplar")[int(4 * u[4])]
            if self.street:
                x, z = self.beside(x, z, 0.5, 1.4)
            return Thing(kind, x, z * 1.15, size, facing)
        if group == "car":
            if self.street:
                lane = 1 if u[4] < 0.5 else -1
                z = max(z, 6.0)
                x = self.road_x + lane * 0.5 * self.half + 0.2 * (u[5] - 0.5)
                return Thing("car", x, z, size, facing, pi / 2 * (1 if lane > 0 else -1))
            return Thing(
                "car",
                x * self.road_z / z,
                self.road_z + (1.2 if facing > 0 else 3.6),
                1.25 * size,
                facing,
                0.0 if facing > 0 else pi,
            )
        if group == "person":
            if self.street and u[4] < 0.75:
                x, z = self.beside(x, z, -0.5 * self.pavement, 0.35 * self.pavement)
            return Thing("person", x, z, size, facing)
        if group == "sign":
            if self.street:
                x, z = self.beside(x, z, -0.85 * self.pavement, 0.15)
            return Thing("sign", x, z, size, facing)
        kind = ("dog", "dog", "cow", "bird")[int(4 * u[4])]
        if self.street:
            kind = "dog" if kind == "cow" else kind
            x, z = self.beside(x, z, -0.4 * self.pavement, 0.4 * self.pavement)
        lift = 2.4 + 1.6 * u[6] if kind == "bird" and u[5] < 0.5 else 0.0
        return Thing(kind, x, z, size * (1.5 if kind == "bird" else 1.1), facing, lift=lift)

    def beside(self, x: float, z: float, offset: float, spread: float) -> tuple[float, float]:
        """Move a thing onto the pavement of its side, far enough that it is in the picture."""
        side = 1 if x > self.road_x else -1
        x = self.road_x + side * (
            self.half + self.pavement + offset + spread * ((7.3 * z) % 1.0 - 0.5)
        )
        camera = self.canvas.camera
        room = (self.aspect - camera.center if x > 0 else camera.center) - 0.06
        return x, max(z, abs(x) * camera.focal / room)

    # --------------------------------------------------------------------------- picture

    def paint(self) -> Scene:
        """Background, ground texture and shadows, things from far to near, finishing."""
        canvas, config = self.canvas, self.config
        self.paint_background()
        things = self.things()[-MAX_THINGS:]
        for thing in things:
            if thing.lift == 0:
                cast_shadow(canvas, thing)
        colors, segments = canvas.read()
        colors = textures.ground(
            colors,
            segments,
            canvas.shadows(),
            canvas.camera,
            canvas.light,
            config.clutter,
            self.rng("ground"),
        )
        canvas.replace(colors)
        stuff.tufts(canvas, self.rng("tufts"), int(40 + 160 * config.fine_detail), segments)
        for i, thing in enumerate(things):
            canvas.segment = FIRST_THING + i
            PAINTERS[thing.kind](canvas, thing, self.rng(f"thing{thing.x:.3f}"), config.fine_detail)
        colors, segments = canvas.read()
        image = textures.reflect(colors.astype(np.float32), segments == WATER, self.rng("water"))
        image = textures.grade(image, canvas.light, self.rng("finish"))
        if config.boundary_blur > 0:
            image = textures.soften_boundaries(image, segments, config.boundary_blur)
        image = textures.add_noise(image, config.noise, self.rng("noise"))
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
