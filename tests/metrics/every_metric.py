"""Every metric of the package, and random images that fit it."""

import numpy as np
import torch

from segedu import metrics

# name -> (make, make with another setting)
METRICS = {
    "SemanticMetrics": (
        lambda: metrics.SemanticMetrics(3, per_image=True, boundary=0.1),
        lambda: metrics.SemanticMetrics(3, per_image=True, boundary=0.2),
    ),
    "CalibrationMetrics": (metrics.CalibrationMetrics, lambda: metrics.CalibrationMetrics(7)),
    "SurfaceMetrics": (
        lambda: metrics.SurfaceMetrics(3, [2.0, 1.0], tolerance=1.0),
        lambda: metrics.SurfaceMetrics(3, tolerance=1.0),
    ),
    "PanopticQuality": (
        lambda: metrics.PanopticQuality({0: False, 1: True, 2: True}),
        lambda: metrics.PanopticQuality({0: False, 1: True, 2: False}),
    ),
    "ClickIoU": (lambda: metrics.ClickIoU(2), lambda: metrics.ClickIoU(3)),
    "ClickIoU(targets)": (
        lambda: metrics.ClickIoU(2, (0.5, 0.85)),
        lambda: metrics.ClickIoU(2, (0.5, 0.9)),
    ),
    "AveragePrecision": (
        metrics.AveragePrecision,
        lambda: metrics.AveragePrecision("bbox"),
    ),
    "AveragePrecision(bbox)": (
        lambda: metrics.AveragePrecision("bbox"),
        metrics.AveragePrecision,
    ),
    "ErrorBudget": (metrics.ErrorBudget, lambda: metrics.ErrorBudget("bbox")),
}


def images(name, seed, count=5, device="cpu"):
    """What ``update`` takes of each of some images: (prediction, target)."""
    g = torch.Generator().manual_seed(seed)

    def blobs():
        return torch.nn.functional.interpolate(torch.randn(1, 3, 4, 4, generator=g), (12, 12))

    pairs = []
    for _ in range(count):
        truth = blobs()
        logits = truth + 0.7 * blobs()
        target = truth.argmax(1)
        if name.startswith(("AveragePrecision", "ErrorBudget")):
            scores = torch.rand(3, generator=g).to(device)
            pairs.append((objects(logits, device) | {"scores": scores}, objects(truth, device)))
        elif name.startswith("ClickIoU"):
            found = torch.stack([logits[0] > 1, logits[0] > 0.3], 1)
            pairs.append(({"masks": found.to(device)}, {"masks": (truth[0] > 0.3).to(device)}))
        elif name == "PanopticQuality":
            pairs.append((segments(logits.argmax(1), device), segments(target, device)))
            pairs[-1][1]["segments_info"][-1]["iscrowd"] = int(torch.rand((), generator=g) < 0.3)
        else:
            target[:, 0, :3] = 255
            pairs.append((logits.to(device), target.to(device)))
    return pairs


def segments(labels, device):
    ids = labels[0] + 1
    info = [{"id": i, "category_id": i - 1} for i in ids.unique().tolist()]
    return {"panoptic_seg": ids.to(device), "segments_info": info}


def objects(logits, device):
    masks = logits[0] > 0.3
    x0 = torch.arange(3) + logits.abs().sum((0, 2, 3)) % 3
    boxes = torch.stack([x0, x0, x0 + 5, x0 + 7], 1)
    parts = {"masks": masks, "boxes": boxes, "labels": torch.arange(3)}
    return {key: part.to(device) for key, part in parts.items()}


def batch(pairs):
    """The arguments of ``update`` for some images at once."""
    preds, targets = zip(*pairs, strict=True)
    if isinstance(preds[0], torch.Tensor):
        return torch.cat(preds), torch.cat(targets)
    return preds, targets


def seen(name, *batches):
    """A metric that has seen these batches of images."""
    metric = METRICS[name][0]()
    for pairs in batches:
        metric.update(*batch(pairs))
    return metric


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return np.array_equal(np.asarray(a, dtype=float), np.asarray(b, dtype=float), equal_nan=True)
