"""Train on a data set in a known layout."""

import argparse
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from segedu import machine
from segedu.cli.networks import build_model
from segedu.cli.options import AsTuple, Parser, assignment, find_device, find_root, path

if TYPE_CHECKING:
    from torch import nn

EXAMPLES = (
    "train --layout camvid --data CamVid --out runs/unet",
    "train --layout scenes --model fast_scnn --epochs 10 --out runs/scenes",
)
LOSSES = ("ce", "dice", "ce+dice")


def _option(help: str, default: Any = MISSING, **settings: Any) -> Any:
    """A field of a config that is also an option of the command line."""
    return field(default=default, metadata={"help": help, **settings})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training; it is kept in the checkpoints."""

    layout: str = _option("how the data set lies on the disk", metavar="NAME")
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


def add_options(parser: Parser) -> None:
    """One option for each field of `TrainConfig`, and a few that are not kept."""
    _add_config(parser, TrainConfig)
    parser.add_argument(
        "--set",
        type=assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the network, such as base_width=32; may be repeated",
    )
    parser.add_argument("--resume", action="store_true", help="go on from last.pt in --out")


def run(options: argparse.Namespace) -> None:
    """Train, and say how it goes."""
    import torch

    from segedu.data import open_dataset, transforms
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
    out = path(config.out)
    at_least_one(epochs=config.epochs, accumulate=config.accumulate)
    at_least_one(val_every_image=config.val_every_image)
    if not options.resume and (out / "last.pt").exists():
        raise FileExistsError(
            f"{out} already holds a training: --resume it or choose another --out"
        )
    device = distributed.setup(find_device(config.device))
    augment = transforms.training(config.crop, scale=config.scale)
    root = find_root(config.layout, config.data)
    train_set = open_dataset(config.layout, root, "train", transforms=augment)
    val_set = open_dataset(config.layout, root, "val", transforms=transforms.evaluation())
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


def build_loss(name: str) -> "nn.Module":
    """Cross entropy, Dice or their sum."""
    from segedu.losses import CombinedLoss, CrossEntropyLoss, DiceLoss

    parts = {"ce": CrossEntropyLoss, "dice": DiceLoss}
    return CombinedLoss({part: (parts[part](), 1.0) for part in name.split("+")})


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
            action=AsTuple if many else "store",
            **settings,
        )
