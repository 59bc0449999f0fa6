import math
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import ops as reference

from segedu.ops import (
    batched_nms,
    box_iou,
    fast_nms,
    matrix_nms,
    nms,
    nms_reference,
    soft_nms,
)

NONE = torch.zeros(0, 4), torch.zeros(0)
properties = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**31)
counts = st.integers(0, 25)
thresholds = st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0])


def crowd(seed, n):
    """Boxes (n, 4) of which many overlap, and scores (n,) with some ties."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(n, 2, generator=generator) * 30
    boxes = torch.cat((corner, corner + 10 + torch.rand(n, 2, generator=generator) * 20), dim=1)
    return boxes, torch.randint(1, 20, (n,), generator=generator) / 20


def textbook_soft_nms(boxes, scores, method, iou_threshold, sigma, score_threshold):
    """The loop of the paper on plain lists, each box compared with each picked one."""

    def iou(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        if width <= 0 or height <= 0:
            return 0.0
        area = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
        return width * height / (sum(area) - width * height)

    rest = [(s, i) for i, s in enumerate(scores.tolist()) if s >= score_threshold]
    boxes, picked = boxes.tolist(), []
    while rest:
        best = max(rest, key=lambda pair: (pair[0], -pair[1]))
        rest.remove(best)
        picked.append(best)
        decayed = []
        for score, i in rest:
            overlap = iou(boxes[best[1]], boxes[i])
            if method == "gaussian":
                score *= math.exp(-(overlap**2) / sigma)
            elif overlap > iou_threshold:
                score *= 1 - overlap
            if score >= score_threshold:
                decayed.append((score, i))
        rest = decayed
    return [i for _, i in picked], [s for s, _ in picked]


class TestHard:
    @properties
    @given(seeds, counts, thresholds)
    def test_equals_torchvision(self, seed, n, threshold):
        boxes, scores = crowd(seed, n)
        expected = reference.nms(boxes, scores, threshold)
        assert torch.equal(nms(boxes, scores, threshold), expected)
        assert torch.equal(nms_reference(boxes, scores, threshold), expected)

    @properties
    @given(seeds, counts, thresholds)
    def test_what_is_kept_is_apart_and_what_is_not_is_covered(self, seed, n, threshold):
        boxes, scores = crowd(seed, n)
        keep = nms_reference(boxes, scores, threshold)
        iou = box_iou(boxes, boxes)
        among = iou[keep][:, keep].fill_diagonal_(0)
        assert (among <= threshold).all()
        for i in set(range(n)) - set(keep.tolist()):
            better = keep[scores[keep] >= scores[i]]
            assert (iou[i, better] > threshold).any()

    def test_works_without_compiled_operators(self, monkeypatch):
        monkeypatch.setattr(sys.modules["segedu.ops.nms"], "torchvision_ops", lambda: None)
        boxes, scores = crowd(0, 20)
        assert torch.equal(nms(boxes, scores, 0.4), reference.nms(boxes, scores, 0.4))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.int64])
    def test_any_number_type(self, dtype):
        boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 3], [8, 8, 9, 9]]).to(dtype)
        assert nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5).tolist() == [1, 2]


class TestBatched:
    @properties
    @given(seeds, counts, thresholds)
    def test_equals_nms_of_each_label(self, seed, n, threshold):
        boxes, scores = crowd(seed, n)
        labels = torch.randint(0, 3, (n,), generator=torch.Generator().manual_seed(seed))
        keep = batched_nms(boxes, scores, labels, threshold)
        alone = []
        for label in range(3):
            members = (labels == label).nonzero()[:, 0]
            alone += members[nms_reference(boxes[members], scores[members], threshold)].tolist()
        assert sorted(keep.tolist()) == sorted(alone)
        assert (scores[keep].diff() <= 0).all()

    def test_equals_torchvision(self):
        boxes, _ = crowd(1, 200)
        scores = torch.rand(200, generator=torch.Generator().manual_seed(1))
        labels = torch.arange(200) % 5
        expected = reference.batched_nms(boxes, scores, labels, 0.5)
        assert torch.equal(batched_nms(boxes, scores, labels, 0.5), expected)


class TestSoft:
    @properties
    @given(seeds, counts, st.sampled_from(["linear", "gaussian"]), st.sampled_from([0.001, 0.3]))
    def test_equals_the_textbook_loop(self, seed, n, method, threshold):
        boxes, scores = (t.double() for t in crowd(seed, n))
        keep, new = soft_nms(boxes, scores, method=method, score_threshold=threshold)
        expected_keep, expected = textbook_soft_nms(boxes, scores, method, 0.3, 0.5, threshold)
        assert keep.tolist() == expected_keep
        assert new.tolist() == pytest.approx(expected, abs=1e-12)
        assert (new.diff() <= 0).all()
        assert (new <= scores[keep] + 1e-12).all()

    def test_decayed_scores_are_returned_and_the_callers_kept(self):
        boxes, scores = crowd(3, 12)
        before = scores.clone()
        keep, new = soft_nms(boxes, scores)
        assert torch.equal(scores, before)
        assert (new < scores[keep] - 0.05).any()

    def test_keeps_disjoint_boxes(self):
        """A tutorial's Soft-NMS with an IoU of 1 for all keeps one of three disjoint boxes."""
        boxes = torch.tensor([[0.0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]])
        scores = torch.tensor([0.9, 0.8, 0.7])
        for method in ("linear", "gaussian"):
            keep, new = soft_nms(boxes, scores, method=method)
            assert keep.tolist() == [0, 1, 2]
            assert torch.equal(new, scores)

    def test_picks_the_best_anew_each_round(self):
        """Sorted once, the covered second box would be picked before the free third."""
        boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]])
        scores = torch.tensor([0.9, 0.8, 0.7])
        for method in ("linear", "gaussian"):
            keep, new = soft_nms(boxes, scores, method=method)
            assert keep.tolist() == [0, 2, 1]
            assert new.tolist() == sorted(new.tolist(), reverse=True)

    def test_equal_boxes(self):
        """The linear decay of a copy is 0; what is already picked must not come back as NaN."""
        boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(3, 1)
        keep, new = soft_nms(boxes, torch.tensor([0.5, 0.9, 0.7]), method="linear")
        assert keep.tolist() == [1] and new.tolist() == pytest.approx([0.9])
        keep, new = soft_nms(boxes, torch.ones(3), method="linear", score_threshold=0)
        assert sorted(keep.tolist()) == [0, 1, 2] and new.tolist() == [1, 0, 0]


