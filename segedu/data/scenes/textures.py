"""Noise, ground textures, clouds and the finishing of a picture: all on numpy arrays."""

from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from segedu.data.scenes.canvas import Canvas, Light
from segedu.data.scenes.classes import GRASS, PAVEMENT, ROAD, WATER

BANK = 256  # side of the square noise tiles


@cache
def noise_bank() -> np.ndarray:
    """Four tileable fractal noise textures, float32 (4, 256, 256), roughly within [-1, 1].

    They are the same for every scene: a scene chooses where it looks into them. Value noise on
    periodic grids of 4, 8, ... 128 cells, smoothly interpolated, amplitudes halving (Perlin's
    fractal sum).
    """
    rng = np.random.Generator(np.random.PCG64(20))
    bank = np.zeros((4, BANK, BANK), np.float32)
    for octave in range(6):
        cells = 4 << octave
        grid = rng.random((4, cells, cells), dtype=np.float32) * 2 - 1
        position = np.arange(BANK, dtype=np.float32) * (cells / BANK)
        low = position.astype(np.int64)
        t = position - low
        t = t * t * (3 - 2 * t)
        high = (low + 1) % cells
        rows = grid[:, low] * (1 - t)[:, None] + grid[:, high] * t[:, None]  # (4, 256, cells)
        bank += (rows[:, :, low] * (1 - t) + rows[:, :, high] * t) * 0.62**octave
    return bank / np.abs(bank).max(axis=(1, 2), keepdims=True) * 1.4


@cache
def brush_tile() -> np.ndarray:
    """Colour variation of about 5 % as a brush leaves it: float32 (256, 256, 3) around 1."""
    tile = np.stack(list(noise_bank()[:3]), -1)
    middle = tile.mean(-1, keepdims=True)
    return 1 + 0.05 * middle + 0.05 * (tile - middle)


@cache
def grain_tile() -> np.ndarray:
    """Sensor noise in grey levels, float32 (256, 256, 3): mostly brightness, a little colour."""
    rng = np.random.Generator(np.random.PCG64(21))
    brightness = rng.standard_normal((BANK, BANK, 1), dtype=np.float32)
    return 13 * brightness + 5 * rng.standard_normal((BANK, BANK, 3), dtype=np.float32)


