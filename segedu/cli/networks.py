"""Networks of the command line: built by name, begun from weights, or read from a checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segedu.cli.options import find_device
from segedu.files import user_path

if TYPE_CHECKING:
    from torch import Tensor, nn

    from segedu.tasks import Task

#: The network that is trained if only the task is said.
USUAL = {
    "semantic": "unet",
    "instance": "mask_rcnn_resnet50_fpn",
    "panoptic": "panoptic_fpn_resnet50",
    "promptable": "sam_vit_base",
}
# What builders raise where values do not fit together; kinds they are checked for before.
_REFUSALS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)


def choose(model: str, task: str | None) -> tuple[str, str]:
    """Name of the network and task, where one of them follows from the other.

    Raises:
        ValueError: if there is no such network, or it is for something else.
    """
    from segedu.models import list_models

    model = model or USUAL[task or "semantic"]
    info = list_models().get(model)
    if info is None:
        from segedu.models import get_model

        get_model(model)  # raises, and says what was perhaps meant
    fit_for = {"panoptic": ("panoptic", "instance")}.get(info.task, (info.task,))
    allowed = [name for name in fit_for if name in USUAL]
    task = task or (allowed[0] if allowed else info.task)
    if task not in allowed:
        names = ", ".join(USUAL)
        hint = " or ".join(f"--task {name}" for name in allowed)
        raise ValueError(
            f"--model: {model} is for {info.task} segmentation"
            + (f": {hint}" if hint else f", but this command trains {names}")
            + " (`python -m segedu models` lists the task of each)"
        )
    return model, task


def are_things(dataset: Any) -> list[bool]:
    """Of each class of a data set of objects whether it is a thing, and not the background."""
    if dataset.task == "instance":  # whose label 0 is no object
        return [label > 0 for label in range(dataset.num_classes)]
    return [dataset.isthing[category] for category in range(dataset.num_classes)]


def build_model(
    name: str,
    dataset: Any,
    settings: Mapping[str, Any],
    statistics: Any = None,
    backbone_weights: str = "",
) -> nn.Module:
    """``get_model`` for the classes of a data set, with mistakes reported as those of the user.

    Args:
        name: of the network.
        dataset: of the training; its task is the task.
        settings: of ``--set``.
        statistics: ``ChannelStatistics`` where images do not have three channels.
        backbone_weights: a file, or the name of weights of torchvision.
    """
    from segedu.models import get_model, list_models

    wanted: dict[str, Any] = {}
    kind = list_models()[name].task
    if kind == "panoptic":
        wanted["things"] = tuple(c for c, thing in enumerate(are_things(dataset)) if thing)
    images: dict[str, Any] = {}
    if statistics is not None and kind == "semantic":
        images["in_channels"] = len(statistics.mean)
    elif statistics is not None:
        images |= {"image_mean": statistics.mean, "image_std": statistics.std}
    wanted |= images | settings
    if "num_classes" in settings:
        raise ValueError("--set: num_classes follows from the classes of the data: --classes")
    num_classes = None if kind == "promptable" else dataset.num_classes
    try:
        model = get_model(name, num_classes, **wanted)
    except _REFUSALS as error:
        if any(f"'{argument}'" in str(error) for argument in images.keys() - settings.keys()):
            raise ValueError(
                f"--channels: {name} takes images of 3 channels only, got {len(statistics.mean)}"
            ) from error
        if not settings:
            raise
        given = ", ".join(f"{key}={value}" for key, value in settings.items())
        raise ValueError(f"--set: {name} with {given}: {str(error).splitlines()[0]}") from error
    if not backbone_weights:
        return model
    weights = _weights(backbone_weights)
    for argument in ("weights_backbone", "weights"):
        try:
            return get_model(name, num_classes, **wanted, **{argument: weights})
        except TypeError as error:
            unknown = error
        except RuntimeError as error:  # torch lists every name that differs
            raise ValueError(
                f"--backbone-weights: {backbone_weights} does not fit the backbone of {name}: "
                f"{str(error).splitlines()[0][:200]}"
            ) from error
    raise ValueError(f"--backbone-weights: {name} takes none ({unknown})") from unknown


def _weights(text: str) -> Any:
    """A file, or weights of torchvision such as ``ResNet50_Weights.DEFAULT``."""
    from torchvision.models import get_weight

    if user_path(text).is_file():
        return user_path(text)
    try:
        return get_weight(text)
    except (ValueError, KeyError, AttributeError):
        raise FileNotFoundError(
            f"--backbone-weights: {text} is neither a file nor weights of torchvision, such as "
            "ResNet50_Weights.IMAGENET1K_V2"
        ) from None


def initialise(model: nn.Module, source: str) -> str:
    """Load what fits of a checkpoint or a file of weights, such as all but the heads.

    Args:
        model: gets the tensors whose names and shapes agree.
        source: checkpoint of a training, or what ``torch.save(model.state_dict())`` wrote.

    Returns:
        What was loaded and what was not, in one line.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if nothing fits, or it holds no weights.
    """
    from torch import Tensor

    file = user_path(source)
    state = _read_state(file)
    own = model.state_dict()
    fits = {
        name: value
        for name, value in state.items()
        if name in own and isinstance(value, Tensor) and own[name].shape == value.shape
    }
    if not any(value.ndim > 0 for value in fits.values()):
        raise ValueError(
            f"--init: {file} holds no tensor of this network; its first is "
            f"{next(iter(state), None)!r}, the network's {next(iter(own))!r}"
        )
    model.load_state_dict(fits, strict=False)
    reshaped = [name for name in own if name in state and name not in fits]
    absent = [name for name in own if name not in state]
    unused = [name for name in state if name not in own]
    said = [f"{file}: {len(fits)} of {len(own)} tensors loaded"]
    for names, why in (
        (reshaped, "of another shape"),
        (absent, "not in the file"),
        (unused, "without a place here"),
    ):
        if names:
            shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
            said.append(f"{len(names)} {why} ({shown})")
    return "; ".join(said)


def _read_state(file: Path) -> dict[str, Any]:
    """The weights in a checkpoint, or in a plain file of them."""
    import pickle

    import torch

    from segedu.engine import CheckpointError, load_checkpoint

    if not file.is_file():
        raise FileNotFoundError(f"--init: no file at {file}")
    try:
        state = load_checkpoint(file)
    except CheckpointError:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError):
            raise ValueError(
                f"--init: {file} is neither a checkpoint nor a file of weights"
            ) from None
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise ValueError(f"--init: {file} holds no weights, but a {type(state).__name__}")
    return state


def freeze(model: nn.Module, prefixes: Sequence[str]) -> int:
    """Take the parameters whose names start so out of the training; returns how many they are.

    Raises:
        ValueError: if a prefix fits none.
    """
    frozen = 0
    for prefix in prefixes:
        found = [p for name, p in model.named_parameters() if name.startswith(prefix)]
        if not found:
            known = sorted({name.split(".")[0] for name, _ in model.named_parameters()})
            raise ValueError(f"--freeze: no parameter starts with {prefix!r}; there are {known}")
        for parameter in found:
            parameter.requires_grad_(False)
        frozen += sum(parameter.numel() for parameter in found)
    return frozen


def load_model(
    checkpoint: str,
    device: str,
    settings: Mapping[str, Any] | None = None,
    image_size: Sequence[int] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a checkpoint of ``train`` or ``fit``, ready to predict, and the checkpoint.

    Args:
        checkpoint: the file; a semantic network may be one of `segedu export`, too.
        device: where the network goes.
        settings: of ``--set``, instead of those of the training.
        image_size: of ``--image-size``, instead of that of the training.

    Returns:
        The network, and the checkpoint with ``task`` and ``isthing`` in its configuration; where a
        call of ``fit`` did not name them they are the network's own.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it does not hold what is needed, or settings and size do not suit it.
    """
    from segedu.engine import load_checkpoint
    from segedu.engine.checkpoint import network_of
    from segedu.models import list_models

    if image_size and min(image_size) <= 0:
        raise ValueError(f"--image-size must be positive, got {image_size}")
    if user_path(checkpoint).is_dir():
        raise FileNotFoundError(f"{checkpoint} is a folder: name a file in it, such as best.pt")
    if checkpoint.lower().endswith(".onnx"):
        from segedu.cli.deployed import load_deployed

        if settings or image_size or device not in ("", "cpu"):
            raise ValueError(
                f"{checkpoint}: an exported network runs as its file says, on the CPU; --set, "
                "--image-size and --device are for checkpoints"
            )
        return load_deployed(user_path(checkpoint))
    state = load_checkpoint(user_path(checkpoint))
    if settings and state.get("network"):
        state["network"] = {**state["network"], **settings}
    try:
        model = network_of(state, checkpoint)
    except _REFUSALS as error:
        if not settings:
            raise
        raise ValueError(f"--set {', '.join(settings)}: {str(error).splitlines()[0]}") from error
    config = state["config"] or {}
    missing = [name for name in ("classes", "colors") if name not in config]
    if missing:
        raise ValueError(
            f"{checkpoint} does not name its {' and '.join(missing)}: give them to the training, "
            "fit(..., config={'classes': [...], 'colors': [...]})"
        )
    count = len(config["classes"])
    things = getattr(model, "things", range(1, count))
    task = list_models()[state["network"]["name"]].task
    given = {"task": task, "isthing": [c in things for c in range(count)], **config}
    state["config"] = given | ({"image_size": list(image_size)} if image_size else {})
    return model.to(find_device(device)), state