class TestFast:
    @properties
    @given(seeds, st.integers(1, 25), thresholds, st.integers(1, 30))
    def test_equals_the_definition(self, seed, n, threshold, top_k):
        """A loop: a box stays if none better of its class among the top overlaps it too much."""
        boxes, _ = crowd(seed, n)
        scores = torch.rand(3, n, generator=torch.Generator().manual_seed(seed))
        expected = []
        for label in range(3):
            order = scores[label].argsort(descending=True)[:top_k].tolist()
            for place, i in enumerate(order):
                better = boxes[order[:place]]
                if not (box_iou(boxes[i][None], better) > threshold).any():
                    expected.append((scores[label, i].item(), label, i))
        expected = sorted(expected, reverse=True)[:10]
        index, label, score = fast_nms(
            boxes, scores, iou_threshold=threshold, top_k=top_k, max_detections=10
        )
        got = list(zip(score.tolist(), label.tolist(), index.tolist(), strict=True))
        assert got == expected

    @properties
    @given(seeds, st.integers(1, 25), thresholds)
    def test_keeps_a_part_of_hard_nms(self, seed, n, threshold):
        boxes, scores = crowd(seed, n)
        index, label, _ = fast_nms(boxes, scores[None], iou_threshold=threshold)
        assert set(index.tolist()) <= set(nms_reference(boxes, scores, threshold).tolist())
        assert not label.any()

    def test_suppressed_boxes_suppress(self):
        boxes = torch.tensor([[0.0, 0, 10, 10], [0, 3, 10, 13], [0, 6, 10, 16]])
        scores = torch.tensor([0.9, 0.8, 0.7])
        assert nms(boxes, scores, 0.5).tolist() == [0, 2]
        assert fast_nms(boxes, scores[None], iou_threshold=0.5)[0].tolist() == [0]


