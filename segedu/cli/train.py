"""Train a network on a data set: semantic, instance, panoptic or promptable."""

import argparse
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segedu import machine
from segedu.cli import networks, specs
from segedu.cli.datasets import LEARNT, add_data, data_options, open_split
from segedu.cli.options import AsTuple, Parser, add_settings, find_device
from segedu.cli.run_folder import Sparing, describe, draw_curves, example_drawer, write_config
from segedu.files import user_path

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    from segedu.tasks import Task

EXAMPLES = (
    "train --data mydata --classes background car --val-split 0.2 --out runs/cars",
    "train --layout coco --data coco --task instance --epochs 20 --out runs/objects",
)


def _option(help: str, default: Any = MISSING, **settings: Any) -> Any:
    """A field of a config that is also an option; ``rare`` ones are shown by --help-all."""
    return field(default=default, metadata={"help": help, **settings})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training beside the data set; it is kept in the checkpoints."""

    out: str = _option("folder for checkpoints, curves, examples and config.json")
    task: str = _option("what is learnt (default: by model or layout)", "", choices=LEARNT)
    model: str = _option("name of a network, see `segedu models` (default: by task)", "")
    epochs: int = _option("epochs in all, those before --resume included", 50)
    batch_size: int = _option("images per step, over all processes", 8)
    crop: tuple[int, int] = _option(
        "the training crops, tiles of large images", (256, 256), nargs=2, metavar=("H", "W")
    )
    lr: float = _option("highest learning rate", 1e-3)
    loss: str = _option("such as ce, ce+dice, focal:gamma=1+0.5*dice (semantic)", "ce")
    class_weights: str = _option("by strategy, such as median_frequency (semantic)", "")
    init: str = _option("checkpoint or weights to begin with, but for heads that differ", "")
    backbone_weights: str = _option("file, or torchvision's such as ResNet50_Weights.DEFAULT", "")
    device: str = _option("cpu, cuda, cuda:1 (default: a GPU if there is one)", "")
    image_size: tuple[int, ...] = _option(
        "scale whole images into this, always", (), nargs=2, metavar=("H", "W"), rare=True
    )
    scale: tuple[float, float] = _option(
        "range of the random scale", (0.5, 2.0), nargs=2, metavar=("LOW", "HIGH"), rare=True
    )
    flip: bool = _option("mirror half of the samples", True, rare=True)
    color: bool = _option("vary the colours", True, rare=True)
    augment_on: str = _option(
        "mirror, colour and normalise by sample, or whole batches beside the network (semantic)",
        "loader",
        choices=("loader", "device"),
        rare=True,
    )
    window: int = _option("validate large images in windows of this side", 0, rare=True)
    aux_weights: tuple[float, ...] = _option(
        "of several outputs, main first, not the paper's", (), nargs="+", metavar="W", rare=True
    )
    freeze: tuple[str, ...] = _option(
        "leave parameters whose names start so", (), nargs="+", metavar="PREFIX", rare=True
    )
    optimizer: str = _option(
        "adamw, adam or sgd:momentum=0.9; a weight_decay here is of all parameters",
        "adamw",
        rare=True,
    )
    schedule: str = _option(
        "poly, cosine, step:milestones=(90,), plateau, constant", "poly", rare=True
    )
    weight_decay: float = _option("on weights, not on biases and norms", 1e-4, rare=True)
    warmup: int = _option("steps of linear warm-up", 0, rare=True)
    clip_norm: float = _option("longest gradient; 0 does not clip", 0.0, rare=True)
    accumulate: int = _option("batches per optimizer step", 1, rare=True)
    ema_decay: float = _option("of a moving average of the weights; 0 keeps none", 0.0, rare=True)
    shard: bool = _option(
        "processes of torchrun hold parts of the weights, not all (FSDP2)", False, rare=True
    )
    patience: int = _option("stop after so many epochs without a better one", 0, rare=True)
    val_every_image: int = _option("validate on every n-th image only", 1, rare=True)
    cache: bool = _option("keep the training images in memory", False, rare=True)
    decoded: str = _option(
        "folder where the training images are kept decoded, mapped into memory", "", rare=True
    )
    seed: int = _option("root of all random numbers", 0, rare=True)
    workers: int = _option("processes that load images", 0, rare=True)


def add_options(parser: Parser) -> None:
    """Those of the data set, one for each field of `TrainConfig`, and a few that are not kept."""
    add_data(parser)
    _add_config(parser, TrainConfig)
    add_settings(parser, "a setting of the network, such as base_width=32; may be repeated")
    parser.add_argument("--resume", action="store_true", help="go on from last.pt in --out")


def run(options: argparse.Namespace) -> None:
    """Train, and say how it goes."""
    import torch

    from segedu.data import LAYOUTS, ChannelStatistics, channel_statistics, transforms
    from segedu.data.views import Cached, Part, Transformed
    from segedu.engine import distributed, fit, make_loader, parameter_groups, seed_everything
    from segedu.engine.checks import at_least_one
    from segedu.engine.resume import nothing_left

    config = TrainConfig(**{f.name: getattr(options, f.name) for f in fields(TrainConfig)})
    out = user_path(config.out)
    at_least_one(
        epochs=config.epochs,
        accumulate=config.accumulate,
        val_every_image=config.val_every_image,
    )
    if not options.resume and (out / "last.pt").exists():
        raise FileExistsError(
            f"{out} already holds a training: --resume it or choose another --out"
        )
    layout, said = options.layout or "folders", data_options(options)
    usual = "" if config.model or layout not in LAYOUTS else LAYOUTS[layout].tasks[0]
    model_name, task_name = networks.choose(config.model, config.task or usual or None)
    if task_name != "semantic":
        _refuse_semantic_options(config, task_name)
    device = distributed.setup(find_device(config.device))
    raw = {
        split: open_split(layout, options.data, split, task_name, said, seed=config.seed)
        for split in ("train", "val")
    }
    channels, statistics = said.get("channels", 3), None
    if channels != 3:  # every image is read; rather find out before whether a network takes them
        settings, flat = dict(options.set), ChannelStatistics((0.5,) * channels, (0.5,) * channels)
        networks.build_model(model_name, raw["train"], settings, flat)
        statistics = channel_statistics(raw["train"])
    about = {
        **asdict(config),
        "model": model_name,
        "task": task_name,
        "layout": layout,
        "data": options.data,
        "data_options": said,
        "settings": dict(options.set),
        "classes": list(raw["train"].classes),
        "colors": [list(color) for color in raw["train"].colors],
        "mean": list(statistics.mean if statistics else transforms.MEAN),
        "std": list(statistics.std if statistics else transforms.STD),
    }
    if task_name != "semantic":
        about["isthing"] = networks.are_things(raw["train"])
    kept = Cached(raw["train"]) if config.cache else raw["train"]
    if config.decoded:
        kept = _decoded(raw["train"], config, layout=layout, **said)
    train_set = Transformed(kept, _augmentation(about))
    every = range(0, len(raw["val"]), config.val_every_image)
    val_set = Transformed(Part(raw["val"], every), networks.preprocessing(about))
    seed_everything(config.seed)  # for the initial weights
    model = networks.build_model(
        model_name, train_set, dict(options.set), statistics, config.backbone_weights
    )
    begun = networks.initialise(model, config.init) if config.init else ""
    frozen = networks.freeze(model, config.freeze)
    task = _task(about, raw["train"])
    out.mkdir(parents=True, exist_ok=True)  # rather find out now than after the first epoch
    if task_name == "semantic":
        model.to(memory_format=torch.channels_last)  # the faster layout for convolutions
    train_loader, val_loader = (
        make_loader(
            dataset,
            size,
            shuffle=shuffle,
            seed=config.seed,
            num_workers=config.workers,
            collate_fn=task.collate,
        )
        for dataset, size, shuffle in (
            (train_set, config.batch_size, True),
            (val_set, distributed.world_size(), False),  # images may differ in size: one by one
        )
    )
    optimizer = specs.build_optimizer(
        config.optimizer,
        parameter_groups(model, config.lr, weight_decay=config.weight_decay),
        config.lr,
    )
    steps = config.epochs * -(-len(train_loader) // config.accumulate)
    parameters = sum(p.numel() for p in model.parameters())
    about |= {
        "command": options.command_line,
        "parameters": parameters,
        "machine": machine.describe(device),
    }
    main = distributed.rank() == 0
    monitor = f"val_{task.monitor}"
    if main:
        write_config(out, about | describe(raw))
        print(
            f"{model_name}: {parameters:,} parameters"
            + (f", {frozen:,} of them frozen" if frozen else "")
            + f"; {len(train_set)} training and {len(val_set)} validation images, "
            f"{len(train_set.classes)} classes; {task_name}, on {device}"
        )
        if begun:
            print(begun)
    draw_examples = example_drawer(out, raw["val"], task, about) if main else None

    def draw() -> None:
        draw_curves(out, _records(out), monitor)
        draw_examples(model)

    pictures = Sparing(draw)
    trained: list[dict[str, Any]] = []  # the epochs of this call

    def show(record: dict[str, Any]) -> None:
        trained.append(record)
        if not main:
            return
        _print_row(record, config.epochs, head=len(trained) == 1)
        pictures()

    history = fit(
        model,
        train_loader,
        task=task,
        augment=_on_device(about),
        epochs=config.epochs,
        optimizer=optimizer,
        scheduler=specs.build_schedule(config.schedule, optimizer, steps, config.warmup),
        val_loader=val_loader,
        device=device,
        clip_norm=config.clip_norm or None,
        accumulate=config.accumulate,
        ema_decay=config.ema_decay or None,
        shard=config.shard,
        patience=config.patience or None,
        checkpoint_dir=out,
        resume=options.resume,
        config=about,
        on_epoch=show,
        seed=config.seed,
    )
    if not trained:
        raise ValueError(nothing_left(out, len(history), config.epochs))
    if main:
        pictures.finish()
        best = history.best(monitor, task.larger_is_better)
        print(
            f"best epoch {best}: {monitor} {_number(history[monitor][best - 1])}, "
            f"kept in {out / 'best.pt'}"
        )


def _refuse_semantic_options(config: TrainConfig, task: str) -> None:
    """Networks for objects have losses of their own, and look at whole images."""
    said = {
        "--loss": config.loss != "ce",
        "--class-weights": config.class_weights,
        "--aux-weights": config.aux_weights,
        "--window": config.window,
        "--augment-on device": config.augment_on == "device",
    }
    for option in (name for name, value in said.items() if value):
        raise ValueError(f"{option} is for --task semantic; got --task {task}")


def _augmentation(config: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Random crops of the training images, after the whole image was scaled if so wanted."""
    from torchvision.transforms import v2

    from segedu.data import transforms

    how = {name: config[name] for name in ("scale", "flip", "color", "mean")}
    if config["augment_on"] == "device":
        crops = transforms.ScaleAndCrop(config["crop"], config["scale"], config["mean"])
    elif config["task"] == "semantic":
        crops = transforms.training(config["crop"], std=config["std"], **how)
    else:
        crops = transforms.instances(crop=config["crop"], **how)
        crops = v2.Compose([crops, transforms.DropInvisible()])
    if not config["image_size"]:
        return crops
    return v2.Compose([transforms.FitInto(config["image_size"], config["mean"]), crops])


