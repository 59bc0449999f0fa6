"""J&F by hand, their properties, and temporal consistency."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segedu.metrics.video import (
    VideoObjects,
    contour,
    contour_accuracy,
    follow,
    region_similarity,
    temporal_consistency,
)


def square(y: int, x: int, side: int = 3, size: int = 6) -> torch.Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[y : y + side, x : x + side] = True
    return mask


def random_mask(seed: int, size: int = 9) -> torch.Tensor:
    return torch.rand(size, size, generator=torch.Generator().manual_seed(seed)) > 0.6


def test_j_by_hand():
    assert region_similarity(square(1, 1), square(1, 2)) == 6 / 12
    assert region_similarity(square(0, 0), square(3, 3)) == 0
    empty = torch.zeros(6, 6, dtype=torch.bool)
    assert region_similarity(empty, empty) == 1 and region_similarity(empty, square(1, 1)) == 0


def test_contour_by_hand():
    # around a square of 3: its rim without the inner pixel, and what is above and left of it
    rows = contour(square(2, 2)).int().tolist()
    assert rows == [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_f_by_hand():
    # one pixel of tolerance forgives a shift by one; by two, the columns 1 and 4 of 12 pixels have
    # moved to 3 and 6: of the first contour the column 1 (4 pixels) has nothing near by
    a = square(2, 2, size=10)
    assert contour_accuracy(a, square(2, 3, size=10)) == 1
    assert contour_accuracy(a, square(2, 4, size=10)) == pytest.approx(8 / 12)
    empty = torch.zeros(10, 10, dtype=torch.bool)
    assert contour_accuracy(empty, empty) == 1
    assert contour_accuracy(a, empty) == contour_accuracy(empty, a) == 0
    full = ~empty
    assert contour_accuracy(full, empty) == 1  # no contour in either: DAVIS cannot tell them


def test_tolerance_is_a_share_of_the_diagonal_rounded_up():
    a, b = square(2, 2, size=10), square(2, 4, size=10)
    assert contour_accuracy(a, b, 0.08) == 1  # ceil(0.08 * 14.1) = 2 pixels
    assert contour_accuracy(a, b, 2) == 1 and contour_accuracy(a, b, 1) < 1


def dilated_f(pred: torch.Tensor, target: torch.Tensor, radius: int) -> float:
    """F once more, by growing the contours with a disk."""
    p, t = contour(pred), contour(target)

    def grow(c):
        out = torch.zeros_like(c)
        for y, x in c.nonzero().tolist():
            for v in range(max(0, y - radius), min(c.shape[0], y + radius + 1)):
                for u in range(max(0, x - radius), min(c.shape[1], x + radius + 1)):
                    out[v, u] |= (v - y) ** 2 + (u - x) ** 2 <= radius**2
        return out

    precision = (p & grow(t)).sum().item() / p.sum().item()
    recall = (t & grow(p)).sum().item() / t.sum().item()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2]))
def test_f_equals_its_definition_by_dilation(seed, radius):
    a, b = random_mask(seed), random_mask(seed + 1)
    assert contour_accuracy(a, b, radius) == pytest.approx(dilated_f(a, b, radius), abs=1e-12)
    assert contour_accuracy(a, b) == pytest.approx(contour_accuracy(b, a), abs=1e-12)
    assert contour_accuracy(a, a) == region_similarity(a, a) == 1


def test_first_and_last_frame_are_not_judged():
    target = torch.stack([square(1, 1).long()] * 4)
    pred = target.clone()
    pred[0] = pred[-1] = 0
    assert (score := metric(pred, target))["J&F"] == score["J_recall"] == 1
    pred[1] = 0
    score = metric(pred, target)
    assert score["J"] == score["F"] == score["J&F"] == score["J_recall"] == 0.5


def metric(*pair):
    judge = VideoObjects()
    judge.update(*pair)
    return judge.compute()


def test_mean_over_objects_not_frames_or_pixels():
    target = torch.stack([square(0, 0, 2).long() + 2 * square(3, 3).long()] * 3)
    pred = target.where(target == 2, 0)  # the small object is lost
    score = metric(pred, target)
    assert score["J"] == 0.5 and [case["J"] for case in score["cases"]] == [0, 1]
    assert [case["object"] for case in score["cases"]] == [1, 2]


def test_decay_is_the_first_quarter_minus_the_last():
    # ten judged frames; DAVIS cuts at 1, 3, 6 (5.5 rounded up), 8, 10, ends included
    target = torch.stack([square(1, 1).long()] * 12)
    pred = target.clone()
    pred[8:] = 0  # judged frames 8, 9, 10 are lost
    score = metric(pred, target)
    assert score["J"] == pytest.approx(0.7) and score["J_decay"] == 1.0
    pred[1] = 0
    assert metric(pred, target)["J_decay"] == pytest.approx(2 / 3)


def test_batches_and_order_do_not_matter():
    def clip(seed):
        return torch.stack([random_mask(seed + i).long() for i in range(4)])

    pairs = [(clip(s), clip(s + 50)) for s in (0, 10, 20)]
    one, first, second = VideoObjects(), VideoObjects(), VideoObjects()
    for pair in pairs:
        one.update(*pair)
    second.update(*pairs[2])
    for pair in (pairs[1], pairs[0]):
        first.update(*pair)
    both = second.merge(first).compute()
    assert {k: v for k, v in both.items() if k != "cases"} == {
        k: v for k, v in one.compute().items() if k != "cases"
    }
    assert math.isnan(VideoObjects().compute()["J&F"])
    with pytest.raises(ValueError, match="same settings"):
        one.merge(VideoObjects(0.1))


def test_follow_and_consistency_by_hand():
    labels = torch.tensor([[[0, 1, 1, 2]], [[0, 0, 1, 1]]])  # all moves one to the right
    flow = torch.zeros(1, 1, 4, 2)
    flow[..., 0] = 1
    assert follow(labels, flow).tolist() == [[[0, 1, 1, 255]]]  # the last one leaves
    assert temporal_consistency(labels, flow, 3) == {"agreement": 1.0, "mean_iou": 1.0}
    flow[0, 0, 0] = torch.nan
    assert follow(labels, flow).tolist() == [[[255, 1, 1, 255]]]
    still = temporal_consistency(labels, torch.zeros(1, 1, 4, 2), 3)
    # 0-0, 1-0, 1-1, 2-1: two of four; IoU 1/2, 1/3, 0
    assert still["agreement"] == 0.5 and still["mean_iou"] == pytest.approx((1 / 2 + 1 / 3) / 3)


def test_bad_input():
    with pytest.raises(ValueError, match="of one shape"):
        region_similarity(square(1, 1), square(1, 1, size=7))
    with pytest.raises(ValueError, match="tolerance must be > 0"):
        contour_accuracy(square(1, 1), square(1, 1), 0)
    with pytest.raises(ValueError, match="tolerance must be > 0"):
        VideoObjects(-1)
    frames = torch.ones(3, 4, 4, dtype=torch.long)
    for pred, target, message in (
        (frames[:2], frames[:2], "T >= 3"),
        (frames, 0 * frames, "object in its first frame"),
        (frames, frames[:, :3], "of one shape"),
    ):
        with pytest.raises(ValueError, match=message):
            VideoObjects().update(pred, target)
    with pytest.raises(TypeError, match="must be integer"):
        VideoObjects().update(frames.float(), frames)
    with pytest.raises(ValueError, match="flow"):
        temporal_consistency(frames, torch.zeros(3, 4, 4, 2), 2)
    with pytest.raises(ValueError, match="lead some pixel"):
        temporal_consistency(frames, torch.full((2, 4, 4, 2), torch.nan), 2)
