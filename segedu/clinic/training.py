"""Examining a training before hours are spent on it: data, loss, one gradient, a few steps."""

import copy
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segedu.clinic.findings import Finding, verdict_of
from segedu.clinic.rules import LabelSurvey, digest, repeated
from segedu.engine.batches import is_finite, to_device
from segedu.losses import BinaryCrossEntropyLoss, CrossEntropyLoss

Batches = Iterable[Mapping[str, Any]]
Loss = Callable[[Any, Tensor], Tensor]
Step = Callable[[nn.Module, Mapping[str, Any], torch.optim.Optimizer], Any]
Predict = Callable[[Tensor], Tensor]

# What a program raises over a batch that does not fit.
_MISTAKES = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError)
_UNSCALED = 30  # normalised images stay below
_FLOOR = 0.4  # loss of perfect scores, relative to scores of 0; label smoothing of 0.1 gives 0.2
_CONFIDENT = 60.0  # a score that is sure of itself
_LEAP = 0.5  # share of the weights that the first step may change
_CRAWL = 1e-3  # share of the weights that the steps should change, or
_DROP = 0.01  # share of the loss that they should take away


@dataclass
class Checkup:
    """What `checkup` found and measured.

    Printed, it is one line for each finding, and the verdict.
    """

    findings: list[Finding] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)
    """What was measured: ``loss`` and ``gradient`` of the first step, ``loss after``, ``change``
    (of the weights, relative to them) and ``change of the first step``."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of what is wrong, in the order in which it was found."""
        return tuple(finding.kind for finding in self.findings)

    @property
    def verdict(self) -> str:
        """``ok``, ``warnings`` or ``errors``."""
        return verdict_of(self.findings)

    def __str__(self) -> str:
        return "\n".join([*map(str, self.findings), f"verdict: {self.verdict}"])


def checkup(
    model: nn.Module,
    loader: Batches,
    val_loader: Batches | None = None,
    *,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    step: Step | None = None,
    predict: Predict | None = None,
    ignore_index: int = 255,
    images: int = 1000,
    steps: int = 8,
) -> Checkup:
    """Examine a training of semantic segmentation and name what makes it sick.

    Images and labels of both loaders are read; the loss is asked about scores whose answer is
    known; copies of the model take a few steps on the first batch. Model, optimizer and the state
    of the random numbers are left as they were.

    What it cannot see: the same image in both loaders once augmentation has changed its pixels
    (``python -m segedu check`` reads the files themselves), and void that the data set has
    replaced by a class.

    Args:
        model: images (N,3,H,W) -> logits (N,C,H,W), or a tuple of such; for two classes C may be 1.
            In the mode, ``train`` or ``eval``, in which it is to be trained.
        loader: batches of ``image`` (N,3,H,W) and ``mask`` (N,H,W), integers: a ``DataLoader``, or
            a list of batches.
        val_loader: the batches that judge.
        loss: ``loss(model(image), mask)``; cross entropy by default, unless there is a ``step``.
        optimizer: of the model's parameters; AdamW with a learning rate of 1e-3 by default.
        step: your own training step, ``step(model, batch, optimizer)``, which returns the loss. It
            must use what it is given: a copy.
        predict: your own reading of logits (N,C,H,W) as labels (N,H,W).
        ignore_index: label of pixels without a class.
        images: how many images of each loader are read at most.
        steps: how many training steps are tried.

    Raises:
        TypeError: if a batch is not a mapping with ``image`` and ``mask``.
        ValueError: if the loader is empty, or ``images`` or ``steps`` is below 1.

    Example:
        >>> from segedu import checkup
        >>> from segedu.data import scenes
        >>> from segedu.engine import make_loader
        >>> from segedu.models import get_model
        >>> train_set, val_set = scenes.splits(16, 8, 32)
        >>> model = get_model("unet", train_set.num_classes, base_width=4, depth=2)
        >>> train_loader, val_loader = make_loader(train_set, 8), make_loader(val_set, 8)
        >>> print(checkup(model, train_loader, val_loader))
        verdict: ok
        >>> print(checkup(model, train_loader, train_loader).kinds)
        ('leak',)
    """
    if min(images, steps) < 1:
        raise ValueError(f"images and steps must be at least 1, got {images} and {steps}")
    found = Checkup()
    with _left_alone(loader, val_loader):
        survey = _LoaderSurvey("train", loader, ignore_index, images)
        found.findings += survey.findings()
        if val_loader is not None:
            judging = _LoaderSurvey("val", val_loader, ignore_index, images)
            found.findings += [*judging.findings(), *survey.compare(judging)]
        training = _Training(model, survey.batch, loss, optimizer, step, ignore_index)
        found.findings += training.examine(steps, found.numbers)
        if predict is not None and training.num_classes:
            found.findings += _examine_prediction(predict, training.num_classes)
    return found