def _decoded(dataset: "Dataset", config: TrainConfig, **about: Any) -> "Dataset":
    """The samples in a file, which the first process writes for all."""
    from segedu.data.decoded import Decoded
    from segedu.engine import distributed

    if config.cache:
        raise ValueError("--cache and --decoded keep the same images; give one of them")
    folder = user_path(config.decoded)
    if distributed.rank() == 0:
        Decoded(dataset, folder, **about)
    distributed.wait()
    return Decoded(dataset, folder, **about)


def _on_device(config: dict[str, Any]) -> Callable[[Any], Any] | None:
    """What of the augmentation is left for whole batches."""
    if config["augment_on"] == "loader":
        return None
    from segedu.data.transforms import FinishBatch

    color = 0.3 if config["color"] else 0.0
    return FinishBatch(flip=config["flip"], color=color, mean=config["mean"], std=config["std"])


def _task(config: dict[str, Any], train_set: Any) -> "Task":
    """What is learnt, with its loss."""
    from segedu.data import pixel_counts
    from segedu.losses import class_weights
    from segedu.losses.weights import STRATEGIES
    from segedu.models import list_models

    if config["task"] != "semantic":
        return networks.build_task(config)
    weights, strategy = None, config["class_weights"]
    if strategy:
        if strategy not in STRATEGIES:
            raise ValueError(
                f"--class-weights must be one of {', '.join(STRATEGIES)}; got {strategy!r}"
            )
        counts = pixel_counts(train_set)
        of_images = {"image_pixels": counts.image_pixels} if strategy == "median_frequency" else {}
        weights = class_weights(counts.pixels, strategy, **of_images)
    loss = specs.build_loss(config["loss"], weights)
    outputs = config["aux_weights"] or list_models()[config["model"]].aux_weights
    return networks.build_task({**config, "aux_weights": outputs}, loss)


