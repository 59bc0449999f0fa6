import math

import pytest
import torch

from segedu.losses import BoundaryLoss, HausdorffDTLoss
from segedu.losses.boundary import boundary_distance, signed_distance


def test_signed_distance_by_hand():
    mask = torch.tensor([[[[0, 0, 1, 1, 1, 0]]]], dtype=torch.bool)
    assert signed_distance(mask).flatten().tolist() == [2, 1, 0, -1, 0, 1]
    assert boundary_distance(mask).flatten().tolist() == [2, 1, 1, 2, 1, 1]


@pytest.mark.parametrize("field", [signed_distance, boundary_distance])
@pytest.mark.parametrize("value", [True, False])
def test_no_boundary_no_distance(field, value):
    assert (field(torch.full((1, 2, 4, 5), value)) == 0).all()


def test_distance_is_not_that_of_the_slices():
    volume = torch.zeros(1, 1, 5, 5, 5, dtype=torch.bool)
    volume[0, 0, 0, 0, 0] = True
    assert signed_distance(volume)[0, 0, 4, 4, 4] == pytest.approx(4 * math.sqrt(3))


def test_farther_mistakes_cost_more():
    target = torch.zeros(1, 9, 9, dtype=torch.int64)
    target[0, 3:6, 3:6] = 1
    for loss in (BoundaryLoss(), HausdorffDTLoss()):
        costs = []
        for column in (6, 7, 8):
            logits = torch.full((1, 2, 9, 9), 0.0)
            logits[:, 1] = torch.where(target == 1, 9.0, -9.0)
            logits[:, 1, 4, column] = 9.0
            costs.append(loss(logits, target).item())
        assert costs[0] < costs[1] < costs[2]


def test_background_counts_on_request_and_one_class_is_too_few():
    logits, target = torch.randn(1, 2, 6, 6), torch.zeros(1, 6, 6, dtype=torch.int64)
    target[0, 2:4, 2:4] = 1
    assert HausdorffDTLoss(reduction="none")(logits, target).shape == (1, 1, 6, 6)
    assert HausdorffDTLoss(include_background=True, reduction="none")(logits, target).shape[1] == 2
    with pytest.raises(ValueError, match="more than 1 class"):
        BoundaryLoss()(logits[:, :1], target * 0)
    with pytest.raises(ValueError, match="alpha must be > 0"):
        HausdorffDTLoss(alpha=0.0)
