"""The user of `benchmarks/clicks.py`, and the two answers that were not learnt, by hand."""

import sys

import pytest
import torch

from benchmarks import clicks
from segedu.engine.interactive import rounds

MAP = torch.tensor([[1, 1, 0, 2, 2], [1, 1, 0, 2, 2], [0, 0, 0, 2, 2], [2, 2, 0, 2, 2]]).float()


def region(points, labels, tolerance=0.0):
    found = clicks.region_of(MAP[None], torch.tensor(points), torch.tensor(labels), tolerance)
    return found.int().tolist()


def test_a_click_stands_for_the_connected_region_around_it():
    alone = [[0, 0, 0, 1, 1]] * 4  # the two below on the left are alike, but not connected
    assert region([(3, 1)], [1]) == alone
    assert region([(3, 1)], [0]) == region([(3, 1)], [-1]) == [[0] * 5] * 4
    assert region([(3, 1), (0, 3)], [1, 1]) == [*alone[:3], [1, 1, 0, 1, 1]]
    assert region([(0, 0)], [1], tolerance=2.0) == [[1] * 5] * 4


def test_of_several_clicks_the_nearest_decides():
    upper = [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0] * 5, [0] * 5]
    assert region([(3, 0), (3, 3)], [1, 0]) == upper
    assert region([(3, 3), (3, 0)], [0, 1]) == upper


def test_the_distance_of_colours_is_euclidean():
    colours = torch.zeros(3, 1, 3)
    colours[:, 0, 1], colours[0, 0, 2] = 0.1, 0.3  # 0.17 from the first; 0.245 from the second
    found = [
        clicks.region_of(colours, torch.tensor([(0, 0)]), torch.tensor([1]), tolerance)
        for tolerance in (0.17, 0.18, 0.25)
    ]
    assert [int(mask.sum()) for mask in found] == [1, 2, 2]


def test_a_click_on_the_neighbour_parts_two_objects_that_touch():
    image = torch.zeros(3, 8, 12)
    image[:, 2:6, 1:11] = 1.0  # two objects of one colour, side by side
    masks = torch.zeros(2, 8, 12, dtype=torch.bool)
    masks[0, 2:6, 1:6], masks[1, 2:6, 6:11] = True, True
    model = clicks.Regions(0.1)
    turns = list(rounds(model, model.embed(image[None]), masks, 2))
    ious = [clicks.iou(turn.found[:, None], masks)[:, 0].tolist() for turn in turns]
    assert ious[0] == [0.5, 0.5]  # both objects for one
    assert turns[1].labels.tolist() == [[1, 0], [1, 0]]  # the second click lies on the neighbour
    # half-way between the clicks: a column too few of the first, one too many of the second
    assert ious[1] == pytest.approx([16 / 20, 20 / 24])
    assert len(model.known) == 2  # the second click on one object is the first on the other
    model.embed(image[None])
    assert not model.known


def test_the_points_of_a_scribble_lie_on_the_object():
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[4:16, 10:14] = True
    points = clicks.points_of_scribble(mask, 4, seed=0).long()
    assert mask[points[:, 1], points[:, 0]].all()
    assert points[:, 1].tolist() == sorted(points[:, 1].tolist()) and len(set(points[:, 1])) == 4
    mask[:] = False
    mask[3, 5] = True
    assert clicks.points_of_scribble(mask, 3, seed=0).tolist() == [[5, 3]] * 3


def test_small_objects_are_not_asked_for_and_every_object_is_in_one_group():
    budget = clicks.Budget(scenes=1, clicks=2, smallest=16)
    (sample,) = clicks.of_seed(101, 0, 1, 64)
    masks = clicks.wanted(sample, 16)
    assert 0 < len(masks) < len(sample["masks"])
    found = clicks.by_clicks(clicks.Regions(0.1), [sample], budget)
    assert found["objects"] == len(masks)
    assert sum(group["objects"] for group in found["areas"].values()) == len(masks)
    small = masks[masks.flatten(1).sum(1) < 64]
    assert found["areas"]["16"]["objects"] == len(small)
    mean = sum(g["objects"] * g["iou"][1] for g in found["areas"].values() if g["objects"])
    assert mean / len(masks) == pytest.approx(found["iou"][1], abs=1e-4)


def test_the_masks_that_are_picked():
    masks = torch.eye(3).bool()[None, :, None]  # (1, 3, 1, 3)
    assert clicks.picked(masks, torch.tensor([[0.1, 0.9, 0.3]])).tolist() == [
        [[False, True, False]]
    ]
    wanted = torch.tensor([[[True, True, False]]])
    assert clicks.iou(masks, wanted).tolist() == [[0.5, 0.5, 0.0]]


def test_quick_asks_untrained_networks_and_writes_no_file(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["clicks.py", "--quick"])
    monkeypatch.setattr(clicks, "TOLERANCES", (0.1,))
    monkeypatch.setattr(clicks, "write_json", lambda *_: pytest.fail("a file was written"))
    clicks.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("101 {'click': 0.")
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "promptable",
        "classes",
        "colours",
    ]
