"""Mean IoU after each click, by hand."""

import math

import pytest
import torch

from segedu.metrics import ClickIoU

TARGET = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 1, 1]]], dtype=torch.bool)  # (P, H, W) = (2, 1, 4)
# After one click: half of the first, IoU 1/2; the second and one pixel more, 2/3.
# After two: both right.
FOUND = torch.tensor(
    [[[[1, 0, 0, 0]], [[1, 1, 0, 0]]], [[[0, 1, 1, 1]], [[0, 0, 1, 1]]]], dtype=torch.bool
)


def masks(*tensors):
    return [{"masks": tensor} for tensor in tensors]


def test_by_hand():
    metric = ClickIoU(2)
    metric.update(masks(FOUND), masks(TARGET))
    scores = metric.compute()
    assert scores["iou_1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores["iou_2"] == scores["mean_iou"] == 1
    metric.update(masks(FOUND[:0], FOUND[:1, [0, 0]]), masks(TARGET[:0], TARGET[:1]))
    assert metric.compute()["mean_iou"] == pytest.approx((1 + 1 + 1 / 2) / 3)


def test_the_number_of_clicks_by_hand():
    """IoU 1/2 then 1, 2/3 then 1, and one that stays at 1/2: reached is what is equal, too."""
    metric = ClickIoU(2, (0.5, 0.6, 0.9, 0.6))
    metric.update(masks(FOUND), masks(TARGET))
    metric.update(masks(FOUND[:0], FOUND[:1, [0, 0]]), masks(TARGET[:0], TARGET[:1]))
    scores = metric.compute()
    assert scores["noc_50"] == 1 and scores["failures_50"] == 0
    assert scores["noc_60"] == pytest.approx((2 + 1 + 2) / 3)
    assert scores["noc_90"] == 2
    assert scores["failures_60"] == scores["failures_90"] == pytest.approx(1 / 3)
    assert math.isnan(ClickIoU(2, (0.85,)).compute()["noc_85"])


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="clicks must be at least 1, got 0"):
        ClickIoU(0)
    with pytest.raises(ValueError, match=r"targets must be in \(0, 1\], got \(85.0,\)"):
        ClickIoU(2, [85])
    shape = r"prediction must be bool \(2, 2, 1, 4\), got torch"
    with pytest.raises(ValueError, match=rf"{shape}.bool \(2, 1, 1, 4\)"):
        ClickIoU(2).update(masks(FOUND[:, :1]), masks(TARGET))
    with pytest.raises(ValueError, match=rf"{shape}.float32"):
        ClickIoU(2).update(masks(FOUND.float()), masks(TARGET))
    with pytest.raises(ValueError, match="got 1 predictions for 2 targets"):
        ClickIoU(2).update(masks(FOUND), masks(TARGET, TARGET))
