"""A segmentation project on scans: configure, train, resume, predict.

The data lie as `segedu.medical.scans` says. A run is a folder with ``config.json``,
``split.json``, ``fingerprint.json``, ``history.jsonl`` and the checkpoints ``best.pt`` and
``last.pt``; `Predictor` needs nothing else.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segedu.engine import (
    History,
    cosine_lr,
    distributed,
    fit,
    load_checkpoint,
    make_loader,
    plateau_lr,
    poly_lr,
    sliding_window,
    step_lr,
)
from segedu.engine.resume import differences
from segedu.files import read_json, write_json
from segedu.medical.augment import Augment
from segedu.medical.config import ProjectConfig
from segedu.medical.fingerprint import Fingerprint, fit_settings, read_labelled, survey
from segedu.medical.patches import Case, GridDataset, PatchDataset, pad_to
from segedu.medical.patients import Split, patients_of, split_scans
from segedu.medical.postprocess import keep_largest
from segedu.medical.preprocess import normalize, window
from segedu.medical.scans import Scan, check_channels, find_scans
from segedu.medical.task import VolumeTask
from segedu.medical.volume import Volume
from segedu.models import get_model
from segedu.models.state import load_state


def prepare(volume: Volume, config: ProjectConfig, channel: int = 0) -> Volume:
    """What the network sees of a channel of a scan: axial, resampled, intensities normalised.

    Args:
        volume: the channel.
        config: that of a run, in which `fit_settings` has left nothing open.
        channel: its number.
    """
    volume, intensity = volume.reorient().resample(config.spacing), config.intensity[channel]
    return normalize(volume) if intensity == "mr" else window(volume, intensity)


def load_case(name: str, images: Sequence[Path], label: Path, config: ProjectConfig) -> Case:
    """Read one scan with its labels.

    Raises:
        ValueError: if the labels lie on another grid, or are no classes of the project.
    """
    scan, truth = read_labelled(images, label, len(config.classes))
    grid, image = _prepared(scan, config)
    mask = torch.from_numpy(np.ascontiguousarray(truth.resample_to(grid, labels=True).array))
    return Case(patients_of([name], config.patient)[0], image, mask.to(torch.uint8))


def _prepared(scan: Sequence[Volume], config: ProjectConfig) -> tuple[Volume, Tensor]:
    """The first channel as the network sees it, and all as (C, D, H, W)."""
    seen = [prepare(volume, config, c) for c, volume in enumerate(scan)]
    return seen[0], torch.from_numpy(np.stack([channel.array for channel in seen])).float()


def build_model(config: ProjectConfig) -> nn.Module:
    """The network of a project."""
    depth = {"nnunet": {"stages": config.stages}, "unet3d": {"depth": config.stages - 1}}
    if config.model not in depth:
        raise ValueError(f"model must be one of {', '.join(depth)}, got {config.model!r}")
    return get_model(
        config.model,
        len(config.classes),
        in_channels=config.channels or 1,
        base_width=config.base_width,
        dimensions=config.dimensions,
        **depth[config.model],
    )


def build_task(config: ProjectConfig) -> VolumeTask:
    """What the network learns; nnU-Net's has an output for each resolution but the coarsest."""
    resolutions = config.stages - 1 if config.model == "nnunet" else 1
    return VolumeTask(len(config.classes), resolutions)


