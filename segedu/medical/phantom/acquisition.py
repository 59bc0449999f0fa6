"""What a scanner makes of tissues: partial volume, texture, blur, correlated noise."""

import numpy as np

from segedu.medical.phantom.config import PhantomConfig
from segedu.medical.phantom.tissues import Label


def mean_per_voxel(samples: np.ndarray, factor: int) -> np.ndarray:
    """(factor·D, factor·H, factor·W) -> (D, H, W) float32: the partial volume effect."""
    d, h, w = samples.shape
    s = factor
    parts = samples.reshape(d // s, s, h // s, s, w // s, s)
    return parts.mean((1, 3, 5), dtype=np.float32)


def most_per_voxel(samples: np.ndarray, factor: int) -> np.ndarray:
    """(factor·D, factor·H, factor·W) -> (D, H, W): the value of most samples of a voxel."""
    present = np.unique(samples)
    first = samples[
        ::factor, ::factor, ::factor
    ]  # decides ties, so that no tissue gains by its number
    shares = [mean_per_voxel(samples == k, factor) + 1e-3 * (first == k) for k in present]
    return present[np.argmax(shares, axis=0)]


def acquire(
    hu: np.ndarray, labels: np.ndarray, config: PhantomConfig, rng: np.random.Generator
) -> np.ndarray:
    """Mean HU of the tissues -> int16 HU of the image, all (D, H, W)."""
    from scipy.ndimage import gaussian_filter

    step = np.array(config.spacing)
    texture = gaussian_filter(rng.standard_normal(hu.shape, np.float32), 5 / step)
    texture /= texture.std() + 1e-6
    slope = np.linspace(-1, 1, hu.shape[1], dtype=np.float32)[None, :, None]  # blood sinks back
    grain = np.where(labels == Label.SOFT_TISSUE, 6, 3) * texture
    hu = hu + np.where(labels == Label.LUNG, 14 * texture + 70 * slope, grain)
    hu = gaussian_filter(hu, (0, config.blur / step[1], config.blur / step[2]))
    hu += config.noise * ct_noise(hu.shape, config.spacing, rng) * _noise_level(labels)
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def ct_noise(
    shape: tuple[int, ...], spacing: tuple[float, ...], rng: np.random.Generator
) -> np.ndarray:
    """Noise of unit variance with the spectrum of filtered back projection: a ramp, cut off."""
    white = rng.standard_normal(shape, np.float32)
    fy = np.fft.fftfreq(shape[1], spacing[1])[:, None]
    fx = np.fft.rfftfreq(shape[2], spacing[2])[None]
    f = np.hypot(fy, fx)
    gain = np.sqrt(f) * np.exp(-((f / 0.32) ** 2))
    noise = np.stack([np.fft.irfft2(np.fft.rfft2(plane) * gain, shape[1:]) for plane in white])
    return (noise / (noise.std() + 1e-12)).astype(np.float32)


def _noise_level(labels: np.ndarray) -> np.ndarray:
    """Relative noise: more where rays cross much tissue, in the middle and between bones."""
    from scipy.ndimage import gaussian_filter

    thin = (Label.BACKGROUND, Label.LUNG, Label.TABLE)
    tissue = (~np.isin(labels, thin)).astype(np.float32)
    tissue += 0.25 * (labels == Label.LUNG) + 1.0 * (labels == Label.BONE)
    level = gaussian_filter(tissue, [0, *(n / 12 for n in labels.shape[1:])])
    return 0.35 + 0.8 * level
