"""The knobs of a scene."""

from dataclasses import dataclass

KNOBS = (
    "boundary_blur", "scale_range", "occlusion", "imbalance", "fine_detail", "clutter", "noise",
    "light",
)  # fmt: skip


@dataclass(frozen=True)
class SceneConfig:
    """What a scene is like. Every knob goes from 0 to 1 and changes the picture visibly.

    Turning one knob leaves the rest of a scene as it is: each part of a scene has random numbers
    of its own, and positions are in units of the image height, so the size changes only the
    sampling.

    Attributes:
        size: image height and width in pixels, or one number for a square; at least 32.
        kind: "street", "park" or "mixed" (the seed decides).
        boundary_blur: blur along the boundaries of segments; sigma = 2.2 % of the height at 1.
        scale_range: 0, all things at about the same distance; 1, distances differ by up to 10.
        occlusion: 0, things stand apart; 1, they crowd together and hide each other.
        imbalance: 0, every kind of thing is about equally frequent; 1, only trees and cars
            remain frequent, people become rarer, signs and animals rare.
        fine_detail: 0, sturdy forms only; from 0.3 on leashes, from 0.4 on railings and bare twigs;
            towards 1, ever thinner poles and bars, more branches and blades of grass.
        clutter: 0, plain surfaces, few things; 1, posters, leaves, patches, strong texture and
            twice as many things.
        noise: sensor noise; standard deviation of 14 grey levels at 1.
        light: 0, dusk with lit windows; 1, noon.
        void_border: width in pixels of a band of void (255) along all segment boundaries.
    """

    size: int | tuple[int, int] = 128
    kind: str = "mixed"
    boundary_blur: float = 0.0
    scale_range: float = 0.4
    occlusion: float = 0.2
    imbalance: float = 0.0
    fine_detail: float = 0.25
    clutter: float = 0.2
    noise: float = 0.2
    light: float = 0.85
    void_border: int = 0

    def __post_init__(self) -> None:
        size = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        if len(size) != 2 or not all(isinstance(s, int) and s >= 32 for s in size):
            raise ValueError(f"size must be an int or (height, width), each >= 32; got {self.size}")
        if self.kind not in ("street", "park", "mixed"):
            raise ValueError(f"kind must be 'street', 'park' or 'mixed'; got {self.kind!r}")
        for name in KNOBS:
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be within [0, 1]; got {value}")
        if not (isinstance(self.void_border, int) and 0 <= self.void_border <= 8):
            raise ValueError(f"void_border must be an int within [0, 8]; got {self.void_border}")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)
