import contextlib
import io
import json
import math

import numpy as np
import pytest
import torch

from segedu.metrics import AveragePrecision
from segedu.ops import rle
from tests.real_data import REAL, needs

TWELVE = ["AP", "AP50", "AP75", "APs", "APm", "APl"]
TWELVE += ["AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def box_mask(x0, y0, x1, y1, size=(20, 20)):
    mask = torch.zeros(size, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_by_hand():
    """Two objects; found with IoU 1 and 0.8 at ranks 1 and 3, a false positive at rank 2."""
    target = {
        "masks": torch.stack([box_mask(0, 0, 5, 5), box_mask(10, 10, 15, 15)]),
        "labels": [1, 1],
    }
    pred = {
        "masks": torch.stack(
            [box_mask(0, 0, 5, 5), box_mask(0, 15, 5, 20), box_mask(10, 10, 15, 14)]
        ),
        "labels": [1, 1, 1],
        "scores": [0.9, 0.8, 0.7],
    }
    metric = AveragePrecision()
    metric.update([pred], [target])
    got = metric.compute()
    both = (51 * 1 + 50 * 2 / 3) / 101  # precision 1 up to recall 0.5, then 2/3
    assert got["AP50"] == got["AP75"] == pytest.approx(both)
    # the second object is found at the thresholds 0.5 ... 0.75; 0.8 < np.linspace's 0.8 + 1e-16
    found = sum(t <= 0.8 for t in np.linspace(0.5, 0.95, 10))
    assert got["AP"] == pytest.approx((found * both + (10 - found) * 51 / 101) / 10)
    assert got["AR1"] == 0.5
    assert got["APs"] == got["AP"]
    assert math.isnan(got["APl"])
    assert got["per_class"][1]["AP"] == got["AP"]
    assert got["precision"].shape == (10, 101, 1)
    # boxes of the same rectangles give the same
    boxes = AveragePrecision("bbox")
    as_boxes = [[[0, 0, 5, 5], [0, 15, 5, 20], [10, 10, 15, 14]], [[0, 0, 5, 5], [10, 10, 15, 15]]]
    boxes.update(
        [pred | {"boxes": torch.tensor(as_boxes[0])}],
        [target | {"boxes": torch.tensor(as_boxes[1])}],
    )
    assert boxes.compute()["AP"] == got["AP"]


def instances(rng, count, size, classes, scores=False):
    """Random rectangles with ties of every kind."""
    h, w = size
    x0, y0 = rng.integers(0, w - 2, count), rng.integers(0, h - 2, count)
    x1 = np.minimum(x0 + rng.integers(1, w, count), w)
    y1 = np.minimum(y0 + rng.integers(1, h // 2, count), h)
    masks = np.zeros((count, h, w), bool)
    for m, *r in zip(masks, x0, y0, x1, y1, strict=True):
        m[r[1] : r[3], r[0] : r[2]] = True
    out = {
        "masks": torch.from_numpy(masks),
        "boxes": torch.from_numpy(np.stack([x0, y0, x1, y1], 1).astype(np.float64)),
        "labels": torch.from_numpy(rng.integers(1, classes + 1, count)),
    }
    if scores:
        out["scores"] = torch.from_numpy((rng.integers(0, 12, count) / 12).astype(np.float32))
    else:
        out["iscrowd"] = torch.from_numpy(rng.random(count) < 0.15)
        out["area"] = torch.from_numpy(rng.choice([100.0, 1024.0, 5000.0, 9216.0, 20000.0], count))
    return out


def random_data(seed, images=6, classes=3):
    rng = np.random.default_rng(seed)
    size = (40, 60) if seed % 2 else (128, 140)
    preds, targets = [], []
    for n in range(images):
        target = instances(rng, 0 if n == 1 else int(rng.integers(1, 9)), size, classes)
        pred = instances(rng, (0, 230, 12, 25)[n % 4], size, classes, scores=True)
        # most detections are targets, moved a little
        for i in range(min(len(target["labels"]) * 3, len(pred["labels"]))):
            j = i % len(target["labels"])
            shift = tuple(int(x) for x in rng.integers(-2, 3, 2))
            pred["masks"][i] = target["masks"][j].roll(shift, (0, 1))
            moved = target["boxes"][j] + torch.tensor([shift[1], shift[0]] * 2)
            pred["boxes"][i] = moved + rng.normal(0, 0.3)
            if rng.random() < 0.9:
                pred["labels"][i] = target["labels"][j]
        preds.append(pred)
        targets.append(target)
    return preds, targets


def coco_stats(preds, targets, iou_type):
    """The same through pycocotools."""
    mask = pytest.importorskip("pycocotools.mask")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def annotation(sample, i, image):
        x0, y0, x1, y1 = sample["boxes"][i].tolist()
        segment = mask.encode(np.asfortranarray(sample["masks"][i].numpy().astype(np.uint8)))
        entry = {
            "image_id": image,
            "category_id": int(sample["labels"][i]),
            "segmentation": segment,
        }
        return entry | {"bbox": [x0, y0, x1 - x0, y1 - y0]}

    truth, guesses = [], []
    for image, (pred, target) in enumerate(zip(preds, targets, strict=True), 1):
        for i in range(len(target["labels"])):
            extra = {"id": len(truth) + 1, "iscrowd": int(target["iscrowd"][i])}
            extra["area"] = float(target["area"][i])
            truth.append(annotation(target, i, image) | extra)
        for i in range(len(pred["labels"])):
            entry = annotation(pred, i, image) | {"score": float(pred["scores"][i])}
            if iou_type == "segm":
                del entry["bbox"]
            guesses.append(entry)
    coco = COCO()
    h, w = preds[0]["masks"].shape[1:]
    coco.dataset = {
        "info": {},
        "images": [{"id": i + 1, "height": h, "width": w} for i in range(len(preds))],
        "categories": [{"id": c} for c in range(1, 6)],
        "annotations": truth,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(guesses), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


@pytest.mark.oracle
@pytest.mark.parametrize("iou_type", ["segm", "bbox"])
@pytest.mark.parametrize("seed", range(6))
def test_twelve_numbers_equal_pycocotools_to_the_last_bit(seed, iou_type):
    """Ties, crowds, areas at the limits, more than 100 detections, images without any."""
    preds, targets = random_data(seed)
    metric = AveragePrecision(iou_type)
    metric.update(preds, targets)
    got = metric.compute()
    expected = coco_stats(preds, targets, iou_type)
    assert [-1.0 if math.isnan(got[k]) else got[k] for k in TWELVE] == expected
    assert 0.005 < got["AP"] < 0.95
    if iou_type == "segm":
        metric = AveragePrecision()
        metric.update(*(encoded(samples) for samples in (preds, targets)))
        again = metric.compute()
        assert [again[k] for k in TWELVE] == [got[k] for k in TWELVE]


def encoded(samples):
    """Run lengths in place of masks, compressed and not by turns."""
    return [
        s
        | {"masks": [rle.encode(m, compress=i % 2 == 0) for i, m in enumerate(s["masks"].numpy())]}
        for s in samples
    ]


def test_batches_and_merge_do_not_matter():
    preds, targets = random_data(0)
    whole, a, b = AveragePrecision(), AveragePrecision(), AveragePrecision()
    whole.update(preds, targets)
    a.update(preds[:2], targets[:2])
    b.update(preds[2:3], targets[2:3])
    b.update(preds[3:], targets[3:])
    a.merge(b)
    assert [a.compute()[k] for k in TWELVE] == [whole.compute()[k] for k in TWELVE]
    a.reset()
    assert math.isnan(a.compute()["AP"])
    with pytest.raises(ValueError, match="same settings"):
        a.merge(AveragePrecision("bbox"))


def test_classes_and_images_have_no_order():
    preds, targets = random_data(3)
    for p in preds:  # no ties, as they are broken by the order of the images
        p["scores"] = torch.rand(len(p["scores"]), generator=torch.Generator().manual_seed(len(p)))
        p["scores"] = p["scores"].double() + torch.rand(len(p["scores"]))
    whole, other = AveragePrecision(), AveragePrecision()
    whole.update(preds, targets)
    new = torch.tensor([0, 30, 20, 10])
    for samples in (preds, targets):
        samples.reverse()
        for s in samples:
            s["labels"] = new[s["labels"]]
    other.update(preds, targets)
    for key in TWELVE:
        assert other.compute()[key] == pytest.approx(whole.compute()[key], abs=1e-12, nan_ok=True)


def test_perfect_is_one_and_rle_and_probabilities_are_masks_too():
    _, targets = random_data(2)
    for t in targets:
        t["iscrowd"][:] = False
        # identical masks of one class would compete; make every one its own class
        t["labels"] = torch.arange(len(t["labels"]))
    preds = [t | {"scores": torch.ones(len(t["labels"]))} for t in targets]
    as_probability = [p | {"masks": 0.3 + 0.4 * p["masks"][:, None].float()} for p in preds]
    for samples in (preds, encoded(preds), as_probability):
        metric = AveragePrecision()
        metric.update(samples, targets)
        assert metric.compute()["AP"] == pytest.approx(1)


@needs("coco_eval_fake100")
@pytest.mark.parametrize("iou_type", ["segm", "bbox"])
def test_known_answer_of_the_coco_fake_results(iou_type):
    root = REAL / "coco_eval_fake100"
    mask = pytest.importorskip("pycocotools.mask")  # draws the polygons as COCO does
    truth = json.loads(next((root / "annotations").glob("*.json")).read_text())
    results = json.loads(next((root / "results").glob(f"*fake{iou_type}100*.json")).read_text())
    expected = json.loads((root / "expected_ap.json").read_text())[iou_type]
    sizes = {i["id"]: (i["height"], i["width"]) for i in truth["images"]}

    def as_rle(segment, image):
        if isinstance(segment, list):
            return mask.merge(mask.frPyObjects(segment, *sizes[image]))
        return segment

    def sample(annotations, image, score):
        mine = [a for a in annotations if a["image_id"] == image]
        out = {"labels": torch.tensor([a["category_id"] for a in mine], dtype=torch.int64)}
        if iou_type == "segm":
            out["masks"] = [as_rle(a["segmentation"], image) for a in mine]
        else:
            xywh = np.array([a["bbox"] for a in mine], dtype=np.float64).reshape(-1, 4)
            out["boxes"] = torch.from_numpy(np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]))
        if score:
            out["scores"] = torch.tensor([a["score"] for a in mine], dtype=torch.float64)
        else:
            out["iscrowd"] = torch.tensor([a["iscrowd"] for a in mine])
            out["area"] = torch.tensor([a["area"] for a in mine], dtype=torch.float64)
        return out

    metric = AveragePrecision(iou_type)
    for image in sorted(sizes):
        metric.update([sample(results, image, True)], [sample(truth["annotations"], image, False)])
    got = metric.compute()
    for key, value in expected["stats"].items():
        assert got[key] == pytest.approx(value, abs=1e-12)
    for label, value in expected["AP_per_category"].items():
        assert got["per_class"][int(label)]["AP"] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        ({"scores": None}, {}, "prediction must have labels, scores, masks; .*scores.* missing"),
        ({"labels": [1, 1]}, {}, "different length"),
        ({}, {"masks": torch.zeros(1, 9, 9)}, "same size"),
        ({}, {"iscrowd": [0, 0]}, "one entry for each of the 1 targets"),
        ({"masks": torch.zeros(1, 2, 9, 9)}, {}, r"masks must be \(N, H, W\)"),
        ({"labels": [1.5]}, {}, "labels must be integers, got torch.float32"),
        ({}, {"labels": torch.ones(1)}, "labels must be integers, got torch.float32"),
        ({"scores": [float("nan")]}, {}, r"scores must be finite, got \[nan\]"),
    ],
)
def test_bad_input(pred, target, message):
    good = {"masks": torch.ones(1, 8, 8), "labels": [1], "scores": [0.5]}
    bad = {k: v for k, v in (good | pred).items() if v is not None}
    metric = AveragePrecision()
    with pytest.raises(ValueError, match=message):
        metric.update([bad], [{k: good[k] for k in ("masks", "labels")} | target])
    with pytest.raises(ValueError, match="1 predictions for 0 targets"):
        metric.update([good], [])
    with pytest.raises(ValueError, match="iou_type must be"):
        AveragePrecision("mask")
    assert math.isnan(metric.compute()["AP"])


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[0.0, 0.0, float("nan"), 4.0]], r"boxes must be finite, got \[\[0.0, 0.0, nan, 4.0\]\]"),
        ([[0.0, 0.0, float("inf"), 4.0]], "boxes must be finite"),
        ([[0.0, 0.0, 4.0]], r"boxes must be \(N, 4\), got \(1, 3\)"),
    ],
)
@pytest.mark.parametrize("side", [0, 1])
def test_bad_boxes(boxes, message, side):
    good = {"boxes": [[0.0, 0.0, 4.0, 4.0]], "labels": [1], "scores": [0.5]}
    samples = [good, good]
    samples[side] = good | {"boxes": boxes}
    with pytest.raises(ValueError, match=message):
        AveragePrecision("bbox").update(samples[:1], samples[1:])
