"""Scenes that move: people walk, cars drive, the camera pans, and every frame has exact masks."""

from dataclasses import dataclass, replace
from math import cos, sin

import numpy as np

from segedu.data.scenes.canvas import Camera
from segedu.data.scenes.config import SceneConfig
from segedu.data.scenes.generator import FIRST_THING, _paint
from segedu.data.scenes.layout import Layout
from segedu.data.scenes.things import Thing

METRES = {"person": 0.14, "dog": 0.14, "cow": 0.1, "bird": 0.25, "car": 0.35}  # per frame
NEAREST = 4.5  # metres before the camera, where an oncoming car stops


@dataclass(frozen=True)
class Video:
    """T frames of one scene. A thing keeps its number in all of them.

    Attributes:
        images: uint8 (T, H, W, 3).
        semantic: uint8 (T, H, W), class ids, 255 void.
        panoptic: int32 (T, H, W), segment ids, 0 void; those of things are above 16.
        flow: float32 (T - 1, H, W, 2), how far each pixel moves to the next frame, x and y in
            pixels; NaN where what it shows is hidden there or out of the picture.
        categories: segment id -> class id, of everything that is seen in some frame.
        kinds: id of a thing -> what it is, more precisely than its class ("dog", "poplar", ...).
    """

    images: np.ndarray
    semantic: np.ndarray
    panoptic: np.ndarray
    flow: np.ndarray
    categories: dict[int, int]
    kinds: dict[int, str]


class _Moment(Layout):
    """The layout of a scene some frames later: other places, another view, new noise."""

    def __init__(self, seed: int, config: SceneConfig, frame: int, speed: float, pan: float):
        super().__init__(seed, config)
        self.frame, time = frame, speed * frame
        self.first = super().things()  # placed by the camera of the first frame
        moved = [move(thing, time) for thing in self.first]
        # their places in the first frame, from far to near now
        self.order = sorted(range(len(moved)), key=lambda i: (-moved[i].z, i))
        self.moved = moved
        camera = self.canvas.camera
        self.canvas.camera = camera._replace(center=camera.center + pan * time)

    def things(self) -> list[Thing]:
        return [self.moved[i] for i in self.order]

    def rng(self, part: str) -> np.random.Generator:
        return super().rng(f"noise{self.frame}" if part == "noise" and self.frame else part)


def move(thing: Thing, time: float) -> Thing:
    """A thing some frames later: walkers go where they look, cars where they head to.

    Example:
        >>> move(Thing(0, "person", x=1.0, z=8.0, facing=-1), time=10).x
        -0.40000000000000013
    """
    step = METRES.get(thing.kind, 0.0) * time
    if thing.kind == "car":
        z = thing.z + step * sin(thing.heading)
        return replace(thing, x=thing.x + step * cos(thing.heading), z=max(z, NEAREST))
    return replace(thing, x=thing.x + step * thing.facing)


def generate_video(
    seed: int, config: SceneConfig | None = None, *, frames: int = 8, speed: float = 1.0
) -> Video:
    """Paint the scene of a seed while it moves; the first frame is that of `generate`.

    People, animals and cars move at a constant speed, without moving their legs, trees and signs
    stand. The camera pans to one side, by at most 1 % of the height a frame.

    Args:
        seed: non-negative; the same seed and configuration give the same bytes.
        config: the knobs; defaults to `SceneConfig()`.
        frames: T, at least 1.
        speed: of everything that moves, at least 0; 1 is 14 cm a frame for a person. At 0 only the
            noise of the sensor changes.

    Raises:
        ValueError: for a negative seed or speed, or no frame.

    Example:
        >>> generate_video(7, SceneConfig(size=64), frames=3).images.shape
        (3, 64, 64, 3)
    """
    if seed < 0 or frames < 1 or not speed >= 0:
        raise ValueError(
            "seed and speed must be >= 0 and frames >= 1, got "
            f"seed={seed}, speed={speed}, frames={frames}"
        )
    config = config or SceneConfig()
    pan = 0.02 * Layout(int(seed), config).rng("pan").random() - 0.01
    moments = [_Moment(int(seed), config, t, speed, pan) for t in range(frames)]
    scenes, ids = [], []
    for moment in moments:
        scenes.append(_paint(moment, None))
        numbers = np.arange(256, dtype=np.int32)  # painted number + 1 -> number in the first frame
        for now, first in enumerate(moment.order):
            numbers[FIRST_THING + 1 + now] = FIRST_THING + 1 + first
        ids.append(numbers[scenes[-1].panoptic])
    panoptic = np.stack(ids)
    first = moments[0].first
    shown = [int(i) for i in np.unique(panoptic) if i > 0]
    things = {i: first[i - FIRST_THING - 1] for i in shown if i > FIRST_THING}
    flow = [
        _flow(moments[t], moments[t + 1], panoptic[t], panoptic[t + 1], pan * speed)
        for t in range(frames - 1)
    ]
    return Video(
        np.stack([scene.image for scene in scenes]),
        np.stack([scene.semantic for scene in scenes]),
        panoptic,
        np.array(flow, np.float32).reshape(frames - 1, *config.shape, 2),
        {i: things[i].category if i in things else i - 1 for i in shown},
        {i: thing.kind for i, thing in things.items()},
    )


def _flow(
    now: _Moment, then: _Moment, ids: np.ndarray, later: np.ndarray, pan: float
) -> np.ndarray:
    """Where each pixel goes: float (H, W, 2), NaN where it is not seen later.

    The world that stands moves with the camera; a thing is flat and turned to the camera, so it
    moves with its foot and grows about it.
    """
    height, width = ids.shape
    y, x = (np.mgrid[:height, :width] + 0.5) / height  # in heights, as the camera has it
    moved_x, moved_y = x + pan, y.copy()
    for i in np.unique(ids[ids > FIRST_THING]).tolist():
        before, after = now.moved[i - FIRST_THING - 1], then.moved[i - FIRST_THING - 1]
        (x0, y0), (x1, y1) = _foot(now.canvas.camera, before), _foot(then.canvas.camera, after)
        mask, grows = ids == i, before.z / after.z
        moved_x[mask] = x1 + grows * (x[mask] - x0)
        moved_y[mask] = y1 + grows * (y[mask] - y0)
    column = np.floor(moved_x * height).astype(int)
    row = np.floor(moved_y * height).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen = inside & (later[row.clip(0, height - 1), column.clip(0, width - 1)] == ids) & (ids > 0)
    flow = np.stack([moved_x - x, moved_y - y], -1) * height
    return np.where(seen[..., None], flow, np.nan)


def _foot(camera: Camera, thing: Thing) -> tuple[float, float]:
    return camera.project(thing.x, 0.0, thing.z)
