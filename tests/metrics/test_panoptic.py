import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segedu.metrics import PanopticQuality
from tests.real_data import REAL, needs

GOLDEN = Path(__file__).parent / "golden"
THINGS_AND_STUFF = {1: True, 2: True, 5: False}


def sample(ids, categories, **extra):
    """A panoptic sample from a nested list of ids and a dict id -> category."""
    info = [{"id": i, "category_id": c} | extra.get(f"s{i}", {}) for i, c in categories.items()]
    return {"panoptic_seg": torch.tensor(ids), "segments_info": info}


def golden():
    maps = np.load(GOLDEN / "panoptic.npz")
    text = json.loads((GOLDEN / "panoptic.json").read_text())
    pairs = [
        (
            {"panoptic_seg": pred.astype(np.int32), "segments_info": p_info},
            {"panoptic_seg": target.astype(np.int32), "segments_info": t_info},
        )
        for pred, target, (t_info, p_info) in zip(
            maps["pred"], maps["target"], text["segments"], strict=True
        )
    ]
    categories = {int(c): thing for c, thing in text["categories"].items()}
    return categories, pairs, text["expected"]


def test_by_hand():
    target = sample([[1, 1, 1, 2, 2, 0, 3, 3]], {1: 1, 2: 1, 3: 5})
    pred = sample([[7, 7, 8, 8, 8, 8, 9, 9]], {7: 1, 8: 1, 9: 5})
    metric = PanopticQuality(THINGS_AND_STUFF)
    metric.update(pred, target)
    got = metric.compute()
    # 7 and 1: IoU 2/3; 8 and 2: 2 of 2 + 4 - 2 - 1 void = 2/3; 9 and 3: 1
    assert got["pq_things"] == pytest.approx(2 / 3)
    assert got["pq_stuff"] == 1
    assert got["pq"] == pytest.approx((2 / 3 + 1) / 2)  # category 2 has no segment at all
    assert got["num_categories"] == 2
    absent = got["per_class"][2]
    assert all(math.isnan(absent[key]) for key in ("pq", "sq", "rq"))  # and no failure
    assert absent["tp"] == absent["fp"] == absent["fn"] == 0
    assert got["per_class"][1] == pytest.approx(
        {"pq": 2 / 3, "sq": 2 / 3, "rq": 1, "tp": 2, "fp": 0, "fn": 0}
    )


def test_equals_panopticapi_on_twenty_small_maps_with_void_and_crowd():
    """The golden numbers were computed with panopticapi (commit 7bb4655) on the stored maps."""
    categories, pairs, expected = golden()
    metric = PanopticQuality(categories)
    for pred, target in pairs:
        metric.update(pred, target)
    got = metric.compute()
    for suffix, key in (("", "all"), ("_things", "things"), ("_stuff", "stuff")):
        for name in ("pq", "sq", "rq"):
            assert got[name + suffix] == pytest.approx(expected[key][name], abs=1e-12)
    assert got["num_categories"] == expected["all"]["n"]
    for category, (tp, fp, fn) in expected["counts"].items():
        row = got["per_class"][int(category)]
        assert (row["tp"], row["fp"], row["fn"]) == (tp, fp, fn)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31))
def test_perfect_is_one_and_names_of_segments_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 4, (5, 6))
    names = {i: int(rng.integers(1, 3)) for i in np.unique(ids).tolist() if i}
    target = sample(ids.tolist(), names)
    metric = PanopticQuality(THINGS_AND_STUFF)
    metric.update(target, target)
    if names:
        assert metric.compute()["pq"] == 1
    other = PanopticQuality(THINGS_AND_STUFF)
    renamed = sample((ids * 1000).tolist(), {i * 1000: c for i, c in names.items()})
    other.update(renamed, target)
    assert other.compute()["per_class"] == metric.compute()["per_class"]


