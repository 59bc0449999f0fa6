"""Agreement, suspects, near copies and slices, each against a count by hand or a planted fault."""

import math

import pytest
import torch
import torch.nn.functional as F

from segedu.clinic.audit import agreement, by_slice, near_copies, suspects
from segedu.data import scenes


def test_kappa_is_that_of_a_table_by_hand():
    # 50 pixels: both say 1 in 20, both 0 in 15; 5 and 10 differ (p = 0.7, e = 0.5).
    first = torch.tensor([1] * 25 + [0] * 25).view(5, 10)
    second = torch.tensor([1] * 20 + [0] * 5 + [1] * 10 + [0] * 15).view(5, 10)
    found = agreement([(first, second)], 2, draws=0)
    assert found["kappa"] == pytest.approx(0.4)
    assert found["mean_iou"] == pytest.approx((20 / 35 + 15 / 30) / 2)
    mirrored = agreement([(second, first)], 2, draws=0)
    assert (mirrored["kappa"], mirrored["mean_iou"]) == (found["kappa"], found["mean_iou"])


def test_chance_has_a_kappa_of_zero_though_most_pixels_agree():
    draw = torch.Generator().manual_seed(0)
    pairs = [torch.rand(2, 64, 64, generator=draw).lt(0.1).long().unbind() for _ in range(8)]
    found = agreement(pairs, 2)
    low, high = found["intervals"]["kappa"]
    assert found["pixel_accuracy"] > 0.8 and abs(found["kappa"]) < 0.02 and low < 0 < high


def test_what_either_annotator_ignores_is_left_out():
    first, second = torch.tensor([[0, 1, 255, 1]]), torch.tensor([[0, 1, 1, 255]])
    found = agreement([(first, second)], 2, draws=0)
    assert found["kappa"] == 1 and found["confusion_matrix"].sum() == 2
    assert math.isnan(agreement([(first[:, :1], second[:, :1])], 2, draws=0)["kappa"])


def test_annotators_of_other_pixels_are_refused():
    with pytest.raises(ValueError, match="one image or more"):
        agreement([], 2)
    with pytest.raises(ValueError, match=r"same pixels, got \(2, 2\) and \(2, 3\)"):
        agreement([(torch.zeros(2, 2).long(), torch.zeros(2, 3).long())], 2)


def test_a_planted_label_is_the_first_suspect():
    truth = torch.zeros(3, 8, 8, dtype=torch.long)
    truth[:, 2:5, 2:5] = 1
    chances = 0.1 + 0.7 * F.one_hot(truth, 3).movedim(-1, 1)
    truth[1][truth[1] == 1] = 2  # the mistake
    truth[2, 0] = 255
    first, second, *rest = suspects(chances, truth)
    assert (first.image, first.label, first.rather, first.pixels) == (1, 2, 1, 9)
    assert first.margin == pytest.approx(0.7) and second.margin == pytest.approx(-0.7)
    assert len(rest) == 4 and all(found.label != 255 for found in rest)
    assert not suspects(chances, truth, smallest=65)
    with pytest.raises(ValueError, match=r"image 0: .* got \(3, 8, 8\) and \(4, 8\)"):
        suspects(chances, truth[:, :4])


def test_copies_that_no_pixel_gives_away_are_found_across_splits():
    images = [sample["image"] for sample in scenes.SceneDataset(24, scenes.SceneConfig(64), seed=3)]
    smaller = F.interpolate(images[5][None].float(), (48, 40), mode="area")[0]
    brighter = (images[9].float() * 0.8 + 40).round()
    found = near_copies({"train": images[:12], "val": [*images[12:], smaller], "test": [brighter]})
    pairs = {(pair.split, pair.image, pair.other_split, pair.other_image) for pair in found}
    assert pairs == {("train", 5, "val", 12), ("train", 9, "test", 0)}
    assert found[0].bits <= found[1].bits
    twice = near_copies({"train": [images[0], images[1], images[0]], "val": []})
    assert twice == [("train", 0, "train", 2, 0)]


def test_the_worst_slice_stands_first_with_an_interval():
    scores = [0.9, 0.8, 0.85, 0.3, 0.4, 0.5, math.nan]
    rows = by_slice(scores, ["day"] * 3 + ["night"] * 2 + ["fog"] + ["night"])
    assert [(row["slice"], row["images"]) for row in rows] == [("night", 2), ("fog", 1), ("day", 3)]
    night, fog, day = rows
    assert night["mean"] == pytest.approx(0.35) and (night["low"], night["high"]) == (0.3, 0.4)
    assert math.isnan(fog["low"]) and day["low"] < day["mean"] < day["high"]
    assert rows[:1] == by_slice(scores, ["day"] * 3 + ["night"] * 2 + ["fog"] + ["night"])[:1]
    with pytest.raises(ValueError, match="2 scores, 1 groups"):
        by_slice([0.1, 0.2], ["day"])
