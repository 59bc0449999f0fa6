"""A small network learns from the answers of a large one.

Soft labels: Hinton, Vinyals & Dean 2015, "Distilling the knowledge in a neural network",
https://arxiv.org/abs/1503.02531, section 2. Features: Zagoruyko & Komodakis 2017, "Paying more
attention to attention", https://arxiv.org/abs/1612.03928, equation 2: maps of where a layer is
active are compared, which have no channels, so that teacher and student may differ in width.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.engine import Semantic


def soft_label_loss(logits: Tensor, teacher: Tensor, temperature: float = 2.0) -> Tensor:
    """How far the student's probabilities are from the teacher's, softened by a temperature.

    T² KL(softmax(teacher / T) ‖ softmax(logits / T)), mean over the pixels. The factor keeps
    the size of the gradients as T changes.

    Args:
        logits: of the student, (N,C,*S).
        teacher: of the teacher, (N,C,*S); no gradient reaches it.
        temperature: T > 0; above 1 it shows what the teacher thinks of the less likely classes.

    Returns:
        A scalar, 0 if the two agree.

    Raises:
        ValueError: if the shapes differ, C is 1, or T is not positive.
    """
    if logits.shape != teacher.shape or logits.shape[1] < 2:
        raise ValueError(
            "logits and teacher must be (N,C,...) of one shape with C >= 2, got "
            f"{tuple(logits.shape)} and {tuple(teacher.shape)}"
        )
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    target = F.log_softmax(teacher.detach() / temperature, dim=1)
    divergence = F.kl_div(
        F.log_softmax(logits / temperature, dim=1), target, reduction="none", log_target=True
    )
    return temperature**2 * divergence.sum(1).mean()


def attention_loss(features: Tensor, teacher: Tensor) -> Tensor:
    """How far apart two feature maps are active: mean squared difference of their attention maps.

    The attention map of a feature map is the mean of its squares over the channels, scaled to
    length 1. A student's map of another size is scaled to the teacher's.

    Args:
        features: of the student, (N,C,H,W).
        teacher: (N,C',H',W'); no gradient reaches it.

    Returns:
        A scalar in [0, 4]: the squared distance, mean over the images.
    """
    own = features.pow(2).mean(1, keepdim=True)
    other = teacher.detach().pow(2).mean(1, keepdim=True)
    if own.shape != other.shape:
        own = F.interpolate(own, other.shape[2:], mode="bilinear", align_corners=False)
    difference = F.normalize(own.flatten(1), dim=1) - F.normalize(other.flatten(1), dim=1)
    return difference.pow(2).sum(1).mean()


class Distillation(Semantic):
    """Semantic segmentation with a teacher; use it as the ``task`` of `segedu.engine.fit`.

    The loss is (1 − weight) · hard + weight · soft + features_weight · attention.

    Args:
        teacher: maps (N,3,H,W) to logits of the same classes; it is frozen and not trained.
        loss: ``loss(logits, mask)``, the hard part.
        num_classes: C, for the metric.
        weight: of the teacher's soft labels, in [0, 1].
        temperature: of `soft_label_loss`.
        features: name of a module of the student -> that of the teacher whose output it should
            resemble in `attention_loss`, as ``named_modules()`` names them.
        features_weight: of them.
        aux_weights: as `Semantic`'s, of the hard part; the teacher speaks to the main output.

    Raises:
        ValueError: if a weight is out of range, or the teacher has no such module.
    """

    def __init__(
        self,
        teacher: nn.Module,
        loss: nn.Module,
        num_classes: int | None = None,
        *,
        weight: float = 0.5,
        temperature: float = 2.0,
        features: Mapping[str, str] | None = None,
        features_weight: float = 1.0,
        aux_weights: Sequence[float] = (),
    ) -> None:
        super().__init__(loss, num_classes, aux_weights=aux_weights)
        if not 0 <= weight <= 1 or features_weight < 0:
            raise ValueError(
                "weight must be in [0, 1] and features_weight not negative, got "
                f"{weight} and {features_weight}"
            )
        # In a list it is no part of this module: not trained, not kept in checkpoints.
        self._teacher = [teacher.eval().requires_grad_(False)]
        self.weight, self.temperature = weight, temperature
        self.features, self.features_weight = dict(features or {}), features_weight
        _find(teacher, self.features.values(), "teacher")

    @property
    def teacher(self) -> nn.Module:
        """The network that is asked."""
        return self._teacher[0]

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """The three losses, added up.

        Raises:
            ValueError: if the student has no module that ``features`` names.
        """
        images = batch["image"]
        self.teacher.to(images.device)
        with _Outputs(model, self.features, "student") as own:
            output = model(images)
        with torch.no_grad(), _Outputs(self.teacher, self.features.values(), "teacher") as other:
            wanted = self.teacher(images)
        logits = output[0] if isinstance(output, (list, tuple)) else output
        total = (1 - self.weight) * self.criterion(output, batch["mask"])
        total = total + self.weight * soft_label_loss(logits, wanted, self.temperature)
        for name, teacher_name in self.features.items():
            seen = attention_loss(own[name], other[teacher_name])
            total = total + self.features_weight * seen
        return total


def _find(model: nn.Module, names: Any, who: str) -> dict[str, nn.Module]:
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            known = ", ".join(name for name in list(modules)[1:6])
            raise ValueError(f"features: the {who} has no module {name!r}; it has {known}, ...")
    return {name: modules[name] for name in names}


class _Outputs(ExitStack):
    """What modules of a network put out while this is open, by their names."""

    def __init__(self, model: nn.Module, names: Any, who: str) -> None:
        super().__init__()
        self._seen: dict[str, Tensor] = {}
        for name, module in _find(model, names, who).items():

            def keep(_: nn.Module, __: Any, output: Tensor, name: str = name) -> None:
                self._seen[name] = output

            self.enter_context(module.register_forward_hook(keep))

    def __getitem__(self, name: str) -> Tensor:
        return self._seen[name]
