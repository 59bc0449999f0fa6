"""Decide what is where in a scene; `stuff` and `things` know how it looks."""

import hashlib
from math import pi
from typing import NamedTuple

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from segedu.data.scenes import stuff, textures
from segedu.data.scenes.canvas import Camera, Canvas, Light, mix
from segedu.data.scenes.classes import SKY
from segedu.data.scenes.config import SceneConfig
from segedu.data.scenes.things import Thing

# what a dozen things are, before the imbalance knob thins out the rare ones
DECK = (
    "tree", "tree", "tree", "car", "car", "person", "person", "person", "sign", "sign", "animal",
    "animal",
)  # fmt: skip
RARITY = {"tree": 0.0, "car": 0.0, "person": 0.75, "sign": 0.92, "animal": 0.96}


class Draws(NamedTuple):
    """The eight random numbers in 0..1 of a slot, each for one decision.

    A slot draws them all, whatever stands in it, so that no decision shifts another.
    """

    distance: float
    across: float
    size: float
    side: float  # which way a thing faces or drives
    kind: float
    offset: float
    flight: float
    rarity: float


class _PartSeed(ISeedSequence):
    """Seeds a bit generator with the hash of a name: 20 times faster than SeedSequence."""

    def __init__(self, name: str):
        self.name = name

    def generate_state(self, n_words: int, dtype: type = np.uint32) -> np.ndarray:
        """The first `n_words` words of the hash (at most 64 bytes)."""
        size = n_words * np.dtype(dtype).itemsize
        digest = hashlib.blake2b(self.name.encode(), digest_size=size).digest()
        return np.frombuffer(digest, np.dtype(dtype).newbyteorder("<")).astype(dtype)