@contextmanager
def _left_alone(*loaders: Batches | None) -> Iterator[None]:
    """The random numbers of Python, NumPy, torch and the loaders are restored at the end."""
    own = [g for loader in loaders if (g := getattr(loader, "generator", None)) is not None]
    states = [generator.get_state() for generator in own]
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            for generator, state in zip(own, states, strict=True):
                generator.set_state(state)


# ------------------------------------------------------------------------------- images and labels


class _LoaderSurvey:
    """The images of a loader, read once."""

    def __init__(self, name: str, loader: Batches, ignore_index: int, images: int) -> None:
        self.name, self.batch = name, None
        self.labels = LabelSurvey(ignore_index)
        self.contents: dict[str, list[str]] = defaultdict(list)
        self.sums = torch.zeros(3, dtype=torch.float64)  # of 1, x and x^2 over all values
        self.largest, self.faults = 0.0, []
        number = 0
        for batch in loader:
            image, mask = _parts(batch)
            self.batch = batch if self.batch is None else self.batch
            self._check(image, mask)
            if self.faults:
                break
            for one, labels in zip(image, mask, strict=True):
                self._read(number, one, labels)
                number += 1
            if number >= images:
                break
        if self.batch is None:
            raise ValueError(f"the {name} loader has no batch")

    def _check(self, image: Tensor, mask: Tensor) -> None:
        """Remember what makes a batch useless."""
        if mask.is_floating_point():
            what, cure = f"masks are fractions ({mask.dtype})", "read masks as integers, unscaled"
        elif image.shape[:1] + image.shape[2:] != mask.shape:
            what = f"images are {tuple(image.shape)}, masks {tuple(mask.shape)}"
            cure = "masks must be (N, H, W), one label a pixel"
        elif not is_finite(image):
            what, cure = "an image holds NaN or infinity", "look at how it is read and scaled"
        else:
            return
        self.faults.append(Finding("error", "batch", f"{self.name}: {what}", cure=cure))

    def _read(self, number: int, image: Tensor, mask: Tensor) -> None:
        self.labels.update(image, mask)
        self.contents[digest(image)].append(f"number {number}")
        values = image.double()
        self.sums += torch.stack((torch.ones_like(values), values, values**2)).flatten(1).sum(1)
        self.largest = max(self.largest, float(values.abs().max()))

    @property
    def mean(self) -> float:
        return float(self.sums[1] / self.sums[0])

    @property
    def std(self) -> float:
        return float((self.sums[2] / self.sums[0] - self.mean**2).clamp_min(0).sqrt())

    def findings(self) -> list[Finding]:
        """What is wrong with this loader alone."""
        found = [replace(f, message=f"{self.name}: {f.message}") for f in self.labels.findings()]
        if self.largest > _UNSCALED:
            text = f"{self.name}: images hold values up to {self.largest:g}"
            cure = "divide images by 255, then subtract the mean and divide by the deviation"
            found.append(Finding("warning", "scale", text, healthy="about -3 to 3", cure=cure))
        return self.faults + found

    def compare(self, other: "_LoaderSurvey") -> list[Finding]:
        """What is wrong between this loader, of the training, and that of validation."""
        if self.faults or other.faults:
            return []
        found = repeated({"train": self.contents, "val": other.contents})
        # Copies within a split are no fault of a training: loaders may draw with replacement.
        found = [finding for finding in found if finding.kind == "leak"]
        shift = abs(self.mean - other.mean) / max(self.std, 1e-12)
        if shift > 1 or not 0.5 < other.std / max(self.std, 1e-12) < 2:
            text = (
                f"images have mean {self.mean:.2f} and deviation {self.std:.2f} in train, "
                f"{other.mean:.2f} and {other.std:.2f} in val"
            )
            cure = "normalise both with the statistics of the training images"
            found.append(Finding("warning", "normalization", text, (), "about equal", cure))
        return found


