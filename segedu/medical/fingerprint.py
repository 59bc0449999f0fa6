"""What the scans of a training have in common: what its settings follow from, and what fits them.

The idea and the rule for the spacing are nnU-Net's (Isensee et al. 2021,
doi:10.1038/s41592-020-01008-z): measure the training set, and resample to its median spacing.
"""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segedu.files import read_json, write_json
from segedu.medical.config import ProjectConfig
from segedu.medical.preprocess import WINDOWS
from segedu.medical.scans import Scan, read_pair
from segedu.medical.volume import Volume

PERCENTILES = (0.5, 50.0, 99.5)  # of the values of a scan
FOREGROUND = (2.5, 97.5)  # of the values of its labelled voxels
TOLERANCE = 1.25  # spacings and sizes may leave the range of the training by this factor,
MARGIN = 0.25  # windowed values by this share of the window
HU_BELOW = -200.0  # a scan whose lowest values lie below shows air in Hounsfield units
_SAMPLE = 1_000_000  # voxels of a scan that are looked at


class Range(NamedTuple):
    """Of one number for each scan, or of several such as one for each axis."""

    low: Any
    median: Any
    high: Any

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Range":
        """Least, median and largest, each number by itself, with six digits."""
        found = (np.min(values, 0), np.median(values, 0), np.max(values, 0))
        return cls(*(np.vectorize(lambda x: float(f"{x:.6g}"))(part).tolist() for part in found))


@dataclass(frozen=True)
class Fingerprint:
    """The scans of a training set, turned to axial (slices, rows, columns).

    Attributes:
        scans: how many.
        channels: of each of them.
        axes: how they are stored -> how many are.
        spacing: millimetres along d, h, w.
        size: voxels along d, h, w.
        extent: millimetres along d, h, w.
        values: for each channel the percentiles 0.5, 50 and 99.5 of the values of a scan.
        foreground: for each channel the percentiles 2.5 and 97.5 of the values of its labelled
            voxels; over the scans that have some.
    """

    scans: int
    channels: int
    axes: dict[str, int]
    spacing: Range
    size: Range
    extent: Range
    values: Range
    foreground: Range | None

    def save(self, path: str | Path) -> None:
        """Write JSON; an older file is replaced as a whole."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "Fingerprint":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no fingerprint.
        """
        content = read_json(path)
        try:
            ranges = {f.name: content[f.name] for f in fields(cls)}
            for name in ("spacing", "size", "extent", "values", "foreground"):
                ranges[name] = ranges[name] and Range(*ranges[name])
            return cls(**ranges)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is no fingerprint of a training set: {error}") from error

    def describe(self) -> str:
        """One line for people."""
        spacing, size = _axes(self.spacing.median), _axes(self.size.median)
        values = " and ".join(f"{low:g} to {high:g}" for low, _, high in self.values.median)
        turned = ", ".join(f"{count} {axes}" for axes, count in self.axes.items())
        each = f" of {self.channels} channels" if self.channels > 1 else ""
        return (
            f"training set: {self.scans} scans{each}, stored as {turned}, median spacing "
            f"{spacing} mm, median size {size} voxels, values mostly {values}"
        )

    def unlike(self, scan: Sequence[Volume], intensity: Sequence[str]) -> dict[str, str]:
        """In what a scan differs from all scans of the training; empty if it lies among them.

        ``spacing``, ``extent`` or ``values`` (low / middle / high) -> those of the scan and, in
        brackets, the range of the training.

        Args:
            scan: its channels in any orientation, as that is turned anyway.
            intensity: one word for each channel, as in ``ProjectConfig``. Windowed values are
                compared as the network sees them; those of MR have no unit, and only their sign is.
        """
        axial = scan[0].reorient()
        extent = np.multiply(axial.shape, axial.spacing)
        found = {}
        for name, value, known in (
            ("spacing", axial.spacing, self.spacing),
            ("extent", extent, self.extent),
        ):
            least, most = np.divide(known.low, TOLERANCE), np.multiply(known.high, TOLERANCE)
            if (value < least).any() or (value > most).any():
                found[name] = f"{_axes(value)} mm [{_axes(known.low)} – {_axes(known.high)} mm]"
        strange = []
        for c, (channel, how) in enumerate(zip(scan, intensity, strict=True)):
            rows = (_percentiles(channel.array), self.values.low[c], self.values.high[c])
            if _is_strange(*map(np.array, rows), how):
                now, low, high = (" / ".join(f"{v:.4g}" for v in row) for row in rows)
                of = f"channel {c}: " if self.channels > 1 else ""
                strange.append(f"{of}{now} [{low} – {high}]")
        if strange:
            found["values"] = ", ".join(strange)
        return found


