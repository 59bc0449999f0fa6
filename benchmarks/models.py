"""Each network beside the implementation a user would pick instead: time, memory, parameters.

    python benchmarks/models.py                          # 2 images of 256 x 256, all pairs
    python benchmarks/models.py --quick                  # small, one round, no file
    python benchmarks/models.py --device cuda --size 512 --batch 8
    python benchmarks/models.py --only segformer_b0 --cpu-time

Ratios are ours / theirs: below 1 ours takes less. Where the two are the same network, its tests
(tests/parity) hold them to the same output. Memory is the peak of what a training step allocates,
on top of the network: activations, gradients, scratch.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import race
from segedu.files import write_json
from segedu.models import get_model

NUM_CLASSES = 21
BUSY = "The machine had other work to do meanwhile: only the ratios mean something."


class Pair(NamedTuple):
    package: str  #: on the package index
    call: str  #: what its user would type
    build: Callable[[], nn.Module]
    difference: str = ""  #: where the two are not the same network


class Peer(nn.Module):
    """A peer called as its user would: one tensor, at the size of the images."""

    def __init__(self, model: nn.Module, pick: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model, self.pick = model, pick

    def forward(self, images: Tensor) -> Tensor:
        logits = self.pick(self.model(images))  # (N, C, h, w)
        if logits.shape[-2:] != images.shape[-2:]:
            logits = F.interpolate(logits, images.shape[-2:], mode="bilinear")
        return logits


def _torchvision(name: str) -> Pair:
    def build() -> nn.Module:
        from torchvision.models import segmentation

        settings = {"weights": None, "weights_backbone": None, "num_classes": NUM_CLASSES}
        return Peer(getattr(segmentation, name)(**settings), lambda output: output["out"])

    return Pair("torchvision", name, build)


def _smp(name: str, encoder: str, difference: str = "") -> Pair:
    def build() -> nn.Module:
        import segmentation_models_pytorch as smp

        return getattr(smp, name)(encoder, encoder_weights=None, classes=NUM_CLASSES)

    return Pair("segmentation-models-pytorch", f'{name}("{encoder}")', build, difference)


def _hugging_face() -> nn.Module:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    model = SegformerForSemanticSegmentation(SegformerConfig(num_labels=NUM_CLASSES))
    return Peer(model, lambda output: output.logits)


PAIRS = {
    "fcn_resnet50": _torchvision("fcn_resnet50"),
    "deeplab_v3_resnet50": _torchvision("deeplabv3_resnet50"),
    "deeplab_v3_mobilenet_v3": _torchvision("deeplabv3_mobilenet_v3_large"),
    "lraspp_mobilenet_v3": _torchvision("lraspp_mobilenet_v3_large"),
    "deeplab_v3_plus_resnet50": _smp(
        "DeepLabV3Plus",
        "resnet50",
        "one of the decoder's two convolutions is at stride 16 in theirs, both at 4 in ours",
    ),
    "semantic_fpn_resnet50": _smp(
        "FPN", "resnet50", "theirs has no 3x3 convolution on each level of the pyramid"
    ),
    "dense_unet121": _smp("Unet", "densenet121"),
    "segformer_b0": Pair(
        "transformers", "SegformerForSemanticSegmentation(SegformerConfig())", _hugging_face
    ),
}


def _forward(model: nn.Module, images: Tensor, target: Tensor) -> None:
    with torch.inference_mode():
        model.eval()(images)


def _training_step(model: nn.Module, images: Tensor, target: Tensor) -> None:
    F.cross_entropy(model.train()(images), target).backward()
    model.zero_grad(set_to_none=True)


TASKS = {"forward": _forward, "training_step": _training_step}


def _inputs(options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (options.batch, options.size, options.size)
    images = torch.randn(shape[0], 3, *shape[1:], generator=generator)
    target = torch.randint(NUM_CLASSES, shape, generator=generator)
    return images.to(options.device), target.to(options.device)


def _measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    pair = PAIRS[name]
    torch.manual_seed(0)
    # no auxiliary head on either side
    models = {"theirs": pair.build(), "ours": get_model(name, NUM_CLASSES)}
    inputs = _inputs(options)
    row: dict[str, Any] = {
        "peer": f"{pair.package}: {pair.call}",
        "difference": pair.difference,
        "parameters": {side: sum(p.numel() for p in m.parameters()) for side, m in models.items()},
        "ratios": {},
    }
    clock = time.process_time if options.cpu_time else time.perf_counter
    for label, task in TASKS.items():
        runs = {
            side: partial(task, model.to(options.device), *inputs) for side, model in models.items()
        }
        row[label] = race.race(runs, options.rounds, clock)
        row["ratios"][label] = row[label]["ours"]["ratio"]
        race.show(f"{name}, {label}", row[label])
    row["peak_bytes"] = {
        side: race.allocated_peak(run, options.device) for side, run in runs.items()
    }
    row["ratios"]["peak_memory"] = round(row["peak_bytes"]["ours"] / row["peak_bytes"]["theirs"], 2)
    print("  peak memory", row["peak_bytes"], row["ratios"]["peak_memory"], flush=True)
    return row


def main() -> None:
    parser = race.command_line(__doc__, "small images, one round, no file")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cpu-time", action="store_true", help="clock the process, not the wall")
    parser.add_argument("--only", nargs="+", choices=PAIRS, default=list(PAIRS), metavar="NAME")
    options = parser.parse_args()
    if options.quick:
        options.size, options.rounds = 64, 1
    machine = race.busy_machine(options.device)
    packages = sorted({"torch", *(pair.package for pair in PAIRS.values())})
    result = {
        "command": " ".join(["python", "benchmarks/models.py", *sys.argv[1:]]),
        "machine": {**machine, "packages": {name: version(name) for name in packages}},
        "note": BUSY if machine["load"] > machine["threads"] else "",
        "clock": "processor" if options.cpu_time else "wall",
        "setting": {key: getattr(options, key) for key in ("device", "size", "batch", "rounds")},
        "models": {name: _measure(name, options) for name in options.only},
    }
    if options.only == list(PAIRS) and not options.quick:  # a part of the table is only shown
        print(write_json(race.RESULTS / "models.json", result))


if __name__ == "__main__":
    main()
