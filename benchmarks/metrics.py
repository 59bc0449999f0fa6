"""Metrics beside their peers, on label maps and instances like those of real data sets.

    python benchmarks/metrics.py           # 1024 x 2048 label maps, 50 images of instances
    python benchmarks/metrics.py --quick   # small
    python benchmarks/metrics.py --only average_precision

Results are compared before they are timed: a fast wrong number is worth nothing.
"""

from __future__ import annotations

import contextlib
import functools
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks import race
from segedu.files import read_json, write_json
from segedu.metrics import AveragePrecision, PanopticQuality, SemanticMetrics, surface_distances
from segedu.ops import rle

CLASSES = 19
Race = Callable[[dict[str, Callable[[], object]], int], dict[str, dict]]


def label_maps(count: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and targets of smooth regions; contours and a strip below are ignored."""
    g = torch.Generator().manual_seed(0)
    preds, targets = [], []
    for _ in range(count):
        noise = torch.randn(1, CLASSES, height // 128 + 2, width // 128 + 2, generator=g)
        target = F.interpolate(noise, size=(height, width), mode="bicubic")[0].argmax(0)
        pred = target.roll((2, 3), (0, 1))
        patch = F.interpolate(torch.randn(1, 1, 8, 16, generator=g), size=(height, width))[0, 0]
        pred = torch.where(patch > 1.3, (pred + 1) % CLASSES, pred)
        target[-height // 20 :] = 255
        preds.append(pred)
        targets.append(target)
    return torch.stack(preds), torch.stack(targets)


def confusion(quick: bool, rounds: int, compare: Race) -> dict:
    from torchmetrics.classification import MulticlassConfusionMatrix

    pred, target = label_maps(2 if quick else 10, *((256, 512) if quick else (1024, 2048)))
    result = {"pixels": target.numel()}
    for dtype in (torch.uint8, torch.int64):
        p, t = pred.to(dtype), target.to(dtype)
        ours = SemanticMetrics(CLASSES)
        theirs = MulticlassConfusionMatrix(CLASSES, ignore_index=255, validate_args=False)

        def by_hand(p=p, t=t) -> np.ndarray:
            valid = t.numpy() != 255
            keys = CLASSES * t.numpy()[valid].astype(np.int64) + p.numpy()[valid]
            return np.bincount(keys, minlength=CLASSES**2).reshape(CLASSES, CLASSES)

        ours.update(p, t)
        theirs.update(p, t)
        assert np.array_equal(ours.confusion_matrix.numpy(), by_hand())
        assert torch.equal(ours.confusion_matrix, theirs.compute().long())
        rows = compare(
            {
                "segedu": lambda p=p, t=t, m=ours: m.update(p, t),
                "numpy bincount with a mask": by_hand,
                "torchmetrics, validation off": lambda p=p, t=t, m=theirs: m.update(p, t),
            },
            rounds,
        )
        for row in rows.values():
            row["ns_per_pixel"] = round(1e6 * row["min_ms"] / target.numel(), 2)
        race.show(f"confusion matrix, {dtype}", rows)
        result[str(dtype).removeprefix("torch.")] = rows
    return result


def ellipses(rng: np.random.Generator, count: int, height: int, width: int) -> np.ndarray:
    """Masks (N, H, W) of ellipses with sizes spread evenly in the logarithm."""
    y, x = np.mgrid[:height, :width]
    radius = np.exp(rng.uniform(np.log(4), np.log(height / 3), (count, 2)))
    centre = rng.uniform(0, 1, (count, 2)) * (height, width)
    return np.stack(
        [
            ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
            for (cy, cx), (ry, rx) in zip(centre, radius, strict=True)
        ]
    )


# images, detections and targets in each, height, width, classes
COCO_LIKE, NOTEBOOK = (50, 100, 20, 480, 640, 80), (48, 12, 4, 128, 128, 7)


def instances(
    images: int, found: int, objects: int, height: int, width: int, classes: int
) -> tuple[list[dict], list[dict]]:
    rng = np.random.default_rng(0)
    preds, targets = [], []
    for _ in range(images):
        truth = ellipses(rng, objects, height, width)
        labels = rng.integers(1, classes + 1, objects)
        which = rng.integers(0, objects, found)
        shift = rng.integers(-6, 7, (found, 2))
        moved = np.stack([np.roll(truth[i], s, (0, 1)) for i, s in zip(which, shift, strict=True)])
        preds.append(
            {
                "masks": torch.from_numpy(moved),
                "labels": torch.from_numpy(labels[which]),
                "scores": torch.from_numpy(rng.random(found)),
            }
        )
        targets.append({"masks": torch.from_numpy(truth), "labels": torch.from_numpy(labels)})
    return preds, targets


def coco(preds: list[dict], targets: list[dict], library: str) -> list[float]:
    """The twelve numbers by pycocotools or faster-coco-eval, encoding of dense masks included."""
    from pycocotools import mask

    if library == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval

    def encode(m: torch.Tensor | dict) -> dict:
        return (
            m if isinstance(m, dict) else mask.encode(np.asfortranarray(m.numpy().view(np.uint8)))
        )

    truth, guesses = [], []
    for image, (pred, target) in enumerate(zip(preds, targets, strict=True), 1):
        for m, label in zip(target["masks"], target["labels"].tolist(), strict=True):
            code = encode(m)
            size = int(mask.area(code))
            box = mask.toBbox(code).tolist()
            truth.append(
                {"id": len(truth) + 1, "image_id": image, "category_id": label, "iscrowd": 0}
                | {"segmentation": code, "area": size, "bbox": box}
            )
        for m, label, score in zip(
            pred["masks"], pred["labels"].tolist(), pred["scores"].tolist(), strict=True
        ):
            guesses.append(
                {"image_id": image, "category_id": label, "score": score, "segmentation": encode(m)}
            )
    height, width = truth[0]["segmentation"]["size"]
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = {
            "info": {},
            "images": [{"id": i + 1, "height": height, "width": width} for i in range(len(preds))],
            "categories": [{"id": c, "name": str(c)} for c in range(1, 81)],
            "annotations": truth,
        }
        data.createIndex()
        evaluation = COCOeval(data, data.loadRes(guesses), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(evaluation.stats)[:12]


def average_precision(quick: bool, rounds: int, compare: Race) -> dict:
    cases = {"48 images 128²": NOTEBOOK} | ({} if quick else {"50 images 480 x 640": COCO_LIKE})
    result = {}
    for name, size in cases.items():
        dense = instances(*size)
        coded = [
            [s | {"masks": [rle.encode(m) for m in s["masks"].numpy()]} for s in samples]
            for samples in dense
        ]

        def ours(preds: list[dict], targets: list[dict]) -> list[float]:
            metric = AveragePrecision()
            metric.update(preds, targets)
            return list(metric.compute().values())[:12]

        for kind, samples in (("dense", dense), ("RLE", coded)):
            expected = coco(*samples, "pycocotools")
            assert np.array_equal(np.nan_to_num(ours(*samples), nan=-1), expected)
            rows = compare(
                {
                    "segedu": lambda s=samples: ours(*s),
                    "pycocotools": lambda s=samples: coco(*s, "pycocotools"),
                    "faster-coco-eval": lambda s=samples: coco(*s, "faster_coco_eval"),
                },
                rounds if size is NOTEBOOK else max(2, rounds // 2),
            )
            result[f"{name}, from {kind} masks"] = rows
            race.show(f"mask AP, {name}, from {kind} masks", rows)
    return result


def panoptic_quality(quick: bool, rounds: int, compare: Race) -> dict:
    from torchmetrics.detection import PanopticQuality as Theirs

    size = (128, 256) if quick else (512, 1024)
    pred, target = label_maps(1, *size)
    pred, target = pred[0], target[0].where(target[0] != 255, 0)
    things = {c: c >= 8 for c in range(CLASSES)}
    ours = PanopticQuality({c + 1: thing for c, thing in things.items()})

    def sample(ids: torch.Tensor) -> dict:
        ids = ids.int() + 1
        info = [{"id": i, "category_id": i} for i in ids.unique().tolist()]
        return {"panoptic_seg": ids, "segments_info": info}

    pair = sample(pred), sample(target)
    theirs = Theirs(
        things={c for c, t in things.items() if t}, stuffs={c for c, t in things.items() if not t}
    )
    stacked = [torch.stack([m, torch.zeros_like(m)], -1)[None] for m in (pred, target)]
    ours.update(*pair)
    theirs.update(*stacked)
    assert abs(ours.compute()["pq"] - theirs.compute().item()) < 1e-6
    rows = compare(
        {
            "segedu": lambda: ours.update(*pair),
            "torchmetrics": lambda: theirs.update(*stacked),
        },
        max(2, rounds // 2),
    )
    race.show("panoptic quality", rows)
    return rows


def surfaces(quick: bool, rounds: int, compare: Race) -> dict:
    import monai.metrics as monai
    import surface_distance as deepmind
    from medpy.metric import binary as medpy

    result = {}
    cases = {"2-D 512²": ((512, 512), 100), "3-D 128³": ((128, 128, 128), 38)}
    if quick:
        cases = {"2-D 128²": ((128, 128), 30)}
    for name, (shape, radius) in cases.items():
        grid = torch.stack(torch.meshgrid(*[torch.arange(n) for n in shape], indexing="ij"))
        centre = torch.tensor(shape).view(-1, *[1] * len(shape)) / 2
        target = ((grid - centre) ** 2).sum(0) < radius**2
        pred = target.roll(tuple(range(2, 2 + len(shape))), tuple(range(len(shape))))
        arrays = pred.numpy(), target.numpy()
        batch = pred[None, None], target[None, None]

        def by_segedu(p=pred, t=target) -> tuple[float, float]:
            d = surface_distances(p, t)
            return d.percentile(95), d.average()

        def by_medpy(a=arrays) -> tuple[float, float]:
            return medpy.hd95(*a), medpy.assd(*a)

        def by_monai(b=batch) -> object:
            options = {"include_background": True}
            return (
                monai.compute_hausdorff_distance(*b, percentile=95, **options),
                monai.compute_average_surface_distance(*b, symmetric=True, **options),
            )

        def by_deepmind(a=arrays) -> object:
            d = deepmind.compute_surface_distances(a[1], a[0], (1.0,) * a[0].ndim)
            return (
                deepmind.compute_robust_hausdorff(d, 95),
                deepmind.compute_average_surface_distance(d),
            )

        assert np.allclose(by_segedu(), by_medpy(), atol=1e-6)
        rows = compare(
            {
                "segedu": by_segedu,
                "monai": by_monai,
                "surface-distance": by_deepmind,
                "medpy": by_medpy,
            },
            rounds,
        )
        race.show(f"HD95 + ASSD, {name}", rows)
        result[name] = rows
    return result


BENCHMARKS = {f.__name__: f for f in (confusion, average_precision, panoptic_quality, surfaces)}


def main() -> None:
    parser = race.command_line(__doc__, "small data, no file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=BENCHMARKS, help="the file keeps the others")
    parser.add_argument("--cpu-time", action="store_true", help="processor's time, not the wall's")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    compare = functools.partial(race.race, clock=clock)
    setting = {"machine": race.busy_machine(), "clock": clock.__name__}
    result = read_json(race.RESULTS / "metrics.json") if arguments.only else {}
    for name in [arguments.only] if arguments.only else BENCHMARKS:
        result[name] = setting | BENCHMARKS[name](arguments.quick, arguments.rounds, compare)
    if not arguments.quick:
        print(write_json(race.RESULTS / "metrics.json", result))


if __name__ == "__main__":
    main()
