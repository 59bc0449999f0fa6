"""A pinhole camera and a canvas that paints colour, segment ids and cast shadows together."""

from collections.abc import Sequence
from math import exp
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]
Point3 = tuple[float, float, float]

OVERSAMPLE = 3  # odd, so that every output pixel has a middle sample that decides its label
NEAR = 1.2  # metres; what is nearer to the camera than this is moved there


def mix(a: Color, b: Color, t: float) -> Color:
    """Blend two colours: `a` for t = 0, `b` for t = 1."""
    return (
        int(a[0] + (b[0] - a[0]) * t),
        int(a[1] + (b[1] - a[1]) * t),
        int(a[2] + (b[2] - a[2]) * t),
    )


def tone(color: Color, factor: float) -> Color:
    """Make a colour darker (factor < 1) or lighter (factor > 1)."""
    return (
        min(255, int(color[0] * factor)),
        min(255, int(color[1] * factor)),
        min(255, int(color[2] * factor)),
    )


class Light(NamedTuple):
    """Sun and air. `sun` is the unit-free direction towards the sun: x right, y up, z away."""

    day: float  # 1 noon, 0 dusk
    sun: Point3
    sky_top: Color
    sky_low: Color
    tint: tuple[float, float, float]  # multiplies the finished picture
    haze: float = 130.0  # metres after which 63 % of a colour is air

    def face(self, nx: float, ny: float, nz: float) -> float:
        """Brightness of a surface with the unit normal (nx, ny, nz)."""
        diffuse = nx * self.sun[0] + ny * self.sun[1] + nz * self.sun[2]
        return 0.68 + 0.42 * max(0.0, diffuse)


class Camera(NamedTuple):
    """Pinhole camera looking along +z over the ground plane y = 0 (metres).

    Image coordinates are in units of the image height, x to the right and y down.
    """

    center: float  # x of the vanishing point
    horizon: float  # y of the horizon
    focal: float
    height: float

    def project(self, x: float, y: float, z: float) -> Point:
        """World point (metres) to image point."""
        scale = self.focal / max(z, NEAR)
        return self.center + x * scale, self.horizon + (self.height - y) * scale


