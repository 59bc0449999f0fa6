"""Two processes give exactly the numbers of one."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from segedu.engine.distributed import merged
from segedu.metrics import (
    AveragePrecision,
    CalibrationMetrics,
    PanopticQuality,
    SemanticMetrics,
    SurfaceMetrics,
)


def data():
    """Six images: logits, labels, and the same as segments."""
    g = torch.Generator().manual_seed(0)
    logits = torch.nn.functional.interpolate(torch.randn(6, 3, 5, 5, generator=g), size=(20, 20))
    target = torch.nn.functional.interpolate(torch.randn(6, 3, 5, 5, generator=g), size=(20, 20))
    return logits, target.argmax(1)


def panoptic(labels):
    ids = labels + 1
    info = [{"id": i, "category_id": i} for i in ids.unique().tolist()]
    return {"panoptic_seg": ids, "segments_info": info}


def instances(labels, scores):
    masks = torch.stack([labels == c for c in range(3)])
    return {"masks": masks, "labels": torch.arange(3), "scores": scores}


def fill(images):
    """Every metric, having seen some of the images."""
    logits, target = data()
    metrics = {
        "semantic": SemanticMetrics(3, per_image=True, boundary=0.1),
        "calibration": CalibrationMetrics(),
        "surface": SurfaceMetrics(3, tolerance=1.0),
        "panoptic": PanopticQuality({1: True, 2: False, 3: False}),
        "instance": AveragePrecision(),
    }
    for i in images:
        one, truth = logits[i : i + 1], target[i : i + 1]
        for name in ("semantic", "calibration", "surface"):
            metrics[name].update(one, truth)
        labels = one.argmax(1)[0]
        metrics["panoptic"].update(panoptic(labels), panoptic(truth[0]))
        scores = torch.tensor([0.1, 0.2, 0.3]) * (i + 1)
        metrics["instance"].update([instances(labels, scores)], [instances(truth[0], scores)])
    return metrics


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return np.array_equal(np.asarray(a, dtype=float), np.asarray(b, dtype=float), equal_nan=True)


def worker(rank, file, queue):
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    shares = [(0, 1, 2, 3), (4, 5)]
    results = {name: merged(metric).compute() for name, metric in fill(shares[rank]).items()}
    expected = {name: metric.compute() for name, metric in fill(range(6)).items()}
    queue.put([name for name in results if not same(results[name], expected[name])])
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_gloo_processes_give_exactly_the_numbers_of_one(tmp_path):
    """Starts two processes, forked from one that imports torch once."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    queue = context.SimpleQueue()
    arguments = (tmp_path / "store", queue)
    mp.start_processes(worker, arguments, nprocs=2, start_method="forkserver")
    assert [queue.get(), queue.get()] == [[], []]


def test_pickled_is_the_same_metric():
    import pickle

    for metric in fill(range(3)).values():
        assert same(pickle.loads(pickle.dumps(metric)).compute(), metric.compute())
