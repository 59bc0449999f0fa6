"""A segmentation project on scans: configure, train, resume, predict.

The data lie as `segedu.medical.scans` says. A run is a folder with ``config.json``,
``split.json``, ``history.jsonl`` and the checkpoints ``best.pt`` and ``last.pt``; `predict` needs
nothing else.
"""

import csv
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
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
from segedu.medical.patches import Case, GridDataset, PatchDataset, pad_to, split_patients
from segedu.medical.preprocess import WINDOWS, normalize, window
from segedu.medical.scans import find_scans, read_pair
from segedu.medical.task import VolumeTask
from segedu.medical.volume import Volume
from segedu.models import get_model
from segedu.models.kinds import check_kind
from segedu.models.state import load_state

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("poly", "cosine", "step", "plateau", "constant")
SUBSETS = ("train", "val", "test")
#: The patient of a scan: what stands before the last hyphen of its name, or all of the name.
PATIENT = r"^(.+?)(?:-[^-]+)?$"


@dataclass(frozen=True)
class ProjectConfig:
    """Everything that decides a training; it is saved with the run.

    Attributes:
        classes: names of the labels, background first.
        lesions: those of the classes of which a scan may hold several, each to be found.
        model: a network for volumes, see ``list_models("volume")``.
        base_width: its channels at full resolution.
        stages: resolutions of ``nnunet``; ``unet3d`` pools one time less.
        patch: voxels d, h, w; ``d = 1`` trains a 2-D network on slices.
        spacing: millimetres along d, h, w to resample to; empty leaves the scans as they are.
        intensity: ``"mr"`` (normalised per scan) or a window of HU: ``"lung"``, ``"mediastinum"``,
            ``"soft_tissue"``, ``"bone"``.
        epochs, patches, batch_size: patches are those of an epoch.
        positive_ratio: share of patches around the foreground.
        optimizer, lr, momentum, weight_decay: momentum is that of ``sgd``.
        schedule: of the learning rate; ``step`` divides it by 10 after 60 % and 85 % of the epochs,
            ``plateau`` after 5 epochs without progress.
        clip_norm: longest gradient; 0 does not clip.
        patience: stop after so many epochs without progress; 0 never stops.
        amp: mixed precision; ``None`` means on a GPU only.
        augment: change the patches at random.
        flip: axes that may be mirrored; leave out the last where left and right are classes.
        shares: of the patients that train, validate, test.
        patient: whose a scan is, so that no patient is in two subsets: a pattern (regular
            expression) whose first group, or whole match, in the scan's name is the patient, such
            as ``LIDC-IDRI-[0-9]+``; or a CSV file with the columns ``name`` and ``patient``.
        seed: of everything random.
    """

    classes: tuple[str, ...] = ("background", "foreground")
    lesions: tuple[str, ...] = ()
    model: str = "nnunet"
    base_width: int = 16
    stages: int = 4
    patch: tuple[int, int, int] = (32, 64, 64)
    spacing: tuple[float, ...] = ()
    intensity: str = "mr"
    epochs: int = 30
    patches: int = 64
    batch_size: int = 2
    positive_ratio: float = 0.5
    optimizer: str = "adamw"
    lr: float = 2e-3
    momentum: float = 0.99
    weight_decay: float = 1e-4
    schedule: str = "poly"
    clip_norm: float = 12.0
    patience: int = 0
    amp: bool | None = None
    augment: bool = True
    flip: tuple[int, ...] = ()
    shares: tuple[float, ...] = (0.7, 0.15, 0.15)
    patient: str = PATIENT
    seed: int = 0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, list):  # JSON knows no tuples
                object.__setattr__(self, item.name, tuple(value))
            check_kind(item.name, value, item.type, item.default)
        allowed = {
            "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES,
            "intensity": ("mr", *WINDOWS),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {values}, got {getattr(self, name)!r}")
        if len(self.classes) < 2:
            raise ValueError(f"classes must name background and more, got {self.classes}")
        if not set(self.lesions) <= set(self.classes[1:]):
            raise ValueError(
                f"lesions must be among the classes {self.classes[1:]}, got {self.lesions}"
            )
        if len(self.patch) != 3 or min(self.patch) < 1:
            raise ValueError(f"patch must be three positive numbers (d, h, w), got {self.patch}")
        if len(self.spacing) not in (0, 3):
            raise ValueError(f"spacing must be empty or three numbers, got {self.spacing}")
        if len(self.shares) != len(SUBSETS):
            raise ValueError(f"shares must be three, for {SUBSETS}, got {self.shares}")

    @property
    def dimensions(self) -> int:
        """2 for slices, 3 for patches."""
        return 2 if self.patch[0] == 1 else 3

    def changed(self, **settings: Any) -> "ProjectConfig":
        """A copy with other settings.

        Raises:
            ValueError: for a setting that does not exist or a value that is not allowed.
        """
        known = {field.name for field in fields(self)}
        if not settings.keys() <= known:
            raise ValueError(
                f"no settings {sorted(settings.keys() - known)}; known: {sorted(known)}"
            )
        return replace(self, **settings)

    def save(self, path: str | Path) -> None:
        """Write JSON; an older file is replaced as a whole."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "ProjectConfig":
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is no configuration.
        """
        values = read_json(path)
        try:
            known = {field.name for field in fields(cls)}
            if not isinstance(values, dict) or not values.keys() <= known:
                raise ValueError(f"unknown settings {sorted(set(values) - known)}")
            return cls(**values)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is no configuration of a project: {error}") from error


def patients_of(names: Sequence[str], rule: str = PATIENT) -> list[str]:
    """Whose scan each is.

    Args:
        names: of the scans, without the ending of the file.
        rule: as ``ProjectConfig.patient``; by default the name up to its last hyphen, or all of it.

    Raises:
        FileNotFoundError: if the rule is a CSV file that is not there.
        ValueError: if the rule is no pattern, or says nothing of a name.

    Example:
        >>> patients_of(["lung_012-followup", "hippocampus_003"])
        ['lung_012', 'hippocampus_003']
        >>> patients_of(["LIDC-IDRI-0001-b"], "LIDC-IDRI-[0-9]+")
        ['LIDC-IDRI-0001']
    """
    if rule.lower().endswith(".csv"):
        with open(rule, encoding="utf-8-sig", newline="") as file:
            known = {row.get("name"): row.get("patient") for row in csv.DictReader(file)}
        found = [known.get(name) for name in names]
    else:
        try:
            pattern = re.compile(rule)
        except re.error as error:
            message = f"patient must be a pattern or a CSV file, got {rule!r} ({error})"
            raise ValueError(message) from None
        matches = [pattern.search(name) for name in names]
        found = [match and match[1 if pattern.groups else 0] for match in matches]
    if not all(found):
        name = next(n for n, patient in zip(names, found, strict=True) if not patient)
        raise ValueError(f"patient {rule!r} does not say whose the scan {name!r} is")
    return found


def _split(names: Sequence[str], config: ProjectConfig) -> tuple[list[int], ...]:
    """Scans of the subsets; says by what rule patients are told apart if there are too few."""
    patients = patients_of(names, config.patient)
    known = sorted(set(patients))
    if len(known) < len(SUBSETS):
        rule = f"by the rule {config.patient!r}"
        if config.patient == PATIENT:
            rule = "since what stands before the last hyphen of a name is the patient"
        raise ValueError(
            f"{len(names)} scans belong to {len(known)} patients ({', '.join(known)}), {rule}; "
            f"{', '.join(SUBSETS)} need one each. Set patient to a pattern that is found in the "
            "names, such as patient='^.+$' if each scan has its own, or to a CSV file with the "
            "columns name and patient"
        )
    return split_patients(patients, config.shares, config.seed)


def prepare(volume: Volume, config: ProjectConfig) -> Volume:
    """What the network sees of a scan: axial, resampled, intensities normalised."""
    volume = volume.reorient()
    if config.spacing:
        volume = volume.resample(config.spacing)
    return normalize(volume) if config.intensity == "mr" else window(volume, config.intensity)


def load_case(name: str, image: Path, label: Path, config: ProjectConfig) -> Case:
    """Read one scan with its labels.

    Raises:
        ValueError: if the labels lie on another grid, or are no classes of the project.
    """
    scan, truth = read_pair(image, label)
    seen = prepare(scan, config)
    mask = truth.resample_to(seen, labels=True).array
    found = np.unique(mask)
    if not np.isin(found, range(len(config.classes))).all():
        raise ValueError(
            f"{label.name} holds the labels {found.tolist()}, the project has "
            f"{len(config.classes)} classes"
        )
    tensors = (torch.from_numpy(np.ascontiguousarray(array)) for array in (seen.array, mask))
    array, mask = tensors
    return Case(patients_of([name], config.patient)[0], array.float()[None], mask.to(torch.uint8))


def build_model(config: ProjectConfig) -> nn.Module:
    """The network of a project."""
    depth = {"nnunet": {"stages": config.stages}, "unet3d": {"depth": config.stages - 1}}
    if config.model not in depth:
        raise ValueError(f"model must be one of {', '.join(depth)}, got {config.model!r}")
    return get_model(
        config.model,
        len(config.classes),
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
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> History:
    """Train on a folder of scans and leave a run in ``out``.

    Args:
        data: the scans, in the layout of the Decathlon.
        out: folder of the run, made if need be.
        config: what decides the training.
        resume: go on from ``last.pt``; the configuration must be that of the run, but for
            ``epochs`` and ``patience``.
        device: the GPU if there is one, else the CPU.
        on_epoch: called with the record of every epoch, such as ``segedu.viz.live_curves()`` in a
            notebook or ``segedu.engine.tensorboard(folder)``.

    Raises:
        FileNotFoundError: if scans or labels are missing.
        FileExistsError: if ``out`` holds a run and ``resume`` is False.
        ValueError: if scans do not fit the project, or a resumed run had other settings or scans.
    """
    out, device = Path(out), distributed.setup(device)
    scans = find_scans(data)
    parts = _split([name for name, *_ in scans], config)
    split = {k: [scans[i][0] for i in part] for k, part in zip(SUBSETS, parts, strict=True)}
    _check_run(out, config, split, resume)
    distributed.wait()  # the first process writes what the others look at here
    train_cases, val_cases = ([load_case(*scans[i], config) for i in part] for part in parts[:2])
    out.mkdir(parents=True, exist_ok=True)
    if distributed.rank() == 0:
        write_json(out / "split.json", split)
        config.save(out / "config.json")
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

    Raises:
        FileNotFoundError: if ``run`` holds no run.
        CheckpointError: if its checkpoint is damaged.
    """

    def __init__(self, run: str | Path, device: str | None = None) -> None:
        self.config = ProjectConfig.load(Path(run, "config.json"))
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = build_model(self.config)
        checkpoint = Path(run, "best.pt")
        load_state(self.model, load_checkpoint(checkpoint)["model"], str(checkpoint))
        self.model.to(self.device).eval()

    def __call__(self, scan: Volume, *, overlap: float = 0.5) -> Volume:
        """Labels (uint8) on the very grid of ``scan``, whatever its orientation and spacing."""
        seen = prepare(scan, self.config)
        image = torch.from_numpy(np.ascontiguousarray(seen.array)).float()
        image, box = pad_to(image[None, None], self.config.patch)
        probability = self._probabilities(image.to(self.device), overlap)[0, :, *box].cpu().numpy()
        if seen.shape == scan.reorient().shape:
            labels = seen.with_array(probability.argmax(0).astype(np.uint8))
        else:  # bring the probabilities back, not the labels: their borders are finer than voxels
            grid = scan.reorient()
            labels = _resampled_argmax(probability, seen, grid)
        return labels.reorient(scan.axes)

    def _probabilities(self, image: Tensor, overlap: float) -> Tensor:
        """(1, 1, D, H, W) -> (1, C, D, H, W)."""
        d, *patch = self.config.patch
        if self.config.dimensions == 3:
            return sliding_window(
                self.model, image, (d, *patch), overlap=overlap, at_once=self.config.batch_size
            )
        slices = image[0].transpose(0, 1)  # (D, 1, H, W)
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


def _check_run(out: Path, config: ProjectConfig, split: dict[str, list[str]], resume: bool) -> None:
    """Refuse to write over a run, and to go on with another one."""
    if not (out / "config.json").exists():
        return
    if not resume:
        raise FileExistsError(f"{out} holds a run: resume it or choose another folder")
    before = asdict(ProjectConfig.load(out / "config.json"))
    changed = differences(before, asdict(config))
    if changed:
        raise ValueError(f"cannot resume {out}: {'; '.join(changed)}")
    if read_json(out / "split.json") != split:
        raise ValueError(f"cannot resume {out}: the folder of scans is another one")


def _augmentation(config: ProjectConfig) -> Augment | None:
    """Random changes of patches whose voxels are as the configuration says, or cubes."""
    if not config.augment:
        return None
    return Augment(flip=config.flip, spacing=config.spacing[-config.dimensions :] or None)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values))
