"""The weights in the package: tiny networks, trained on scenes by `python -m segedu`, and judged.

    python benchmarks/weights.py mask_rcnn_tiny    # a quarter of an hour of one processor
    python benchmarks/weights.py --quick           # prints the commands of all, runs none

Each network is trained once, with one seed, and judged after its last epoch on the 128 test scenes
(one on slices of phantoms), which nothing is chosen by. What is judged are the weights as they are
kept, in half precision. A training that was stopped goes on.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks import race
from benchmarks.camvid import execute, is_trained
from segedu.data import open_dataset
from segedu.data.transforms import instances
from segedu.engine.checkpoint import load_checkpoint, save_checkpoint
from segedu.files import read_json, write_bytes, write_json
from segedu.medical.phantom import Nodule, PhantomConfig, generate
from segedu.medical.preprocess import window
from segedu.models import get_model, trained
from segedu.ops import mask_iou
from segedu.tasks import Instance

FILE = "book/results/weights.json"
SEED = 0
AREAS = (0, 32, 64, 128, 256, 512)  # pixels
SCORES = ("AP", "AP50", "APs", "APm", "pq", "pq_things", "pq_stuff", "sq", "rq", "mean_iou")
OF_AN_EPOCH = ("epoch", "lr", "loss", "seconds", *(f"val_{score}" for score in SCORES))


class Recipe(NamedTuple):
    """How a network is trained."""

    task: str
    epochs: int  #: of ``scenes``
    settings: str = ""  #: of the network, as ``--set`` takes them
    lr: str = "2e-3"
    scenes: int = 2048
    batch_size: int = 4
    crop: int = 128
    loss: str = ""  #: of a semantic network
    model: str = ""  #: name of the network, if it is not that of the recipe
    weights: str = "scenes"  #: name of the set that they belong to
    data: str = ""  #: options that say what it is trained on, if not scenes


# Most objects of these scenes are smaller than 16 pixels, and a network at stride 4 sees little of
# them: some look at the images enlarged, the others do not pool at the beginning.
ENLARGED = (
    "min_size=192 max_size=384 anchor_sizes=(12,24,48,96,192) sampling_ratio=1 "
    "rpn_fg_iou_thresh=0.5"
)
FINE = "max_pool=false"
# These run in a page of the book, on a phone too: 0.5 million parameters.
NARROW, OVERLAP = "base_width=8", "ce+0.5*dice"
LUNGS = "runs/weights/lung_slices"
PATIENTS = {"train": range(1000, 1064), "val": range(1064, 1072), "test": range(1072, 1088)}
NETWORKS = {
    "mask_rcnn_tiny": Recipe("instance", 6, ENLARGED),
    "panoptic_deeplab_tiny": Recipe(
        "panoptic", 8, f"depth=18 base_width=12 {FINE} rates=(1,2,4)", scenes=1536
    ),
    "yolact_tiny": Recipe("instance", 6, "depth=18 image_size=384", lr="1e-3"),
    "embedding_tiny": Recipe("panoptic", 4, f"depth=18 {FINE}"),
    "panoptic_fpn_tiny": Recipe("panoptic", 4, ENLARGED),
    "maskformer_tiny": Recipe("panoptic", 5, FINE, lr="1e-3"),
    "mask2former_tiny": Recipe("panoptic", 5, FINE, lr="1e-3"),
    "sam_tiny": Recipe("promptable", 6, lr="1.5e-3"),
    "unet": Recipe("semantic", 6, NARROW, "3e-3", batch_size=8, crop=96, loss=OVERLAP),
    "unet_without_skips": Recipe(
        *("semantic", 6, f"{NARROW} skip_connections=false", "3e-3"),
        **{"batch_size": 8, "crop": 96, "loss": OVERLAP},
        **{"model": "unet", "weights": "without_skips"},
    ),
    "unet_of_lungs": Recipe(
        *("semantic", 6, NARROW, "3e-3"),
        **{"batch_size": 8, "loss": OVERLAP, "model": "unet", "weights": "phantoms"},
        data=f"--data {LUNGS} --classes background lung",
    ),
}


def training(name: str) -> str:
    """The command that trains a network."""
    recipe = NETWORKS[name]
    settings = "".join(f"--set {shlex.quote(text)} " for text in recipe.settings.split())
    loss = f"--loss {shlex.quote(recipe.loss)} " if recipe.loss else ""
    crop, batch = f"{recipe.crop} {recipe.crop}", recipe.batch_size
    data = recipe.data or f"--layout scenes --scenes {recipe.scenes}"
    return (
        f"python -m segedu train {data} --task {recipe.task} "
        f"--model {recipe.model or name} {settings}{loss}--crop {crop} --scale 0.8 1.25 "
        f"--batch-size {batch} --lr {recipe.lr} --optimizer adamw:weight_decay=0.01 "
        f"--schedule cosine --warmup 200 --clip-norm 5 --epochs {recipe.epochs} "
        f"--val-every-image 4 --seed {SEED} --device cpu --out {folder(name)}"
    )


def judgement(name: str) -> str:
    """The command that judges its weights in half precision."""
    return (
        f"python -m segedu evaluate --checkpoint {folder(name)}/half.pt --split test --draws 0 "
        f"--device cpu --results {FILE} --entry {name}"
    )


def folder(name: str) -> str:
    return f"runs/weights/{name}"


def draw_lungs(folder: str | Path, patients: Mapping[str, Iterable[int]]) -> None:
    """Slices of 128 x 128 pixels of phantoms in the lung window, and which pixels are lung.

    Args:
        folder: gets a folder of ``images`` and one of ``masks`` for each split.
        patients: the seeds of each split.
    """
    for split, seeds in patients.items():
        for kind in ("images", "masks"):
            Path(folder, split, kind).mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            patient = generate(seed, a_patient(seed))
            grey = np.rint(255 * window(patient.image, "lung").array).astype(np.uint8)
            lungs = (patient.lungs.array > 0).astype(np.uint8)
            for kind, slices in (("images", grey), ("masks", lungs)):
                for number, values in enumerate(slices):
                    target = Path(folder, split, kind, f"{seed}-{number:02}.png")
                    Image.fromarray(values).save(target)


def a_patient(seed: int) -> PhantomConfig:
    """A phantom unlike the others, in whose lungs up to four balls are as dense as muscle."""
    rng = np.random.default_rng(seed)
    places = zip(
        rng.choice([-1, 1], 4) * rng.uniform(40, 120, 4),
        *(rng.uniform(low, high, 4) for low, high in ((-60, 90), (-110, 110))),
        strict=True,
    )
    return PhantomConfig(
        (12, 128, 128),
        (22, 2.8, 2.8),
        supersample=1,
        nodules=tuple(
            Nodule(rng.uniform(10, 90), rng.uniform(0, 60), lobulation=0.4, centre=place)
            for place in list(places)[: rng.integers(5)]
        ),
        emphysema=rng.uniform(0, 0.3),
        effusion=rng.choice([0, rng.uniform(5, 50)]),
        fat=rng.uniform(4, 30),
        heart_size=rng.uniform(0.85, 1.2),
        noise=rng.uniform(8, 40),
    )


def at_once(command: str) -> str:
    """The command of a training, of which it may be a part, without stops."""
    return command.replace(" --resume", "")


def make(name: str) -> None:
    """Train, judge and pack a network; a training that is there is not made again."""
    run, command = Path(folder(name)), training(name)
    begun = (run / "last.pt").exists()
    told = read_json(run / "config.json")["command"] if begun else ""
    if NETWORKS[name].data:
        draw_lungs(LUNGS, PATIENTS)
    if at_once(told) != command or not is_trained(run, told):
        execute(f"{command} --resume" if begun else command)
    state = load_checkpoint(run / "last.pt")
    state = {k: v for k, v in state.items() if k not in ("optimizer", "scheduler", "ema")}
    state["model"] = halved(state["model"])
    save_checkpoint(run / "half.pt", state)
    execute(judgement(name))
    results = read_json(FILE)
    results[name]["curve"] = [
        {key: value for key, value in record.items() if key in OF_AN_EPOCH}
        for record in state["history"]
    ]
    pack(name, state, results[name])
    if NETWORKS[name].task not in ("promptable", "semantic"):
        results[name]["found_by_area"] = found_by_area(name)
    write_json(FILE, results)


@torch.no_grad()
def found_by_area(name: str) -> dict[str, list[float]]:
    """Which objects of the test scenes the packed weights find: with their class, at an IoU of 0.5.

    Of a detector's objects those with a score of 0.5 count, as in drawings; all of a panoptic map.

    Returns:
        ``area``, where each range of areas begins, in pixels; ``objects``, how many there are in
        it; ``share``, how many of them are found.
    """
    network, task = get_model(name, weights="scenes").eval(), Instance()
    objects, found = torch.zeros(2, len(AREAS))
    detects = not hasattr(network, "things")
    for sample in open_dataset("scenes", split="test", transforms=instances(), task="instance"):
        (result,) = task.predict(network, [sample])
        sure = result["scores"] >= (0.5 if detects else 0.0)
        masks = result["masks"][sure].reshape(-1, *sample["image"].shape[1:]) > 0.5
        labels = result["labels"][sure]
        if not detects:  # which counts the classes of stuff, too
            labels = labels - min(network.things) + 1
        truth = sample["masks"].as_subclass(Tensor).bool()
        right = (mask_iou(masks, truth) > 0.5) & (labels[:, None] == sample["labels"])
        place = torch.bucketize(truth.flatten(1).sum(1), torch.tensor(AREAS), right=True) - 1
        objects += place.bincount(minlength=len(AREAS))
        found += place[right.any(0)].bincount(minlength=len(AREAS))
    share = [round(x, 3) for x in (found / objects).tolist()]
    return {"area": list(AREAS), "objects": objects.int().tolist(), "share": share}


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in half precision; whole numbers stay.

    Raises:
        ValueError: if a number is too large for it.
    """
    halves = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    for name, value in halves.items():
        if not value.isfinite().all():
            raise ValueError(f"{name} holds numbers that half precision does not")
    return halves