def look(tile: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Values of a periodic tile (256, 256) at the integer parts of (u, v)."""
    return tile[v.astype(np.int32) & (BANK - 1), u.astype(np.int32) & (BANK - 1)]


def look_smooth(tile: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Values of a periodic tile (256, 256) at (u, v), bilinearly interpolated."""
    u0, v0 = np.floor(u), np.floor(v)
    s, t = u - u0, v - v0
    low = look(tile, u0, v0) * (1 - s) + look(tile, u0 + 1, v0) * s
    high = look(tile, u0, v0 + 1) * (1 - s) + look(tile, u0 + 1, v0 + 1) * s
    return low * (1 - t) + high * t


def window(tile: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A tile (256, 256, ...) at all pairs of the given rows (H,) and columns (W,)."""
    rows, columns = rows.astype(np.int32) % BANK, columns.astype(np.int32) % BANK
    return tile[rows[:, None], columns]


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth in between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def sky(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """A sky with a gradient, a glow around the sun and clouds, uint8 (H, W, 3)."""
    height, width, camera, light = canvas.height, canvas.width, canvas.camera, canvas.light
    bank = noise_bank()
    offset = rng.integers(0, BANK, 2)
    cover = 0.3 - 0.75 * rng.random()
    rows = min(height, int((camera.horizon + 0.04) * height) + 2)  # below is no sky
    y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / height  # (h, 1)
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / height  # (1, W)
    up = np.clip(1 - y / camera.horizon, 0, 1)  # 0 at the horizon, 1 at the top
    top, low = np.array(light.sky_top, np.float32), np.array(light.sky_low, np.float32)
    colors = low + (top - low) * (1 - (1 - up) ** 2)[..., None]  # (h, 1, 3)
    side = width / height if light.sun[0] > 0 else 0.0
    glow = np.clip(1 - 0.9 * np.abs(x - side) - 0.6 * up, 0, 1)[..., None]
    warm = np.array((255, 226, 170), np.float32)
    colors = colors + (warm - colors) * glow * glow * 0.55  # (h, W, 3)
    # clouds lie on a plane overhead, so they crowd towards the horizon
    distance = 1 / (up + 0.25)
    u = (x - camera.center) * distance * 48 + 1024 + offset[0]
    v = distance * 80 + offset[1] + 0 * x
    density = look_smooth(bank[0], u, v) + 0.3 * look_smooth(bank[1], 2.7 * u, 2.7 * v)
    above = look_smooth(bank[0], u - 7 * np.sign(light.sun[0]), v - 9)
    alpha = smoothstep(density, cover, cover + 0.7) * (0.2 + 0.75 * np.sqrt(up))
    bright = np.clip(0.88 + 0.28 * (density - above), 0.7, 1.06)[..., None]
    cloud = np.minimum(255, (0.8 * np.array((255, 252, 248), np.float32) + 0.2 * warm) * bright)
    colors += (cloud - colors) * alpha[..., None]
    out = np.zeros((height, width, 3), np.uint8)
    out[:rows] = np.clip(colors, 0, 255)
    return out


def ground(
    colors: np.ndarray, segments: np.ndarray, canvas: Canvas, rng: np.random.Generator
) -> np.ndarray:
    """Give asphalt, stone, grass and water their textures and lay the cast shadows on them.

    colors uint8 (H, W, 3), segments uint8 (H, W); returns uint8 (H, W, 3).
    """
    height, width, camera, light = canvas.height, canvas.width, canvas.camera, canvas.light
    first = min(height - 1, int(camera.horizon * height))
    region = segments[first:]
    bank = noise_bank()
    offset = rng.integers(0, BANK, 2).astype(np.float32)
    y = (np.arange(first, height, dtype=np.float32)[:, None] + 0.5) / height
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / height
    z = camera.focal * camera.height / np.maximum(y - camera.horizon, 0.25 / height)  # (h, 1)
    wx = (x - camera.center) * z / camera.focal + 512  # world x, kept positive
    # texture fades where a pixel covers much of it
    near, middle = np.clip(9 / z, 0.0, 1), np.clip(18 / z, 0.0, 1)
    u, v = wx * 7 + offset[0], z * 7 + offset[1] + 0 * x
    coarse = look_smooth(bank[0], u, v) * middle
    fine = look(bank[1], 5 * u, 3 * v) * near
    gain = np.zeros_like(coarse)
    strength = 0.8 + 1.2 * canvas.clutter
    for label, a, b in ((ROAD, 0.08, 0.11), (PAVEMENT, 0.08, 0.08), (GRASS, 0.17, 0.28)):
        gain += (region == label) * strength * (a * coarse + b * fine)
    ripple = look(bank[2], wx * 5 + offset[1], z * 26 + 18 * coarse + offset[0]) * (
        0.35 + 0.65 * near
    )
    gain += (region == WATER) * 0.14 * ripple
    soft = Image.fromarray(canvas.shadows()[first:])
    soft = soft.filter(ImageFilter.GaussianBlur(0.004 * height))
    dark = np.asarray(soft, np.float32) / 255 * (0.22 + 0.26 * light.day)
    dark *= np.where(region == WATER, 0.25, 1.0) * ((region >= ROAD) & (region <= WATER))
    dark *= 1 + 0.25 * fine
    part = colors[first:].astype(np.float32)
    part *= (1 + gain)[..., None]
    dry = (region == GRASS) * (0.5 + 0.5 * coarse) * 0.2
    part += dry[..., None] * (np.array((196, 176, 84), np.float32) - part)
    cool = np.array((0.78, 0.86, 1.08), np.float32)  # shadows are lit by the sky
    part *= 1 - dark[..., None] * (1.45 - 0.45 * cool)
    out = colors.copy()
    out[first:] = np.clip(part, 0, 255)
    return out


def reflect(colors: np.ndarray, water: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror what stands above a water surface in it, broken by ripples.

    colors float32 (H, W, 3), water bool (H, W).
    """
    if not water.any():
        return colors
    height, width = water.shape
    shore = np.where(water.any(axis=0), water.argmax(axis=0), height)  # first water row by column
    rows, columns = np.nonzero(water)
    depth = rows - shore[columns]
    scale = 128 / height
    ripple = look(noise_bank()[3], columns * scale + rng.integers(BANK), rows * scale * 5)
    sway = np.rint(ripple * (1.0 + 0.08 * depth * scale) / scale).astype(np.int64)
    source = np.clip(
        shore[columns] - 1 - (1.15 * depth).astype(np.int64) + sway // 2, 0, height - 1
    )
    mirrored = colors[source, np.clip(columns + sway, 0, width - 1)]
    tint = np.array((0.66, 0.8, 0.86), np.float32)
    out = colors.copy()
    out[rows, columns] = 0.62 * colors[rows, columns] + 0.38 * mirrored * tint
    return out


def soften_boundaries(colors: np.ndarray, segments: np.ndarray, amount: float) -> np.ndarray:
    """Blur the picture, uint8 (H, W, 3), in a band around every boundary between segments."""
    height = segments.shape[0]
    sigma = 0.022 * height * amount
    edge = np.zeros(segments.shape, np.uint8)
    across, down = segments[:, 1:] != segments[:, :-1], segments[1:] != segments[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    # a box blur reaches as far as a dilation and takes the same time for any width
    band = Image.fromarray(edge * 255).filter(ImageFilter.BoxBlur(2 * sigma + 1))
    band = band.point(lambda value: 255 * (value > 0)).filter(ImageFilter.GaussianBlur(sigma))
    image = Image.fromarray(colors)
    return np.asarray(Image.composite(image.filter(ImageFilter.GaussianBlur(sigma)), image, band))


def grade(colors: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Light tint, brush-like variation, saturation, vignette; float32 (H, W, 3) to uint8."""
    height, width = colors.shape[:2]
    row, column = rng.integers(0, BANK, 2)
    y, x = (np.arange(n, dtype=np.float32) + 0.5 for n in (height, width))
    colors = colors * window(brush_tile(), y * (150 / height) + row, x * (150 / height) + column)
    r2 = (2 * y[:, None] / height - 1) ** 2 + (2 * x / width - 1) ** 2  # (H, W)
    grey = colors.mean(-1, keepdims=True)
    colors = grey + 1.15 * (colors - grey)
    colors *= (1.03 - 0.07 * r2)[..., None] * np.array(light.tint, np.float32)
    return np.clip(colors, 0, 255).astype(np.uint8)


def add_noise(colors: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Add sensor noise to a picture, uint8 (H, W, 3)."""
    row, column = rng.integers(0, BANK, 2)
    rows, columns = np.arange(colors.shape[0]) + row, np.arange(colors.shape[1]) + column
    noise = window(grain_tile(), rows, columns)
    return np.clip(colors + (amount * noise + 0.5), 0, 255).astype(np.uint8)
