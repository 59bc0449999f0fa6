"""DINO. Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021.

arXiv:2104.14294. A student looks at pieces of an image and learns to say what a teacher says of
other pieces of the same image. Nobody tells the teacher anything: it is the student's own average.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from segedu.models.mae import PatchEncoder


class ProjectionHead(nn.Sequential):
    """Three layers, a vector of length 1, and its similarity to K learned directions (figure 9).

    Args:
        width: channels of what it is given.
        hidden: channels of the two hidden layers.
        bottleneck: channels of the vector of length 1.
        outputs: K, the number of directions, each of length 1 as well.
    """

    def __init__(self, width: int, hidden: int, bottleneck: int, outputs: int) -> None:
        last = weight_norm(nn.Linear(bottleneck, outputs, bias=False))
        nn.init.ones_(last.parametrizations.weight.original0)  # the lengths
        last.parametrizations.weight.original0.requires_grad_(False)
        super().__init__(
            *(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()),
            *(nn.Linear(hidden, bottleneck), UnitLength(), last),
        )


class UnitLength(nn.Module):
    """Divides vectors by their length."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        return F.normalize(x, dim=1)


def agreement_loss(
    student: list[Tensor],
    teacher: list[Tensor],
    center: Tensor,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> Tensor:
    """Cross-entropy between what teacher and student say of different views (equations 2 and 3).

    Args:
        student: outputs (N, K) for each view; the first views are those of the teacher.
        teacher: outputs (N, K) for each of its views.
        center: (K,), subtracted from the teacher's outputs.
        student_temperature, teacher_temperature: outputs are divided by them before the softmax.

    Returns:
        The mean over images and over the pairs of different views.
    """
    targets = [((x - center) / teacher_temperature).softmax(1).detach() for x in teacher]
    answers = [(x / student_temperature).log_softmax(1) for x in student]
    pairs = [
        -(target * answer).sum(1).mean()
        for i, target in enumerate(targets)
        for j, answer in enumerate(answers)
        if i != j
    ]
    if not pairs:
        raise ValueError("there must be two different views at least, got one")
    return torch.stack(pairs).mean()


def moved(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    """``momentum`` of the old and the rest of the new: an exponential moving average."""
    return momentum * old + (1 - momentum) * new


class DINO(nn.Module):
    """Self-distillation without labels: a student, and a teacher that is its moving average.

    Faithful: the teacher sees the large views, the student all; the teacher's outputs are centred
    and sharpened; no gradient reaches the teacher; head of three layers with a normalised last one.
    Different: small, for scenes of 64 pixels (the paper's head has 65536 outputs and 2048 hidden
    channels); position codes are fixed sines.

    Args:
        image_size, patch_size: pixels a side; the second divides the first.
        layers, width, heads: of the encoders, each a `PatchEncoder`.
        hidden, bottleneck, outputs: of the `ProjectionHead`.
        student_temperature, teacher_temperature: see `agreement_loss`.
        center_momentum: share of the old centre that stays at each step.
        in_channels: channels of the images.

    Example:
        >>> model = DINO(outputs=16)
        >>> views = [torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64), torch.rand(2, 3, 32, 32)]
        >>> model.loss(views).shape
        torch.Size([])
    """

    def __init__(
        self,
        *,
        image_size: int = 64,
        patch_size: int = 8,
        layers: int = 4,
        width: int = 96,
        heads: int = 3,
        hidden: int = 128,
        bottleneck: int = 64,
        outputs: int = 256,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        center_momentum: float = 0.9,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        size = {"layers": layers, "width": width, "heads": heads, "in_channels": in_channels}
        self.encoder = PatchEncoder(image_size, patch_size, **size)
        self.head = ProjectionHead(width, hidden, bottleneck, outputs)
        self.teacher = copy.deepcopy(self.encoder).requires_grad_(False)
        self.teacher_head = copy.deepcopy(self.head).requires_grad_(False)
        self.temperatures = student_temperature, teacher_temperature
        self.center_momentum = center_momentum
        self.register_buffer("center", torch.zeros(outputs))

    def forward(self, images: Tensor) -> Tensor:
        """What the student says of images (N, 3, H, W): (N, K)."""
        return self.head(self.encoder.encode(self.encoder.tokens(images)[0])[:, 0])

    @torch.no_grad()
    def teach(self, images: Tensor) -> Tensor:
        """What the teacher says of images (N, 3, H, W): (N, K), not yet centred."""
        return self.teacher_head(self.teacher.encode(self.teacher.tokens(images)[0])[:, 0])

    def loss(self, views: list[Tensor], large: int = 2) -> Tensor:
        """`agreement_loss` of the views of a batch; in training the centre moves.

        Args:
            views: each (N, 3, H, W) of one size; the first ``large`` go to the teacher, too.
            large: number of large views.
        """
        teacher = [self.teach(view) for view in views[:large]]
        loss = agreement_loss(
            [self(view) for view in views], teacher, self.center, *self.temperatures
        )
        if self.training:
            self.move_center(torch.cat(teacher))
        return loss

    @torch.no_grad()
    def move_center(self, outputs: Tensor) -> None:
        """The centre follows the mean of the teacher's outputs (M, K) (equation 4)."""
        self.center.copy_(moved(self.center, outputs.mean(0), self.center_momentum))

    @torch.no_grad()
    def move_teacher(self, momentum: float) -> None:
        """The teacher follows the student; to be called after each step of the optimiser."""
        for teacher, student in ((self.teacher, self.encoder), (self.teacher_head, self.head)):
            for old, new in zip(teacher.parameters(), student.parameters(), strict=True):
                old.copy_(moved(old, new, momentum))


def random_views(
    images: Tensor,
    size: int,
    area: tuple[float, float],
    generator: torch.Generator | None = None,
    light: float = 0.4,
) -> Tensor:
    """A piece of each image, enlarged or shrunk, perhaps mirrored, in other light and colours.

    Args:
        images: (N, C, H, W).
        size: pixels a side of the result.
        area: least and largest share of the image's area that a piece has; it is square if the
            image is.
        generator: makes it repeatable.
        light: contrast changes by a factor of 1 - ``light`` to 1 + ``light``, and each channel by a
            shift of up to ``light``; 0 leaves both.

    Returns:
        (N, C, size, size).
    """
    count, channels = images.shape[:2]
    like = {"dtype": images.dtype, "device": images.device}

    def draw(low: float, high: float, *shape: int) -> Tensor:
        number = torch.rand(count, *shape, generator=generator, dtype=images.dtype)
        return (low + (high - low) * number).to(images.device)

    side = draw(*area).sqrt()  # (N,), of the image's
    mirror = (draw(-1, 1).sign()) * side
    place = draw(-1, 1, 2) * (1 - side)[:, None]  # (N, 2), middle of the piece in -1..1
    zero = torch.zeros(count, **like)
    rows = torch.stack(
        [
            torch.stack([mirror, zero, place[:, 0]], dim=1),
            torch.stack([zero, side, place[:, 1]], dim=1),
        ],
        dim=1,
    )  # (N, 2, 3)
    grid = F.affine_grid(rows, [count, channels, size, size], align_corners=False)
    pieces = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    contrast, shift = draw(1 - light, 1 + light, 1, 1, 1), draw(-light, light, channels, 1, 1)
    return pieces * contrast + shift


def multi_crop(
    images: Tensor,
    *,
    small: int = 4,
    small_size: int = 32,
    generator: torch.Generator | None = None,
) -> list[Tensor]:
    """Two large views of each image and some small ones (section 3.1).

    Args:
        images: (N, C, S, S), normalised: as many pixels a side as the large views.
        small: number of small views.
        small_size: pixels a side of a small view.
        generator: makes it repeatable.

    Returns:
        Two tensors (N, C, S, S), each view 0.4 to 1 of the area, and ``small`` tensors
        (N, C, small_size, small_size), each 0.05 to 0.4 of it.
    """
    large = [random_views(images, images.shape[-1], (0.4, 1.0), generator) for _ in range(2)]
    return large + [random_views(images, small_size, (0.05, 0.4), generator) for _ in range(small)]
