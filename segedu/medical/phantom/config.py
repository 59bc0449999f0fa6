"""What a phantom may be asked for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Nodule:
    """A round lesion to place in a lung.

    Attributes:
        diameter: millimetres.
        hu: attenuation; about 30 solid, -600 ground glass, 300 calcified.
        lung: ``"right"``, ``"left"``, or ``""`` for either.
        lobulation: relative depth of the dents in its surface, 0 (a ball) to 0.5.
        centre: x, y, z in millimetres; ``None`` lets the seed choose a place where it fits.
    """

    diameter: float = 10.0
    hu: float = 30.0
    lung: str = ""
    lobulation: float = 0.15
    centre: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class PhantomConfig:
    """The knobs of a phantom.

    Attributes:
        shape: voxels (D, H, W); slices are axial, from the feet to the head.
        spacing: millimetres along d, h, w.
        supersample: samples along each axis of a voxel; their mean is its partial volume.
        nodules: what to find.
        emphysema: share of the lungs destroyed, 0 to 0.5.
        effusion: height of the fluid behind the right lung, in millimetres.
        missing_lung: ``"right"``, ``"left"`` or ``""``: the side of a pneumonectomy, filled with
            fluid.
        contrast_hu: what a contrast agent adds to blood.
        fat: thickness of the fat below the skin, in millimetres.
        heart_size: factor on the heart.
        variation: how much one seed's anatomy differs from the next, 0 to 2.
        noise: standard deviation of the noise in soft tissue, in HU.
        blur: standard deviation of the in-plane point spread, in millimetres.
        table: draw the table.
    """

    shape: tuple[int, int, int] = (96, 192, 192)
    spacing: tuple[float, float, float] = (3.0, 1.9, 1.9)
    supersample: int = 2
    nodules: tuple[Nodule, ...] = (Nodule(16.0), Nodule(9.0), Nodule(12.0, hu=-600.0))
    emphysema: float = 0.0
    effusion: float = 0.0
    missing_lung: str = ""
    contrast_hu: float = 110.0
    fat: float = 12.0
    heart_size: float = 1.0
    variation: float = 1.0
    noise: float = 18.0
    blur: float = 0.7
    table: bool = True

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or self.supersample < 1 or min(self.spacing) <= 0:
            raise ValueError("shape, spacing and supersample must be positive")
        for name, high in (("emphysema", 0.5), ("variation", 2.0)):
            if not 0 <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be in 0..{high}, got {getattr(self, name)}")
        for name in ("effusion", "fat", "noise", "blur"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for side in (self.missing_lung, *(nodule.lung for nodule in self.nodules)):
            if side not in ("", "left", "right"):
                raise ValueError(f"a lung is 'left', 'right' or '', got {side!r}")