def preprocessing(config: Mapping[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What the images of a checkpoint go through before its network: sample -> sample.

    Args:
        config: of the checkpoint; ``task``, ``image_size``, ``mean`` and ``std`` are read.
    """
    from torchvision.transforms import v2

    from segedu.data import transforms

    std, mean = scaling(config)
    size = config.get("image_size") or None
    if config.get("task", "semantic") == "semantic":
        return transforms.evaluation(size, mean=mean, std=std)
    if size is None:
        return transforms.instances(mean=mean)
    fitted = [transforms.FitInto(size, mean), transforms.DropInvisible()]
    return v2.Compose([*fitted, transforms.instances(mean=mean)])


def scaling(config: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    """Deviation and mean of the channels that a configuration names, or those of ImageNet."""
    from segedu.data import transforms

    return config.get("std") or transforms.STD, config.get("mean") or transforms.MEAN


def build_task(config: Mapping[str, Any], loss: nn.Module | None = None) -> Task:
    """The task of a configuration, with its classes.

    Args:
        config: ``task``, ``classes``, ``isthing``, ``aux_weights`` and ``window`` are read.
        loss: of a semantic training.
    """
    from segedu.tasks import Instance, Panoptic, Promptable, Semantic

    task = config.get("task", "semantic")
    if task == "instance":
        return Instance()
    if task == "promptable":
        return Promptable()
    if task == "panoptic":
        return Panoptic(dict(enumerate(config["isthing"])))
    return Semantic(
        loss,
        len(config["classes"]),
        aux_weights=config.get("aux_weights", ()),
        window=config.get("window") or None,
    )


def predictor(model: nn.Module, options: argparse.Namespace) -> Callable[[Tensor], Tensor]:
    """Images (N,C,H,W) to probabilities, by the options ``window``, ``tta`` and ``scales``."""
    import torch

    from segedu.engine import predict_tta, sliding_window
    from segedu.engine.inference import probabilities

    device = next(model.parameters()).device

    @torch.no_grad()
    def plain(images: Tensor) -> Tensor:
        images = images.to(device)
        if options.window is not None:
            return sliding_window(model, images, options.window)
        return probabilities(model(images))

    if not options.tta:
        return plain
    return lambda images: predict_tta(
        plain, images, scales=tuple(options.scales), activation=lambda found: found
    )