class Layout:
    """The composition that belongs to a seed and a configuration, and its canvas."""

    def __init__(self, seed: int, config: SceneConfig):
        self.seed, self.config = seed, config
        rng = self.rng("frame")
        height, width = config.shape
        self.aspect = width / height
        self.is_street = rng.random() < 0.55 if config.kind == "mixed" else config.kind == "street"
        camera = Camera(
            center=self.aspect * (0.5 + 0.16 * (rng.random() - 0.5)),
            horizon=0.38 + 0.09 * rng.random(),
            focal=0.95,
            height=1.9 + 0.5 * rng.random(),
        )
        light = _light(config.light, rng)
        self.canvas = Canvas(height, width, camera, light, config.fine_detail, config.clutter)
        # street: middle of the road, half its width, width of a pavement, in metres
        self.road_x = 3.6 * (rng.random() - 0.5)
        self.half, self.pavement = 2.5 + 0.6 * rng.random(), 1.7 + 0.6 * rng.random()
        # park: distance of the road behind it; the pond as x, z and its half axes
        self.road_z = 16.0 + 6 * rng.random()
        self.pond = (
            7 * (rng.random() - 0.5) * self.aspect,
            8.5 + 3 * rng.random(),
            3.6 + 2.4 * rng.random(),
            2.2 + 1.4 * rng.random(),
        )
        self.sides = rng.permutation(
            ("houses", "houses", "wall", "wall", "lawn", "canal", "canal")
        )[:2].tolist()

    def rng(self, part: str) -> np.random.Generator:
        """Random numbers of one part of the scene, independent of all other parts."""
        return np.random.Generator(np.random.PCG64(_PartSeed(f"{self.seed}/{part}")))

    # ------------------------------------------------------------------------ background

    def paint_background(self) -> None:
        """Sky, land, and the street or the park."""
        canvas = self.canvas
        canvas.segment = SKY
        canvas.replace(textures.sky(canvas, self.rng("sky")))
        stuff.hills(canvas, self.rng("hills"))
        stuff.lawn(canvas, self.rng("lawn"))
        if self.is_street:
            self._paint_street()
        else:
            self._paint_park()

    def _paint_street(self) -> None:
        canvas = self.canvas
        for i, u in enumerate(self.rng("vista").random(6).tolist()):
            x, z = (i - 2.5) * 13 + 6 * u, 75 - 8 * u
            stuff.cottage(canvas, x, z, 9 + 6 * u, 5 + 9 * u, self.rng(f"vista{i}"))
        stuff.street(canvas, self.road_x, self.half, self.pavement, self.rng("road"))
        for side, kind in zip((-1, 1), self.sides, strict=True):
            edge = self.road_x + side * (self.half + self.pavement)
            paint = {
                "houses": self._houses,
                "wall": self._wall,
                "lawn": self._lawn,
                "canal": self._canal,
            }[kind]
            paint(side, edge, self.rng(f"side{side}"))
        stuff.litter(canvas, self.road_x, self.half, self.rng("litter"))

    def _houses(self, side: int, edge: float, rng: np.random.Generator) -> None:
        x = edge + side * (0.2 + 2.2 * rng.random())
        plots, z = [], 2.0 + 6 * rng.random()
        while z < 62:
            length, height, gap = 6 + 6 * rng.random(), 4.5 + 7.5 * rng.random(), rng.random()
            plots.append((z, z + length, height))
            z += length + max(0.0, 6 * gap - 3.5)
        for i, (z0, z1, height) in reversed(list(enumerate(plots))):
            stuff.house(self.canvas, side, x, z0, z1, height, self.rng(f"house{side}{i}"))

    def _wall(self, side: int, edge: float, rng: np.random.Generator) -> None:
        x, tall = edge + side * (0.2 + rng.random()), 1.5 + 1.2 * rng.random()
        for i in range(2):
            behind = x + side * (8 + 4 * i)
            height = 6 + 2 * rng.random()
            stuff.cottage(
                self.canvas, behind, 30 - 12 * i, 8, height, self.rng(f"cottage{side}{i}")
            )
        stuff.wall(self.canvas, (x, 0, 2.0), (x, 0, 50.0), tall, (-side, 0, 0), rng)

    def _lawn(self, side: int, edge: float, rng: np.random.Generator) -> None:
        for i, (u, v, w) in enumerate(rng.random((2, 3)).tolist()):
            x, z = edge + side * (9 + 9 * i + 4 * u), 34 - 7 * i
            stuff.cottage(self.canvas, x, z, 8 + 4 * v, 4 + 3 * w, self.rng(f"cottage{side}{i}"))

    def _canal(self, side: int, edge: float, rng: np.random.Generator) -> None:
        x = edge + side * 0.3
        stuff.canal(self.canvas, side, x, x + side * (7 + 5 * rng.random()))

    def _paint_park(self) -> None:
        canvas, rng = self.canvas, self.rng("park")
        for i, (u, v, w) in enumerate(rng.random((5, 3)).tolist()):
            if w < 0.7:
                x, z = (i - 2) * 13 * self.aspect + 8 * (u - 0.5), 48 - 6 * v
                stuff.cottage(canvas, x, z, 8 + 6 * u, 5 + 8 * v, self.rng(f"cottage{i}"))
        if rng.random() < 0.75:
            z, x = self.road_z + 6.5, 40.0 * self.aspect
            height = 1.8 + 0.8 * rng.random()
            stuff.wall(canvas, (-x, 0, z), (x, 0, z), height, (0, 0, -1), self.rng("wall"))
        stuff.cross_road(canvas, self.road_z)
        stuff.path(canvas, self.road_z, self.rng("path"))
        stuff.pond(canvas, *self.pond, self.rng("pond"))
        stuff.litter(canvas, 0.0, 8.0, self.rng("litter"))

    def railings(self) -> list[stuff.RailingPiece]:
        """Railings along a kerb or a pond, in pieces from far to near; none below 0.4 detail."""
        rng = self.rng("railing")
        if self.config.fine_detail < 0.4:
            return []
        color = mix((48, 62, 56), (92, 96, 104), rng.random())
        if self.is_street:
            side = -1 if rng.random() < 0.5 else 1
            x = self.road_x + side * (self.half + 0.12)
            ends = (x, 0, 24.0), (x, 0, 3.0)
        else:
            x, z, rx, rz = self.pond
            z = max(3.6, z - rz - 0.5)
            ends = (x - rx, 0, z + 0.01), (x + rx, 0, z)
        return stuff.railing(*ends, self.config.fine_detail, color)

    # ---------------------------------------------------------------------------- things

    def things(self) -> list[Thing]:
        """All things, far ones first."""
        deck = self.rng("deck").permutation(DECK).tolist()
        make = {
            "tree": self._tree,
            "car": self._car,
            "person": self._person,
            "sign": self._sign,
            "animal": self._animal,
        }
        things = []
        for slot in range(9 + round(10 * self.config.clutter)):
            group = deck[slot % len(deck)]
            draws = Draws(*self.rng(f"slot{slot}").random(len(Draws._fields)).tolist())
            if draws.rarity >= RARITY[group] * self.config.imbalance:
                things.append(make[group](slot, *self._spot(slot, draws), draws))
        _walk_dogs(things)
        return sorted(things, key=lambda thing: -thing.z)

    def _spot(self, slot: int, draws: Draws) -> tuple[float, float]:
        """x and z of a slot: apart from the others, or crowded, as the occlusion knob says."""
        config = self.config
        place, distance, offset = self.rng("crowd").random(3).tolist()
        ratio = 1 + 2.2 * config.scale_range
        z = 8.5 * ratio ** (2 * draws.distance - 1)
        # apart: the golden ratio spreads any number of slots evenly over the picture's width
        apart = ((slot * 0.618034 + offset + 0.08 * draws.across) % 1.0 - 0.5) * 0.94
        crowd = 0.6 * (place - 0.5) + 0.16 * (draws.across - 0.5)
        across = (apart + (crowd - apart) * config.occlusion) * self.aspect
        middle = 0.5 * self.aspect - self.canvas.camera.center
        return (across + middle) * z / self.canvas.camera.focal, z

    def _beside(self, x: float, z: float, offset: float) -> tuple[float, float]:
        """Move a thing beside the road, `offset` metres outwards from the kerb.

        Its column in the picture is kept where possible: the nearer to the vanishing point, the
        farther away it stands.
        """
        camera = self.canvas.camera
        side = 1 if x > self.road_x * 0.5 else -1
        target = self.road_x + side * (self.half + offset)
        room = (self.aspect - camera.center if target > 0 else camera.center) - 0.05
        nearest = max(abs(target) * camera.focal / room, 5.0)
        return target, max(nearest, min(z, 2.5 * nearest))

    def _on_land(self, x: float, z: float) -> tuple[float, float]:
        """Move a thing that would stand in the pond behind or before it."""
        px, pz, rx, rz = self.pond
        if self.is_street or ((x - px) / (1.15 * rx)) ** 2 + ((z - pz) / (1.25 * rz)) ** 2 > 1:
            return x, z
        new_z = pz + 1.3 * rz if z > pz else max(3.6, pz - 1.3 * rz)
        return x * new_z / z, new_z

    def _tree(self, slot: int, x: float, z: float, draws: Draws) -> Thing:
        kind = ("tree", "tree", "conifer", "poplar")[int(4 * draws.kind)]
        z *= 1.15
        if self.is_street:
            x, z = self._beside(x, z, self.pavement + 0.3 + 1.2 * draws.offset)
        elif z > self.road_z - 2:
            z, x = self.road_z - 2, x * (self.road_z - 2) / z
        return Thing(slot, kind, *self._on_land(x, z), size=0.85 + 0.3 * draws.size)

    def _car(self, slot: int, x: float, z: float, draws: Draws) -> Thing:
        size, away = 0.94 + 0.12 * draws.size, draws.side < 0.5
        if self.is_street:
            lane = 0.5 * self.half + 0.3 * (draws.offset - 0.5)
            x = self.road_x + (lane if away else -lane)
            return Thing(slot, "car", x, max(z, 6.5), size, heading=pi / 2 if away else -pi / 2)
        lane_z = self.road_z + (1.2 if away else 3.4)
        heading = (0.0 if away else pi) + 0.1 * (draws.offset - 0.5)
        return Thing(slot, "car", x * lane_z / z, lane_z, 1.15 * size, heading=heading)

    def _person(self, slot: int, x: float, z: float, draws: Draws) -> Thing:
        if self.is_street and draws.kind < 0.75:
            x, z = self._beside(x, z, (0.2 + 0.6 * draws.offset) * self.pavement)
        x, z = self._on_land(x, z)
        return Thing(slot, "person", x, z, 1.0 + 0.2 * draws.size, 1 if draws.side < 0.5 else -1)

    def _sign(self, slot: int, x: float, z: float, draws: Draws) -> Thing:
        if self.is_street:
            x, z = self._beside(x, z, 0.4)
        return Thing(slot, "sign", *self._on_land(x, z), size=1.0 + 0.2 * draws.size)

    def _animal(self, slot: int, x: float, z: float, draws: Draws) -> Thing:
        kind = ("dog", "dog", "cow", "bird")[int(4 * draws.kind)]
        if self.is_street:
            kind = "dog" if kind == "cow" else kind
            x, z = self._beside(x, z, (0.3 + 0.5 * draws.offset) * self.pavement)
        flies = kind == "bird" and draws.flight < 0.5
        if not flies:
            x, z = self._on_land(x, z)
        size = (1.6 if kind == "bird" else 1.15) + 0.2 * draws.size
        facing = 1 if draws.side < 0.5 else -1
        return Thing(
            slot, kind, x, z, size, facing, lift=2.2 + 1.6 * draws.offset if flies else 0.0
        )


