import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segedu.metrics import SemanticMetrics, region_areas, score
from segedu.metrics.counts import runs
from segedu.metrics.semantic import boundary_region
from tests.real_data import REAL, needs

KEYS = {
    "pixel_accuracy",
    "mean_accuracy",
    "mean_iou",
    "frequency_weighted_iou",
    "iou",
    "dice",
    "confusion_matrix",
    "per_class",
}


def maps(classes=4, shape=(3, 16, 20), seed=0, dtype=torch.int64):
    g = torch.Generator().manual_seed(seed)
    pred = torch.randint(0, classes, shape, generator=g)
    target = torch.randint(0, classes, shape, generator=g)
    target[torch.rand(shape, generator=g) < 0.1] = 255
    return pred.to(dtype), target.to(dtype)


def test_by_hand():
    # class 0: 2 of 3 right; class 1: 1 of 1 right; one pixel of class 0 called 1; class 2 absent
    metric = SemanticMetrics(3)
    metric.update(torch.tensor([[0, 0, 1, 1, 2]]), torch.tensor([[0, 0, 0, 1, 255]]))
    got = metric.compute()
    assert set(got) == KEYS
    assert got["confusion_matrix"].tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert got["pixel_accuracy"] == 3 / 4
    assert got["mean_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert got["iou"][:2].tolist() == pytest.approx([2 / 3, 1 / 2])
    assert math.isnan(got["iou"][2])
    assert got["mean_iou"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert got["frequency_weighted_iou"] == pytest.approx(3 / 4 * 2 / 3 + 1 / 4 * 1 / 2)
    assert got["dice"][:2].tolist() == pytest.approx([4 / 5, 2 / 3])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("ignore_index", [255, 200, 4])
def test_integer_types_and_ignore_values(dtype, ignore_index):
    pred, target = maps()
    expected = SemanticMetrics(4)
    expected.update(pred, target)
    got = SemanticMetrics(4, ignore_index=ignore_index)
    target = target.where(target != 255, ignore_index)
    got.update(pred.to(dtype), target.to(torch.int16 if dtype == torch.uint8 else dtype))
    assert torch.equal(got.confusion_matrix, expected.confusion_matrix)


def test_logits_are_argmaxed():
    pred, target = maps()
    logits = torch.nn.functional.one_hot(pred, 4).movedim(-1, 1).float()
    a, b = SemanticMetrics(4), SemanticMetrics(4)
    a.update(logits, target)
    b.update(pred, target)
    assert torch.equal(a.confusion_matrix, b.confusion_matrix)


@pytest.mark.oracle
def test_equals_torchmetrics():
    tm = pytest.importorskip("torchmetrics.classification")
    pred, target = maps(classes=3)
    theirs = tm.MulticlassJaccardIndex(num_classes=5, ignore_index=255)
    theirs.update(pred, target)
    ours = SemanticMetrics(5)
    ours.update(pred, target)
    assert ours.compute()["mean_iou"] == pytest.approx(theirs.compute().item(), abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 5), st.booleans())
def test_properties(seed, classes, flat):
    """Bounds, perfect = 1, Dice from IoU, symmetry of IoU, order of pixels and of classes."""
    g = torch.Generator().manual_seed(seed)
    shape = (2, 6, 9)
    pred, target = (torch.randint(0, classes, shape, generator=g) for _ in range(2))
    if flat:  # long runs
        pred, target = pred.sort().values, target.sort().values

    def compute(p, t):
        metric = SemanticMetrics(classes)
        metric.update(p, t)
        return metric.compute()

    got = compute(pred, target)
    iou, dice = got["iou"], got["dice"]
    torch.testing.assert_close(dice, 2 * iou / (1 + iou), equal_nan=True)
    assert ((iou >= 0) & (iou <= dice) & (dice <= 1) | iou.isnan()).all()
    torch.testing.assert_close(compute(target, pred)["iou"], iou, equal_nan=True)
    perfect = compute(target, target)
    assert perfect["mean_iou"] == perfect["pixel_accuracy"] == perfect["mean_accuracy"] == 1
    matrix = np.zeros((classes, classes), int)
    np.add.at(matrix, (target.numpy(), pred.numpy()), 1)
    assert np.array_equal(got["confusion_matrix"].numpy(), matrix)
    order = torch.randperm(classes, generator=g)
    renamed = compute(order[pred], order[target])
    torch.testing.assert_close(renamed["iou"][order], iou, equal_nan=True)


def test_runs_cut_where_either_map_changes_across_blocks(monkeypatch):
    monkeypatch.setattr("segedu.metrics.counts.BLOCK", 16)
    a, b = np.repeat([3, 1, 2, 0], [5, 20, 1, 14]), np.repeat([1, 0], [22, 18])
    a[30:36] = [0, 1, 0, 1, 0, 1]  # dense: pixel by pixel
    seen = list(runs(a, b))
    assert len(seen) == 3
    for x, expected in ((0, a), (1, b)):
        rebuilt = np.concatenate([np.repeat(part[x], part[2]) for part in seen])
        assert np.array_equal(rebuilt, expected)
    assert len(seen[0][0]) == 2


def test_eroding_the_prediction_lowers_iou():
    target = torch.zeros(1, 20, 20, dtype=torch.int64)
    target[0, 3:17, 3:17] = 1
    seen = []
    for margin in range(7):
        pred = torch.zeros_like(target)
        pred[0, 3 + margin : 17 - margin, 3 + margin : 17 - margin] = 1
        metric = SemanticMetrics(2)
        metric.update(pred, target)
        seen.append(metric.compute()["iou"][1].item())
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == 1


def test_per_image_and_per_class():
    pred, target = maps()
    metric = SemanticMetrics(4, per_image=True)
    metric.update(pred, target)
    each = []
    for p, t in zip(pred, target, strict=True):
        one = SemanticMetrics(4)
        one.update(p[None], t[None])
        each.append(one.compute())
    got = metric.compute()
    assert set(got) == KEYS | {"image_mean_iou", "image_mean_dice"}
    assert got["image_mean_iou"] == pytest.approx(np.mean([e["mean_iou"] for e in each]))
    assert got["image_mean_dice"] == pytest.approx(
        np.mean([e["dice"].nanmean().item() for e in each])
    )
    rows = got["per_class"]
    assert list(rows) == [0, 1, 2, 3]
    assert [row["iou"] for row in rows.values()] == got["iou"].tolist()
    assert [row["dice"] for row in rows.values()] == got["dice"].tolist()
    assert rows[0]["pixels"] == (target == 0).sum()
    matrix = got["confusion_matrix"].double()
    assert rows[1]["precision"] == (matrix[1, 1] / matrix[:, 1].sum()).item()
    assert math.isnan(SemanticMetrics(4, per_image=True).compute()["image_mean_iou"])


def test_boundary_iou():
    mask = torch.zeros(1, 11, 11, dtype=torch.bool)
    mask[0, 0:7, 0:7] = True
    ring = boundary_region(mask, 2)[0]
    inner = torch.zeros_like(ring)
    inner[2:5, 2:5] = True  # the frame is an edge too
    assert torch.equal(ring, mask[0] & ~inner)
    # a shift by one pixel hurts the boundary far more than the region
    target = torch.zeros(1, 60, 80, dtype=torch.int64)
    target[0, 10:50, 10:60] = 1
    metric = SemanticMetrics(2, boundary=0.02)  # two pixels
    metric.update(target.roll(1, 2), target)
    got = metric.compute()
    p, t = (boundary_region(m == 1, 2) for m in (target.roll(1, 2), target))
    assert got["boundary_iou"][1] == (p & t).sum().double() / (p | t).sum()
    assert got["boundary_iou"][1] < 0.7 < 0.95 < got["iou"][1]
    volume = torch.zeros(1, 6, 6, 6, dtype=torch.int64)
    metric.update(volume, volume)


@needs("voc_colour_pairs")
def test_known_answer_of_the_voc_predictions():
    root = REAL / "voc_colour_pairs"
    from PIL import Image

    colors = np.zeros((256, 3), int)  # VOC's colours: the bits of the label, dealt to R, G, B
    for label in range(256):
        for bit in range(8):
            for channel in range(3):
                colors[label, channel] |= (label >> (3 * bit + channel) & 1) << (7 - bit)
    place = np.array([1, 256, 65536])
    label_of = np.full(1 << 24, -1)
    label_of[colors @ place] = np.arange(256)

    def read(name):
        rgb = np.asarray(Image.open(root / name).convert("RGB"), dtype=np.int64)
        return torch.from_numpy(label_of[rgb @ place])[None]

    metric = SemanticMetrics(21)
    for n in (1, 23, 114):
        metric.update(read(f"{n}_pred.png"), read(f"{n}_target.png"))
    got = metric.compute()
    expected = json.loads((root / "expected_miou.json").read_text())
    assert got["mean_iou"] == pytest.approx(expected["miou_over_present_classes"], abs=1e-12)
    assert got["pixel_accuracy"] == pytest.approx(expected["pixel_acc"], abs=1e-12)
    for key in ("iou", "dice"):
        for label, value in expected[key].items():
            assert got[key][int(label)].item() == pytest.approx(value, abs=1e-12)
    for pair, count in expected["confusion_nonzero"].items():
        row, column = map(int, pair.split(","))
        assert got["confusion_matrix"][row, column] == count
    zero = SemanticMetrics(21, absent="zero")
    for n in (1, 23, 114):
        zero.update(read(f"{n}_pred.png"), read(f"{n}_target.png"))
    assert zero.compute()["mean_iou"] == pytest.approx(expected["miou_over_21_with_absent_as_zero"])


def test_score_is_a_metric_that_has_seen_one_batch():
    pred, target = maps()
    metric = SemanticMetrics(4, per_image=True, boundary=0.1)
    metric.update(pred, target)
    expected = str(metric.compute())
    logits = torch.nn.functional.one_hot(pred, 4).movedim(-1, 1).float()
    for guess in (pred, pred.numpy(), pred.byte(), logits):
        assert str(score(guess, target, 4, per_image=True, boundary=0.1)) == expected
    # one image, (H, W), as array, mask or logits
    one = score(pred[:1], target[:1], 4, boundary=0.1)
    for guess in (pred[0], pred[0].numpy(), logits[0]):
        assert str(score(guess, target[0], 4, boundary=0.1)) == str(one)
    found = score(np.eye(3, dtype=bool), np.ones((3, 3), dtype=bool), 2)
    assert found["iou"].tolist() == [0, 1 / 3]
    assert math.isnan(score(pred[0], torch.full_like(pred[0], 255), 4)["mean_iou"])
    assert score(pred, torch.where(target == 255, -1, target), 4, -1)["iou"].equal(
        score(pred, target, 4)["iou"]
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([(2, 7, 9), (1, 4, 5, 3), (2, 8)]))
def test_areas_of_regions_by_flooding(seed, shape):
    labels = torch.randint(0, 3, shape, generator=torch.manual_seed(seed))
    areas = region_areas(labels)
    for image, found in zip(labels.numpy(), areas.numpy(), strict=True):
        for place in np.ndindex(image.shape):
            region, border = {place}, [place]
            while border:
                here = border.pop()
                for axis, step in np.ndindex(image.ndim, 2):
                    near = tuple(x + (2 * step - 1) * (i == axis) for i, x in enumerate(here))
                    inside = all(0 <= x < n for x, n in zip(near, image.shape, strict=True))
                    if inside and near not in region and image[near] == image[place]:
                        region.add(near)
                        border.append(near)
            assert found[place] == len(region)


def test_scores_by_the_size_of_objects():
    """A network that draws large objects only is right there and wrong on small ones."""
    target = torch.zeros(1, 20, 20, dtype=torch.int64)
    target[0, 2:12, 2:12] = 1
    target[0, 15:17, 15:17] = 1
    pred = target.clone()
    pred[0, 15:17, 15:17] = 0
    areas = region_areas(target)
    small, large = (
        score(pred, torch.where(chosen, target, 255), 2)["per_class"][1]["accuracy"]
        for chosen in (areas < 50, (areas >= 50) & (target == 1))
    )
    assert (small, large) == (0, 1)


def test_absent_rule():
    pred, target = torch.zeros(1, 4).long(), torch.zeros(1, 4).long()
    for absent, expected in [("skip", 1.0), ("zero", 0.5), ("one", 1.0)]:
        metric = SemanticMetrics(2, absent=absent)
        metric.update(pred, target)
        assert metric.compute()["mean_iou"] == expected
    predicted_only = SemanticMetrics(2)
    predicted_only.update(torch.tensor([[0, 1]]), torch.tensor([[0, 0]]))
    assert predicted_only.compute()["iou"].tolist() == [0.5, 0.0]


def test_bad_input():
    metric = SemanticMetrics(3)
    good = torch.zeros(1, 4, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="target has 16 pixels"):
        metric.update(good, good + 3)
    with pytest.raises(ValueError, match="pred has 16 pixels"):
        metric.update(good - 1, good)
    assert metric.confusion_matrix.sum() == 0
    with pytest.raises(ValueError, match="same shape"):
        metric.update(good, good[:, 1:])
    with pytest.raises(ValueError, match="logits must be"):
        metric.update(torch.zeros(1, 5, 4, 4), good)
    with pytest.raises(TypeError, match="integer labels"):
        metric.update(good, good.float())
    with pytest.raises(ValueError, match="num_classes"):
        SemanticMetrics(0)
    with pytest.raises(ValueError, match="boundary must be"):
        SemanticMetrics(3, boundary=2)
    with pytest.raises(ValueError, match="absent must be"):
        SemanticMetrics(3, absent="maybe")
    with pytest.raises(ValueError, match="must not be a class"):
        SemanticMetrics(3, ignore_index=2)
    with pytest.raises(ValueError, match="same settings"):
        metric.merge(SemanticMetrics(4))
    assert math.isnan(SemanticMetrics(3).compute()["mean_iou"])