def _records(folder: Path) -> list[dict[str, Any]]:
    """The epochs so far, those before a resume included."""
    from segedu.engine.history import History

    return History.from_jsonl(folder / "history.jsonl").records


def _print_row(record: dict[str, Any], epochs: int, *, head: bool) -> None:
    """One line of the table of epochs: its losses and its scores."""
    shown = {
        key: value
        for key, value in record.items()
        if key not in ("epoch", "lr", "seconds") and not isinstance(value, list | dict | str)
    }
    known = [k for k in ("loss", "val_loss", *_SHOWN) if k in shown]
    if head:
        print(f"{'epoch':>9}" + "".join(f"{key:>{_width(key)}}" for key in known) + "   seconds")
    cells = "".join(f"{_number(shown[key]):>{_width(key)}}" for key in known)
    print(f"{record['epoch']:>4}/{epochs:<4}{cells}{record['seconds']:>10.1f}", flush=True)


_SHOWN = (
    *("val_mean_iou", "val_pixel_accuracy", "val_AP", "val_AP50", "val_AP75"),
    *("val_pq", "val_sq", "val_rq"),
)


def _width(key: str) -> int:
    return max(10, len(key) + 2)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _add_config(parser: Parser, config: type) -> None:
    """One option per field of a dataclass."""
    for item in fields(config):
        settings = dict(item.metadata)
        add = parser.add_rare if settings.pop("rare", False) else parser.add_argument
        name = f"--{item.name.replace('_', '-')}"
        if item.type is bool:
            add(name, action=argparse.BooleanOptionalAction, default=item.default, **settings)
            continue
        many = "nargs" in settings
        kind = item.type.__args__[0] if many else item.type
        if item.default is MISSING:
            settings["required"] = True
        elif item.default not in ("", (), 0):
            shown = " ".join(map(str, item.default)) if many else item.default
            settings["help"] += f" (default: {shown})"
        if not many and "choices" not in settings:
            settings.setdefault("metavar", _METAVARS.get(kind, "TEXT"))
        add(
            name,
            type=kind,
            default=None if item.default is MISSING else item.default,
            action=AsTuple if many else "store",
            **settings,
        )


_METAVARS = {int: "N", float: "X"}
