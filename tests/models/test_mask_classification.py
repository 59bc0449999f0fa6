import pytest
import torch

from segedu.models.mask_classification import Prediction, Segments, match, segments_of, set_losses
from segedu.models.maskformer import CRITERION
from tests.models.mask_scenes import decided


def test_samples_of_all_tasks_become_the_same_segments():
    image = torch.zeros(3, 2, 3)
    panoptic = torch.tensor([[1, 1, 0], [2, 2, 2]])
    info = [{"id": 1, "category_id": 3}, {"id": 2, "category_id": 0}]
    from_panoptic = segments_of({"panoptic_seg": panoptic, "segments_info": info}, 4, image)
    assert from_panoptic.labels.tolist() == [3, 0]
    assert torch.equal(from_panoptic.masks[0], (panoptic == 1).float())
    from_semantic = segments_of({"mask": torch.tensor([[3, 3, 255], [0, 0, 0]])}, 4, image)
    assert from_semantic.labels.tolist() == [0, 3]
    assert torch.equal(from_semantic.masks.flip(0), from_panoptic.masks)
    masks = torch.stack([panoptic == 1, panoptic == 2])
    from_instance = segments_of({"masks": masks, "labels": torch.tensor([3, 0])}, 4, image)
    assert torch.equal(from_instance.masks, from_panoptic.masks)
    info[0]["iscrowd"] = 1
    left = segments_of({"panoptic_seg": panoptic, "segments_info": info}, 4, image)
    assert left.labels.tolist() == [0]


def test_a_target_without_a_segment_is_no_error():
    empty = {"panoptic_seg": torch.zeros(2, 3, dtype=torch.int32), "segments_info": []}
    for target in (empty, {"mask": torch.full((2, 3), 255)}):
        assert segments_of(target, 4, torch.zeros(3, 2, 3)).masks.shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"boxes": torch.zeros(1, 4)}, r"must have masks and labels.*got \['boxes'\]"),
        ({"mask": torch.zeros(5, 3)}, r"need masks of shape \(1, 2, 3\), got \(1, 5, 3\)"),
        ({"mask": torch.full((2, 3), 9)}, r"labels must be 0 to 3, got \[9\]"),
        ({"masks": torch.zeros(2, 2, 3), "labels": torch.zeros(1)}, "1 labels"),
    ],
)
def test_bad_targets_are_refused(target, message):
    with pytest.raises(ValueError, match=message):
        segments_of(target, 4, torch.zeros(3, 2, 3))


def test_every_segment_gets_the_query_that_shows_it():
    classes, masks = decided([0, 1, 2], [(0, 0, 4, 4), (4, 4, 8, 8), (0, 8, 4, 12)])
    wanted = Segments(torch.tensor([2, 0]), (masks[[2, 0]] > 0).float())
    queries, segments = match(CRITERION, classes, masks, wanted)
    assert queries.tolist() == [0, 2]
    assert segments.tolist() == [1, 0]


def test_a_perfect_prediction_costs_nothing_and_a_class_mistake_does():
    classes, masks = decided([0, 4], [(0, 0, 4, 4), (0, 0, 0, 0)])
    wanted = [Segments(torch.tensor([0]), (masks[:1] > 0).float())]
    right = set_losses(CRITERION, Prediction(classes[None], masks[None]), wanted, 1)
    assert sum(right.values()) < 1e-3
    wanted = [Segments(torch.tensor([1]), wanted[0].masks)]
    wrong = set_losses(CRITERION, Prediction(classes[None], masks[None]), wanted, 1)
    assert wrong["loss_class"] > 10
