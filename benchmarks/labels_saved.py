"""Labels saved: a network that first learnt without labels, and one that did not, with few labels.

    python benchmarks/labels_saved.py --pretrain mae dino   # into the package; 4 minutes
    python benchmarks/labels_saved.py                       # with labels, 3 seeds; 7 minutes
    python benchmarks/labels_saved.py --quick               # a few steps, no file

A small vision transformer learns from scenes without labels, as a masked autoencoder (MAE) and by
self-distillation (DINO). Then it gets a head, and the labels of a few of these scenes; so does the
same network from random weights, for as many steps. Beside them the features stay as they are and
one linear layer learns (frozen), and a U-Net learns from nothing. All are judged on other scenes.
The seed decides the labelled scenes, the new weights and the order. What the file of results has
already is not computed again.
"""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.race import RESULTS, command_line, origin
from benchmarks.weights import halved
from segedu.data import scenes
from segedu.data.scenes import SceneDataset
from segedu.engine import cosine_lr
from segedu.files import read_json, write_bytes, write_json
from segedu.metrics import SemanticMetrics
from segedu.models import get_model, trained
from segedu.models.blocks import conv_bn_relu
from segedu.models.dino import DINO, multi_crop, random_views
from segedu.models.mae import MAE, PatchEncoder, masked_loss, random_mask
from segedu.models.pretrained import NETWORKS, SET, pretrained

SIZE, SCENES_SEED = 64, 5
CLASSES = ("sky", "building", "road", "tree", "car")
ENCODER = {"image_size": SIZE, "patch_size": 8, "layers": 4, "width": 64, "heads": 2}
SETTINGS = {
    "mae": ENCODER | {"decoder_layers": 2, "decoder_width": 48},
    "dino": ENCODER | {"hidden": 64, "bottleneck": 32, "outputs": 128},
}
BATCH, LABELLED_BATCH = 32, 8
LEARNING_RATE = {"mae": 1.5e-3, "dino": 1e-3, "labels": 1e-3, "unet": 3e-3, "frozen": 1e-2}
STARTS = ("random", "unet", *NETWORKS)


class Budget(NamedTuple):
    scenes: int = 512
    test: int = 96
    mae: int = 1500  # steps
    dino: int = 300
    labelled: int = 60
    frozen: int = 200
    labels: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    seeds: tuple[int, ...] = (0, 1, 2)


class Scenes(NamedTuple):
    """Images (N, 3, 64, 64), normalised, and masks (N, 64, 64)."""

    images: Tensor
    masks: Tensor


def read(dataset: SceneDataset) -> Scenes:
    samples = [dataset[i] for i in range(len(dataset))]
    images = torch.stack([sample["image"].as_subclass(Tensor) for sample in samples])
    return Scenes(images, torch.stack([sample["mask"].as_subclass(Tensor) for sample in samples]))