@pytest.mark.oracle
def test_equals_torchmetrics_without_crowd():
    detection = pytest.importorskip("torchmetrics.detection")
    rng = np.random.default_rng(0)
    theirs = detection.PanopticQuality(things={1, 2}, stuffs={5}, allow_unknown_preds_category=True)
    ours = PanopticQuality(THINGS_AND_STUFF)
    for _ in range(4):
        target = np.kron(rng.integers(1, 7, (3, 4)), np.ones((4, 4), np.int64))
        pred = np.roll(target, (1, 1), (0, 1))
        category = {1: 1, 2: 1, 3: 2, 4: 2, 5: 5, 6: 5}
        # to torchmetrics a segment of stuff is all pixels of its category
        target, pred = (np.where(m == 6, 5, m) for m in (target, pred))
        pair = []
        for m in (pred, target):
            pair.append(torch.from_numpy(np.stack([np.vectorize(category.get)(m), m], -1))[None])
        theirs.update(*pair)
        ours.update(
            *(
                sample(m.tolist(), {i: category[i] for i in np.unique(m).tolist()})
                for m in (pred, target)
            )
        )
    assert ours.compute()["pq"] == pytest.approx(theirs.compute().item(), abs=1e-6)


@needs("coco_panoptic_sample")
def test_known_answer_of_the_coco_sample():
    root = REAL / "coco_panoptic_sample"
    from PIL import Image

    def read(json_file, folder):
        for annotation in json.loads(json_file.read_text())["annotations"]:
            rgb = np.asarray(Image.open(folder / annotation["file_name"]), np.int64)
            ids = rgb @ [1, 256, 65536]
            yield annotation["image_id"], {"panoptic_seg": ids} | annotation

    truth = dict(
        read(root / "sample_data/panoptic_examples.json", root / "sample_data/panoptic_examples")
    )
    guess = dict(
        read(
            root / "predictions_perturbed/panoptic_pred.json",
            root / "predictions_perturbed/panoptic_pred",
        )
    )
    categories = json.loads((root / "panoptic_coco_categories.json").read_text())
    expected = json.loads((root / "expected_pq.json").read_text())
    for preds, key in ((truth, "perfect_gt_vs_gt"), (guess, None)):
        metric = PanopticQuality(categories)
        metric.update([preds[i] for i in truth], list(truth.values()))
        got = metric.compute()
        if key is None:
            assert [round(100 * got[k], 3) for k in ("pq", "sq", "rq")] == [61.272, 68.832, 68.860]
            assert round(100 * got["pq_things"], 3) == 47.987
            assert round(100 * got["pq_stuff"], 3) == 71.900
            assert got["num_categories"] == 9
        else:
            assert got["num_categories"] == expected[key]["All"]["n"] == 8
            assert got["pq"] == got["sq"] == got["rq"] == 1


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        (
            sample([[1, 2]], {1: 1}),
            sample([[1, 1]], {1: 1}),
            r"no pixels whose id is not in segments_info, got \[1\]",
        ),
        (
            sample([[1, 1]], {1: 1, 2: 1}),
            sample([[1, 1]], {1: 1}),
            r"ids without a pixel, got \[2\]",
        ),
        (sample([[1, 1]], {1: 99}), sample([[1, 1]], {1: 1}), "unknown category ids \\[99\\]"),
        (sample([[1, 1]], {1: 1}), sample([[1, 1, 1]], {1: 1}), "same shape"),
        (sample([[0, 0]], {0: 1}), sample([[0, 0]], {}), "other than void"),
        (sample([[1.0, 1.0]], {1: 1}), sample([[1, 1]], {1: 1}), "integer ids"),
        ([], [sample([[1]], {1: 1})], "0 predictions for 1 targets"),
    ],
)
def test_bad_input(pred, target, message):
    metric = PanopticQuality(THINGS_AND_STUFF)
    with pytest.raises(ValueError, match=message):
        metric.update(pred, target)
    assert metric.compute()["num_categories"] == 0
    with pytest.raises(ValueError, match="same settings"):
        metric.merge(PanopticQuality({3: True}))
