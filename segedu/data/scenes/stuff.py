"""How the amorphous regions are painted: hills, streets, buildings, walls, water."""

from itertools import pairwise
from math import cos, pi, sin
from typing import NamedTuple

import numpy as np

from segedu.data.scenes.canvas import NEAR, Canvas, Color, Point3, mix, tone
from segedu.data.scenes.classes import BUILDING, GRASS, PAVEMENT, ROAD, WALL, WATER

FACADES: tuple[Color, ...] = (
    (206, 182, 168), (188, 138, 124), (214, 202, 192), (170, 116, 108), (190, 170, 176),
    (204, 160, 148), (150, 126, 126), (196, 150, 144),
)  # fmt: skip
ROOFS: tuple[Color, ...] = ((146, 78, 60), (96, 78, 78), (120, 84, 70), (84, 76, 84))
FAR = 160.0  # metres to the end of the ground


def band(canvas: Canvas, x0: float, x1: float, z0: float, z1: float, color: Color) -> None:
    """A rectangle on the ground."""
    canvas.face([(x0, 0, z0), (x0, 0, z1), (x1, 0, z1), (x1, 0, z0)], color)


def hills(canvas: Canvas, rng: np.random.Generator) -> None:
    """Two ridges on the horizon, bluer with distance, and the lawn in front of them."""
    horizon, aspect = canvas.camera.horizon, canvas.width / canvas.height
    canvas.segment = GRASS
    for distance, rise in ((130.0, 0.085), (80.0, 0.045)):
        phase = rng.random(3) * 2 * pi
        xs = np.linspace(0, aspect, 25)
        wave = sum(np.sin(xs * k * pi + p) / k for k, p in zip((1.3, 2.9, 5.3), phase, strict=True))
        ys = horizon - rise * (0.45 + 0.4 * wave).clip(0.02)
        color = canvas.air((112, 142, 84), distance)
        canvas.polygon(
            [
                (0, horizon + 0.02),
                *zip(xs.tolist(), ys.tolist(), strict=True),
                (aspect, horizon + 0.02),
            ],
            color,
        )


def lawn(canvas: Canvas, rng: np.random.Generator) -> None:
    """Grass from the horizon to the camera, in stripes that fade into the air."""
    canvas.segment = GRASS
    base = mix((98, 142, 60), (134, 154, 76), rng.random())
    edges = [FAR, 70.0, 45.0, 32.0, 24.0, 18.0, 14.0, 11.0, 8.5, 6.5, 4.5, NEAR]
    for far, near in zip(edges[:-1], edges[1:], strict=True):
        band(canvas, -400, 400, near, far, canvas.air(base, 0.5 * (near + far)))


def tufts(canvas: Canvas, rng: np.random.Generator, segments: np.ndarray) -> None:
    """Blades of grass and small flowers near the camera, only where there is a lawn."""
    canvas.segment = GRASS
    height, width = segments.shape
    light = canvas.light
    for u, v, w, k in rng.random((40 + int(180 * canvas.detail), 4)).tolist():
        z = 3.0 + 12 * v * v
        x = (2 * u - 1) * 0.75 * z * width / height
        px, py = canvas.camera.project(x, 0, z)
        row, column = int(py * height), int(px * height)
        if not (0 <= row < height and 0 <= column < width) or segments[row, column] != GRASS:
            continue
        unit = canvas.camera.focal / z
        if canvas.pixels(0.2, z) < 1.5:
            continue
        color = mix((92, 138, 50), (176, 186, 92), k)
        for lean in (-0.09, 0.0, 0.08):
            tip = (px + (lean + 0.05 * (w - 0.5)) * unit, py - (0.1 + 0.12 * w) * unit)
            canvas.polygon(
                [(px - 0.02 * unit, py), (px + 0.02 * unit, py), tip],
                tone(color, 0.8 + 2.5 * abs(lean)),
                mark=False,
            )
        if k > 0.8:
            bloom = ((246, 236, 150), (244, 244, 240), (206, 120, 160))[int(30 * w) % 3]
            canvas.ellipse(
                px,
                py - 0.16 * unit,
                0.035 * unit,
                0.03 * unit,
                tone(bloom, 0.8 + 0.2 * light.day),
                mark=False,
            )