def optimize(
    model: nn.Module,
    steps: int,
    lr: float,
    loss: Callable[[torch.Generator], Tensor],
    seed: int,
    after: Callable[[float], None] = lambda progress: None,
) -> list[float]:
    """AdamW with a warm-up and a cosine; the loss of each step."""
    generator = torch.Generator().manual_seed(seed)
    learnt = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr, weight_decay=0.05, fused=True)
    scheduler = cosine_lr(optimizer, steps, warmup_steps=steps // 10)
    history = []
    for step in range(steps):
        value = loss(generator)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(learnt, 3.0)
        optimizer.step()
        scheduler.step()
        after(step / steps)
        history.append(value.item())
    return history


def pretrain(name: str, images: Tensor, steps: int) -> tuple[nn.Module, list[float]]:
    """A network that learnt without labels, and its losses."""
    torch.manual_seed(0)
    model = NETWORKS[name](**SETTINGS[name]).train()

    def paint(generator: torch.Generator) -> Tensor:
        chosen = images[torch.randint(len(images), (BATCH,), generator=generator)]
        return model.loss(random_views(chosen, SIZE, (0.5, 1.0), generator, light=0), generator)

    def agree(generator: torch.Generator) -> Tensor:
        chosen = images[torch.randint(len(images), (BATCH,), generator=generator)]
        return model.loss(multi_crop(chosen, small=2, generator=generator))

    def follow(progress: float) -> None:
        # the teacher's momentum rises from 0.98 to 1
        model.move_teacher(1 - 0.01 * (1 + math.cos(math.pi * progress)))

    how = (paint,) if name == "mae" else (agree,)
    after = {"after": follow} if name == "dino" else {}
    history = optimize(model, steps, LEARNING_RATE[name], *how, 0, **after)
    if name == "dino":  # the authors keep the teacher, too
        model.encoder.load_state_dict(model.teacher.state_dict())
        model.head.load_state_dict(model.teacher_head.state_dict())
    return model.eval(), history


def pack(name: str, model: nn.Module, command: str, scores: dict[str, float]) -> None:
    """Write the weights into the package, in half precision, and into its list what they are."""
    state = halved(model.state_dict())
    for key in state:
        if key.startswith("teacher"):  # as its encoder and head: the same numbers are stored once
            own = key.replace("teacher_head", "head").replace("teacher", "encoder")
            state[key] = state[own]
    file = io.BytesIO()
    torch.save(state, file)
    data = file.getvalue()
    write_bytes(trained.FOLDER / SET / f"{name}.pt", data)
    entry = {
        "sha256": sha256(data).hexdigest(),
        "size": len(data),
        "num_classes": None,
        "classes": [],
        "isthing": [],
        "settings": SETTINGS[name],
        "command": command,
        "scores": scores,
    }
    manifest = trained.FOLDER / f"{SET}.json"
    known = read_json(manifest) if manifest.exists() else {}
    write_json(manifest, dict(sorted((known | {name: entry}).items())))


@torch.no_grad()
def judge_pretrained(model: MAE | DINO, images: Tensor) -> dict[str, float]:
    """How well unseen scenes are painted; or how sure and how varied a teacher's answers are."""
    if isinstance(model, MAE):
        target = model.target(images)
        hidden = random_mask(*target.shape[:2], model.mask_ratio, torch.Generator().manual_seed(0))
        return {
            "error": round(masked_loss(model(images, hidden), target, hidden).item(), 4),
        }
    answers = ((model.teach(images) - model.center) / model.temperatures[1]).softmax(1)
    return {
        "entropy": round(entropy(answers).mean().item(), 3),
        "entropy_of_mean": round(entropy(answers.mean(0)).item(), 3),
    }


def entropy(shares: Tensor) -> Tensor:
    """(..., K) -> (...), in nats."""
    return torch.special.entr(shares).sum(-1)


class Segmenter(nn.Module):
    """An encoder at stride 8, and three convolutions, each of which is enlarged by 2."""

    def __init__(self, encoder: PatchEncoder, num_classes: int, channels: int = 32) -> None:
        super().__init__()
        self.encoder = encoder
        steps: list[nn.Module] = []
        for width in (encoder.hidden_dim, channels, channels):
            steps += [conv_bn_relu(width, channels), nn.Upsample(scale_factor=2, mode="bilinear")]
        self.head = nn.Sequential(*steps, nn.Conv2d(channels, num_classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.encoder(images))


def new_encoder(start: str) -> PatchEncoder:
    return PatchEncoder(**ENCODER) if start == "random" else pretrained(start).encoder


def with_labels(
    network: nn.Module, few: Scenes, steps: int, lr: float, seed: int, mirror: bool = True
) -> nn.Module:
    """Cross-entropy of batches of the labelled scenes, half of them mirrored if so wished."""

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(few.images), (LABELLED_BATCH,), generator=generator)
        mirrored = torch.rand(LABELLED_BATCH, generator=generator) < (0.5 if mirror else 0)
        images, masks = few.images[chosen], few.masks[chosen]
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        masks = torch.where(mirrored[:, None, None], masks.flip(2), masks)
        return F.cross_entropy(network(images), masks.long(), ignore_index=255)

    network.train()
    optimize(network, steps, lr, loss, seed)
    return network.eval()


@torch.no_grad()
def mean_iou(network: nn.Module, judged: Scenes) -> float:
    metric = SemanticMetrics(len(CLASSES))
    for images, masks in zip(judged.images.split(32), judged.masks.split(32), strict=True):
        metric.update(network(images), masks)
    return round(float(metric.compute()["mean_iou"]), 4)


def labelled_run(
    start: str, count: int, seed: int, learnt: Scenes, judged: Scenes, budget: Budget
) -> dict[str, float]:
    """Mean IoU with that many labelled scenes, all weights learning, and with frozen features."""
    order = torch.randperm(len(learnt.images), generator=torch.Generator().manual_seed(seed))
    few = Scenes(*(values[order[:count]] for values in learnt))
    torch.manual_seed(seed)
    classes = len(CLASSES)
    if start == "unet":
        network = get_model("unet", classes, base_width=8)
        with_labels(network, few, budget.labelled, LEARNING_RATE["unet"], seed)
        return {"tuned": mean_iou(network, judged)}
    network = Segmenter(new_encoder(start), classes)
    with_labels(network, few, budget.labelled, LEARNING_RATE["labels"], seed)
    torch.manual_seed(seed)
    encoder = new_encoder(start).eval().requires_grad_(False)
    linear = nn.Sequential(
        nn.Conv2d(encoder.hidden_dim, classes, 1),
        nn.Upsample(scale_factor=encoder.patch_size, mode="bilinear"),
    )
    both = torch.cat([few.images, few.images.flip(3)]), torch.cat([few.masks, few.masks.flip(2)])
    with torch.no_grad():
        maps, judged_maps = encoder(both[0]), encoder(judged.images)
    seen = Scenes(maps, both[1])
    with_labels(linear, seen, budget.frozen, LEARNING_RATE["frozen"], seed, mirror=False)
    frozen = mean_iou(linear, Scenes(judged_maps, judged.masks))
    return {"tuned": mean_iou(network, judged), "frozen": frozen}


def main() -> None:
    parser = command_line(__doc__, "a few steps, no file")
    parser.add_argument("--pretrain", nargs="+", choices=NETWORKS, default=[], metavar="NAME")
    options = parser.parse_args()
    torch.set_num_threads(1)
    budget = Budget()
    if options.quick:
        budget = Budget(8, 4, mae=2, dino=2, labelled=2, frozen=2, labels=(1, 2), seeds=(0,))
    learnt, judged = map(
        read, scenes.splits(budget.scenes, budget.test, SIZE, seed=SCENES_SEED, classes=CLASSES)
    )
    file = RESULTS / "labels_saved.json"
    for name in options.pretrain or (NETWORKS if options.quick else ()):
        begun = time.process_time()
        model, history = pretrain(name, learnt.images, getattr(budget, name))
        seconds = round(time.process_time() - begun, 1)
        scores = judge_pretrained(model, judged.images)
        part = max(1, len(history) // 15)
        curve = [round(sum(history[i : i + part]) / part, 4) for i in range(0, len(history), part)]
        print(name, seconds, scores, curve, flush=True)
        if not options.quick:
            command = f"python benchmarks/labels_saved.py --pretrain {name}"
            pack(name, model, command, scores)
            told = {"command": command, "seconds": seconds, "loss": curve, **scores}
            result = read_json(file) if file.exists() else {}  # another may have ended meanwhile
            result["pretraining"] = result.get("pretraining", {}) | {name: told}
            write_json(file, result)
    if options.pretrain:
        return
    record = {} if options.quick else read_json(file)
    runs: dict[str, dict[str, dict[str, list[float]]]] = record.get("mean_iou", {})
    for start, count in product(STARTS, budget.labels):
        if str(count) in runs.get(start, {}).get("tuned", {}):
            continue  # a run that was stopped goes on
        found = [labelled_run(start, count, seed, learnt, judged, budget) for seed in budget.seeds]
        for how in found[0]:
            by_count = runs.setdefault(start, {}).setdefault(how, {})
            by_count[str(count)] = [scores[how] for scores in found]
            runs[start][how] = dict(sorted(by_count.items(), key=lambda item: int(item[0])))
        print(start, count, found, flush=True)
        if not options.quick:
            record |= {
                **origin(__file__, budget),
                "classes": CLASSES,
                "lr": LEARNING_RATE,
                "batch": {"pretraining": BATCH, "labelled": LABELLED_BATCH},
                "mean_iou": runs,
            }
            write_json(file, record)


if __name__ == "__main__":
    main()