def _is_strange(values: np.ndarray, least: np.ndarray, most: np.ndarray, intensity: str) -> bool:
    """Whether the percentiles of a channel lie outside those of the training."""
    if intensity not in WINDOWS:
        return least[0] >= 0 > values[0]
    seen, least, most = (WINDOWS[intensity].scale(v) for v in (values, least, most))
    return ((seen < least - MARGIN) | (seen > most + MARGIN)).any()


def survey(scans: Iterable[Scan], num_classes: int) -> Fingerprint:
    """Look at every scan of a training and its labels.

    Raises:
        VolumeError: if one of them cannot be trusted.
        ValueError: if labels lie on another grid or are no classes of the project, or the scans
            have different numbers of channels.
    """
    axes: Counter[str] = Counter()
    spacing, size, values, foreground = [], [], [], []
    for name, images, labels in scans:
        scan, truth = read_labelled(images, labels, num_classes)
        if values and len(scan) != len(values[0]):
            raise ValueError(
                f"{name} has {len(scan)} channels, others have {len(values[0])}: all scans of a "
                "project need the same"
            )
        axes[scan[0].axes] += 1
        labelled = truth.array > 0
        if labelled.any():
            foreground.append([_percentiles(c.array[labelled], FOREGROUND) for c in scan])
        values.append([_percentiles(c.array) for c in scan])
        axial = scan[0].reorient()
        spacing.append(axial.spacing)
        size.append(axial.shape)
    return Fingerprint(
        len(size),
        len(values[0]),
        dict(sorted(axes.items())),
        Range.of(spacing),
        Range.of(size),
        Range.of(np.multiply(size, spacing)),
        Range.of(values),
        Range.of(foreground) if foreground else None,
    )


def read_labelled(
    images: Sequence[Path], labels: Path, num_classes: int
) -> tuple[tuple[Volume, ...], Volume]:
    """The channels of a scan and its labels, which must be classes of the project.

    Raises:
        VolumeError: if one of them cannot be trusted.
        ValueError: if the labels lie on another grid, or are no classes.
    """
    scan, truth = read_pair(images, labels)
    found = np.unique(truth.array)
    if not np.isin(found, range(num_classes)).all():
        raise ValueError(
            f"{labels.name} holds the labels {found.tolist()}, the project has {num_classes} "
            f"classes: allowed are 0 to {num_classes - 1}"
        )
    return scan, truth


def fit_settings(config: ProjectConfig, fingerprint: Fingerprint) -> ProjectConfig:
    """The configuration with what it leaves open: ``spacing``, ``channels``, ``intensity``.

    Raises:
        ValueError: if the configuration names another number of channels than the scans have.
    """
    spacing = config.spacing or tuple(fingerprint.spacing.median)
    channels = fingerprint.channels
    if config.channels not in (0, channels):
        raise ValueError(f"channels is {config.channels}, but the scans have {channels}")
    words = config.intensity * (channels if len(config.intensity) == 1 else 1)
    intensity = tuple(
        guess_intensity(fingerprint, c) if word == "auto" else word for c, word in enumerate(words)
    )
    return config.changed(spacing=spacing, channels=channels, intensity=intensity)


def guess_intensity(fingerprint: Fingerprint, channel: int = 0) -> str:
    """``"mr"``, or the window that suits a CT; of one channel.

    If every scan has values that only air in Hounsfield units has, it is CT. Then the narrowest
    window that shows nine tenths of the range of the labelled voxels is taken, or else that which
    shows most of it. Warns if some scans are CT by this rule and others are not.
    """
    lowest, highest = fingerprint.values.low[channel][0], fingerprint.values.high[channel][0]
    if lowest < HU_BELOW < highest:
        warnings.warn(
            f"some scans have values below {HU_BELOW:g}, as CT in Hounsfield units has, and others "
            "have none: train on scans of one kind and unit, or set intensity yourself",
            stacklevel=2,
        )
    if highest > HU_BELOW or fingerprint.foreground is None:
        return "mr"
    low, high = fingerprint.foreground.median[channel]

    def shown(name: str) -> float:
        window = WINDOWS[name]
        return (min(high, window.high) - max(low, window.low)) / max(high - low, 1)

    return max(WINDOWS, key=lambda name: (min(shown(name), 0.9), -WINDOWS[name].width))


def _percentiles(values: np.ndarray, which: Sequence[float] = PERCENTILES) -> np.ndarray:
    """Of about a million voxels at most."""
    flat = values.reshape(-1)
    return np.percentile(flat[:: max(1, flat.size // _SAMPLE)], which)


def _axes(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
