"""Checks of the exercises of *Reading scans*."""

import torch

from segedu.teaching.checking import drawn, exercise, expect_function, expect_number


@exercise(1, wrong=[4, 9])
def count(answer):
    """Pixels above a lower threshold."""
    expect_number(answer, 6, near={4: "that is the threshold 0.5 ｜ 那是阈值 0.5 的结果"})


@exercise(2, wrong=[1.0, 2 / 3])
def by_hand(answer):
    """Intersection over union of two small masks."""
    expect_number(answer, 0.5, tolerance=1e-9, near={2 / 3: "that is Dice ｜ 那是 Dice 得分"})


@exercise(3, wrong=[lambda p, t: (p & t).sum() / (p | t).sum(), 3])
def dice(answer):
    """The Dice score of two masks."""
    masks = torch.rand(6, 5, 5, generator=drawn(0)) > 0.5

    def reference(prediction, target):
        return 2 * (prediction & target).sum() / (prediction.sum() + target.sum())

    expect_function(answer, reference, [tuple(pair) for pair in masks.split(2)])


@exercise(4, wrong=[lambda iou: iou, lambda iou: iou / (2 - iou)])
def convert(answer):
    """Dice out of IoU."""
    some = torch.rand(3, generator=drawn(0)).tolist()
    cases = [(iou,) for iou in (0.0, 0.25, 0.5, 1.0, *some)]
    expect_function(answer, lambda iou: 2 * iou / (1 + iou), cases)