def _parts(batch: Any) -> tuple[Tensor, Tensor]:
    """Image and mask of a batch, on the CPU, as plain tensors."""
    if not isinstance(batch, Mapping) or not {"image", "mask"} <= set(batch):
        raise TypeError(
            f"a batch must be a mapping with image and mask, got {type(batch).__name__}: checkup "
            "examines semantic segmentation"
        )
    return tuple(batch[key].detach().cpu().as_subclass(Tensor) for key in ("image", "mask"))


# -------------------------------------------------------------------------------- loss and training


class _Training:
    """Copies of a model, its loss and its optimizer, tried on one batch."""

    def __init__(
        self,
        model: nn.Module,
        batch: Mapping[str, Any],
        loss: Loss | None,
        optimizer: torch.optim.Optimizer | None,
        step: Step | None,
        ignore_index: int,
    ) -> None:
        device = next(chain(model.parameters(), [torch.zeros(0)])).device
        self.batch = to_device(dict(batch), device)
        self.parts = model, loss, optimizer
        self.own_step, self.ignore_index = step, ignore_index
        self.num_classes = 0  # C, as soon as the network has told

    def examine(self, steps: int, numbers: dict[str, float]) -> list[Finding]:
        """The findings; what is measured is added to ``numbers``."""
        found = []
        try:
            output = self._output()
            fault = self._output_fault(output)
            if fault:
                return [fault]
            found += self._probabilities(output)
            if self.own_step is None or self.parts[1] is not None:
                found += self._examine_loss(output)
            found += self._examine_steps(steps, numbers)
            return found if numbers["change"] == 0 else found + self._gradients_add_up()
        except _MISTAKES as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            return [*found, Finding("error", "failure", f"the training step fails: {said}")]

    def copies(self) -> tuple[nn.Module, Loss, torch.optim.Optimizer]:
        """Copies of model, loss and optimizer that belong together."""
        model, loss, optimizer = copy.deepcopy(self.parts)
        if loss is None:
            binary = self.num_classes == 1
            loss = (BinaryCrossEntropyLoss if binary else CrossEntropyLoss)(
                ignore_index=self.ignore_index
            )
        if optimizer is None:
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for group in optimizer.param_groups:  # the rate after the warm-up of a schedule
            rates = (group.get(key) for key in ("lr", "initial_lr", "max_lr"))
            group["lr"] = max(rate for rate in rates if rate is not None)
        return model, loss, optimizer

    def step(self, model: nn.Module, loss: Loss, optimizer: torch.optim.Optimizer) -> float:
        """One training step; its loss."""
        torch.manual_seed(0)  # dropout falls alike in every step
        if self.own_step is not None:
            return _number(self.own_step(model, self.batch, optimizer))
        optimizer.zero_grad()
        value = loss(model(self.batch["image"]), self.batch["mask"])
        value.backward()
        optimizer.step()
        return _number(value)

    @torch.no_grad()
    def _output(self) -> Any:
        return copy.deepcopy(self.parts[0])(self.batch["image"])

    def _output_fault(self, output: Any) -> Finding | None:
        """What keeps the output from being scores of the batch's pixels."""
        scores, mask = _first(output), self.batch["mask"]
        if not isinstance(scores, Tensor) or scores.ndim != 4:
            what = f"a {type(scores).__name__}"
        elif scores.shape[:1] + scores.shape[2:] != mask.shape:
            what = f"{tuple(scores.shape)} for masks {tuple(mask.shape)}"
        elif not is_finite(scores):
            what = "NaN or infinity"
        else:
            self.num_classes = scores.shape[1]
            return self._no_class()
        return Finding("error", "output", f"the network gives {what}", (), "logits (N, C, H, W)")

    def _no_class(self) -> Finding | None:
        """Labels that the network has no score for."""
        count = max(2, self.num_classes)
        labels = self.batch["mask"].unique().tolist()
        wrong = [k for k in labels if not 0 <= k < count and k != self.ignore_index]
        if not wrong:
            return None
        return Finding(
            "error",
            "no class",
            f"masks hold labels without a class: {', '.join(map(str, wrong[:8]))}",
            healthy=f"0 to {count - 1}, and {self.ignore_index} for void",
            cure="map the labels of the files to 0, 1, ... and void",
        )

    def _probabilities(self, output: Any) -> list[Finding]:
        scores = _first(output)
        if scores.min() < 0 or scores.max() > 1:
            return []
        name = "softmax" if torch.allclose(scores.sum(1), torch.ones(()).to(scores)) else "sigmoid"
        if self.num_classes == 1:
            name = "sigmoid"
        return [
            Finding(
                "error",
                "probabilities",
                f"the network gives values between 0 and 1, as after a {name}",
                healthy="scores of any size and sign, which the loss turns into probabilities",
                cure=f"take the {name} out of the network",
            )
        ]

    def _examine_loss(self, output: Any) -> list[Finding]:
        """What the loss says of scores whose answer is known."""
        _, loss, _ = self.copies()
        found = self._void_counts(loss, output)
        if found:  # then nothing else that the loss says means what it should
            return found
        mask = self.batch["mask"]
        truth = mask.masked_fill(mask == self.ignore_index, 0).clamp(0, max(1, _channels(output)))

        def ask(size: float) -> Tensor:
            """The loss of scores that are right, sure to the degree ``size``."""
            return loss(_map(output, lambda scores: size * _signs(scores, truth)), mask)

        nothing = float(ask(0))
        best = min(float(ask(size)) for size in (1, 4, 16))
        if nothing > 0 and best > _FLOOR * nothing:
            text = f"the loss of perfect scores is {best:.2f}, of scores of 0 {nothing:.2f}"
            cure = "give the loss plain scores: no softmax or sigmoid before or in it, axis 1"
            found.append(Finding("error", "floor", text, (), "about 0", cure))
        worst = ask(-_CONFIDENT)
        if worst.dtype in (torch.float16, torch.bfloat16) or not is_finite(worst):
            text = f"the loss of confident wrong scores is {float(worst):g} in {worst.dtype}"
            cure = "compute the loss in float32, with log_softmax or logsigmoid"
            found.append(Finding("error", "overflow", text, (), "finite, in float32", cure))
        return found

    def _void_counts(self, loss: Loss, output: Any) -> list[Finding]:
        void = self.batch["mask"] == self.ignore_index
        scores = _first(output).detach().clone().requires_grad_()
        value = loss(_map(output, lambda _: scores), self.batch["mask"])
        if not void.any() or not value.requires_grad:
            return []
        (gradient,) = torch.autograd.grad(value, scores)
        share = float(gradient.abs().sum(1)[void].sum() / gradient.abs().sum().clamp_min(1e-30))
        if share == 0:
            return []
        text = f"{share:.0%} of the gradient comes from pixels without a class"
        cure = f"give the loss ignore_index={self.ignore_index}, and leave void as it is"
        return [Finding("error", "void counts", text, (), "0%", cure)]

    def _gradients_add_up(self) -> list[Finding]:
        """Whether the gradient of the same batch grows from one step to the next."""
        model, loss, optimizer = self.copies()
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        seen = []
        optimizer.register_step_pre_hook(lambda *_: seen.append(_gradient(model)))
        for _ in range(2):
            self.step(model, loss, optimizer)
        if len(seen) < 2 or not seen[0].any():
            return []
        growth = float(seen[1] @ seen[0] / (seen[0] @ seen[0]))
        if growth < 1.5:
            return []
        text = (
            f"without a change of the weights, the second gradient is {growth:.1f} times the first"
        )
        cure = "call optimizer.zero_grad() in every step"
        return [Finding("error", "gradients add up", text, (), "equal", cure)]

    def _examine_steps(self, steps: int, numbers: dict[str, float]) -> list[Finding]:
        model, loss, optimizer = self.copies()
        start, means = _weights(model), _running_means(model)
        losses, changes, gradients = [], [], []
        optimizer.register_step_pre_hook(
            lambda *_: gradients.append(float(_gradient(model).norm()))
        )
        for _ in range(steps + 1):
            losses.append(self.step(model, loss, optimizer))
            changes.append(float((_weights(model) - start).norm() / start.norm().clamp_min(1e-12)))
        numbers["loss"], numbers["loss after"] = losses[0], losses[-1]
        numbers["gradient"] = gradients[0] if gradients else 0.0
        numbers["change of the first step"], numbers["change"] = changes[0], changes[-1]
        found = []
        if not model.training and any(
            isinstance(m, (_BatchNorm, nn.Dropout)) for m in model.modules()
        ):
            moved = float((_running_means(model) - means).abs().max()) if len(means) else 0.0
            text = f"the network is in eval mode: the running means change by {moved:g}"
            cure = "call model.train() before the training, and after every validation"
            found.append(Finding("error", "eval mode", text, (), "more than 0", cure))
        return found + self._learning_rate(optimizer, steps, numbers)

    def _learning_rate(
        self, optimizer: torch.optim.Optimizer, steps: int, numbers: Mapping[str, float]
    ) -> list[Finding]:
        rate = max(group["lr"] for group in optimizer.param_groups)
        before, after = numbers["loss"], numbers["loss after"]
        leap, change = numbers["change of the first step"], numbers["change"]
        way = f"{steps} steps on one batch take the loss from {before:.3g} to {after:.3g}"
        way += f" and change the weights by {change:.2%}"
        if change == 0:
            cure = "give the optimizer the parameters of this model, and a rate above 0"
            return [Finding("error", "still", "no weight of the model moves", (), "all", cure)]
        if not np.isfinite(after) or leap > _LEAP or after > 2 * before > 0:
            text = (
                f"learning rate {rate:g}: the first step changes the weights by {leap:.0%}; {way}"
            )
            cure = "divide the learning rate by 10 until the loss falls"
            return [Finding("error", "rate too high", text, (), f"below {_LEAP:.0%}", cure)]
        if change < _CRAWL and before - after < _DROP * abs(before):
            text = f"learning rate {rate:g}: {way}"
            cure = "multiply the learning rate by 10 until the loss falls"
            return [Finding("warning", "rate too low", text, (), f"above {_CRAWL:.1%}", cure)]
        return []