def train(
    data: str | Path,
    out: str | Path,
    config: ProjectConfig,
    *,
    resume: bool = False,
    device: str | None = None,
    on_start: Callable[[ProjectConfig, Fingerprint], None] | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> History:
    """Train on a folder of scans and leave a run in ``out``.

    Every scan of the split is read and checked first, those for testing, too. What the
    configuration leaves open follows from the scans that train (`fit_settings`).

    Args:
        data: the scans, in the layout of the Decathlon.
        out: folder of the run, made if need be.
        config: what decides the training.
        resume: go on from ``last.pt``; the configuration must be that of the run, but for
            ``epochs`` and ``patience``.
        device: the GPU if there is one, else the CPU.
        on_start: called before the first epoch with what decides the training, now complete, and
            what the scans that train have in common.
        on_epoch: called with the record of every epoch, such as ``segedu.viz.live_curves()`` in a
            notebook or ``segedu.engine.tensorboard(folder)``.

    Raises:
        FileNotFoundError: if scans or labels are missing.
        FileExistsError: if ``out`` holds a run and ``resume`` is False.
        ValueError: if scans do not fit the project, or a resumed run had other settings or scans.
    """
    out, device = Path(out), distributed.setup(device)
    scans = find_scans(data)
    split = split_scans([name for name, *_ in scans], config)
    parts = {k: [scan for scan in scans if scan.name in part] for k, part in split.items()}
    fingerprint = _look(out, parts, len(config.classes), resume)
    check_channels(data, fingerprint.channels)
    config = fit_settings(config, fingerprint)
    _check_run(out, config, split)
    distributed.wait()  # the first process writes what the others look at here
    train_cases, val_cases = ([load_case(*s, config) for s in parts[k]] for k in ("train", "val"))
    out.mkdir(parents=True, exist_ok=True)
    if distributed.rank() == 0:
        write_json(out / "split.json", split)
        fingerprint.save(out / "fingerprint.json")
        config.save(out / "config.json")
    if on_start:
        on_start(config, fingerprint)
    patches = PatchDataset(
        train_cases,
        config.patch,
        config.patches,
        positive_ratio=config.positive_ratio,
        transforms=_augmentation(config),
    )
    loader = make_loader(patches, config.batch_size, shuffle=True, seed=config.seed)
    model = _seeded(config)
    optimizer = build_optimizer(model, config)
    return fit(
        model,
        loader,
        epochs=config.epochs,
        task=build_task(config),
        optimizer=optimizer,
        scheduler=build_schedule(optimizer, config, len(loader)),
        val_loader=make_loader(GridDataset(val_cases, config.patch), config.batch_size),
        device=device,
        amp=config.amp,
        clip_norm=config.clip_norm or None,
        patience=config.patience or None,
        checkpoint_dir=out,
        resume=resume,
        config=_plain(asdict(config)),
        on_epoch=on_epoch,
        seed=config.seed,
    )


def build_optimizer(model: nn.Module, config: ProjectConfig) -> torch.optim.Optimizer:
    """The optimizer that the configuration names."""
    how = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=config.momentum, nesterov=True, **how)
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(model.parameters(), **how)


def build_schedule(optimizer: torch.optim.Optimizer, config: ProjectConfig, steps: int) -> Any:
    """The schedule that the configuration names, ``steps`` per epoch; ``None`` if constant."""
    total = config.epochs * steps
    if config.schedule == "poly":
        return poly_lr(optimizer, total)
    if config.schedule == "cosine":
        return cosine_lr(optimizer, total)
    if config.schedule == "step":
        return step_lr(optimizer, [round(0.6 * total), round(0.85 * total)])
    return plateau_lr(optimizer) if config.schedule == "plateau" else None


