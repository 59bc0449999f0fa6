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
