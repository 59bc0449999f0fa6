import numpy as np
import pytest
import torch

from segedu.metrics import AveragePrecision, ErrorBudget
from segedu.metrics.errors import KINDS
from segedu.ops import box_iou
from tests.metrics.test_instance import random_data

DETECTIONS = [kind for kind in KINDS if kind != "missed"]


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float64).view(-1, 4)


# An object of class 1 and one of class 2; a third, of class 1, that nothing lies on.
OBJECTS = {
    "boxes": boxes((0, 0, 10, 10), (40, 0, 50, 10), (80, 80, 90, 90)),
    "labels": torch.tensor([1, 2, 1]),
}
# A detection, and what it is beside the first object's own detection.
EXAMPLES = {
    "duplicate": ((0, 0, 10, 8), 1),
    "location": ((0, 0, 10, 3), 1),
    "class": ((40, 0, 50, 8), 1),
    "both": ((40, 0, 50, 3), 1),
    "background": ((60, 60, 70, 70), 2),
}


def budget(detections, scores, target=OBJECTS):
    """Budget of one image, with detections (box, label)."""
    metric = ErrorBudget("bbox")
    metric.update([prediction(detections, scores)], [target])
    return metric


def prediction(detections, scores):
    return {
        "boxes": boxes(*(box for box, _ in detections)),
        "labels": torch.tensor([label for _, label in detections], dtype=torch.int64),
        "scores": torch.tensor(scores),
    }


@pytest.mark.parametrize("kind", EXAMPLES)
def test_one_error_of_each_kind(kind):
    metric = budget([((0, 0, 10, 10), 1), EXAMPLES[kind]], [0.9, 0.8])
    (kinds,) = metric.kinds()
    assert kinds["detections"] == ["right", kind]
    result = metric.compute()
    assert result["counts"][kind] == 1
    found = "mendable" if kind == "class" else "missed"
    assert kinds["targets"] == ["right", found, "missed"]
    said = EXAMPLES[kind][1]
    assert result["per_class"][said][kind] == 1
    assert result["per_class"][3 - said][kind] == 0


def test_gains_by_hand():
    """Class 1: a right one at rank 1 and 3, a false one between; class 2: found too small."""
    detections = [
        ((0, 0, 10, 10), 1),
        ((60, 60, 70, 70), 1),
        ((80, 80, 90, 90), 1),
        ((40, 0, 50, 3), 2),
    ]
    result = budget(detections, [0.9, 0.8, 0.7, 0.6]).compute()
    first = (51 + 50 * 2 / 3) / 101  # precision 1 up to recall 1/2, then 2/3
    assert result["AP50"] == pytest.approx(first / 2)
    assert result["gain_background"] == pytest.approx((1 - first) / 2)
    assert result["gain_location"] == pytest.approx(1 / 2)
    for kind in ("class", "both", "duplicate", "missed"):
        assert result[f"gain_{kind}"] == 0


def test_missed_objects_count_no_longer():
    result = budget([((0, 0, 10, 10), 1), ((40, 0, 50, 10), 2)], [0.9, 0.8]).compute()
    assert result["AP50"] == pytest.approx((51 / 101 + 1) / 2)
    assert result["gain_missed"] == pytest.approx((1 - 51 / 101) / 2)
    nothing = budget([], []).compute()  # nothing found: nothing would be left to find
    assert (nothing["AP50"], nothing["gain_missed"]) == (0, 1)


def test_of_two_errors_on_an_object_one_is_mended():
    """Both show a third of the object: the better becomes right, the other goes."""
    half = [((40, 0, 50, 3), 2), ((40, 7, 50, 10), 2)]
    result = budget(half, [0.5, 0.9]).compute()
    assert result["counts"]["location"] == 2
    assert result["gain_location"] == pytest.approx(1 / 2)
    taken = budget([((40, 0, 50, 10), 2), *half], [0.6, 0.5, 0.9]).compute()
    # the object is taken: both go, and the one of score 0.9 stands no more before the right one
    assert taken["AP50"] == pytest.approx((0 + 1 / 2) / 2)
    assert taken["gain_location"] == pytest.approx(1 / 4)