def pack(name: str, state: dict[str, Any], result: dict[str, Any]) -> None:
    """Write the weights into the package, and into its list what they are."""
    file = io.BytesIO()
    torch.save(dict(state["model"]), file)
    data, config = file.getvalue(), state["config"]
    network, recipe = dict(state["network"]), NETWORKS[name]
    name, which = network.pop("name"), recipe.weights
    write_bytes(trained.FOLDER / which / f"{name}.pt", data)
    entry = {
        "sha256": sha256(data).hexdigest(),
        "size": len(data),
        "num_classes": network.pop("num_classes", None),
        "classes": config["classes"],
        "isthing": config.get("isthing", []),
        "settings": network,
        "command": result["training"]["command"],
        "scores": {key: result[key] for key in SCORES if result.get(key) is not None},
    }
    if recipe.task == "semantic":
        entry |= {key: config[key] for key in ("mean", "std")}
    manifest = trained.FOLDER / f"{which}.json"
    known = read_json(manifest) if manifest.exists() else {}
    print(write_json(manifest, dict(sorted((known | {name: entry}).items()))))


def main() -> None:
    parser = race.command_line(__doc__, "print the commands, run none")
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks to train")
    options = parser.parse_args()
    if unknown := sorted({*options.names} - {*NETWORKS}):
        parser.error(f"there is no {unknown[0]} here, only {', '.join(NETWORKS)}")
    if options.quick or not options.names:
        for name in options.names or NETWORKS:
            print(training(name), judgement(name), sep="\n")
        return
    torch.set_num_threads(1)
    os.chdir(race.RESULTS.parents[1])  # the commands are those of the repository's root
    for name in options.names:
        make(name)


if __name__ == "__main__":
    main()
