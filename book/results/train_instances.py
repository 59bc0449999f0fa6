"""Train a tiny network on real images, judge it on others, and record both in instance.json.

    export SEGEDU_DATA=...       # the folder above dsb2018_nuclei/ and coco128_seg/
    python -m book.results.train_instances nuclei
    python -m book.results.train_instances coco128
    python -m book.results.train_instances nuclei --lr 4e-3 --model embedding_tiny

Every fourth image is kept for judging. Training sees random crops of 128 x 128; judged are the
central 256 x 256 pixels of each image, at its own resolution (nuclei), or the whole image scaled to
256 pixels (COCO, where all classes count as one, "object": 80 images teach no 80 classes). Mask
classifiers and the embedding network are judged on the quarters of these views, as large as a crop:
to a transformer a position is a share of the image, and embeddings learn to keep apart no more
objects than a crop holds. Networks that give a panoptic map are also judged by the panoptic quality
of the objects in it (``PQ``).
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from segedu import machine
from segedu.data.coco import CocoInstances
from segedu.data.object_folders import ObjectFolders
from segedu.data.transforms import DropInvisible, FitInto, ScaleAndCrop
from segedu.engine import cosine_lr, evaluate, fit, make_loader, seed_everything
from segedu.files import json_text, read_json, write_json
from segedu.models import get_model
from segedu.models.embedding import EmbeddingNetwork
from segedu.models.mask_classification import MaskClassifier
from segedu.models.mask_rcnn import MaskRCNN
from segedu.models.yolact import YOLACT
from segedu.tasks import Instance, Panoptic

CROP, VIEW = 128, 256
SCORES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")


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


OBJECT = {"things": (1,)}
QUERIES = OBJECT | {"num_queries": 100}  # a view has up to as many nuclei

#: Network -> its settings. They tell background, 0, from object, 1.
NETWORKS: dict[str, dict[str, Any]] = {
    "mask_rcnn_tiny": {},
    "yolact_tiny": {},
    "panoptic_fpn_tiny": OBJECT,
    "panoptic_deeplab_tiny": OBJECT,
    "embedding_tiny": OBJECT,
    "maskformer_tiny": QUERIES,
    "mask2former_tiny": QUERIES,
}


class Kept(Dataset):
    """Samples kept in memory, transformed anew each time; all classes are taken as one."""

    def __init__(self, samples: list[dict[str, Any]], *transforms: nn.Module):
        to_float = v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True)
        self.samples = [{**s, "labels": torch.ones_like(s["labels"])} for s in samples]
        self.transforms = v2.Compose([*transforms, to_float])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.transforms(self.samples[index])


class Quarters(Dataset):
    """Samples cut in four; an object that is cut counts in each quarter."""

    def __init__(self, samples: Dataset) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return 4 * len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.samples[index // 4]
        height, width = (side // 2 for side in sample["image"].shape[1:])
        top, left = (index // 2 % 2) * height, (index % 2) * width
        quarter = {
            key: v2.functional.crop(value, top, left, height, width)
            if isinstance(value, tv_tensors.TVTensor)
            else value
            for key, value in sample.items()
        }
        return DropInvisible()(quarter)


def widen(model: nn.Module) -> None:
    """For views: they have four times the pixels of a crop, and more objects."""
    for module in model.modules():
        if isinstance(module, MaskRCNN):
            module.settings.min_size = VIEW
            module.settings.box_detections_per_img = 100
            module.settings.rpn_post_nms_top_n_test = 300
        elif isinstance(module, YOLACT):
            module.image_size = 2 * VIEW  # it looks at crops enlarged by 2, too


def judge(model: nn.Module, samples: Dataset) -> dict[str, float | None]:
    """Average precision, recall and, if it gives a panoptic map, quality of the objects.

    None where no object has that size.
    """
    widen(model)
    loader = make_loader(samples, 1, collate_fn=list)
    found = evaluate(model, loader, task=Instance())
    scores = {key: None if found[key] != found[key] else round(found[key], 4) for key in SCORES}
    if hasattr(model, "things"):
        found = evaluate(model, loader, task=Panoptic({0: False, 1: True}))
        scores["PQ"] = round(found["per_class"][1]["pq"], 4)
    return scores


def main() -> None:
    """Train and judge as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=RECIPES)
    parser.add_argument("--model", choices=NETWORKS, default="mask_rcnn_tiny")
    parser.add_argument("--epochs", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3, help="of AdamW, falling to 0")
    parser.add_argument("--whole-views", action="store_true", help="judge on these, too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("instance.json"))
    options = parser.parse_args()
    if "SEGEDU_DATA" not in os.environ:
        parser.error("set SEGEDU_DATA to the folder above dsb2018_nuclei/ and coco128_seg/")

    seed_everything(options.seed)
    recipe = RECIPES[options.data]
    samples = list(recipe.open(Path(os.environ["SEGEDU_DATA"])))
    held_out = samples[::4]
    training = [sample for index, sample in enumerate(samples) if index % 4]
    crops = (ScaleAndCrop(CROP, recipe.scale), v2.RandomHorizontalFlip(), DropInvisible())
    loader = make_loader(
        Kept(training, *crops),
        options.batch_size,
        shuffle=True,
        seed=options.seed,
        collate_fn=list,
    )
    model = get_model(options.model, 2, **NETWORKS[options.model]).to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)
    steps = options.epochs * len(loader)
    started = time.perf_counter(), time.process_time()
    history = fit(
        model,
        loader,
        task=Instance(),
        epochs=options.epochs,
        optimizer=optimizer,
        scheduler=cosine_lr(optimizer, steps, warmup_steps=min(50, steps // 2)),
        clip_norm=5.0,
        device=options.device,
        seed=options.seed,
        on_epoch=lambda record: print(record, flush=True),
    )
    seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    judged = Kept(held_out, recipe.view, DropInvisible())
    whole = {"whole_views": judge(model, judged)} if options.whole_views else {}
    if isinstance(model, MaskClassifier | EmbeddingNetwork):
        judged = Quarters(judged)
    result = {
        "command": shlex.join(["python", "-m", "book.results.train_instances", *sys.argv[1:]]),
        "images": {"training": len(training), "judged": len(judged)},
        "objects_judged": sum(len(judged[index]["labels"]) for index in range(len(judged))),
        **judge(model, judged),
        **whole,
        "epochs": options.epochs,
        "steps": steps,
        "loss": [round(record["loss"], 4) for record in history],
        "seed": options.seed,
        "seconds": round(seconds[0], 1),
        "processor_seconds": round(seconds[1], 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "machine": machine.describe(options.device),
    }
    print(json_text(result), end="")
    kept = read_json(options.results) if options.results.exists() else {}
    kept[f"{options.model}/{options.data}"] = result
    write_json(options.results, dict(sorted(kept.items())))


if __name__ == "__main__":
    main()