class TestMatrix:
    @properties
    @given(seeds, counts, st.sampled_from(["linear", "gaussian"]))
    def test_equals_the_definition(self, seed, n, method):
        boxes, _ = crowd(seed, n)
        scores = torch.rand(n, generator=torch.Generator().manual_seed(seed)).double()
        labels = torch.arange(n) % 2
        iou = box_iou(boxes, boxes).double()

        def f(x):
            return 1 - x if method == "linear" else math.exp(-(x**2) / 0.5)

        def better(j):
            return [i for i in range(n) if scores[i] > scores[j] and labels[i] == labels[j]]

        expected = []
        for j in range(n):
            decay = [1.0]
            for i in better(j):
                covered = max((iou[k, i].item() for k in better(i)), default=0.0)
                decay.append(f(iou[i, j].item()) / f(covered))
            expected.append(scores[j].item() * min(decay))
        got = matrix_nms(iou, scores, labels, method=method)
        assert got.tolist() == pytest.approx(expected, abs=1e-12)

    def test_copies(self):
        got = matrix_nms(torch.ones(3, 3), torch.tensor([0.5, 0.9, 0.7]), method="linear")
        assert got.tolist() == pytest.approx([0, 0.9, 0])

    def test_two_boxes_are_soft_nms(self):
        boxes = torch.tensor([[0.0, 0, 10, 10], [0, 2, 10, 12]])
        scores = torch.tensor([0.6, 0.8])
        for method in ("linear", "gaussian"):
            keep, new = soft_nms(boxes, scores, method=method)
            got = matrix_nms(box_iou(boxes, boxes), scores, method=method)
            torch.testing.assert_close(got[keep], new)


def test_empty():
    assert nms(*NONE).shape == nms_reference(*NONE).shape == (0,)
    assert batched_nms(*NONE, torch.zeros(0, dtype=torch.int64)).shape == (0,)
    assert [t.shape for t in soft_nms(*NONE)] == [(0,), (0,)]
    assert [t.shape for t in fast_nms(NONE[0], torch.zeros(3, 0))] == [(0,)] * 3
    assert [t.shape for t in fast_nms(torch.zeros(5, 4), torch.zeros(0, 5))] == [(0,)] * 3
    assert matrix_nms(torch.zeros(0, 0), NONE[1], NONE[1]).shape == (0,)
    keep, scores = soft_nms(*crowd(0, 4), score_threshold=2.0)
    assert keep.dtype == torch.int64 and keep.shape == scores.shape == (0,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nms(torch.zeros(2, 4), torch.zeros(3)), r"got \(2, 4\) and \(3,\)"),
        (lambda: nms_reference(*NONE, 1.5), r"iou_threshold must be in \[0, 1\], got 1.5"),
        (lambda: batched_nms(*NONE, torch.zeros(1)), r"labels must be \(0,\), got \(1,\)"),
        (lambda: soft_nms(*NONE, method="hard"), "method must be one of gaussian, linear.*'hard'"),
        (lambda: soft_nms(*NONE, sigma=0), "sigma must be > 0, got 0"),
        (lambda: soft_nms(*NONE, iou_threshold=-1), "iou_threshold"),
        (lambda: fast_nms(*NONE), r"scores \(C, N\)"),
        (lambda: fast_nms(NONE[0], torch.zeros(1, 0), top_k=0), "top_k must be at least 1, got 0"),
        (lambda: matrix_nms(torch.zeros(2, 3), torch.zeros(2)), r"iou must be \(N, N\)"),
        (lambda: matrix_nms(torch.zeros(2, 2), torch.zeros(2), torch.zeros(3)), "labels"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.gpu
def test_on_a_gpu():
    boxes, _ = crowd(5, 60)
    scores = torch.rand(60, generator=torch.Generator().manual_seed(5))
    labels = torch.arange(60) % 3
    there = [t.cuda() for t in (boxes, scores, labels)]
    assert torch.equal(nms(*there[:2], 0.5).cpu(), nms(boxes, scores, 0.5))
    assert torch.equal(batched_nms(*there, 0.5).cpu(), batched_nms(boxes, scores, labels, 0.5))
    assert torch.equal(soft_nms(*there[:2])[0].cpu(), soft_nms(boxes, scores)[0])
