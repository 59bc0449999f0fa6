"""What decides a training on scans: every setting, checked when it is given."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from segedu.files import read_json, write_json
from segedu.medical.preprocess import WINDOWS
from segedu.models.kinds import check_kind

OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("poly", "cosine", "step", "plateau", "constant")
SUBSETS = ("train", "val", "test")
#: The patient of a scan: its name up to the first number, which it includes; TCGA's and BIDS's
#: names, whose first number is another one or none, by their own rule. Without a number, all of it.
PATIENT = r"^(TCGA-\w\w-\w{4}|sub-[A-Za-z0-9]+|.*?[0-9]+|.+)"


@dataclass(frozen=True)
class ProjectConfig:
    """Everything that decides a training; it is saved with the run.

    Attributes:
        classes: names of the labels, background first.
        channels: of a scan, such as the sequences of an MR; 0 takes as many as the scans have.
        lesions: those of the classes of which a scan may hold several, each to be found.
        largest: those of which a scan holds one piece: of a prediction only the largest is kept.
        model: a network for volumes, see ``list_models("volume")``.
        base_width: its channels at full resolution.
        stages: resolutions of ``nnunet``; ``unet3d`` pools one time less.
        patch: voxels d, h, w; ``d = 1`` trains a 2-D network on slices.
        spacing: millimetres along d, h, w to resample to; empty takes the median of the scans that
            train, along each axis.
        intensity: ``"mr"`` (normalised per scan) or a window of HU: ``"lung"``, ``"mediastinum"``,
            ``"soft_tissue"``, ``"bone"``; ``"auto"`` guesses from the scans that train, see
            `segedu.medical.fingerprint.guess_intensity`. One word for all channels, or one each.
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
        folds: of a cross-validation; 0 splits once, by ``shares``. With folds, those of fold number
            ``fold`` test and the others train and validate, in proportion to ``shares``.
        fold: 0, 1, ...
        splits: a JSON file that splits instead: the names of the scans as ``{"train": [...],
            "val": [...], "test": [...]}``, or a list of such, of which ``fold`` chooses one, as
            nnU-Net's ``splits_final.json``; ``test`` may be absent.
        patient: whose a scan is, so that no patient is in two subsets: a pattern (regular
            expression) whose first group, or whole match, in the scan's name is the patient, such
            as ``LIDC-IDRI-[0-9]+``; or a CSV file with the columns ``name`` and ``patient``.
            The default takes the name up to its first number.
        seed: of everything random.
    """

    classes: tuple[str, ...] = ("background", "foreground")
    channels: int = 0
    lesions: tuple[str, ...] = ()
    largest: tuple[str, ...] = ()
    model: str = "nnunet"
    base_width: int = 16
    stages: int = 4
    patch: tuple[int, int, int] = (32, 64, 64)
    spacing: tuple[float, ...] = ()
    intensity: tuple[str, ...] = ("auto",)
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
    folds: int = 0
    fold: int = 0
    splits: str = ""
    patient: str = PATIENT
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.intensity, str):  # one for all channels
            object.__setattr__(self, "intensity", (self.intensity,))
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, list):  # JSON knows no tuples
                object.__setattr__(self, item.name, tuple(value))
            check_kind(item.name, value, item.type, item.default)
        given = [("optimizer", self.optimizer, OPTIMIZERS), ("schedule", self.schedule, SCHEDULES)]
        given += [("intensity", how, ("auto", "mr", *WINDOWS)) for how in self.intensity]
        for name, value, allowed in given:
            if value not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
        if self.channels < 0:
            raise ValueError(f"channels must not be negative, got {self.channels}")
        if len(self.intensity) not in (1, self.channels or len(self.intensity)):
            raise ValueError(
                f"intensity must be one word for all channels or one for each of {self.channels}, "
                f"got {self.intensity}"
            )
        if len(self.classes) < 2:
            raise ValueError(f"classes must name background and more, got {self.classes}")
        for name in ("lesions", "largest"):
            if not set(getattr(self, name)) <= set(self.classes[1:]):
                raise ValueError(
                    f"{name} must be among the classes {self.classes[1:]}, got "
                    f"{getattr(self, name)}"
                )
        if both := set(self.lesions) & set(self.largest):
            raise ValueError(f"of lesions there may be several: {sorted(both)} cannot be largest")
        if len(self.patch) != 3 or min(self.patch) < 1:
            raise ValueError(f"patch must be three positive numbers (d, h, w), got {self.patch}")
        if len(self.spacing) not in (0, 3):
            raise ValueError(f"spacing must be empty or three numbers, got {self.spacing}")
        if len(self.shares) != len(SUBSETS):
            raise ValueError(f"shares must be three, for {SUBSETS}, got {self.shares}")
        if self.folds < 0 or self.folds == 1:
            raise ValueError(f"folds must be 0 or at least 2, got {self.folds}")
        if self.folds and self.splits:
            raise ValueError("give folds or splits, not both: the file splits already")
        if self.fold < 0 or (not self.splits and self.fold >= max(self.folds, 1)):
            raise ValueError(f"fold must be in 0..{max(self.folds, 1) - 1}, got {self.fold}")

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