def _walk_dogs(things: list[Thing]) -> None:
    """Give dogs to people: the dog moves in front of its person, who holds the leash."""
    people = [thing for thing in things if thing.kind == "person"]
    for i, dog in enumerate(things):
        if dog.kind == "dog" and people:
            person = people.pop(0)
            step = 1.15 * person.size
            things[i] = Thing(
                dog.slot, "dog", person.x + person.facing * step, person.z - 0.1, dog.size,
                person.facing, hand=(0.28 * person.size - step, 0.92 * person.size),
            )  # fmt: skip


def _light(level: float, rng: np.random.Generator) -> Light:
    """Sun and sky colours between dusk (0) and noon (1)."""
    day = min(1.0, max(0.0, level + 0.1 * (rng.random() - 0.5)))
    side = 1.0 if rng.random() < 0.5 else -1.0
    sun = (side * (0.55 + 0.2 * rng.random()), 0.35 + 0.35 * day, -0.45)
    low = mix((246, 188, 150), (224, 234, 242), min(1.0, 1.3 * day))
    top = mix((88, 92, 142), (98, 158, 218), day)
    warm = 0.06 * rng.random()
    tint = (0.74 + 0.34 * day + warm, 0.64 + 0.43 * day, 0.76 + 0.3 * day - warm)
    return Light(day, sun, top, low, tint)