def street(
    canvas: Canvas, center: float, half: float, pavement: float, rng: np.random.Generator
) -> None:
    """A road towards the vanishing point with kerbs, pavements, lane marks and a crossing."""
    asphalt = mix((84, 84, 92), (112, 108, 108), rng.random())
    stone = mix((176, 168, 158), (158, 156, 158), rng.random())
    edges = [FAR, 60.0, 34.0, 20.0, 12.0, 7.0, NEAR]
    joints = rng.random()
    for far, near in zip(edges[:-1], edges[1:], strict=True):
        middle = 0.5 * (near + far)
        canvas.segment = PAVEMENT
        for side in (-1, 1):
            inner, outer = center + side * half, center + side * (half + pavement)
            band(canvas, inner, outer, near, far, canvas.air(stone, middle))
        canvas.segment = ROAD
        band(canvas, center - half, center + half, near, far, canvas.air(asphalt, middle))
    canvas.segment = PAVEMENT
    for side in (-1, 1):
        edge = center + side * half
        band(canvas, edge, edge + side * 0.16, NEAR, 60.0, (196, 192, 184))
        band(canvas, edge + side * 0.16, edge + side * 0.22, NEAR, 40.0, tone(stone, 0.78))
        z = 2.0 + joints
        while z < 16.0:
            band(
                canvas,
                edge + side * 0.2,
                edge + side * pavement,
                z,
                z + 0.05 + 0.004 * z,
                canvas.air(tone(stone, 0.84), z),
            )
            z *= 1.12
    canvas.segment = ROAD
    paint = (226, 224, 214)
    for i in range(14):
        z = 1.0 + joints + 3.4 * i
        band(canvas, center - 0.08, center + 0.08, z, z + 1.7, canvas.air(paint, z))
    if rng.random() < 0.4:
        z = 5.5 + 7 * rng.random()
        count = int(half / 0.45)
        for i in range(-count, count):
            x = center + (i + 0.5) * 0.9 * half / count
            band(canvas, x - 0.2, x + 0.2, z, z + 2.4, canvas.air(paint, z))


def cross_road(canvas: Canvas, z: float) -> None:
    """A road from left to right with pavements, 5 m wide, at distance z."""
    canvas.segment = PAVEMENT
    band(canvas, -200, 200, z - 1.4, z + 6.0, canvas.air((184, 178, 168), z))
    canvas.segment = ROAD
    band(canvas, -200, 200, z, z + 4.8, canvas.air((100, 98, 102), z))
    for i in range(-20, 20):
        band(canvas, 2.4 * i, 2.4 * i + 1.3, z + 2.3, z + 2.5, canvas.air((226, 224, 214), z))


def path(canvas: Canvas, end: float, rng: np.random.Generator) -> None:
    """A winding path through the park, up to the distance `end`."""
    canvas.segment = PAVEMENT
    sand = mix((200, 182, 152), (186, 176, 162), rng.random())
    x0, swing, phase = 3.0 * (rng.random() - 0.5), 1.6 + 3 * rng.random(), 2 * pi * rng.random()
    width = 1.0 + 0.6 * rng.random()
    zs = [2.0 * (end / 2.0) ** (i / 24) for i in range(25)]
    middles = [x0 + swing * sin(phase + 0.16 * z) * min(1.0, z / 8) for z in zs]
    for i in range(len(zs) - 1, 0, -1):
        far, near = zs[i], zs[i - 1]
        a, b = middles[i], middles[i - 1]
        for extra, color in ((0.12, tone(sand, 0.72)), (0.0, sand)):
            w = width + extra
            corners = [(b - w, 0, near), (a - w, 0, far), (a + w, 0, far), (b + w, 0, near)]
            canvas.face(corners, canvas.air(color, far))


def pond(
    canvas: Canvas, x: float, z: float, rx: float, rz: float, rng: np.random.Generator
) -> None:
    """A pond with a muddy bank."""
    wobble = 1 + 0.12 * np.sin(np.linspace(0, 2 * pi, 29)[:-1] * 3 + 2 * pi * rng.random())
    ring = [
        (rx * w * cos(t), rz * w * sin(t))
        for w, t in zip(wobble.tolist(), np.linspace(0, 2 * pi, 29)[:-1].tolist(), strict=True)
    ]
    canvas.segment = GRASS
    bank = canvas.air((112, 110, 66), z)
    canvas.face([(x + 1.06 * a + 0.1, 0, max(NEAR, z + 1.08 * b)) for a, b in ring], bank)
    canvas.segment = WATER
    canvas.face([(x + a, 0, max(NEAR, z + b)) for a, b in ring], water_color(canvas, z))


