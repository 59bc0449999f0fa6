"""Train, predict and evaluate from the command line: ``python -m segedu --help``."""

import argparse
import ast
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segedu import machine
from segedu.files import atomic_write, read_json, write_json

# torch takes seconds to import: it is imported by the commands that need it, so that --help does
# not wait for it.
if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.utils.data import Dataset

LAYOUTS = {
    "camvid": "segedu.data.camvid.CamVid",
    "cityscapes": "segedu.data.cityscapes.Cityscapes",
    "voc": "segedu.data.voc.VOCSegmentation",
    "scenes": "segedu.data.scenes.SceneDataset",
}
SCENE_SPLITS = {"train": 512, "val": 64, "test": 128}  # number of scenes; each split has its seed
LOSSES = ("ce", "dice", "ce+dice")


def _option(help: str, default: Any = MISSING, **settings: Any) -> Any:
    """A field of a config that is also an option of the command line."""
    return field(default=default, metadata={"help": help, **settings})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training; it is kept in the checkpoints."""

    layout: str = _option("how the data set lies on the disk", choices=tuple(LAYOUTS))
    out: str = _option("folder for best.pt, last.pt and history.jsonl")
    data: str = _option("root folder of the data set (not for scenes, which are painted)", "")
    model: str = _option("name of a network, see `python -m segedu models`", "unet")
    epochs: int = _option("epochs in all, those before --resume included", 50)
    batch_size: int = _option("images per step, over all processes", 8)
    crop: tuple[int, int] = _option("height and width of the training crops", (256, 256), nargs=2)
    scale: tuple[float, float] = _option("range of the random scale", (0.5, 2.0), nargs=2)
    loss: str = _option("what is minimised", "ce", choices=LOSSES)
    aux_weights: tuple[float, ...] = _option(
        "weights of several outputs, main first, instead of the paper's", (), nargs="+"
    )
    lr: float = _option("learning rate of AdamW, falling to 0 along the poly schedule", 1e-3)
    weight_decay: float = _option("on weights, not on biases and norms", 1e-4)
    warmup: int = _option("steps of linear warm-up", 0)
    clip_norm: float = _option("longest gradient; 0 does not clip", 0.0)
    accumulate: int = _option("batches per optimizer step", 1)
    ema_decay: float = _option("decay of a moving average of the weights; 0 keeps none", 0.0)
    patience: int = _option("stop after so many epochs without a better one; 0 never stops", 0)
    val_every_image: int = _option("validate on every n-th image only", 1)
    seed: int = _option("root of all random numbers", 0)
    workers: int = _option("processes that load images", 0)
    device: str = _option("cpu, cuda, cuda:1 ...; by default a GPU if there is one", "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; mistakes of the user become one line on stderr and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    options.command_line = shlex.join(["python", "-m", "segedu", *arguments])
    try:
        options.run(options)
    except KeyboardInterrupt:
        hint = "; --resume goes on from the last epoch" if options.run is train else ""
        print(f"segedu: interrupted{hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, FloatingPointError, _checkpoint_error()) as error:
        if os.environ.get("SEGEDU_DEBUG"):
            raise
        print(f"segedu: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def train(options: argparse.Namespace) -> None:
    """Train on a data set in a known layout."""
    import torch

    from segedu.data import transforms
    from segedu.engine import (
        Semantic,
        distributed,
        fit,
        make_loader,
        parameter_groups,
        poly_lr,
        seed_everything,
    )
    from segedu.engine.checks import at_least_one
    from segedu.engine.resume import nothing_left
    from segedu.models import list_models

    config = TrainConfig(**{f.name: getattr(options, f.name) for f in fields(TrainConfig)})
    settings = dict(options.set)
    out = _path(config.out)
    at_least_one(epochs=config.epochs, accumulate=config.accumulate)
    at_least_one(val_every_image=config.val_every_image)
    if not options.resume and (out / "last.pt").exists():
        raise FileExistsError(
            f"{out} already holds a training: --resume it or choose another --out"
        )
    device = distributed.setup(_device(config.device))
    augment = transforms.training(config.crop, scale=config.scale)
    train_set = open_dataset(config.layout, config.data, "train", augment)
    val_set = open_dataset(config.layout, config.data, "val", transforms.evaluation())
    val_set = torch.utils.data.Subset(val_set, range(0, len(val_set), config.val_every_image))
    seed_everything(config.seed)  # for the initial weights
    model = build_model(config.model, train_set.num_classes, settings)
    out.mkdir(parents=True, exist_ok=True)  # rather find out now than after the first epoch
    model.to(memory_format=torch.channels_last)  # the faster layout for convolutions
    train_loader, val_loader = (
        make_loader(dataset, size, shuffle=shuffle, seed=config.seed, num_workers=config.workers)
        for dataset, size, shuffle in (
            (train_set, config.batch_size, True),
            (val_set, distributed.world_size(), False),  # images may differ in size: one by one
        )
    )
    optimizer = torch.optim.AdamW(
        parameter_groups(model, config.lr, weight_decay=config.weight_decay)
    )
    steps = config.epochs * -(-len(train_loader) // config.accumulate)
    say = print if distributed.rank() == 0 else lambda *_: None
    parameters = sum(p.numel() for p in model.parameters())
    say(
        f"{config.model}: {parameters:,} parameters; {len(train_set)} training and {len(val_set)} "
        f"validation images, {train_set.num_classes} classes; on {device}"
    )
    trained = []  # the epochs of this call

    def show(record: dict[str, Any]) -> None:
        trained.append(record["epoch"])
        say(
            f"epoch {record['epoch']}/{config.epochs}  loss {record['loss']:.4f}  "
            f"val_loss {record['val_loss']:.4f}  val_mean_iou {record['val_mean_iou']:.4f}  "
            f"{record['seconds']:.1f} s",
        )

    weights = config.aux_weights or list_models()[config.model].aux_weights
    history = fit(
        model,
        train_loader,
        task=Semantic(build_loss(config.loss), train_set.num_classes, aux_weights=weights),
        epochs=config.epochs,
        optimizer=optimizer,
        scheduler=poly_lr(optimizer, steps, warmup_steps=config.warmup),
        val_loader=val_loader,
        device=device,
        clip_norm=config.clip_norm or None,
        accumulate=config.accumulate,
        ema_decay=config.ema_decay or None,
        patience=config.patience or None,
        checkpoint_dir=out,
        resume=options.resume,
        config={
            **asdict(config),
            "settings": settings,
            "command": options.command_line,
            "classes": list(train_set.classes),
            "colors": [list(color) for color in train_set.colors],
            "parameters": parameters,
            "machine": machine.describe(device),
        },
        on_epoch=show,
        seed=config.seed,
    )
    if not trained:
        raise ValueError(nothing_left(out, len(history), config.epochs))
    if distributed.rank() == 0:
        best = history.best("val_mean_iou")
        say(
            f"best epoch {best}: val_mean_iou {history['val_mean_iou'][best - 1]:.4f}, "
            f"kept in {out / 'best.pt'}"
        )


def predict(options: argparse.Namespace) -> None:
    """Segment an image file; save the labels and an overlay."""
    import numpy as np
    from PIL import Image

    from segedu.data.images import read_image
    from segedu.data.transforms import evaluation
    from segedu.viz import overlay

    out = _path(options.out)
    mask_path = _path(options.mask) if options.mask else out.with_name(f"{out.stem}_mask.png")
    for path in (out, mask_path):
        if path.suffix.lower() != ".png":
            raise ValueError(f"{path}: the results are PNG files, the name must end in .png")
    image = read_image(_path(options.image))  # (3,H,W)
    model, state = load_model(options.checkpoint, options.device)
    config = state["config"]
    probabilities = predictor(model, options)(evaluation()({"image": image})["image"][None])
    labels = probabilities[0].argmax(0).cpu().numpy().astype(np.uint8)  # (H,W)
    _save_png(out, Image.fromarray(overlay(image, labels, config["colors"])))
    indexed = Image.fromarray(labels)
    indexed.putpalette([value for color in config["colors"] for value in color])
    _save_png(mask_path, indexed)
    shares = np.bincount(labels.ravel(), minlength=len(config["classes"])) / labels.size
    for share, name in sorted(zip(shares, config["classes"], strict=True), reverse=True):
        if share > 0:
            print(f"{share:7.2%}  {name}")
    print(f"overlay: {out}\nlabels:  {mask_path}")


def evaluate(options: argparse.Namespace) -> None:
    """Judge a checkpoint on a split; print the scores and keep them in a JSON file."""
    from torch import nn

    from segedu.data import transforms
    from segedu.engine import evaluate as judge
    from segedu.engine import make_loader
    from segedu.engine.history import plain
    from segedu.metrics import SemanticMetrics

    results = _read_results(options.results)  # rather find out now than after the evaluation
    model, state = load_model(options.checkpoint, options.device)
    config, records = state["config"], state["history"]
    layout, data = options.layout or config["layout"], options.data or config["data"]
    dataset = open_dataset(layout, data, options.split, transforms.evaluation())
    classes = config["classes"]
    if list(dataset.classes) != classes:
        raise ValueError(f"the model knows the classes {classes}, {data} has {dataset.classes}")

    class Judged(nn.Module):
        """The model as the options say: in windows, with test-time augmentation, or plain."""

        forward = staticmethod(predictor(model, options))

    device = next(model.parameters()).device
    start = time.perf_counter()
    loader = make_loader(dataset, 1, num_workers=options.workers)
    scores = plain(judge(Judged(), loader, SemanticMetrics(len(classes)), device))
    seconds = time.perf_counter() - start
    for name, iou in zip(classes, scores["iou"], strict=True):
        print(f"{'absent' if iou is None else format(iou, '.4f'):>8}  {name}")
    for key, score in scores.items():
        if isinstance(score, float):
            print(f"{score:8.4f}  {key}")
    results[f"{config['model']}/{options.split}"] = {
        "command": options.command_line,
        "dataset": Path(data).name or layout,
        "split": options.split,
        "images": len(dataset),
        "size": list(dataset[0]["image"].shape[-2:]),  # of the first image
        "seconds": seconds,
        "machine": machine.describe(device),
        **{key: score for key, score in scores.items() if isinstance(score, float)},
        **{key: dict(zip(classes, scores[key], strict=True)) for key in ("iou", "dice")},
        "training": {
            **{key: value for key, value in config.items() if key not in ("classes", "colors")},
            "epoch": len(records),  # the best one, if the checkpoint is best.pt
            "seconds": sum(record["seconds"] for record in records),
        },
    }
    if options.results:
        _write_results(options.results, results)


def models(options: argparse.Namespace) -> None:
    """List the networks."""
    from segedu.models import list_models

    table = list_models()
    width = max(map(len, table))
    for name, info in table.items():
        size = f"{info.parameters / 1e6:7.1f} M"
        print(f"{name:<{width}} {size}  {info.year}  {info.task:<10}  {info.description}")


def open_dataset(
    layout: str, data: str, split: str, transform: Callable[[dict], dict]
) -> "Dataset":
    """A data set in one of ``LAYOUTS``, with ``classes``, ``num_classes`` and ``colors``."""
    import importlib

    module, name = LAYOUTS[layout].rsplit(".", 1)
    build = getattr(importlib.import_module(module), name)
    if layout == "scenes":
        if split not in SCENE_SPLITS:
            raise ValueError(f"split must be one of {', '.join(SCENE_SPLITS)}; got {split!r}")
        seed = list(SCENE_SPLITS).index(split)
        return build(SCENE_SPLITS[split], seed=seed, transforms=transform)
    if not data:
        raise ValueError(f"--data is missing: the root folder of the {layout} data set")
    return build(_path(data), split, transforms=transform)


def build_model(name: str, num_classes: int, settings: dict[str, Any]) -> "nn.Module":
    """``get_model``, with a wrong ``--set`` reported as a mistake of the user."""
    from segedu.models import get_model, list_models

    info = list_models().get(name)
    if info is not None and info.task != "semantic":
        raise ValueError(
            f"--model: {name} is for {info.task} segmentation, but the command line trains "
            "semantic networks only (`python -m segedu models` lists the task of each)"
        )
    try:
        return get_model(name, num_classes, **settings)
    except TypeError as error:
        raise ValueError(f"--set: {error}") from error


def build_loss(name: str) -> "nn.Module":
    """Cross entropy, Dice or their sum."""
    from segedu.losses import CombinedLoss, CrossEntropyLoss, DiceLoss

    parts = {"ce": CrossEntropyLoss, "dice": DiceLoss}
    return CombinedLoss({part: (parts[part](), 1.0) for part in name.split("+")})


def load_model(checkpoint: str, device: str) -> tuple["nn.Module", dict[str, Any]]:
    """The network of a checkpoint of ``train`` or ``fit``, ready to predict, and the checkpoint."""
    from segedu.engine import load_checkpoint
    from segedu.engine.checkpoint import network_of

    state = load_checkpoint(_path(checkpoint))
    model = network_of(state, checkpoint)
    config = state["config"] or {}
    missing = [name for name in ("classes", "colors") if name not in config]
    if missing:
        raise ValueError(
            f"{checkpoint} does not name its {' and '.join(missing)}: give them to the training, "
            "fit(..., config={'classes': [...], 'colors': [...]})"
        )
    return model.to(_device(device)), state


def predictor(model: "nn.Module", options: argparse.Namespace) -> "Callable[[Tensor], Tensor]":
    """Images (N,3,H,W) to probabilities, by the options ``window``, ``tta`` and ``scales``."""
    import torch

    from segedu.engine import predict_tta, sliding_window
    from segedu.engine.inference import probabilities

    device = next(model.parameters()).device

    @torch.no_grad()
    def plain(images: "Tensor") -> "Tensor":
        images = images.to(device)
        if options.window is not None:
            return sliding_window(model, images, options.window)
        return probabilities(model(images))

    if not options.tta:
        return plain
    return lambda images: predict_tta(
        plain, images, scales=tuple(options.scales), activation=lambda found: found
    )


def _device(name: str) -> "torch.device":
    import torch

    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ValueError(f"--device must be cpu, cuda or cuda:N, got {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices")
    return device


def _path(text: str) -> Path:
    """A path of the command line; ``$NAMES`` survive the quotes of a portable command."""
    return Path(os.path.expandvars(text)).expanduser()


def _save_png(path: Path, image: Any) -> None:
    with atomic_write(path) as file:
        image.save(file, format="PNG")


def _read_results(name: str | None) -> dict[str, Any]:
    """The results that a JSON file holds already, by model and split."""
    if name is None or not _path(name).exists():
        return {}
    return read_json(_path(name))


def _write_results(name: str, results: dict[str, Any]) -> None:
    print(f"kept in {write_json(_path(name), dict(sorted(results.items())))}")


def _checkpoint_error() -> type[Exception]:
    from segedu.engine import CheckpointError

    return CheckpointError


def assignment(text: str) -> tuple[str, Any]:
    """``name=value`` of ``--set``; the value is a Python literal, true, false or a word."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    words = {"true": True, "false": False, "none": None}
    try:
        return name, words[value.lower()] if value.lower() in words else ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _add_config(parser: argparse.ArgumentParser, config: type) -> None:
    """One option per field of a dataclass."""
    for item in fields(config):
        settings = dict(item.metadata)
        many = "nargs" in settings
        kind = item.type.__args__[0] if many else item.type
        if item.default is MISSING:
            settings["required"] = True
        elif item.default not in ("", ()):
            shown = " ".join(map(str, item.default)) if many else item.default
            settings["help"] += f" (default: {shown})"
        parser.add_argument(
            f"--{item.name.replace('_', '-')}",
            type=kind,
            default=None if item.default is MISSING else item.default,
            action=_Tuple if many else "store",
            **settings,
        )


