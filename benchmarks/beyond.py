"""Beyond one image: masks carried through videos, text that steers a mask, points in any order.

    python benchmarks/beyond.py                # all three; some minutes of one processor
    python benchmarks/beyond.py --part video   # only one of video, text, points
    python benchmarks/beyond.py --quick        # smallest sizes, no file

Each part writes its own entry of ``book/results/beyond.json``. The trained networks of the package
(``unet``, ``mask_rcnn_tiny``) were learnt on other scenes than those of these parts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from benchmarks.race import RESULTS, command_line
from segedu.data.scenes import CLASSES, SceneConfig, generate
from segedu.data.scenes.points import LABELS, point_cloud
from segedu.data.scenes.sentences import (
    Phrase,
    describe,
    encode,
    meaning,
    parse,
    phrases,
    vocabulary,
)
from segedu.data.scenes.video import generate_video
from segedu.engine.propagation import color_features, layer_features, propagate
from segedu.files import read_json, write_json
from segedu.machine import describe as machine
from segedu.metrics import SemanticMetrics
from segedu.metrics.video import VideoObjects, temporal_consistency
from segedu.models import get_model
from segedu.models.pointnet import PointNet
from segedu.models.referring import ReferringNet

LEAST = 40  # pixels of an object in the first frame that is followed
FIRST = 5000  # seed of the first clip; the networks of the package learnt the scenes 0 to 2047
UNSEEN = (("car", "left"), ("person", "right"))  # never together in a training sentence


class Video(NamedTuple):
    clips: int = 6
    frames: int = 8
    size: int = 96


class Text(NamedTuple):
    train: int = 512
    test: int = 96
    size: int = 64
    steps: int = 1200
    batch: int = 8
    seeds: tuple[int, ...] = (0, 1, 2)


class Points(NamedTuple):
    train: int = 128
    test: int = 64
    points: int = 512
    steps: int = 200
    batch: int = 16
    seeds: tuple[int, ...] = (0, 1, 2)


QUICK = {
    "video": Video(1, 3, 48),
    "text": Text(8, 2, 64, 2, 8, (0,)),
    "points": Points(16, 2, 64, 2, 16, (0,)),
}


def mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 4)


# ------------------------------------------------------------------------------------ video


def objects_of(panoptic: np.ndarray) -> Tensor:
    """Numbers of the things that are large enough in the first frame, 0 elsewhere: (T, H, W)."""
    ids, areas = np.unique(panoptic[0], return_counts=True)
    kept = [i for i, area in zip(ids, areas, strict=True) if i > 16 and area >= LEAST]
    return torch.from_numpy(np.where(np.isin(panoptic, kept), panoptic, 0)).long()


def normalised(model: nn.Module, images: np.ndarray) -> Tensor:
    """uint8 (T, H, W, 3) as a trained semantic network wants them."""
    mean_, std = (torch.tensor(v).view(3, 1, 1) for v in (model.trained.mean, model.trained.std))
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean_) / std


@torch.no_grad()
def detect_and_link(detector: nn.Module, images: np.ndarray, first: Tensor) -> Tensor:
    """Masks of each frame by itself; an object takes the one that overlaps its last mask most."""
    frames = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    found = [first]
    last = {i: first == i for i in first.unique().tolist() if i}
    for frame in frames[1:]:
        masks = detector([frame])[0]["masks"][:, 0] > 0.5
        now = torch.zeros_like(first)
        for number, mask in last.items():
            union = (masks | mask).sum((1, 2)).clamp(min=1)
            iou = (masks & mask).sum((1, 2)) / union
            if len(iou) and iou.max() > 0.1:
                last[number] = masks[iou.argmax()]
                now[last[number]] = number
        found.append(now)
    return torch.stack(found)


def followed_by(judges: list[VideoObjects]) -> dict[str, Any]:
    """The measures over all objects of all clips, and J&F of each clip."""
    clips = [round(judge.compute()["J&F"], 4) for judge in judges]
    together = VideoObjects()
    for judge in judges:
        together.merge(judge)
    scores = {key: v for key, v in together.compute().items() if isinstance(v, float)}
    return {key: round(v, 4) for key, v in scores.items()} | {"clips": clips}


def video(budget: Video) -> dict[str, Any]:
    """J&F of objects carried through clips, and how a network of single frames flickers."""
    clips, frames, size = budget
    unet = get_model("unet", weights="scenes").eval()
    detector = get_model("mask_rcnn_tiny", weights="scenes").eval()
    judges: dict[str, list[VideoObjects]] = {}  # one for each clip
    flicker: dict[str, list[dict[str, float]]] = {"moving": [], "noise only": []}
    for seed in range(FIRST, FIRST + clips):
        clip = generate_video(seed, SceneConfig(size=size), frames=frames)
        wanted = objects_of(clip.panoptic)
        images = normalised(unet, clip.images)
        colors = color_features(torch.from_numpy(clip.images).permute(0, 3, 1, 2) / 255, size // 2)
        features = layer_features(unet, images, "decoder.3", size // 2)
        found = {
            "first mask kept": wanted[:1].expand_as(wanted),
            "colours": propagate(colors, wanted[0]),
            "colours, near": propagate(colors, wanted[0], radius=6),
            "features": propagate(features, wanted[0]),
            "features, near": propagate(features, wanted[0], radius=6),
            "detected and linked": detect_and_link(detector, clip.images, wanted[0]),
        }
        for name, masks in found.items():
            judge = VideoObjects()
            judge.update(masks, wanted)
            judges.setdefault(name, []).append(judge)
        still = generate_video(seed, SceneConfig(size=size), frames=frames, speed=0)
        for name, one in (("moving", clip), ("noise only", still)):
            with torch.no_grad():
                labels = unet(normalised(unet, one.images)).argmax(1)
            result = temporal_consistency(labels, torch.from_numpy(one.flow), 12)
            metric = SemanticMetrics(12)
            metric.update(labels, torch.from_numpy(one.semantic).long())
            flicker[name].append(result | {"accuracy": metric.compute()["pixel_accuracy"]})
        print(seed, {name: round(row[-1].compute()["J&F"], 3) for name, row in judges.items()})
    followed = {name: followed_by(row) for name, row in judges.items()}
    objects = sum(len(judge.compute()["cases"]) for judge in judges["colours"])
    return {
        "objects": objects,
        "followed": followed,
        "consistency": {
            name: {key: mean([row[key] for row in rows]) for key in rows[0]}
            for name, rows in flicker.items()
        },
    }


# ------------------------------------------------------------------------------------- text


class Told:
    """A scene, and what can be said of it."""

    def __init__(self, seed: int, config: SceneConfig):
        self.scene = generate(seed, config)
        things = self.scene.instances
        self.image = torch.from_numpy(self.scene.image).permute(2, 0, 1).float() / 255 - 0.5
        self.masks = torch.from_numpy(things.masks)
        self.facts = [
            describe(mask, label, self.scene.image)
            for mask, label in zip(things.masks, things.labels.tolist(), strict=True)
        ]

    def mask(self, phrase: Phrase) -> Tensor:
        fits = torch.tensor([phrase.fits(fact) for fact in self.facts], dtype=torch.bool)
        return self.masks[fits].any(0)

    def choices(self) -> list[Phrase]:
        """Phrases that fit some, not all things of their class."""
        chosen = []
        for phrase in phrases():
            same = [phrase.fits(fact) for fact in self.facts if fact.name == phrase.name]
            if any(same) and not all(same):
                chosen.append(phrase)
        return chosen


def batch_of(told: list[Told], rng: np.random.Generator, size: int) -> tuple[Tensor, ...]:
    """Images, words and masks; of the sentences one in five is drawn blindly, fits it or not."""
    everything = [p for p in phrases() if (p.name, p.place) not in UNSEEN]
    images, sentences, masks = [], [], []
    while len(images) < size:
        one = told[rng.integers(len(told))]
        pool = everything
        if one.facts and rng.random() < 0.8:
            fact = one.facts[rng.integers(len(one.facts))]
            pool = [p for p in everything if p.fits(fact)]
        phrase = pool[rng.integers(len(pool))]
        images.append(one.image)
        masks.append(one.mask(phrase))
        sentences.append(phrase.english() if rng.random() < 0.5 else phrase.chinese())
    words = torch.from_numpy(encode(sentences))
    return torch.stack(images), words, torch.stack(masks)[:, None].float()


def learn_text(told: list[Told], seed: int, steps: int, batch: int) -> ReferringNet:
    """Train by cross entropy and Dice, equally weighted."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = ReferringNet(len(vocabulary()))
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(steps):
        images, words, masks = batch_of(told, rng, batch)
        logits = net(images, words)
        found = logits.sigmoid()
        overlap = 2 * (found * masks).sum((1, 2, 3)) + 1
        dice = overlap / (found.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
        loss = F.binary_cross_entropy_with_logits(logits, masks) + 1 - dice.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def by_parser(sentence: str, labels: np.ndarray, image: np.ndarray, least: int = 4) -> np.ndarray:
    """The parts of a class map that a parsed sentence fits."""
    phrase = parse(sentence)
    found = np.zeros(labels.shape, bool)
    number = next(c.id for c in CLASSES if c.name == phrase.name)
    parts, count = ndimage.label(labels == number, np.ones((3, 3)))
    for part in range(1, count + 1):
        mask = parts == part
        if mask.sum() >= least and phrase.fits(describe(mask, number, image)):
            found |= mask
    return found


def iou(found: np.ndarray | Tensor, wanted: np.ndarray | Tensor) -> float:
    return float((found & wanted).sum()) / float((found | wanted).sum())


@torch.no_grad()
def judge_text(nets: list[ReferringNet], told: list[Told], per_scene: int) -> dict[str, Any]:
    """Mean IoU over sentences that mean some, not all things of a class."""
    unet = get_model("unet", weights="scenes").eval()
    rng = np.random.default_rng(9)
    rows: dict[str, dict[str, list]] = {"seen": {}, "unseen": {}}
    silent: list[list[float]] = [[] for _ in nets]
    for one in told:
        labels = unet(normalised(unet, one.scene.image[None])).argmax(1)[0].numpy()
        choices = one.choices()
        for k in rng.permutation(len(choices))[:per_scene]:
            phrase = choices[k]
            wanted = one.mask(phrase)
            group = rows["unseen" if (phrase.name, phrase.place) in UNSEEN else "seen"]
            words = torch.from_numpy(encode([phrase.english(), phrase.chinese()]))
            images = one.image.expand(2, -1, -1, -1)
            number = next(c.id for c in CLASSES if c.name == phrase.name)
            answers = {
                "class": torch.from_numpy(labels == number),
                "class, exact": torch.from_numpy(meaning(Phrase(phrase.name), one.scene)),
                "parser": torch.from_numpy(by_parser(phrase.chinese(), labels, one.scene.image)),
                "parser, exact classes": torch.from_numpy(
                    by_parser(phrase.english(), one.scene.semantic, one.scene.image)
                ),
            }
            for name, answer in answers.items():
                group.setdefault(name, []).append(iou(answer, wanted))
            for seed, net in enumerate(nets):
                english, chinese = net(images, words)[:, 0] > 0
                group.setdefault(f"network {seed} en", []).append(iou(english, wanted))
                group.setdefault(f"network {seed} zh", []).append(iou(chinese, wanted))
        absent = [p for p in phrases() if not one.mask(p).any()]
        for k in rng.permutation(len(absent))[:2]:
            words = torch.from_numpy(encode([absent[k].english()]))
            for seed, net in enumerate(nets):
                silent[seed].append(float(not (net(one.image[None], words) > 0).any()))
    return {
        "sentences": {name: len(group["parser"]) for name, group in rows.items() if group},
        "mean_iou": {
            name: {who: mean(values) for who, values in group.items()}
            for name, group in rows.items()
        },
        "silent_when_nothing_fits": [mean(values) for values in silent],
    }


def text(budget: Text) -> dict[str, Any]:
    """Sentences against a fixed class and against a parser."""
    config, start = SceneConfig(size=budget.size), process_time()
    told = [Told((4 << 32) + i, config) for i in range(budget.train)]
    nets = [learn_text(told, seed, budget.steps, budget.batch) for seed in budget.seeds]
    seconds = process_time() - start
    judged = judge_text(nets, [Told((5 << 32) + i, config) for i in range(budget.test)], 6)
    print(judged, flush=True)
    return {
        "parameters": sum(p.numel() for p in nets[0].parameters()),
        "seconds": round(seconds),
        "unseen": [" ".join(pair) for pair in UNSEEN],
        **judged,
    }


# ----------------------------------------------------------------------------------- points


class Alone(PointNet):
    """Each point without the cloud: the description of the whole is zero."""

    def forward(self, points: Tensor) -> Tensor:
        local = self.point(points.transpose(1, 2))
        nothing = local.new_zeros(len(local), self.cloud[-2].num_features, local.shape[2])
        return self.head(torch.cat([local, nothing], 1))


def clouds(seeds: range, number: int) -> tuple[Tensor, Tensor]:
    """Points (N, P, 3) in units of 5, 2 and 10 m, and labels (N, P)."""
    made = [point_cloud(seed, SceneConfig(size=64), number=number) for seed in seeds]
    points = torch.from_numpy(np.stack([cloud.points for cloud in made]))
    labels = torch.from_numpy(np.stack([cloud.labels for cloud in made]))
    return points / torch.tensor([5.0, 2.0, 10.0]), labels


def learn_points(net: PointNet, points: Tensor, labels: Tensor, budget: Points) -> PointNet:
    optimizer = torch.optim.AdamW(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=budget.steps)
    for _ in range(budget.steps):
        chosen = torch.randint(len(points), (budget.batch,))
        loss = F.cross_entropy(net(points[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def points(budget: Points) -> dict[str, Any]:
    """Classes of points by their places alone, with and without a view of the cloud."""
    learned = clouds(range(5000, 5000 + budget.train), budget.points)
    tested = clouds(range(9000, 9000 + budget.test), budget.points)
    scores: dict[str, list[dict[str, Any]]] = {"with the cloud": [], "each point alone": []}
    for (name, results), kind in zip(scores.items(), (PointNet, Alone), strict=True):
        for seed in budget.seeds:
            torch.manual_seed(seed)
            net = learn_points(kind(len(LABELS), base_width=16), *learned, budget)
            metric = SemanticMetrics(len(LABELS))
            with torch.no_grad():
                metric.update(net(tested[0]), tested[1])
            result = metric.compute()
            ious = [round(float(value), 4) for value in result["iou"]]
            results.append({"mean_iou": round(result["mean_iou"], 4), "iou": ious})
        print(name, results, flush=True)
    return {"classes": [name for name, _ in LABELS], "scores": scores}


PARTS = {"video": (video, Video()), "text": (text, Text()), "points": (points, Points())}


def main() -> None:
    parser = command_line(__doc__, "smallest sizes, no file")
    parser.add_argument("--part", choices=PARTS, help="only one of them")
    options = parser.parse_args()
    file = RESULTS / "beyond.json"
    for name in [options.part] if options.part else PARTS:
        run, budget = PARTS[name]
        result = run(QUICK[name] if options.quick else budget)
        if not options.quick:
            entry = {"command": f"python benchmarks/beyond.py --part {name}"}
            entry |= {"machine": machine("cpu"), "budget": budget._asdict(), **result}
            before = read_json(file) if file.exists() else {}
            print(write_json(file, before | {name: entry}))


if __name__ == "__main__":
    main()
