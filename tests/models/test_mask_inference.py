import pytest
import torch

from segedu.models.mask_inference import (
    instance_inference,
    panoptic_inference,
    semantic_inference,
)
from tests.models.mask_scenes import decided


def test_panoptic_merges_stuff_drops_the_hidden_and_numbers_segments_uniquely():
    # stuff 0 left and right of the thing 1; a second thing 1; query 4 lies hidden behind the first
    classes, masks = decided(
        [0, 1, 0, 1, 2],
        [(0, 0, 8, 4), (0, 4, 8, 8), (0, 8, 4, 12), (4, 8, 8, 12), (0, 4, 8, 8)],
    )
    masks[4] *= 0.5
    result = panoptic_inference(classes, masks, things={1, 2})
    info = result["segments_info"]
    assert [(s["id"], s["category_id"], s["isthing"], s["area"]) for s in info] == [
        (1, 0, False, 48),
        (2, 1, True, 32),
        (3, 1, True, 16),
    ]
    seg = result["panoptic_seg"]
    assert seg[0, 0] == seg[0, 11] == 1
    assert seg[0, 5] == 2
    assert seg[7, 11] == 3
    apart = panoptic_inference(classes, masks)["segments_info"]
    assert len(apart) == 4


def test_nothing_found_is_an_empty_result():
    classes, masks = decided([4, 4], [(0, 0, 8, 12), (0, 0, 0, 0)])  # "no object"
    result = panoptic_inference(classes, masks)
    assert result["segments_info"] == []
    assert not result["panoptic_seg"].any()
    found = instance_inference(classes, torch.full_like(masks, -1))
    assert found["masks"].shape == (0, 8, 12)
    assert found["boxes"].shape == (0, 4)


def test_instances_are_things_with_boxes_and_falling_scores():
    classes, masks = decided([0, 1, 1], [(0, 0, 8, 4), (1, 4, 7, 8), (0, 8, 4, 12)])
    found = instance_inference(classes, masks, things={1}, max_objects=3)
    assert found["labels"].tolist() == [1, 1]
    assert sorted(found["boxes"].tolist()) == [[4, 1, 8, 7], [8, 0, 12, 4]]
    assert (found["scores"] > 0.99).all()


def test_semantic_scores_add_the_votes_of_queries():
    classes, masks = decided([0, 1, 0], [(0, 0, 8, 6), (0, 6, 8, 12), (0, 0, 8, 6)])
    scores = semantic_inference(classes, masks)
    assert scores.shape == (4, 8, 12)
    assert scores[0, 0, 0] == pytest.approx(2, abs=1e-3)
    assert (scores.argmax(0)[:, 6:] == 1).all()