class Canvas:
    """Colour, segment ids and ground shadows of one picture, drawn at `OVERSAMPLE` resolution."""

    def __init__(
        self, height: int, width: int, camera: Camera, light: Light, detail: float, clutter: float
    ):
        self.camera, self.light = camera, light
        self.detail, self.clutter = detail, clutter  # knobs that many painters obey
        self.height, self.width = height, width
        self.segment = 0  # what is painted from now on belongs to this segment
        self.scale = height * OVERSAMPLE
        size = (width * OVERSAMPLE, height * OVERSAMPLE)
        self._colors, self._segments = Image.new("RGB", size), Image.new("L", size)
        self._shadows = Image.new("L", (width, height))
        self._paint = ImageDraw.Draw(self._colors)
        self._mark = ImageDraw.Draw(self._segments)
        self._shade = ImageDraw.Draw(self._shadows)

    def polygon(self, points: Sequence[Point], color: Color, mark: bool = True) -> None:
        """Fill a polygon given in image coordinates; `mark=False` leaves the segments alone."""
        s = self.scale
        xy = [(x * s, y * s) for x, y in points]
        columns = [x for x, _ in xy]
        if max(columns) < 0 or min(columns) > self._colors.width:
            return
        self._paint.polygon(xy, fill=color)
        if mark:
            self._mark.polygon(xy, fill=self.segment)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, color: Color, mark: bool = True
    ) -> None:
        """Fill an axis-parallel ellipse given in image coordinates."""
        s = self.scale
        box = ((x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s)
        self._paint.ellipse(box, fill=color)
        if mark:
            self._mark.ellipse(box, fill=self.segment)

    def line(self, points: Sequence[Point], width: float, color: Color, mark: bool = True) -> None:
        """Draw a polyline of the given width, at least a third of a pixel wide."""
        s = self.scale
        xy = [(x * s, y * s) for x, y in points]
        pen = max(1, round(width * s))
        self._paint.line(xy, fill=color, width=pen)
        if mark:
            self._mark.line(xy, fill=self.segment, width=pen)

    def face(self, corners: Sequence[Point3], color: Color, mark: bool = True) -> None:
        """Fill a planar polygon given in the world."""
        project = self.camera.project
        self.polygon([project(*corner) for corner in corners], color, mark)

    def shadow(self, footprint: Sequence[Point], strength: float = 1.0) -> None:
        """Darken the ground inside a polygon given by its (x, z) in the world."""
        w = self.height
        points = [self.camera.project(x, 0.0, z) for x, z in footprint]
        self._shade.polygon([(x * w, y * w) for x, y in points], fill=int(255 * strength))

    def air(self, color: Color, z: float) -> Color:
        """Aerial perspective: the colour of a thing at distance z."""
        return mix(color, self.light.sky_low, 1.0 - exp(-z / self.light.haze))

    def pixels(self, metres: float, z: float) -> float:
        """Length in output pixels of something `metres` long at distance z."""
        return metres * self.camera.focal / z * self.height

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """The picture so far: colours uint8 (H, W, 3) and segment ids uint8 (H, W)."""
        middle = OVERSAMPLE // 2
        segments = np.asarray(self._segments)[middle::OVERSAMPLE, middle::OVERSAMPLE]
        return np.asarray(self._colors.reduce(OVERSAMPLE)), segments

    def shadows(self) -> np.ndarray:
        """The cast shadows, uint8 (H, W), 255 where the sun is hidden."""
        return np.asarray(self._shadows)

    def replace(self, colors: np.ndarray) -> None:
        """Put textured colours uint8 (H, W, 3) under what will be painted next."""
        image = Image.fromarray(colors).resize(self._colors.size, Image.Resampling.NEAREST)
        self._colors.paste(image)


class Stand:
    """Local frame of something flat that stands upright at (x, z) and faces the camera.

    Local coordinates are metres: a to the right (mirrored when `facing` is -1), b up.
    """

    def __init__(self, canvas: Canvas, x: float, z: float, size: float = 1.0, facing: int = 1):
        self.canvas, self.z, self.size = canvas, z, size
        self.x0, self.y0 = canvas.camera.project(x, 0.0, z)
        self.unit = size * canvas.camera.focal / z
        self.facing = facing
        # +1 where the light comes from the local right-hand side
        self.lit = facing * (1 if canvas.light.sun[0] > 0 else -1)
        self._clear = exp(-z / canvas.light.haze)  # how much of a colour gets through the air

    def at(self, a: float, b: float) -> Point:
        """Local point to image point."""
        return self.x0 + a * self.facing * self.unit, self.y0 - b * self.unit

    def color(self, color: Color, brightness: float = 1.0) -> Color:
        """Colour with a brightness, seen through the air."""
        return mix(self.canvas.light.sky_low, tone(color, brightness), self._clear)

    def polygon(self, points: Sequence[Point], color: Color, mark: bool = True) -> None:
        """Fill a polygon given in local coordinates."""
        self.canvas.polygon([self.at(a, b) for a, b in points], color, mark)

    def ellipse(
        self, a: float, b: float, ra: float, rb: float, color: Color, mark: bool = True
    ) -> None:
        """Fill an ellipse given in local coordinates."""
        x, y = self.at(a, b)
        self.canvas.ellipse(x, y, ra * self.unit, rb * self.unit, color, mark)

    def limb(
        self, p: Point, q: Point, rp: float, rq: float, color: Color, mark: bool = True
    ) -> None:
        """A tapered capsule from p (radius rp) to q (radius rq)."""
        da, db = q[0] - p[0], q[1] - p[1]
        length = (da * da + db * db) ** 0.5 or 1e-6
        na, nb = -db / length, da / length
        self.polygon(
            [
                (p[0] + na * rp, p[1] + nb * rp),
                (q[0] + na * rq, q[1] + nb * rq),
                (q[0] - na * rq, q[1] - nb * rq),
                (p[0] - na * rp, p[1] - nb * rp),
            ],
            color,
            mark,
        )
        self.ellipse(p[0], p[1], rp, rp, color, mark)
        self.ellipse(q[0], q[1], rq, rq, color, mark)

    def round_limb(self, p: Point, q: Point, rp: float, rq: float, color: Color) -> None:
        """A capsule that looks round: dark all over, light on the upper side near the sun."""
        self.limb(p, q, rp, rq, self.color(color, 0.74))
        shift = 0.28 * self.lit
        p, q = (p[0] + shift * rp, p[1] + 0.3 * rp), (q[0] + shift * rq, q[1] + 0.3 * rq)
        self.limb(p, q, 0.66 * rp, 0.66 * rq, self.color(color, 1.06), mark=False)