class Predictor:
    """A trained run, ready for new scans.

    Args:
        run: folder that `train` left.
        device: the GPU if there is one, else the CPU.

    Attributes:
        config: what decided the training.
        fingerprint: of the scans that it was trained on.

    Raises:
        FileNotFoundError: if ``run`` holds no run.
        CheckpointError: if its checkpoint is damaged.
    """

    def __init__(self, run: str | Path, device: str | None = None) -> None:
        self.config = ProjectConfig.load(Path(run, "config.json"))
        self.fingerprint = Fingerprint.load(Path(run, "fingerprint.json"))
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = build_model(self.config)
        checkpoint = Path(run, "best.pt")
        load_state(self.model, load_checkpoint(checkpoint)["model"], str(checkpoint))
        self.model.to(self.device).eval()

    def __call__(self, scan: Volume | Sequence[Volume], *, overlap: float = 0.5) -> Volume:
        """Labels (uint8) on the very grid of ``scan``, whatever its orientation and spacing.

        Warns if the scan is unlike those of the training.

        Args:
            scan: a volume, or the channels of a scan on one grid.
            overlap: share of a patch that the next one repeats.

        Raises:
            ValueError: if it has more or fewer channels than those of the training.
        """
        if strange := self.unlike(scan):
            listed = "; ".join(f"{name} {value}" for name, value in strange.items())
            warnings.warn(
                f"the scan is unlike those of the training, in brackets: {listed}", stacklevel=2
            )
        return self.segment(scan, overlap=overlap)

    def unlike(self, scan: Volume | Sequence[Volume]) -> dict[str, str]:
        """In what ``scan`` lies outside of the training, see `Fingerprint.unlike`."""
        return self.fingerprint.unlike(self._channels(scan), self.config.intensity)

    def segment(self, scan: Volume | Sequence[Volume], *, overlap: float = 0.5) -> Volume:
        """The labels without a look at whether the scan is like those of the training."""
        channels = self._channels(scan)
        seen, image = _prepared(channels, self.config)
        image, box = pad_to(image[None], self.config.patch)
        probability = self._probabilities(image.to(self.device), overlap)[0, :, *box].cpu().numpy()
        grid = channels[0].reorient()
        if seen.shape == grid.shape:
            labels = seen.with_array(probability.argmax(0).astype(np.uint8))
        else:  # bring the probabilities back, not the labels: their borders are finer than voxels
            labels = _resampled_argmax(probability, seen, grid)
        labels = keep_largest(labels, map(self.config.classes.index, self.config.largest))
        return labels.reorient(channels[0].axes)

    def _channels(self, scan: Volume | Sequence[Volume]) -> Sequence[Volume]:
        channels = [scan] if isinstance(scan, Volume) else scan
        if len(channels) != self.config.channels:
            raise ValueError(
                f"the scan has {len(channels)} channels, the network was trained on "
                f"{self.config.channels}: give them all, in the order of the training"
            )
        return channels

    def _probabilities(self, image: Tensor, overlap: float) -> Tensor:
        """(1, channels, D, H, W) -> (1, C, D, H, W)."""
        d, *patch = self.config.patch
        if self.config.dimensions == 3:
            return sliding_window(
                self.model, image, (d, *patch), overlap=overlap, at_once=self.config.batch_size
            )
        slices = image[0].transpose(0, 1)  # (D, channels, H, W)
        parts = [
            sliding_window(self.model, part, tuple(patch), overlap=overlap)
            for part in slices.split(8)
        ]
        return torch.cat(parts).transpose(0, 1)[None]


def _resampled_argmax(probability: np.ndarray, seen: Volume, grid: Volume) -> Volume:
    """Class of the largest probability on another grid, one class in memory at a time."""
    best = np.full(grid.shape, -1, np.float32)
    labels = np.zeros(grid.shape, np.uint8)
    for c, share in enumerate(probability):
        here = seen.with_array(share).resample_to(grid, fill=float(c == 0)).array
        labels[here > best] = c
        best = np.maximum(best, here)
    return grid.with_array(labels)


def _seeded(config: ProjectConfig) -> nn.Module:
    """The network with weights that follow from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return build_model(config)


def _look(out: Path, parts: dict[str, list[Scan]], num_classes: int, resume: bool) -> Fingerprint:
    """The fingerprint of the scans that train; those that test are checked, too, or a bad label
    would come to light after the training only."""
    if (out / "config.json").exists():
        if not resume:
            raise FileExistsError(f"{out} holds a run: resume it or choose another folder")
        return Fingerprint.load(out / "fingerprint.json")
    for _, images, labels in parts["test"]:
        read_labelled(images, labels, num_classes)
    return survey(parts["train"], num_classes)


def _check_run(out: Path, config: ProjectConfig, split: Split) -> None:
    """Refuse to go on with another run."""
    if not (out / "config.json").exists():
        return
    before = asdict(ProjectConfig.load(out / "config.json"))
    changed = differences(before, asdict(config))
    if changed:
        raise ValueError(f"cannot resume {out}: {'; '.join(changed)}")
    if read_json(out / "split.json") != split:
        raise ValueError(f"cannot resume {out}: the folder of scans is another one")


def _augmentation(config: ProjectConfig) -> Augment | None:
    """Random changes of patches whose voxels are as the configuration says."""
    if not config.augment:
        return None
    return Augment(flip=config.flip, spacing=config.spacing[-config.dimensions :])


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values))