def water_color(canvas: Canvas, z: float) -> Color:
    """Water takes most of its colour from the sky."""
    return canvas.air(mix((8, 104, 142), canvas.light.sky_top, 0.15), z)


def canal(canvas: Canvas, side: int, x0: float, x1: float) -> None:
    """Water along the street, between a kerb and a far bank."""
    canvas.segment = WATER
    for far, near in ((FAR, 40.0), (40.0, 20.0), (20.0, 9.0), (9.0, NEAR)):
        band(canvas, x0, x1, near, far, water_color(canvas, 0.5 * (near + far)))
    canvas.segment = WALL
    stone = (190, 154, 92)
    canvas.face(
        [(x1, 0, NEAR), (x1, 0, 90.0), (x1, 0.7, 90.0), (x1, 0.7, NEAR)],
        canvas.air(tone(stone, canvas.light.face(-side, 0, 0)), 25.0),
    )


# --------------------------------------------------------------------------------- buildings


def _quad(x: float, z0: float, z1: float, y0: float, y1: float) -> list[Point3]:
    return [(x, y0, z0), (x, y1, z0), (x, y1, z1), (x, y0, z1)]


def _front(z: float, x0: float, x1: float, y0: float, y1: float) -> list[Point3]:
    return [(x0, y0, z), (x0, y1, z), (x1, y1, z), (x1, y0, z)]


class _Facade:
    """One wall of a house: maps (along, up) in metres to the world and paints windows on it."""

    def __init__(self, canvas: Canvas, start: Point3, end: Point3, color: Color, light: float):
        self.canvas, self.start, self.end, self.color, self.light = canvas, start, end, color, light
        self.length = abs(end[0] - start[0]) + abs(end[2] - start[2])

    def rectangle(self, a0: float, a1: float, b0: float, b1: float, color: Color) -> None:
        corners = []
        for a, b in ((a0, b0), (a0, b1), (a1, b1), (a1, b0)):
            t = a / self.length
            corners.append(
                (
                    self.start[0] + t * (self.end[0] - self.start[0]),
                    b,
                    self.start[2] + t * (self.end[2] - self.start[2]),
                )
            )
        z = 0.5 * (corners[0][2] + corners[3][2])
        self.canvas.face(corners, self.canvas.air(color, z), mark=False)

    def windows(self, height: float, rng: np.random.Generator) -> None:
        """Storeys of windows with frames, sills and panes; a plinth and a cornice."""
        wall = tone(self.color, self.light)
        storeys, bays = max(1, int(height / 3.0)), max(1, int(self.length / 2.5))
        luck = rng.random((storeys, bays, 2)).tolist()
        glass = mix((58, 74, 92), self.canvas.light.sky_top, 0.25)
        lamp_chance = max(0.0, 0.8 - self.canvas.light.day)
        self.rectangle(0, self.length, 0, 0.7, tone(wall, 0.74))
        self.rectangle(0, self.length, height - 0.35, height, tone(wall, 1.12))
        self.rectangle(0, self.length, height - 0.5, height - 0.35, tone(wall, 0.72))
        pitch, rise = self.length / bays, height / storeys
        depth = min(self.start[2], self.end[2])
        size = self.canvas.pixels(1.2, depth)
        if size < 1.5:
            return
        near, close = size > 3.5, size > 7.0
        for storey in range(storeys):
            low = storey * rise + 0.34 * rise
            high = storey * rise + 0.84 * rise
            for bay in range(bays):
                left, right = (bay + 0.27) * pitch, (bay + 0.73) * pitch
                u, v = luck[storey][bay]
                pane = (255, 214, 128) if u < lamp_chance else tone(glass, 0.8 + 0.5 * v)
                if storey == 0 and (bay + int(7 * luck[0][0][0])) % 3 == 0:
                    self.rectangle(left, right, 0.0, 0.78 * rise, tone((92, 62, 50), 0.8 + 0.5 * v))
                    continue
                if near:
                    frame = tone(wall, 1.16)
                    self.rectangle(left - 0.1, right + 0.1, low - 0.12, high + 0.1, frame)
                self.rectangle(left, right, low, high, pane)
                if close:
                    shine = mix(pane, (255, 255, 255), 0.22)
                    self.rectangle(left, 0.5 * (left + right), 0.5 * (low + high), high, shine)
                    self.rectangle(
                        left - 0.16, right + 0.16, low - 0.26, low - 0.1, tone(wall, 0.8)
                    )
                    bar = 0.05 - 0.025 * self.canvas.detail
                    middle = 0.5 * (left + right)
                    self.rectangle(middle - bar, middle + bar, low, high, tone(wall, 1.2))

    def posters(self, rng: np.random.Generator) -> None:
        """Bright posters and awnings that look like cars, signs and people, but are wall."""
        bright = ((196, 52, 60), (36, 78, 150), (238, 190, 60), (226, 226, 224), (20, 112, 118))
        for u, v, w, k in rng.random((6, 4)).tolist():
            if k > 0.85 * self.canvas.clutter:
                continue
            a, b = u * (self.length - 1.8), 0.5 + 1.6 * v
            color = bright[int(50 * w) % 5]
            self.rectangle(a, a + 0.8 + w, b, b + 0.6 + 0.7 * v, tone(color, 0.95 * self.light))
            self.rectangle(a + 0.2, a + 0.5 + w, b + 0.2, b + 0.4 + 0.3 * v, tone(color, 0.6))


