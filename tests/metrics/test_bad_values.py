"""Values that cannot be judged are refused with one clear line, and never become a score.

Each case stands beside the right value that the same call gives once the input is mended.
"""

import math

import pytest
import torch

from segedu.metrics import (
    AveragePrecision,
    CalibrationMetrics,
    Metric,
    PanopticQuality,
    SemanticMetrics,
    SurfaceMetrics,
    surface_distances,
)

NAN, INF = math.nan, math.inf
LABELS = torch.tensor([[[0, 1, 1, 0]]])  # (N, H, W)
LOGITS = torch.tensor([[[[3.0, 0, 0, 3]], [[0, 3.0, 3, 0]]]])  # (N, C, H, W)
BOX, MASK = [[10.0, 12.0, 14.0, 18.0]], torch.eye(4)[None]


def changed(tensor, value, place=0):
    """The tensor with one other value."""
    tensor = tensor.clone()
    tensor.view(-1)[place] = value
    return tensor


def detections(key, pred, target, **extra):
    found = {key: pred, "labels": [1], "scores": [0.5]}
    return [found], [{key: target, "labels": [1]} | extra]


def segments(ids, category=1, info=None):
    listed = [{"id": i, "category_id": category} for i in sorted({*ids} - {0})]
    return {"panoptic_seg": torch.tensor([ids]), "segments_info": info or listed}


SEMANTIC, SURFACE = SemanticMetrics(2), SurfaceMetrics(2)
CALIBRATION, PANOPTIC = CalibrationMetrics(), PanopticQuality({1: True})
SEGM, BBOX = AveragePrecision("segm"), AveragePrecision("bbox")