def test_location_goes_before_class_and_class_before_duplicate():
    target = {"boxes": boxes((0, 0, 10, 10), (0, 0, 10, 9)), "labels": torch.tensor([1, 2])}
    near = ((0, 6, 10, 16), 1)  # IoU 0.25 with class 1
    (kinds,) = budget([near], [0.9], target).kinds()
    assert kinds == {"detections": ["location"], "targets": ["mendable", "missed"]}
    twice = [((0, 0, 10, 10), 1), ((0, 0, 10, 9), 1)]
    (kinds,) = budget(twice, [0.9, 0.8], target).kinds()
    assert kinds["detections"] == ["right", "class"]


def test_crowds_are_no_objects():
    target = OBJECTS | {"iscrowd": torch.tensor([0, 1, 0])}
    inside, other = ((41, 1, 44, 4), 2), ((41, 1, 44, 4), 1)
    metric = budget([inside, other], [0.9, 0.8], target)
    (kinds,) = metric.kinds()
    assert kinds["detections"] == ["ignored", "background"]
    assert kinds["targets"] == ["missed", "ignored", "missed"]
    assert 2 not in {k for k, row in metric.compute()["per_class"].items() if row["missed"]}


def test_masks_give_what_boxes_give():
    preds, targets = random_data(3)
    found = {}
    for iou_type in ("segm", "bbox"):
        metric = ErrorBudget(iou_type)
        # boxes at whole pixels, so that both kinds of IoU agree
        metric.update([as_rectangles(p) for p in preds], [as_rectangles(t) for t in targets])
        found[iou_type] = metric.compute() | {"kinds": metric.kinds()}
    assert found["segm"] == found["bbox"]


def as_rectangles(sample):
    """The same with masks that are the boxes, rounded and cut to the image."""
    masks = torch.zeros_like(sample["masks"])
    corners = sample["boxes"].round().long().clamp(min=0)
    corners[:, [2, 3]] = torch.maximum(corners[:, [2, 3]], corners[:, [0, 1]])
    corners = torch.minimum(corners, torch.tensor([*masks.shape[:0:-1]] * 2))
    for mask, (x0, y0, x1, y1) in zip(masks, corners.tolist(), strict=True):
        mask[y0:y1, x0:x1] = True
    return sample | {"masks": masks, "boxes": corners.double()}


class Slow:
    """The same, image by image with plain loops; AP50 by `AveragePrecision` on mended images."""

    def __init__(self, preds, targets):
        self.preds, self.targets = preds, targets
        self.images = [self.judge(p, t) for p, t in zip(preds, targets, strict=True)]

    @staticmethod
    def judge(pred, target):
        """Kind of each detection, the object it is near, and which objects are taken."""
        iou = box_iou(pred["boxes"], target["boxes"]).tolist()
        labels, wanted = pred["labels"].tolist(), target["labels"].tolist()
        order = sorted(range(len(labels)), key=lambda d: -pred["scores"][d].item())
        taken, kinds, goals = set(), [""] * len(labels), [None] * len(labels)
        for d in order:
            free = [g for g in range(len(wanted)) if wanted[g] == labels[d] and g not in taken]
            best = max(free, key=lambda g: (iou[d][g], g), default=None)
            if best is not None and iou[d][best] >= 0.5:
                taken.add(best)
                kinds[d] = "right"
        for d in order:
            alike = {g: iou[d][g] for g in range(len(wanted)) if wanted[g] == labels[d]}
            other = {g: iou[d][g] for g in range(len(wanted)) if wanted[g] != labels[d]}
            most, most_other = (max(x.values(), default=0) for x in (alike, other))
            if kinds[d]:
                continue
            if 0.1 <= most < 0.5:
                kinds[d], goals[d] = "location", max(alike, key=alike.get)
            elif most_other >= 0.5:
                kinds[d], goals[d] = "class", max(other, key=other.get)
            elif most >= 0.5:
                kinds[d] = "duplicate"
            else:
                kinds[d] = "background" if max(most, most_other) <= 0.1 else "both"
        return kinds, goals, taken

    def ap50(self, mended=None):
        metric = AveragePrecision("bbox")
        for image, pred, target in zip(self.images, self.preds, self.targets, strict=True):
            kept = self.to_find(image, target, mended)
            metric.update([self.mend(image, pred, target, mended)], [kept])
        return metric.compute()["AP50"]

    def mend(self, image, pred, target, mended):
        kinds, goals, taken = image
        parts = {key: pred[key].clone() for key in ("boxes", "labels", "scores")}
        done, keep = set(taken), []
        for d in sorted(range(len(kinds)), key=lambda d: -pred["scores"][d].item()):
            if kinds[d] != mended:
                keep.append(d)
            elif goals[d] is not None and goals[d] not in done:
                done.add(goals[d])
                parts["boxes"][d] = target["boxes"][goals[d]]
                parts["labels"][d] = target["labels"][goals[d]]
                keep.append(d)
        return {key: part[sorted(keep)] for key, part in parts.items()}

    def missed(self, image, target):
        _, goals, taken = image
        return [g for g in range(len(target["labels"])) if g not in taken and g not in goals]

    def to_find(self, image, target, mended):
        gone = self.missed(image, target) if mended == "missed" else []
        keep = [g for g in range(len(target["labels"])) if g not in gone]
        return {key: target[key][keep] for key in ("boxes", "labels")}


