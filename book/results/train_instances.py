"""Train a tiny network on real images, judge it on others, and record both in instance.json.

    export SEGEDU_DATA=...       # the folder above dsb2018_nuclei/ and coco128_seg/
    python -m book.results.train_instances nuclei
    python -m book.results.train_instances coco128
    python -m book.results.train_instances nuclei --model yolact_tiny --epochs 24

Every fourth image is kept for judging. Training sees random crops, of 128 x 128 for Mask R-CNN and
of 256 x 256 for networks to which an object's size is a part of the image's; judged are the central
256 x 256 pixels of each image, at its own resolution (nuclei), or the whole image scaled to 256
pixels (COCO, where all classes count as one, "object": 80 images teach no 80 classes).
"""

import argparse
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from segedu.data.coco import CocoInstances
from segedu.data.object_folders import ObjectFolders
from segedu.data.transforms import DropInvisible, FitInto, ScaleAndCrop
from segedu.engine import cosine_lr, fit, make_loader, seed_everything
from segedu.engine.checkpoint import atomic_write
from segedu.metrics import MaskAP
from segedu.models.mask2former import mask2former_tiny
from segedu.models.mask_rcnn import MaskRCNN, mask_rcnn_tiny
from segedu.models.yolact import yolact_tiny

VIEW = 256  # pixels a side of what is judged
SCORES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")


class Network(NamedTuple):
    """A network for one class of objects, the side of its training crops, and the class's label."""

    build: Callable[[], nn.Module]
    crop: int
    label: int = 1  #: 0 if the network counts no background
    before_judging: Callable[[Any], None] = lambda model: None


class Recipe(NamedTuple):
    """A data set, and the scale of the training crops and the view of the judged images."""

    open: Callable[[Path], Dataset]
    scale: tuple[float, float]
    view: v2.Transform


def open_nuclei(root: Path) -> Dataset:
    """Nuclei of the Data Science Bowl 2018."""
    return ObjectFolders(root / "dsb2018_nuclei" / "stage1_train")


def open_coco(root: Path) -> Dataset:
    """The first images of COCO train2017."""
    folder = root / "coco128_seg"
    return CocoInstances(
        folder / "images" / "train2017",
        folder / "annotations_derived" / "instances_train2017_from_yolo.json",
        crowd=False,
    )


RECIPES = {
    "nuclei": Recipe(open_nuclei, (0.75, 1.25), v2.CenterCrop(VIEW)),
    "coco128": Recipe(open_coco, (0.25, 0.5), FitInto(VIEW)),
}


def see_more(model: MaskRCNN) -> None:
    """A view has four times the pixels of a crop, and more objects."""
    model.settings.min_size = VIEW
    model.settings.box_detections_per_img = 100
    model.settings.rpn_post_nms_top_n_test = 300


NETWORKS = {
    "mask_rcnn_tiny": Network(lambda: mask_rcnn_tiny(2), 128, before_judging=see_more),
    "yolact_tiny": Network(lambda: yolact_tiny(2, image_size=VIEW), VIEW),
    "mask2former_tiny": Network(
        lambda: mask2former_tiny(1, num_queries=64, task="instance"), VIEW, label=0
    ),
}


class Kept(Dataset):
    """Samples kept in memory, transformed anew each time; every object has the label ``label``."""

    def __init__(self, samples: list[dict[str, Any]], label: int, *transforms: nn.Module):
        to_float = v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)
        self.samples = [{**s, "labels": torch.full_like(s["labels"], label)} for s in samples]
        self.transforms = v2.Compose([*transforms, to_float])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.transforms(self.samples[index])


def sum_losses(model: nn.Module, samples: list[dict[str, Any]]) -> Tensor:
    """What is minimised: the sum of the network's losses."""
    return sum(model([sample["image"] for sample in samples], samples).values())


@torch.inference_mode()
def judge(model: nn.Module, samples: Dataset) -> dict[str, float | None]:
    """Average precision and recall; None where no object has that size."""
    model.eval()
    metric = MaskAP()
    for index in range(len(samples)):
        sample = samples[index]
        metric.update(model([sample["image"]]), [sample])
    scores = metric.compute()
    return {key: None if scores[key] != scores[key] else round(scores[key], 4) for key in SCORES}


def main() -> None:
    """Train and judge as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=RECIPES)
    parser.add_argument("--model", choices=NETWORKS, default="mask_rcnn_tiny")
    parser.add_argument("--epochs", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3, help="of AdamW, falling to 0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("instance.json"))
    options = parser.parse_args()
    if "SEGEDU_DATA" not in os.environ:
        parser.error("set SEGEDU_DATA to the folder above dsb2018_nuclei/ and coco128_seg/")

    seed_everything(options.seed)
    recipe, network = RECIPES[options.data], NETWORKS[options.model]
    samples = list(recipe.open(Path(os.environ["SEGEDU_DATA"])))
    held_out = samples[::4]
    training = [sample for index, sample in enumerate(samples) if index % 4]
    crops = (ScaleAndCrop(network.crop, recipe.scale), v2.RandomHorizontalFlip(), DropInvisible())
    loader = make_loader(
        Kept(training, network.label, *crops),
        options.batch_size,
        shuffle=True,
        seed=options.seed,
        collate_fn=list,
    )
    model = network.build().to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)
    steps = options.epochs * len(loader)
    started = time.perf_counter(), time.process_time()
    history = fit(
        model,
        loader,
        compute_loss=sum_losses,
        epochs=options.epochs,
        optimizer=optimizer,
        scheduler=cosine_lr(optimizer, steps, warmup_steps=min(50, steps // 2)),
        clip_norm=5.0,
        device=options.device,
        seed=options.seed,
        on_epoch=lambda record: print(record, flush=True),
    )
    seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    judged = Kept(held_out, network.label, recipe.view, DropInvisible())
    network.before_judging(model)
    result = {
        "command": shlex.join(["python", "-m", "book.results.train_instances", *sys.argv[1:]]),
        "images": {"training": len(training), "judged": len(held_out)},
        "objects_judged": sum(len(judged[index]["labels"]) for index in range(len(judged))),
        **judge(model, judged),
        "epochs": options.epochs,
        "steps": steps,
        "loss": [round(record["loss"], 4) for record in history],
        "seed": options.seed,
        "seconds": round(seconds[0], 1),
        "processor_seconds": round(seconds[1], 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device": options.device,
        "machine": {
            "cpu": platform.machine(),
            "threads": torch.get_num_threads(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }
    print(json.dumps(result, indent=2))
    kept = json.loads(options.results.read_text()) if options.results.exists() else {}
    kept[f"{options.model}/{options.data}"] = result
    with atomic_write(options.results) as file:
        file.write((json.dumps(dict(sorted(kept.items())), indent=2) + "\n").encode())


if __name__ == "__main__":
    main()