# metric, arguments of ``update``, what the message says
CASES = {
    "semantic NaN": (SEMANTIC, (changed(LOGITS, NAN), LABELS), "logits must not be NaN"),
    "semantic prediction": (SEMANTIC, (LABELS * 2, LABELS), "pred has 2 pixels .* no class"),
    "semantic negative": (SEMANTIC, (LABELS, -LABELS), "target has 2 pixels .* nor ignore_index"),
    "semantic float labels": (SEMANTIC, (LABELS, LABELS.float()), "target must hold integer"),
    "surface NaN": (SURFACE, (changed(LOGITS, NAN), LABELS), "logits must not be NaN"),
    "surface classes": (SURFACE, (LOGITS[:, :1], LABELS), r"logits must be \(N, 2, ...\)"),
    "surface float labels": (SURFACE, (LABELS, LABELS.float()), "target must hold integer"),
    "surface void predicted": (SURFACE, (changed(LABELS, 255), LABELS), r"pred holds labels \[255"),
    "calibration NaN": (CALIBRATION, (changed(LOGITS, NAN), LABELS), "logits must not be NaN"),
    "calibration infinity": (CALIBRATION, (changed(LOGITS, INF), LABELS), "logits must not be NaN"),
    "calibration label": (CALIBRATION, (LOGITS, LABELS * 2), r"labels in 0..1 or ignore_index=255"),
    "box x y w h": (
        BBOX,
        detections("boxes", [[10.0, 12.0, 4.0, 6.0]], BOX),
        r"prediction boxes must be x1 y1 x2 y2 .*box_convert.* got \[\[10.0, 12.0, 4.0, 6.0\]\]",
    ),
    "target x y w h": (BBOX, detections("boxes", BOX, [[10, 12, 4, 6]]), "target boxes must be x1"),
    "box NaN": (BBOX, detections("boxes", [[0, 0, NAN, 1]], BOX), "boxes must be finite, got"),
    "area NaN": (BBOX, detections("boxes", BOX, BOX, area=[NAN]), r"area must be finite .*\[nan\]"),
    "area negative": (SEGM, detections("masks", MASK, MASK, area=[-1]), "area must be finite"),
    "crowd": (SEGM, detections("masks", MASK, MASK, iscrowd=[0.5]), "iscrowd must be integers"),
    "mask 0 and 255": (
        SEGM,
        detections("masks", MASK, (MASK * 255).byte()),
        r"target masks .* 0 and 255.* got \[\[0, 255\]\]",
    ),
    "mask of ids": (SEGM, detections("masks", MASK.long() * 7, MASK), r"prediction masks.*0, 7"),
    "mask logits": (SEGM, detections("masks", MASK - 3, MASK), r"prediction masks.*-3"),
    "mask NaN": (SEGM, detections("masks", changed(MASK, NAN), MASK), "prediction masks .*nan"),
    "id twice": (
        PANOPTIC,
        (segments([1, 1], info=[{"id": 1, "category_id": 1}] * 2), segments([1, 1])),
        "unique ids",
    ),
    "id negative": (PANOPTIC, (segments([-3, 1]), segments([1, 1])), r"integer ids >= 0, got \[-3"),
    "id no integer": (
        PANOPTIC,
        (segments([1, 1], info=[{"id": 1.0, "category_id": 1}]), segments([1, 1])),
        r"integer ids >= 0, got \[1.0",
    ),
    "ids bool": (PANOPTIC, (segments([True, True]), segments([1, 1])), "integer ids, got"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused_and_nothing_counted(case):
    metric, arguments, message = CASES[case]
    metric.reset()
    before = str(metric.compute())
    with pytest.raises((ValueError, TypeError), match=f"(?s){message}"):
        metric.update(*arguments)
    assert str(metric.compute()) == before


@pytest.mark.parametrize(
    "p",
    [
        changed(LOGITS.softmax(1), NAN),
        LOGITS,
        LOGITS.sigmoid(),  # of each class for itself: no distribution
        LOGITS.softmax(1) * 1.5 - 0.25,
    ],
)
def test_probabilities_that_are_none(p):
    metric = CalibrationMetrics()
    with pytest.raises(ValueError, match=r"probabilities must be in \[0, 1\] and sum to 1"):
        metric.update(p, LABELS, probabilities=True)
    half = LOGITS.softmax(1).half()  # sums to 1 but for its rounding
    metric.update(half, LABELS, probabilities=True)
    assert metric.compute()["ece"] == pytest.approx(1 - half.max().item(), abs=1e-6)


def test_the_right_values_of_the_mended_inputs():
    def result(metric, *arguments):
        metric.reset()
        metric.update(*arguments)
        return metric.compute()

    assert result(SEMANTIC, LOGITS, LABELS)["mean_iou"] == 1
    assert result(SEMANTIC, changed(LOGITS, -INF, 4), LABELS)["mean_iou"] == 1  # log of 0
    assert result(SURFACE, LOGITS, LABELS)["hd"] == 0
    assert result(BBOX, *detections("boxes", BOX, BOX))["AP"] == pytest.approx(1)
    flat = [[3.0, 3.0, 3.0, 9.0]]  # a box without an area is odd, but no mistake
    assert result(BBOX, *detections("boxes", flat, BOX))["AP"] == 0
    for masks in ((MASK * 255).byte() > 0, MASK.byte(), MASK.bool(), MASK * 0.6):
        assert result(SEGM, *detections("masks", masks, MASK))["AP"] == pytest.approx(1)
    assert result(PANOPTIC, segments([2, 2]), segments([1, 1]))["pq"] == 1


def test_the_area_of_another_size_of_the_image_does_not_matter():
    """COCO's ``area`` beside a map that was made smaller: IoU 2 / 200 if it were believed."""
    target = segments([1, 1], info=[{"id": 1, "category_id": 1, "area": 200}])
    metric = PanopticQuality({1: True})
    metric.update(segments([1, 1]), target)
    assert metric.compute()["pq"] == 1
    metric.reset()
    metric.update(segments([1, 0]), segments([1, 1], info=target["segments_info"]))
    assert metric.compute()["pq"] == 0  # IoU 1/2 is no match


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SurfaceMetrics(2, (1.0, NAN)), "spacing must be 2 positive numbers"),
        (lambda: SurfaceMetrics(2, (1.0, -1.0)), "spacing must be 2 positive numbers"),
        (lambda: SurfaceMetrics(2, tolerance=NAN), "tolerance must be >= 0, got nan"),
        (lambda: SurfaceMetrics(2, missing=NAN), "missing must be"),
        (lambda: SemanticMetrics(2, boundary=NAN), "boundary must be"),
        (lambda: PanopticQuality([{"id": 1, "isthing": 1}] * 2), r"different ids, got \[1, 1\]"),
    ],
)
def test_settings_that_are_no_numbers(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_masks_of_surfaces():
    mask = torch.zeros(6, 6, dtype=torch.uint8)
    mask[1:4, 1:4] = 1
    assert surface_distances(mask, mask.roll(1, 0)).hausdorff() == 1
    with pytest.raises(ValueError, match="target must be bool .* got values from 0 to 255"):
        surface_distances(mask, mask * 255)
    with pytest.raises(ValueError, match="pred must be bool .* got values from 0.0 to 0.3"):
        surface_distances(mask * 0.3, mask)
    with pytest.raises(ValueError, match="tolerance must be >= 0, got nan"):
        surface_distances(mask, mask).dice(NAN)


class Sum(Metric):
    """The smallest metric there is."""

    def update(self, x):
        self._refuse(x.isnan(), "x must be a number", x)
        self._add(total=x.nansum())

    def compute(self):
        self._check()
        return {"sum": self._sums["total"].item() if self._sums else NAN, "per_class": {}}


class Asynchronous(torch.Tensor):
    """A tensor of the CPU that says it is on a GPU."""

    is_cuda = True


def test_what_a_gpu_cannot_refuse_at_once_compute_does():
    """The fault of a batch is kept, through a merge and until the reset."""
    metric, other = Sum(), Sum()
    good, bad = torch.tensor([1.0, 2.0]), torch.tensor([1.0, NAN])
    with pytest.raises(ValueError, match=r"x must be a number, got \[nan\]"):
        metric.update(bad)
    metric.update(good.as_subclass(Asynchronous))
    assert metric.compute()["sum"] == 3
    metric.update(bad.as_subclass(Asynchronous))
    metric.update(good.as_subclass(Asynchronous))
    for faulty in (metric, other.merge(metric)):
        with pytest.raises(ValueError, match="x must be a number$"):
            faulty.compute()
    metric.reset()
    assert math.isnan(metric.compute()["sum"])