def distinct(seed):
    """Random images without crowds, ties of scores, or more than 100 detections."""
    preds, targets = random_data(seed)
    rng = np.random.default_rng(seed)
    for pred in preds:
        for key in ("boxes", "labels", "scores"):
            pred[key] = pred[key][:40]
        pred["scores"] = torch.from_numpy(rng.permutation(len(pred["labels"])) / 100 + 0.1)
    # distinct in all images together
    for i, pred in enumerate(preds):
        pred["scores"] = pred["scores"] + i * 1e-4
    return preds, [{key: t[key] for key in ("boxes", "labels")} for t in targets]


@pytest.mark.parametrize("seed", range(8))
def test_equal_to_a_slow_version(seed):
    preds, targets = distinct(seed)
    slow = Slow(preds, targets)
    metric = ErrorBudget("bbox")
    metric.update(preds, targets)
    result = metric.compute()
    assert [k["detections"] for k in metric.kinds()] == [kinds for kinds, _, _ in slow.images]
    said = [kind for kinds, _, _ in slow.images for kind in kinds]
    assert set(said) >= {"right", "location", "duplicate", "background"}
    for kind in DETECTIONS:
        assert result["counts"][kind] == said.count(kind)
    pairs = zip(slow.images, targets, strict=True)
    assert result["counts"]["missed"] == sum(len(slow.missed(*pair)) for pair in pairs)
    assert result["AP50"] == pytest.approx(slow.ap50())
    for kind in KINDS:
        gain = slow.ap50(kind) - slow.ap50()
        assert result[f"gain_{kind}"] == pytest.approx(gain, abs=1e-12), kind


@pytest.mark.parametrize("iou_type", ["segm", "bbox"])
@pytest.mark.parametrize("seed", range(4))
def test_ap50_is_that_of_average_precision(iou_type, seed):
    """With crowds, ties and more than 100 detections, too."""
    preds, targets = random_data(seed)
    both = ErrorBudget(iou_type), AveragePrecision(iou_type)
    for metric in both:
        metric.update(preds, targets)
    budget, usual = (metric.compute() for metric in both)
    assert budget["AP50"] == pytest.approx(usual["AP50"], abs=1e-15)
    for label, row in usual["per_class"].items():
        assert budget["per_class"][label]["AP50"] == pytest.approx(row["AP50"], nan_ok=True)
    for kinds, pred, target in zip(both[0].kinds(), preds, targets, strict=True):
        assert len(kinds["detections"]) == len(pred["labels"])
        assert len(kinds["targets"]) == len(target["labels"])
    assert all(budget[f"gain_{kind}"] >= -1e-12 for kind in DETECTIONS)