# -------------------------------------------------------------------------------------- prediction


def _examine_prediction(predict: Predict, num_classes: int) -> list[Finding]:
    """Whether ``predict`` reads labels from scores, of which no two axes have the same length."""
    shape = (2, num_classes, num_classes + 3, num_classes + 5)
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    right = scores[:, 0] > 0 if num_classes == 1 else scores.argmax(1)
    if num_classes == 1:
        kind, healthy = "threshold", "score > 0, which is probability > 0.5"
        cure = "logits > 0, or logits.sigmoid() > 0.5"
    else:
        kind, healthy = "axis", "the largest of the C scores of a pixel"
        cure = "logits.argmax(dim=1)"
    try:
        labels = predict(scores)
    except _MISTAKES as error:
        text = f"predict fails on logits {shape}: {error}"
        return [Finding("error", kind, text, (), healthy, cure)]
    if labels.ndim == 4 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != right.shape:
        text = f"predict makes labels {tuple(labels.shape)} of logits {shape}"
        return [Finding("error", kind, text, (), str(tuple(right.shape)), cure)]
    wrong = float((labels.long() != right.long()).float().mean())
    if wrong == 0:
        return []
    text = f"predict gives {wrong:.0%} of the pixels another label than their scores"
    return [Finding("warning", kind, text, (), healthy, cure)]


# ------------------------------------------------------------------------------------ small helpers


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple | list) else output


def _channels(output: Any) -> int:
    return _first(output).shape[1] - 1


def _map(output: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The function of each tensor of an output."""
    return tuple(map(function, output)) if isinstance(output, tuple | list) else function(output)


def _signs(scores: Tensor, truth: Tensor) -> Tensor:
    """1 for the true class (N,H,W) of every pixel and -1 for the others, shaped as ``scores``."""
    if scores.shape[1] == 1:
        return (2 * truth[:, None] - 1).to(scores)
    signs = -torch.ones_like(scores)
    return signs.scatter(1, truth[:, None].long(), 1.0)


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().float() for p in model.parameters()])


def _gradient(model: nn.Module) -> Tensor:
    """Of all parameters in one vector; 0 where there is none."""
    parts = (p.grad if p.grad is not None else torch.zeros_like(p) for p in model.parameters())
    return torch.cat([part.detach().flatten().float() for part in parts])


def _running_means(model: nn.Module) -> Tensor:
    norms = (m for m in model.modules() if isinstance(m, _BatchNorm))
    means = [m.running_mean.flatten().clone() for m in norms if m.running_mean is not None]
    return torch.cat(means) if means else torch.zeros(0)
