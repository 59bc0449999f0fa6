"""The simulated user, on networks that do as they are told, or do not."""

import pytest
import torch
from torch import nn

from segedu.engine import evaluate, make_loader
from segedu.engine.interactive import clicks_to_iou
from segedu.metrics import ClickIoU
from segedu.models import get_model
from segedu.models.sam import Masks
from segedu.tasks import Promptable
from tests.toy_objects import Clicked

IMAGE = torch.zeros(3, 16, 24)
LONG = torch.zeros(16, 24, dtype=torch.bool)
LONG[8:13, 2:12] = True  # 5 x 10: two squares of 5 x 5, which is what a click of `Clicked` gives
SMALL = torch.zeros(16, 24, dtype=torch.bool)
SMALL[6:9, 6:9] = True  # 3 x 3


def test_two_clicks_by_hand():
    """The first square lies in the left half, in the middle of the other the click that ends it."""
    result = clicks_to_iou(Clicked(), IMAGE, LONG)
    assert result.count == 2 and result.reached
    assert result.ious == [0.5, 1.0]
    assert result.points.tolist() == [[4, 10], [9, 10]] and result.labels.tolist() == [1, 1]
    assert result.masks.shape == (2, 16, 24) and torch.equal(result.masks[1], LONG)
    assert clicks_to_iou(Clicked(), IMAGE, LONG, target_iou=0.5).count == 1


def test_a_negative_click_by_hand():
    """25 pixels for 9: the click on the rim takes 9 away, 4 of which were right."""
    result = clicks_to_iou(Clicked(), IMAGE, SMALL, max_clicks=2)
    assert result.count == 2 and not result.reached
    assert result.ious == [9 / 25, 5 / 20]
    assert result.points.tolist() == [[7, 7], [5, 5]] and result.labels.tolist() == [1, 0]


class Deaf(nn.Module):
    """Answers that there is nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def embed(self, images):
        return images

    def segment(self, embeddings, size, *, points, multimask, **prompts):
        logits = torch.full((1, points.shape[1], 3 if multimask else 1, *size), -1.0)
        return Masks(logits, torch.zeros(logits.shape[:3]), logits)


def test_who_is_not_heard_clicks_on_every_pixel_once_and_gives_up():
    result = clicks_to_iou(Deaf(), IMAGE, SMALL, max_clicks=20)
    assert result.count == 20 and not result.reached
    assert result.ious == [0.0] * 9 and (result.labels == 1).all()
    assert {*map(tuple, result.points.tolist())} == {(x, y) for x in (6, 7, 8) for y in (6, 7, 8)}
    assert result.points[0].tolist() == [7, 7]


def test_the_number_of_clicks_over_a_data_set_is_the_mean_of_those_of_its_objects():
    sample = {"image": IMAGE, "masks": torch.stack([LONG, SMALL])}
    sample |= {"labels": torch.ones(2).long(), "boxes": torch.zeros(2, 4)}
    task, metric = Promptable(clicks=6), ClickIoU(6, (0.3, 0.85))
    loader = make_loader([sample], 1, collate_fn=task.collate)
    scores = evaluate(Clicked(), loader, metric, task=task)
    for target, name in ((0.3, "30"), (0.85, "85")):
        alone = [clicks_to_iou(Clicked(), IMAGE, mask, target, 6) for mask in (LONG, SMALL)]
        assert scores[f"noc_{name}"] == sum(one.count for one in alone) / 2
        assert scores[f"failures_{name}"] == sum(not one.reached for one in alone) / 2
    assert scores["noc_30"] == 1


def test_a_promptable_network_of_the_package():
    torch.manual_seed(0)
    model = get_model("sam_tiny", image_size=64, layers=1).eval()
    result = clicks_to_iou(model, torch.rand(3, 48, 64), torch.ones(48, 64).bool(), 1.0, 3)
    assert len(result.ious) == len(result.points) == len(result.masks) <= 3
    assert not result.masks.requires_grad
    assert result.ious == [mask.sum().item() / mask.numel() for mask in result.masks]


def test_bad_input_is_named():
    model = Clicked()
    with pytest.raises(TypeError, match="model must be promptable, such as sam_tiny, got Conv2d"):
        clicks_to_iou(nn.Conv2d(3, 2, 1), IMAGE, LONG)
    with pytest.raises(TypeError, match="mask must be bool, got torch.float32"):
        clicks_to_iou(model, IMAGE, LONG.float())
    with pytest.raises(ValueError, match=r"mask \(H, W\), got \(3, 16, 24\) and \(24, 16\)"):
        clicks_to_iou(model, IMAGE, LONG.T)
    with pytest.raises(ValueError, match="masks must not be empty"):
        clicks_to_iou(model, IMAGE, LONG & False)
    with pytest.raises(ValueError, match=r"target_iou must be in \(0, 1\], got 85"):
        clicks_to_iou(model, IMAGE, LONG, 85)
    with pytest.raises(ValueError, match="max_clicks must be at least 1, got 0"):
        clicks_to_iou(model, IMAGE, LONG, max_clicks=0)
