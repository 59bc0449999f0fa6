"""Noise, ground textures, clouds and the finishing of a picture: all on numpy arrays."""

from functools import cache

import numpy as np
from PIL import Image, ImageFilter

from segedu.data.scenes.canvas import Camera, Light
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
def grain() -> np.ndarray:
    """White Gaussian noise, float32 (256, 256), the sensor noise that scenes look into."""
    rng = np.random.Generator(np.random.PCG64(21))
    return rng.standard_normal((BANK, BANK), dtype=np.float32)


def look(tile: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Values of a periodic tile at the integer parts of (u, v)."""
    return tile[v.astype(np.int32) & (BANK - 1), u.astype(np.int32) & (BANK - 1)]


def smoothstep(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth in between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def sky(
    height: int, width: int, camera: Camera, light: Light, rng: np.random.Generator
) -> np.ndarray:
    """A sky with a gradient, a glow around the sun and clouds, uint8 (H, W, 3)."""
    bank = noise_bank()
    offset = rng.integers(0, BANK, 4)
    cover = 0.25 - 0.75 * rng.random()
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height  # (H, 1)
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / height  # (1, W)
    up = np.clip(1 - y / camera.horizon, 0, 1)  # 0 at the horizon, 1 at the top
    top, low = np.array(light.sky_top, np.float32), np.array(light.sky_low, np.float32)
    t = (1 - (1 - up) * (1 - up))[..., None]
    colors = low + (top - low) * t  # (H, 1, 3)
    side = width / height if light.sun[0] > 0 else 0.0
    glow = np.clip(1 - 0.9 * np.abs(x - side) - 0.6 * up, 0, 1)[..., None]
    warm = np.array((255, 226, 170), np.float32)
    colors = colors + (warm - colors) * glow * glow * 0.55  # (H, W, 3)
    # clouds lie on a plane overhead, so they crowd towards the horizon
    distance = 1 / (up + 0.22)
    u = (x - camera.center) * distance * 62 + 1024 + offset[0]
    v = distance * 95 + offset[1] + 0 * x
    density = look(bank[0], u, v) + 0.35 * look(bank[1], 2.7 * u, 2.7 * v)
    above = look(bank[0], u - 7 * np.sign(light.sun[0]), v - 9)
    alpha = (
        smoothstep(density, cover, cover + 0.7)[..., None] * (0.25 + 0.7 * np.sqrt(up))[..., None]
    )
    bright = np.clip(0.86 + 0.3 * (density - above), 0.68, 1.06)[..., None]
    cloud = np.minimum(255, (0.82 * np.array((255, 252, 248), np.float32) + 0.18 * warm) * bright)
    colors = colors + (cloud - colors) * alpha
    return np.clip(colors, 0, 255).astype(np.uint8)


def ground(
    colors: np.ndarray,
    segments: np.ndarray,
    shadows: np.ndarray,
    camera: Camera,
    light: Light,
    clutter: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Give asphalt, stone, grass and water their textures and lay the cast shadows on them.

    colors uint8 (H, W, 3), segments and shadows uint8 (H, W); returns uint8 (H, W, 3).
    """
    height, width = segments.shape
    first = min(height - 1, int(camera.horizon * height))
    region = segments[first:]
    bank = noise_bank()
    offset = rng.integers(0, BANK, 2).astype(np.float32)
    y = (np.arange(first, height, dtype=np.float32)[:, None] + 0.5) / height
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / height
    z = camera.focal * camera.height / np.maximum(y - camera.horizon, 0.25 / height)  # (h, 1)
    wx = (x - camera.center) * z / camera.focal + 512  # world x, kept positive
    near = np.clip(9 / z, 0.1, 1)  # fine texture fades where a pixel covers much of it
    u, v = wx * 7 + offset[0], z * 7 + offset[1] + 0 * x
    coarse = look(bank[0], u, v)
    fine = look(bank[1], 5 * u, 3 * v) * near
    pixel = look(grain(), x * height + offset[0], y * height + offset[1] + 0 * x)
    gain = np.zeros_like(coarse)
    for label, a, b, c in (
        (ROAD, 0.07, 0.1, 0.025),
        (PAVEMENT, 0.07, 0.07, 0.015),
        (GRASS, 0.16, 0.26, 0.07),
        (WATER, 0.0, 0.0, 0.0),
    ):
        k = 1 + 1.1 * clutter
        gain += (region == label) * (a * k * coarse + b * k * fine + c * pixel)
    ripple = look(bank[2], wx * 5 + offset[1], z * 26 + 18 * coarse + offset[0]) * (
        0.35 + 0.65 * near
    )
    gain += (region == WATER) * 0.14 * ripple
    soft = Image.fromarray(shadows[first:]).filter(ImageFilter.GaussianBlur(0.004 * height))
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
    out[rows, columns] = 0.5 * colors[rows, columns] + 0.5 * mirrored * tint
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
    band = Image.fromarray(edge * 255).filter(ImageFilter.MaxFilter(2 * round(2 * sigma) + 3))
    band = band.filter(ImageFilter.GaussianBlur(sigma))
    image = Image.fromarray(colors)
    return np.asarray(Image.composite(image.filter(ImageFilter.GaussianBlur(sigma)), image, band))


def grade(colors: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Light tint, brush-like colour variation and vignette; float32 (H, W, 3) to uint8."""
    height, width = colors.shape[:2]
    bank = noise_bank()
    offset = rng.integers(0, BANK, 6).astype(np.float32)
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / height
    brush = np.stack(
        [look(bank[i], x * 150 + offset[i], y * 150 + offset[i + 3] + 0 * x) for i in range(3)], -1
    )
    middle = brush.mean(-1, keepdims=True)
    colors = colors * (1 + 0.05 * middle + 0.045 * (brush - middle))
    aspect = width / height
    r2 = (2 * x / aspect - 1) ** 2 + (2 * y - 1) ** 2
    colors *= np.array(light.tint, np.float32) * (1.02 - 0.09 * r2)[..., None]
    return np.clip(colors, 0, 255).astype(np.uint8)


def add_noise(colors: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise, mostly in brightness and a little in colour; uint8 (H, W, 3)."""
    height, width = colors.shape[:2]
    windows = []
    for row, column in rng.integers(0, BANK, (4, 2)).tolist():
        rows, columns = (np.arange(height) + row) % BANK, (np.arange(width) + column) % BANK
        windows.append(grain()[rows[:, None], columns])
    noise = 13 * windows[0][..., None] + 5 * np.stack(windows[1:], -1)  # (H, W, 3)
    return np.clip(np.rint(colors + amount * noise), 0, 255).astype(np.uint8)