class _Tuple(argparse.Action):
    """Several values as a tuple."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:  # noqa: ANN001
        setattr(namespace, self.dest, tuple(values))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m segedu",
        description="Train, predict and evaluate segmentation networks.",
        epilog="With SEGEDU_DEBUG=1 an error shows its traceback.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(run: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        summary = run.__doc__.strip()
        command = commands.add_parser(run.__name__, help=summary, description=summary)
        command.set_defaults(run=run)
        return command

    add(models)
    command = add(train)
    _add_config(command, TrainConfig)
    command.add_argument(
        "--set",
        type=assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the network, such as base_width=32; may be repeated",
    )
    command.add_argument("--resume", action="store_true", help="go on from last.pt in --out")

    for run in (predict, evaluate):
        command = add(run)
        command.add_argument("--checkpoint", required=True, help="best.pt or last.pt of a training")
        command.add_argument("--window", type=int, help="predict in windows of this side")
        command.add_argument("--tta", action="store_true", help="average over the mirror image")
        command.add_argument(
            "--scales",
            type=float,
            nargs="+",
            default=[1.0],
            help="with --tta also average over these scales",
        )
        command.add_argument("--device", default="", help="cpu, cuda, ...")
        if run is predict:
            command.add_argument("--image", required=True, help="the image file to segment")
            command.add_argument("--out", required=True, help="where the overlay goes (PNG)")
            command.add_argument("--mask", help="where the labels go (by default OUT_mask.png)")
        else:
            command.add_argument("--data", help="root folder (by default that of the training)")
            command.add_argument("--layout", choices=tuple(LAYOUTS), help="by default as trained")
            command.add_argument("--split", default="val", help="which part (default: val)")
            command.add_argument(
                "--workers", type=int, default=0, help="processes that load images"
            )
            command.add_argument("--results", help="JSON file to keep the scores in")
    return parser


if __name__ == "__main__":
    sys.exit(main())
