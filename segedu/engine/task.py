"""What is learnt: the object that `fit` and `evaluate` ask, and the task of the short form.

The tasks of objects are in `segedu.tasks`; this module holds what the training loop needs of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.data import default_collate

from segedu.engine.inference import sliding_window
from segedu.losses import AuxiliaryLoss
from segedu.metrics import SemanticMetrics


class Task(nn.Module):
    """All that `fit` and `evaluate` know of what is learnt.

    A task of your own needs `loss` to be trained, and `predict` and `update` to be judged; a batch
    is whatever the loader's ``collate_fn`` makes of samples. It is a module because a loss is a
    part of the training like the network: what it holds moves to the device, tells training from
    evaluation, and is kept in the checkpoints.

    Attributes:
        monitor: the score that picks the best epoch; ``fit`` looks for it as ``val_...``.
        larger_is_better: of that score.
        uses_all_parameters: whether every batch gives every parameter of the network a gradient;
            if not, several processes have to look for those that it left out.
    """

    monitor: str = "loss"
    larger_is_better: bool = False
    uses_all_parameters: bool = True

    def collate(self, samples: Sequence[Any]) -> Any:
        """Samples -> a batch, for ``make_loader(..., collate_fn=task.collate)``."""
        return default_collate(list(samples))

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """What is minimised, a scalar; ``model`` is in training mode."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def predict(self, model: nn.Module, batch: Any) -> Any:
        """What ``model``, in evaluation mode, says of a batch: a sequence, one for each sample."""
        raise NotImplementedError(f"{type(self).__name__} has no prediction")

    def update(self, metric: Any, prediction: Any, batch: Any) -> None:
        """Show ``metric`` a prediction and the truth."""
        raise NotImplementedError(f"{type(self).__name__} has no truth")

    def metric(self) -> Any:
        """The metric that judges if no other is given; ``None`` if there is none."""
        return None

    def prediction_loss(self, prediction: Any, batch: Any) -> Tensor | None:
        """The loss of a prediction, a mean over its samples; ``None`` if predictions have none."""
        return None


class Semantic(Task):
    """A class for every pixel (or voxel): batches of ``image`` (N,3,H,W) and ``mask`` (N,H,W).

    Args:
        loss: ``loss(logits, mask)`` is minimised; to judge alone none is needed.
        num_classes: C, for the metric; without it only the loss is judged.
        aux_weights: of the several outputs that some networks have in training, the main one
            first, such as ``list_models()[name].aux_weights``; see `segedu.losses.AuxiliaryLoss`.
        window: judge large images in overlapping windows of this side; see `sliding_window`.
    """

    monitor = "mean_iou"
    larger_is_better = True

    def __init__(
        self,
        loss: nn.Module | None = None,
        num_classes: int | None = None,
        *,
        aux_weights: Sequence[float] = (),
        window: int | None = None,
    ) -> None:
        super().__init__()
        self.window = window
        self.criterion = AuxiliaryLoss(loss, aux_weights) if loss and aux_weights else loss
        self.num_classes = num_classes

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """The loss of the network's logits.

        Raises:
            ValueError: if the task was built without a loss.
        """
        if self.criterion is None:
            raise ValueError("Semantic needs a loss to train, such as Semantic(CrossEntropyLoss())")
        return self.criterion(model(batch["image"]), batch["mask"])

    def predict(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits (N,C,H,W), of windows up to a constant: the logarithms of probabilities."""
        if self.window is None:
            return model(batch["image"])
        return sliding_window(model, batch["image"], self.window).clamp_min(1e-12).log()

    def update(self, metric: Any, prediction: Tensor, batch: Mapping[str, Tensor]) -> None:
        """``metric.update(logits, mask)``."""
        metric.update(prediction, batch["mask"])

    def metric(self) -> SemanticMetrics | None:
        """`SemanticMetrics` of so many classes."""
        return None if self.num_classes is None else SemanticMetrics(self.num_classes)

    def prediction_loss(self, prediction: Tensor, batch: Mapping[str, Tensor]) -> Tensor | None:
        """The same loss of logits that are there already."""
        return None if self.criterion is None else self.criterion(prediction, batch["mask"])


class TrainingStep(nn.Module):
    """Network and task as one module whose output is the loss.

    Several processes exchange gradients of one forward pass of one module
    (``DistributedDataParallel``); inside of it a task may use the network as often as it likes.

    Args:
        model, task: what is trained, and what for.
        augment: changes each batch before.
    """

    def __init__(
        self, model: nn.Module, task: Task, augment: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__()
        self.model, self.task, self.augment = model, task, augment

    def forward(self, batch: Any) -> Tensor:
        """A batch -> the loss, a scalar."""
        return self.task.loss(self.model, batch if self.augment is None else self.augment(batch))


def choose_task(loss: nn.Module | None, task: Task | None) -> Task:
    """``task``, or `Semantic` with ``loss``.

    Raises:
        ValueError: if there is neither, or both.
        TypeError: if ``task`` is no task.
    """
    if (loss is None) == (task is None):
        raise ValueError(
            "give either a loss, for semantic segmentation, or a task such as "
            "segedu.tasks.Instance()"
        )
    if task is None:
        return Semantic(loss)
    if not isinstance(task, Task):
        raise TypeError(f"task must be a segedu.engine.Task, got {type(task).__name__}")
    return task
