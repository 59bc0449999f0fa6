"""How each countable thing is painted: trees, cars, people, signs and animals.

Every function paints one thing that stands on the ground at ``(thing.x, thing.z)`` with the random
numbers of its own generator, so that a thing looks the same wherever and in whatever order it is
painted. ``canvas.detail`` is the fine-detail knob: the higher, the thinner and the more there is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import cos, pi, sin

import numpy as np

from segedu.data.scenes.canvas import Canvas, Color, Point, Stand, mix, tone
from segedu.data.scenes.classes import ANIMAL, CAR, PERSON, SIGN, TREE


@dataclass(frozen=True)
class Thing:
    """One thing of the scene: what, where on the ground (metres), how big and which way."""

    slot: int  # number of the thing; its look depends on it
    kind: str  # a key of PAINTERS
    x: float
    z: float
    size: float = 1.0  # 1 is the usual size of its kind
    facing: int = 1  # +1 looks to the right, -1 to the left
    heading: float = 0.0  # cars: angle of the driving direction, 0 to the right, pi/2 away
    lift: float = 0.0  # birds: metres above the ground
    hand: Point | None = None  # dogs: the hand that holds the leash, metres from the dog's foot

    @property
    def category(self) -> int:
        """Class id of the thing."""
        return CATEGORY[self.kind]


# Every class has colours of its own, but they overlap: red are cars, signs and coats; grey are
# roads, poles, dogs and cars.
CLOTHES: tuple[Color, ...] = (
    (206, 58, 128), (226, 104, 158), (134, 62, 168), (170, 96, 196), (98, 60, 160),
    (190, 40, 70), (240, 150, 180), (116, 44, 110), (226, 140, 40), (56, 60, 130),
)  # fmt: skip
TROUSERS: tuple[Color, ...] = (
    (64, 44, 96), (92, 54, 104), (48, 46, 84), (110, 78, 126), (58, 50, 62), (74, 40, 70),
)  # fmt: skip
SKIN: tuple[Color, ...] = ((240, 200, 172), (222, 172, 134), (174, 120, 86), (112, 74, 54))
HAIR: tuple[Color, ...] = ((40, 28, 24), (92, 58, 34), (166, 116, 62), (96, 60, 70))
PAINT: tuple[Color, ...] = (
    (200, 34, 34), (214, 44, 38), (166, 26, 40), (226, 78, 40), (236, 236, 234), (24, 106, 122),
    (38, 82, 150), (58, 62, 72), (160, 168, 176), (206, 40, 52),
)  # fmt: skip
LEAVES: tuple[Color, ...] = (
    (62, 112, 48), (48, 100, 54), (78, 120, 44), (40, 92, 60), (92, 122, 52), (122, 122, 40),
)  # fmt: skip


def pick(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    """One of the colours, slightly varied."""
    color = colors[int(rng.integers(len(colors)))]
    return tone(color, 0.88 + 0.24 * rng.random())


# ------------------------------------------------------------------------------------- trees


def _crown(
    stand: Stand, rng: np.random.Generator, center: Point, radii: Point, leaf: Color
) -> None:
    """Dark lobes, then clumps of leaves that get lighter towards the sun."""
    a0, b0 = center
    ra, rb = radii
    shade = stand.color(leaf, 0.66)
    stand.ellipse(a0, b0, 0.7 * ra, 0.7 * rb, shade)
    for i, (u, v, w) in enumerate(rng.random((7, 3)).tolist()):
        angle, reach, k = 2 * pi * (i + 0.5 * u) / 7, 0.4 + 0.12 * v, 0.4 + 0.12 * w
        a, b = a0 + cos(angle) * reach * ra, b0 + sin(angle) * reach * rb
        stand.ellipse(a, b, k * ra, k * rb, shade)
    # as many clumps as the size in the picture can show
    r = min(ra, rb)
    pixels = stand.unit * stand.canvas.height * r
    count = int(min(400, max(20, 3.4 * pixels * max(1.0, 0.5 * (ra + rb) / r))))
    grain = rng.random((400, 5))[:count]
    radius, angle = np.sqrt(grain[:, 0]), 2 * pi * grain[:, 1]
    a, b = radius * np.cos(angle), radius * np.sin(angle)
    order = np.argsort(0.9 * b + 0.5 * a * stand.lit + 0.25 * grain[:, 4])
    light = 0.5 + 0.31 * b + 0.25 * a * stand.lit + 0.35 * (grain[:, 2] - 0.5)
    size = (1.5 - 0.4 * stand.canvas.detail) * r * (ra * rb / r / r / count) ** 0.5
    size = (0.75 + 0.6 * grain[:, 3]) * min(size, 0.36 * r)
    dark, bright = tone(leaf, 0.7), tone(mix(leaf, (236, 222, 110), 0.32), 1.24)
    a, b = a0 + 0.9 * ra * a, b0 + 0.9 * rb * b
    clumps = np.stack([a, b, size, np.clip(light, 0, 1), radius], 1)[order]
    for a, b, r, shade, distance in clumps.tolist():
        color = stand.color(mix(dark, bright, shade))
        stand.ellipse(a, b, r, 0.85 * r, color, mark=distance > 0.6)


def _trunk(
    stand: Stand, height: float, width: float, rng: np.random.Generator, branches: int
) -> None:
    bark = mix((104, 80, 58), (126, 116, 104), rng.random())
    lean = 0.12 * (rng.random() - 0.5) * height
    foot, top = (0.0, 0.0), (lean, height)
    stand.polygon(
        [(-1.9 * width, 0), (1.9 * width, 0), (width, 0.5), (-width, 0.5)], stand.color(bark, 0.7)
    )
    stand.limb(foot, top, width, 0.6 * width, stand.color(bark, 0.72))
    offset = 0.4 * width * stand.lit
    stand.limb(
        (offset, 0.1),
        (lean + offset, height),
        0.5 * width,
        0.3 * width,
        stand.color(bark, 1.1),
        mark=False,
    )
    for u, v in rng.random((8, 2))[:branches].tolist():
        start = 0.45 + 0.45 * u
        side = 1 if v > 0.5 else -1
        stand.limb(
            (lean * start, height * start),
            (lean + side * (0.2 + 0.28 * abs(2 * v - 1)) * height, height * (start + 0.42)),
            0.42 * width,
            0.12 * width,
            stand.color(bark, 0.84),
        )


def _tree(canvas: Canvas, thing: Thing, rng: np.random.Generator) -> None:
    stand = Stand(canvas, thing.x, thing.z, thing.size)
    leaf = pick(rng, LEAVES)
    wide, tall, bole, bare = rng.random(4).tolist()
    wide, tall, bole = 1.5 + 0.7 * wide, 1.5 + 0.6 * tall, 1.5 + 0.7 * bole
    if bare < 0.9 * (canvas.detail - 0.4):
        _twigs(stand, rng, (0.0, 0.0), 0.5 * pi, 0.3 * (bole + 2 * tall), 0.17, depth=6)
        return
    _trunk(stand, bole + 0.6 * tall, 0.2 - 0.06 * canvas.detail, rng, 3 + int(5 * canvas.detail))
    _crown(stand, rng, (0.0, bole + tall), (wide, tall), leaf)


def _twigs(
    stand: Stand,
    rng: np.random.Generator,
    foot: Point,
    angle: float,
    length: float,
    width: float,
    depth: int,
) -> None:
    """A bare tree: every branch forks into two thinner ones."""
    tip = foot[0] + length * cos(angle), foot[1] + length * sin(angle)
    stand.limb(foot, tip, width, 0.7 * width, stand.color((92, 76, 64), 1.15 - 0.06 * depth))
    if depth:
        for side, u, v in zip((-1, 1), *rng.random((2, 2)).tolist(), strict=True):
            turn = angle + side * (0.2 + 0.45 * u)
            _twigs(stand, rng, tip, turn, length * (0.66 + 0.2 * v), 0.64 * width, depth - 1)


def _poplar(canvas: Canvas, thing: Thing, rng: np.random.Generator) -> None:
    stand = Stand(canvas, thing.x, thing.z, thing.size)
    leaf = pick(rng, LEAVES[:5])
    tall = 2.1 + 0.7 * rng.random()
    _trunk(stand, 1.6 + tall, 0.16 - 0.04 * canvas.detail, rng, 0)
    _crown(stand, rng, (0.0, 1.0 + tall), (0.8 + 0.25 * rng.random(), tall), leaf)


def _conifer(canvas: Canvas, thing: Thing, rng: np.random.Generator) -> None:
    stand = Stand(canvas, thing.x, thing.z, thing.size, thing.facing)
    leaf = mix((36, 84, 62), (66, 104, 74), rng.random())
    height, width = 4.2 + 1.6 * rng.random(), 1.25 + 0.4 * rng.random()
    _trunk(stand, 1.0, 0.14, rng, 0)
    tiers = 6 + int(4 * canvas.detail)
    jags = 3 + int(4 * canvas.detail)
    jitter = rng.random((12, 10)).tolist()
    for i in range(tiers):
        low = 0.6 + (height - 0.6) * i / (tiers + 0.6)
        high = min(height, low + (height - 0.6) * 2.1 / tiers)
        half = width * (1 - i / (tiers + 0.5)) ** 0.85
        hem = [
            (
                half * (2 * j / (2 * jags) - 1),
                low + (0.22 if j % 2 else 0.0) + 0.1 * jitter[i][j % 10],
            )
            for j in range(2 * jags + 1)
        ]
        shade = 0.66 + 0.3 * i / tiers
        stand.polygon([*hem, (0.0, high)], stand.color(leaf, shade))
        lit = [(a, b) for a, b in hem if a * stand.lit >= 0.1 * half]
        if len(lit) > 1:
            warm = mix(leaf, (190, 200, 110), 0.3)
            lit = [(0.92 * a, b + 0.06) for a, b in lit]
            stand.polygon([*lit, (0.0, high)], stand.color(warm, shade + 0.25), mark=False)


# -------------------------------------------------------------------------------------- cars

# side views (forward, up), from the rear bumper over the roof to the front bumper, in metres
SEDAN = (
    (-2.1, 0.32), (-2.12, 0.72), (-2.0, 0.95), (-1.5, 1.0), (-1.0, 1.42), (0.25, 1.46),
    (0.95, 1.02), (1.95, 0.86), (2.12, 0.66), (2.1, 0.32),
)  # fmt: skip
VAN = (
    (-2.2, 0.34), (-2.22, 0.9), (-2.18, 1.1), (-2.14, 1.15), (-1.98, 1.8), (0.8, 1.84),
    (1.5, 1.12), (2.15, 0.98), (2.25, 0.7), (2.2, 0.34),
)  # fmt: skip
HATCH = (
    (-1.75, 0.32), (-1.8, 0.78), (-1.76, 0.98), (-1.7, 1.02), (-1.35, 1.48), (0.2, 1.52),
    (0.85, 1.04), (1.6, 0.9), (1.78, 0.68), (1.75, 0.32),
)  # fmt: skip
PANES = {3: (0.1, 0.9), 5: (0.1, 0.92)}  # which strips of the profile are glass
GLASS: Color = (54, 70, 86)


class _Car:
    """A profile extruded along its axle; the visible faces are painted from far to near."""

    def __init__(self, canvas: Canvas, thing: Thing, profile: tuple[Point, ...], color: Color):
        self.canvas, self.thing, self.profile, self.color = canvas, thing, profile, color
        self.forward = cos(thing.heading), sin(thing.heading)

    def world(self, along: float, up: float, across: float) -> tuple[float, float, float]:
        """Car coordinates (forward, up, to its left) to world coordinates."""
        c, s = self.forward
        k = self.thing.size
        return (
            self.thing.x + k * (c * along - s * across),
            k * up,
            self.thing.z + k * (s * along + c * across),
        )

    def half_width(self, up: float) -> float:
        return 0.86 if up <= 1.16 else 0.7

    def sees(self, normal: Point, along: float, up: float, rise: float = 0.0, across: float = 0.0):
        """Whether a face with this normal (forward, left; `rise` upwards) looks at the camera."""
        x, y, z = self.world(along, up, across)
        nx, nz = self.turn(normal)
        return nx * x + nz * z + rise * (y - self.canvas.camera.height) < 0

    def turn(self, normal: Point) -> Point:
        c, s = self.forward
        return c * normal[0] - s * normal[1], s * normal[0] + c * normal[1]

    def face(self, corners: list[tuple[float, float, float]], color: Color, mark: bool = True):
        color = self.canvas.air(color, self.thing.z)
        self.canvas.face([self.world(*corner) for corner in corners], color, mark)

    def disc(self, along: float, radius: float, across: float, color: Color, part: float) -> None:
        """A disc (part = 2) or half a disc (part = 1) around the axle at `along`."""
        angles = [part * pi * i / 14 for i in range(15)]
        ring = [(along + cos(t) * radius, 0.33 + sin(t) * radius, across) for t in angles]
        self.face(ring, color)

    def paint(self) -> None:
        """Wheels, then faces from far to near, then windows, lights and the near wheels."""
        rear, front = self.profile[0], self.profile[-1]
        axles = 0.62 * rear[0], 0.62 * front[0]
        black = (24, 24, 28)
        floor = [(rear[0], 0.34, -0.8), (front[0], 0.34, -0.8), (front[0], 0.34, 0.8)]
        self.face([*floor, (rear[0], 0.34, 0.8)], black)
        for along in axles:
            for end in (-0.3, 0.3):
                for inner, outer in ((0.52, 0.8), (-0.8, -0.52)):
                    corners = ((inner, 0.0), (outer, 0.0), (outer, 0.45), (inner, 0.45))
                    self.face([(along + end, b, w) for w, b in corners], black)
        strips = list(pairwise(self.profile))
        order = sorted(
            range(len(strips)),
            key=lambda i: -self.world((strips[i][0][0] + strips[i][1][0]) / 2, 0, 0)[2],
        )
        for i in order:
            self._strip(i, *strips[i])
        for side in (1, -1):
            if self.sees((0.0, side), 0.0, 0.7, across=0.86 * side):
                self._side(side, axles)

    def _strip(self, index: int, low: Point, high: Point) -> None:
        (a0, b0), (a1, b1) = low, high
        length = ((a1 - a0) ** 2 + (b1 - b0) ** 2) ** 0.5
        forward, rise = -(b1 - b0) / length, (a1 - a0) / length
        if not self.sees((forward, 0.0), (a0 + a1) / 2, (b0 + b1) / 2, rise):
            return
        nx, nz = self.turn((forward, 0.0))
        light = self.canvas.light.face(nx, rise, nz)
        w0, w1 = self.half_width(b0), self.half_width(b1)
        self.face(
            [(a0, b0, -w0), (a0, b0, w0), (a1, b1, w1), (a1, b1, -w1)], tone(self.color, light)
        )
        if index in PANES:
            t0, t1 = PANES[index]
            pane = [
                (a0 + (a1 - a0) * t, b0 + (b1 - b0) * t, side * (w0 + (w1 - w0) * t - 0.09))
                for t, side in ((t0, -1), (t0, 1), (t1, 1), (t1, -1))
            ]
            sky = mix(GLASS, self.canvas.light.sky_top, 0.35 * max(0.0, rise))
            self.face(pane, sky, mark=False)
            self.face(
                [pane[0], mid(pane[0], pane[1], 0.55), mid(pane[3], pane[2], 0.3), pane[3]],
                mix(sky, (255, 255, 255), 0.18),
                mark=False,
            )
        if index in (1, len(self.profile) - 3):  # lamps and number plate
            lamp = (214, 44, 36) if index == 1 else (255, 246, 214)
            for side in (1, -1):
                self.face(
                    [
                        (a0, b0 + 0.02, side * 0.5),
                        (a0, b0 + 0.02, side * 0.82),
                        (a1, b1 - 0.02, side * 0.82),
                        (a1, b1 - 0.02, side * 0.5),
                    ],
                    lamp,
                    mark=False,
                )
        if index in (0, len(self.profile) - 2):
            bottom, top = (b0, b1) if b0 < b1 else (b1, b0)
            for c0, c1, w, color in (
                (0.0, 0.3, 0.86, (44, 46, 50)),
                (0.45, 0.75, 0.26, (240, 238, 224)),
            ):
                h0, h1 = bottom + c0 * (top - bottom), bottom + c1 * (top - bottom)
                self.face([(a0, h0, -w), (a0, h0, w), (a0, h1, w), (a0, h1, -w)], color, mark=False)

    def _side(self, side: int, axles: Point) -> None:
        nx, nz = self.turn((0.0, side))
        light = self.canvas.light.face(nx, 0.15, nz)
        self.face(
            [(a, b, side * self.half_width(b)) for a, b in self.profile], tone(self.color, light)
        )
        belt = [(a, b, side * 0.86) for a, b in self.profile if b <= 0.8]
        self.face(belt, tone(self.color, 0.84 * light), mark=False)
        top = [(a, b) for a, b in self.profile if b > 0.99]
        rear, front = top[0], top[-1]
        left, right = top[1], top[-2]
        split = -0.35
        glass = mix(GLASS, self.canvas.light.sky_top, 0.2)
        for quad in (
            (
                (rear[0] + 0.2, 1.05),
                (left[0] + 0.1, left[1] - 0.08),
                (split - 0.04, right[1] - 0.08),
                (split - 0.04, 1.05),
            ),
            (
                (split + 0.04, 1.05),
                (split + 0.04, right[1] - 0.08),
                (right[0] - 0.04, right[1] - 0.08),
                (front[0] - 0.16, 1.05),
            ),
        ):
            self.face([(a, b, side * self.half_width(b)) for a, b in quad], glass, mark=False)
        for along in axles:
            self.disc(along, 0.43, side * 0.86, tone(self.color, 0.4), 1)
            self.disc(along, 0.34, side * 0.87, (26, 26, 30), 2)
            self.disc(along, 0.19, side * 0.87, (150, 152, 156), 2)


def mid(p: tuple[float, ...], q: tuple[float, ...], t: float) -> tuple[float, float, float]:
    """The point a fraction t of the way from p to q."""
    return p[0] + (q[0] - p[0]) * t, p[1] + (q[1] - p[1]) * t, p[2] + (q[2] - p[2]) * t


def _car(canvas: Canvas, thing: Thing, rng: np.random.Generator) -> None:
    profile = (SEDAN, HATCH, VAN)[int(rng.integers(3))]
    _Car(canvas, thing, profile, pick(rng, PAINT)).paint()


# ------------------------------------------------------------------------------------ people


def _person(canvas: Canvas, thing: Thing, rng: np.random.Generator) -> None:
    s = Stand(canvas, thing.x, thing.z, thing.size, thing.facing)
    skin, hair = pick(rng, SKIN), pick(rng, HAIR)
    top, bottom = pick(rng, CLOTHES), pick(rng, TROUSERS)
    stride, swing = 0.1 + 0.34 * rng.random(), 0.12 + 0.3 * rng.random()
    skirt, long_hair, bag = rng.random() < 0.35, rng.random() < 0.45, rng.random() < 0.3
    bend = 0.1 * rng.random()
    hip, shoulder = (0.0, 0.92), (0.03, 1.42)
    # the far arm and leg first, darker
    s.limb(shoulder, (-swing, 1.1), 0.07, 0.06, s.color(top, 0.6))
    s.limb((-swing, 1.1), (-swing + 0.06, 0.86), 0.055, 0.045, s.color(skin, 0.65))
    cloth = skin if skirt else bottom
    _leg(s, hip, -stride, bend + 0.06, tone(cloth, 0.62))
    _leg(s, hip, stride, 0.04, cloth)
    if skirt:
        s.polygon([(-0.15, 1.0), (0.15, 1.0), (0.27, 0.52), (-0.26, 0.54)], s.color(bottom, 0.78))
        s.polygon(
            [(0.0, 1.0), (0.14 * s.lit, 1.0), (0.24 * s.lit, 0.54), (0.04, 0.54)],
            s.color(bottom, 1.05),
            mark=False,
        )
    body = [
        (-0.17, 0.88),
        (0.17, 0.88),
        (0.17, 1.12),
        (0.22, 1.36),
        (0.15, 1.47),
        (-0.11, 1.47),
        (-0.19, 1.36),
        (-0.16, 1.12),
    ]
    s.polygon(body, s.color(top, 0.78))
    half = [(s.lit * max(0.0, a * s.lit), b) for a, b in body]
    s.polygon(half, s.color(top, 1.1), mark=False)
    if bag:
        s.polygon(
            [(-0.32, 0.92), (-0.14, 0.9), (-0.14, 1.34), (-0.3, 1.3)],
            s.color(pick(rng, CLOTHES), 0.85),
        )
    elbow, hand = (0.06 + 0.5 * swing, 1.14), (0.12 + swing, 0.92)
    s.limb(shoulder, elbow, 0.075, 0.06, s.color(top, 0.98))
    s.limb(elbow, hand, 0.055, 0.045, s.color(skin, 0.95))
    s.limb((0.02, 1.45), (0.04, 1.54), 0.055, 0.05, s.color(skin, 0.8))
    if long_hair:
        s.limb((-0.03, 1.64), (-0.07, 1.4), 0.11, 0.08, s.color(hair, 0.8))
    s.ellipse(0.05, 1.63, 0.105, 0.13, s.color(skin, 0.95))
    s.ellipse(0.01, 1.69, 0.115, 0.095, s.color(hair, 0.95))
    s.ellipse(-0.04, 1.64, 0.075, 0.1, s.color(hair, 0.8))


def _leg(s: Stand, hip: Point, reach: float, bend: float, color: Color) -> None:
    knee, foot = (0.5 * reach + bend, 0.5), (reach - bend, 0.07)
    s.limb(hip, knee, 0.1, 0.075, s.color(color))
    s.limb(knee, foot, 0.072, 0.05, s.color(color, 0.92))
    s.limb((foot[0] - 0.02, 0.045), (foot[0] + 0.13, 0.04), 0.05, 0.04, s.color((40, 34, 34)))


# ------------------------------------------------------------------------------------- signs


def _plate(sides: int, radius: float, turn: float) -> list[Point]:
    angles = [turn + 2 * pi * i / sides for i in range(sides)]
    return [(radius * cos(t), radius * sin(t)) for t in angles]


def _sign(canvas: Canvas, thing: Thing, rng: np.random.Generator) -> None:
    s = Stand(canvas, thing.x, thing.z, thing.size, 1)
    height = 2.0 + 0.5 * rng.random()
    width = 0.085 - 0.06 * canvas.detail
    steel = (148, 152, 158)
    s.limb((0, 0), (0, height), width, width, s.color(steel, 0.62))
    s.limb(
        (0.4 * width * s.lit, 0),
        (0.4 * width * s.lit, height),
        0.45 * width,
        0.45 * width,
        s.color(steel, 1.2),
        mark=False,
    )
    kind = int(rng.integers(5))
    red, blue, white, yellow = (204, 34, 40), (24, 86, 170), (244, 244, 240), (250, 206, 32)
    r = 0.42
    shape, rim, field = (
        (_plate(8, r, pi / 8), white, red),  # stop
        (_plate(3, 1.15 * r, pi / 2), red, white),  # warning
        (_plate(20, r, 0.0), red, white),  # prohibition
        (_plate(20, r, 0.0), white, blue),  # obligation
        (_plate(4, 1.1 * r, 0.0), white, yellow),  # priority
    )[kind]
    for scale, color, mark in (
        (1.0, tone(rim, 0.92), True),
        (0.82 if kind else 0.88, field, False),
    ):
        if kind in (1, 2):
            scale = scale if mark else 0.72
        s.polygon([(scale * a, height + scale * b) for a, b in shape], s.color(color), mark)
    ink = white if kind in (0, 3) else (36, 34, 40)
    glyph = (
        [(-0.28, -0.06), (0.28, -0.06), (0.28, 0.07), (-0.28, 0.07)],
        [(-0.05, -0.2), (0.05, -0.2), (0.07, 0.2), (-0.07, 0.2)],
        [(-0.2, -0.07), (0.2, -0.07), (0.2, 0.07), (-0.2, 0.07)],
        [
            (-0.22, -0.06),
            (0.02, -0.06),
            (0.02, -0.2),
            (0.28, 0.0),
            (0.02, 0.2),
            (0.02, 0.06),
            (-0.22, 0.06),
        ],
        [(-0.16, 0.0), (0.0, -0.16), (0.16, 0.0), (0.0, 0.16)],
    )[kind]
    s.polygon([(a, height + b) for a, b in glyph], s.color(ink), mark=False)
    gloss = [(0.8 * a, height + 0.8 * b) for a, b in shape if a * s.lit + b > 0.25]
    if len(gloss) > 2:
        s.polygon(gloss, s.color(mix(field, white, 0.22)), mark=False)
        s.polygon([(a, height + b) for a, b in glyph], s.color(ink), mark=False)


# ----------------------------------------------------------------------------------- animals


def _dog(canvas: Canvas, thing: Thing, rng: np.random.Generator) -> None:
    s = Stand(canvas, thing.x, thing.z, 1.15 * thing.size, thing.facing)
    coats = ((176, 98, 40), (120, 66, 32), (214, 160, 92), (150, 80, 36), (232, 210, 178))
    coat = pick(rng, coats)
    step = 0.06 + 0.1 * rng.random()
    wag = 0.1 * rng.random()
    for foot, knee, hip, shade in (
        (-0.3 - step, -0.25, -0.27, 0.55),
        (0.2 + step, 0.25, 0.22, 0.55),
        (-0.36 + step, -0.38, -0.3, 0.9),
        (0.32 - step, 0.26, 0.27, 0.9),
    ):
        s.limb((hip, 0.42), (knee, 0.22), 0.09, 0.055, s.color(coat, shade))
        s.limb((knee, 0.22), (foot, 0.04), 0.055, 0.04, s.color(coat, shade))
    s.limb((-0.38, 0.52), (-0.6, 0.68 + wag), 0.06, 0.03, s.color(coat, 0.8))
    s.round_limb((-0.28, 0.48), (0.26, 0.49), 0.15, 0.17, coat)
    s.round_limb((0.28, 0.54), (0.44, 0.74), 0.13, 0.09, coat)
    s.round_limb((0.5, 0.76), (0.68, 0.7), 0.12, 0.06, coat)
    s.ellipse(0.73, 0.72, 0.035, 0.03, s.color((24, 20, 20)))
    s.limb((0.43, 0.82), (0.37, 0.66), 0.07, 0.05, s.color(coat, 0.55))
    s.ellipse(0.55, 0.79, 0.02, 0.02, s.color((20, 16, 16)), mark=False)
    if thing.hand and canvas.detail > 0.3:  # the leash belongs to the dog
        a, b = thing.hand[0] / s.size, thing.hand[1] / s.size
        width = 0.034 - 0.02 * canvas.detail
        collar, red = (0.36, 0.64), s.color((178, 38, 48))
        sag = (0.5 * (a + collar[0]), 0.5 * (b + collar[1]) - 0.12)
        s.limb(collar, sag, width, width, red)
        s.limb(sag, (a, b), width, width, red)


def _cow(canvas: Canvas, thing: Thing, rng: np.random.Generator) -> None:
    s = Stand(canvas, thing.x, thing.z, 0.95 * thing.size, thing.facing)
    coat, spot = (
        ((240, 230, 214), (124, 66, 34)),
        ((166, 92, 44), (240, 228, 206)),
        ((228, 196, 150), (140, 76, 36)),
    )[int(rng.integers(3))]
    for a, shade in ((-0.62, 0.55), (0.5, 0.55), (-0.78, 0.86), (0.64, 0.86)):
        s.limb((a, 0.75), (a - 0.02, 0.4), 0.15, 0.08, s.color(coat, shade))
        s.limb((a - 0.02, 0.4), (a, 0.06), 0.075, 0.06, s.color(coat, shade))
        s.limb((a, 0.04), (a + 0.03, 0.04), 0.07, 0.06, s.color((52, 44, 42)))
    s.limb((-0.98, 1.2), (-1.06, 0.6), 0.04, 0.03, s.color(coat, 0.7))
    s.ellipse(-1.06, 0.54, 0.06, 0.11, s.color(spot, 0.7))
    s.ellipse(-0.5, 0.66, 0.16, 0.12, s.color((226, 168, 160), 0.9))
    s.round_limb((-0.62, 1.02), (0.5, 1.02), 0.38, 0.36, coat)
    for u, v, w in rng.random((4, 3)).tolist():
        s.ellipse(
            -0.75 + 1.3 * u,
            0.86 + 0.34 * v,
            0.13 + 0.12 * w,
            0.1 + 0.08 * w,
            s.color(spot, 0.85),
            mark=False,
        )
    low = 0.25 * rng.random()
    s.round_limb((0.66, 1.12), (0.95, 1.32 - low), 0.26, 0.18, coat)
    s.round_limb((1.0, 1.36 - low), (1.26, 1.1 - low), 0.17, 0.11, coat)
    s.ellipse(1.29, 1.06 - low, 0.11, 0.09, s.color((222, 170, 158)))
    s.limb((0.94, 1.44 - low), (0.76, 1.4 - low), 0.06, 0.03, s.color(coat, 0.65))
    s.limb((0.98, 1.5 - low), (1.0, 1.66 - low), 0.045, 0.02, s.color((216, 204, 176)))
    s.ellipse(1.09, 1.34 - low, 0.03, 0.03, s.color((24, 18, 18)), mark=False)


BEAK: Color = (238, 160, 40)


def _bird(canvas: Canvas, thing: Thing, rng: np.random.Generator) -> None:
    s = Stand(canvas, thing.x, thing.z, 1.1 * thing.size, thing.facing)
    body = pick(rng, ((226, 140, 66), (244, 240, 230), (172, 96, 42), (238, 214, 170)))
    wing = tone(body, 0.62)
    b = thing.lift
    if b > 0:  # in flight: far wing, body, near wing
        beat = 0.25 + 0.35 * rng.random()
        for shift, brightness in ((0.1, 0.75), (-0.04, 1.2)):
            wrist, tip = (shift - 0.1, b + beat), (shift - 0.62, b + 1.5 * beat)
            blade = [(shift + 0.12, b + 0.05), wrist, tip, (shift - 0.2, b + 0.02)]
            if shift < 0:
                s.polygon(
                    [(-0.24, b + 0.05), (-0.5, b + 0.08), (-0.48, b - 0.05), (-0.22, b - 0.04)],
                    s.color(body, 0.7),
                )
                s.round_limb((-0.2, b), (0.18, b + 0.03), 0.08, 0.1, body)
                s.ellipse(0.3, b + 0.1, 0.09, 0.08, s.color(body))
                s.polygon([(0.36, b + 0.13), (0.36, b + 0.06), (0.49, b + 0.07)], s.color(BEAK))
            s.polygon(blade, s.color(wing, brightness))
        return
    for a in (-0.03, 0.06):
        s.limb((a, 0.16), (a + 0.02, 0.0), 0.018, 0.016, s.color((224, 130, 50)))
    s.polygon([(-0.2, 0.3), (-0.46, 0.3), (-0.44, 0.22), (-0.16, 0.18)], s.color(wing, 0.9))
    s.round_limb((-0.12, 0.26), (0.1, 0.29), 0.12, 0.13, body)
    s.limb((0.14, 0.36), (0.2, 0.5), 0.085, 0.06, s.color(body, 0.86))
    s.ellipse(0.22, 0.54, 0.085, 0.08, s.color(mix(body, (40, 92, 70), 0.5)))
    s.polygon([(0.28, 0.58), (0.28, 0.5), (0.42, 0.52)], s.color(BEAK))
    s.limb((-0.2, 0.29), (0.02, 0.3), 0.05, 0.08, s.color(wing), mark=False)
    s.ellipse(0.25, 0.56, 0.016, 0.016, s.color((20, 18, 18)), mark=False)


Painter = Callable[[Canvas, Thing, np.random.Generator], None]
PAINTERS: dict[str, Painter] = {
    "tree": _tree, "poplar": _poplar, "conifer": _conifer, "car": _car, "person": _person,
    "sign": _sign, "dog": _dog, "cow": _cow, "bird": _bird,
}  # fmt: skip
CATEGORY = {
    "tree": TREE, "poplar": TREE, "conifer": TREE, "car": CAR, "person": PERSON, "sign": SIGN,
    "dog": ANIMAL, "cow": ANIMAL, "bird": ANIMAL,
}  # fmt: skip
# what stands between the ground and the sun: width and height of the shadow, metres
SILHOUETTE = {
    "tree": (1.7, 5.0), "poplar": (0.9, 6.0), "conifer": (1.2, 4.6), "person": (0.28, 1.7),
    "sign": (0.3, 2.3), "dog": (0.5, 0.8), "cow": (1.0, 1.4), "bird": (0.3, 0.5),
}  # fmt: skip


def paint(canvas: Canvas, thing: Thing, rng: np.random.Generator) -> None:
    """Paint a thing with the painter of its kind."""
    PAINTERS[thing.kind](canvas, thing, rng)


def cast_shadow(canvas: Canvas, thing: Thing) -> None:
    """Darken the ground where the thing keeps the sun away."""
    if thing.lift:
        return
    sx, sy, sz = canvas.light.sun
    dx, dz = -sx / sy * thing.size, -sz / sy * thing.size
    x, z = thing.x, thing.z
    if thing.kind == "car":
        c, s = cos(thing.heading), sin(thing.heading)
        corners = [
            (x + c * a - s * w, z + s * a + c * w)
            for a, w in ((-2.1, -0.9), (2.1, -0.9), (2.1, 0.9), (-2.1, 0.9))
        ]
        canvas.shadow(corners)
        canvas.shadow([(a + dx, b + dz) for a, b in corners], 0.8)
        return
    width, height = SILHOUETTE[thing.kind]
    width, height = width * thing.size, height
    top = 0.62 if thing.category == TREE else 0.55
    foot = 0.12 * width if thing.category in (TREE, SIGN) else 0.4 * width
    canvas.shadow(
        [
            (x - foot, z),
            (x + foot, z),
            (x + foot + dx * height * top, z + dz * height * top),
            (x - foot + dx * height * top, z + dz * height * top),
        ],
        0.9,
    )
    cx, cz = x + dx * height * top, z + dz * height * top
    long = 0.42 * height * (dx * dx + dz * dz) ** 0.5
    ux, uz = dx / (dx * dx + dz * dz) ** 0.5, dz / (dx * dx + dz * dz) ** 0.5
    ring = [(cos(t) * long, sin(t) * width) for t in np.linspace(0, 2 * pi, 17)[:-1].tolist()]
    canvas.shadow([(cx + a * ux - w * uz, cz + a * uz + w * ux) for a, w in ring], 0.9)