def house(
    canvas: Canvas, side: int, x: float, z0: float, z1: float, height: float,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """A house along the street: its gable, its roof and the facade that faces the road."""
    canvas.segment = BUILDING
    color = tone(FACADES[int(rng.integers(len(FACADES)))], 0.88 + 0.2 * rng.random())
    roof = ROOFS[int(rng.integers(len(ROOFS)))]
    light = canvas.light
    back = x + side * 9.0
    gable_light, facade_light = light.face(0, 0, -1), light.face(-side, 0, 0)
    pitched = rng.random() < 0.6
    ridge = height + (1.6 + 1.2 * rng.random() if pitched else 0.0)
    gable = _Facade(canvas, (x, 0, z0), (back, 0, z0), color, gable_light)
    middle = 0.5 * (x + back)
    canvas.face(
        [(x, 0, z0), (x, height, z0), (middle, ridge, z0), (back, height, z0), (back, 0, z0)],
        canvas.air(tone(color, gable_light), z0),
    )
    gable.windows(height, rng)
    if pitched:
        eave = x - side * 0.35
        canvas.face(
            [
                (eave, height - 0.15, z0 - 0.2),
                (middle, ridge, z0 - 0.2),
                (middle, ridge, z1),
                (eave, height - 0.15, z1),
            ],
            canvas.air(tone(roof, light.face(-0.5 * side, 0.85, 0)), z0),
        )
    facade = _Facade(canvas, (x, 0, z0), (x, 0, z1), color, facade_light)
    canvas.face(_quad(x, z0, z1, 0, height), canvas.air(tone(color, facade_light), 0.5 * (z0 + z1)))
    facade.windows(height, rng)
    facade.posters(rng)


def cottage(
    canvas: Canvas, x: float, z: float, width: float, height: float, rng: np.random.Generator
) -> None:
    """A house seen from the front, in the distance."""
    canvas.segment = BUILDING
    color = tone(FACADES[int(rng.integers(len(FACADES)))], 0.9 + 0.2 * rng.random())
    roof = ROOFS[int(rng.integers(len(ROOFS)))]
    light = canvas.light.face(0, 0, -1)
    left, right = x - width / 2, x + width / 2
    canvas.face(_front(z, left, right, 0, height), canvas.air(tone(color, light), z))
    facade = _Facade(canvas, (left, 0, z), (right, 0, z), color, light)
    facade.windows(height, rng)
    facade.posters(rng)
    inset, rise = 0.18 * width, 1.2 + 1.3 * rng.random()
    canvas.face(
        [
            (left - 0.4, height, z),
            (left + inset, height + rise, z),
            (right - inset, height + rise, z),
            (right + 0.4, height, z),
        ],
        canvas.air(tone(roof, canvas.light.face(0, 0.7, -0.7)), z),
    )
    chimney = left + inset + 0.3 + 0.5 * width * rng.random() * 0.6
    canvas.face(
        _front(z, chimney, chimney + 0.7, height + 0.5 * rise, height + rise + 0.8),
        canvas.air(tone((134, 92, 80), light), z),
    )


# ------------------------------------------------------------------------- walls and railings


def wall(
    canvas: Canvas, start: Point3, end: Point3, height: float, normal: Point3,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """A stone wall with courses and a coping between two points of the ground."""
    canvas.segment = WALL
    color = mix((206, 164, 84), (188, 150, 96), rng.random())
    light = canvas.light.face(*normal)
    facade = _Facade(canvas, start, end, color, light)
    base = tone(color, light)
    corners = [(x, y, z) for x, _, z in (start, end) for y in (0.0, height + 0.16)]
    canvas.face([corners[0], corners[1], corners[3], corners[2]], base)
    pieces = 8
    shades = rng.random((pieces, 9)).tolist()
    for i in range(pieces):
        # equal steps in 1/z look equal in the picture
        a0, a1 = (_along(facade, j / pieces) for j in (i, i + 1))
        facade.rectangle(a0, a1, 0, height, tone(base, 0.95 + 0.08 * shades[i][0]))
        courses = 4
        for course in range(courses):
            b = height * course / courses
            for j in range(2):
                s = shades[i][1 + (2 * course + j) % 8]
                c0, c1 = a0 + (a1 - a0) * (0.5 * j + 0.04), a0 + (a1 - a0) * (0.5 * j + 0.46)
                facade.rectangle(
                    c0, c1, b + 0.04, b + height / courses - 0.04, tone(base, 0.84 + 0.34 * s)
                )
    facade.rectangle(0, facade.length, height, height + 0.16, tone(base, 1.2))
    facade.posters(rng)


def _along(facade: _Facade, t: float) -> float:
    z0, z1 = facade.start[2], facade.end[2]
    if abs(z1 - z0) < 1e-6:
        return t * facade.length
    z = 1 / ((1 - t) / z0 + t / z1)
    return (z - z0) / (z1 - z0) * facade.length


class RailingPiece(NamedTuple):
    """One span of a railing; pieces are painted between the things, by their depth."""

    start: Point3
    end: Point3
    thickness: float
    color: Color

    @property
    def depth(self) -> float:
        """Distance of the far end from the camera plane."""
        return max(self.start[2], self.end[2])

    def paint(self, canvas: Canvas) -> None:
        """Two rails and the post at the near end."""
        canvas.segment = WALL
        (xa, _, za), (xb, _, zb) = self.start, self.end
        project, color = canvas.camera.project, canvas.air(self.color, za)
        width = self.thickness * canvas.camera.focal / za
        for top in (0.92, 0.15):
            canvas.line([project(xa, top, za), project(xb, top, zb)], 1.3 * width, color)
        canvas.line([project(xb, 0, zb), project(xb, 1.0, zb)], width, tone(color, 0.85))


def railing(start: Point3, end: Point3, detail: float, color: Color) -> list[RailingPiece]:
    """A railing from far to near; the higher `detail`, the thinner and denser its bars."""
    count = 6 + int(30 * detail)
    points = []
    for i in range(count + 1):
        z = 1 / ((1 - i / count) / start[2] + i / count / end[2])  # even steps in the picture
        t = (z - start[2]) / (end[2] - start[2])
        points.append((start[0] + t * (end[0] - start[0]), 0.0, z))
    thickness = 0.075 - 0.05 * detail
    return [RailingPiece(a, b, thickness, color) for a, b in pairwise(points)]


def litter(canvas: Canvas, center: float, half: float, rng: np.random.Generator) -> None:
    """Leaves, tar patches and manholes on the ground: texture, not objects."""
    for u, v, w, k in rng.random((80, 4)).tolist():
        if k > canvas.clutter:
            continue
        z, x = 3.2 + 18 * v * v, center + 0.9 * (2 * u - 1) * half
        px, py = canvas.camera.project(x, 0, z)
        unit = canvas.camera.focal / z
        flat = canvas.camera.height / z
        if w < 0.8:
            color = mix((186, 106, 36), (222, 186, 80), 3 * w % 1.0)
            canvas.ellipse(px, py, 0.07 * unit, 0.07 * unit * flat + 0.001, color, mark=False)
        elif canvas.segment == ROAD:
            dark = (70, 68, 70)
            canvas.ellipse(px, py, 0.27 * unit, 0.27 * unit * flat, dark, mark=False)
            canvas.ellipse(px, py, 0.21 * unit, 0.21 * unit * flat, (104, 100, 98), mark=False)
