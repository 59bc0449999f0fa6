import torch

from segedu.models.bottom_up import center_heatmap, make_targets, merge
from segedu.models.targets import VOID
from tests.models.panoptic_samples import ONE, SKY, TWO, sample


def test_a_heat_map_is_the_larger_of_its_gaussians():
    heat = center_heatmap(torch.tensor([[5.9, 6.0], [5.0, 12.4]]), (20, 30), sigma=2.0)
    assert heat[5, 6] == heat[5, 12] == 1  # the pixel that holds the centre
    torch.testing.assert_close(heat[5, 9], torch.tensor(-9 / 8).exp())
    assert heat[5, 12 + 7] > 0
    assert heat[5, 12 + 8] == 0  # 3 sigma + 1 away it ends
    assert center_heatmap(torch.zeros(0, 2), (4, 5), 2.0).tolist() == torch.zeros(4, 5).tolist()


def test_targets_of_objects_crowds_and_void():
    target, weighting = make_targets(sample(SKY, ONE, TWO, crowd=(3,)), (2, 3), small_area=64)
    assert target.semantic[0, 0] == 0
    assert target.semantic[39, 0] == VOID
    assert target.semantic[25, 31] == 3  # a crowd teaches its class
    assert target.center.shape == (1, 40, 50)
    assert target.center[0, 27, 14] == 1
    assert target.offset[:, 24, 10].tolist() == [3, 4]
    assert weighting.offset.sum() == 63
    assert weighting.center[25, 31] == weighting.center[39, 0] == 0
    assert weighting.semantic[25, 12] == 3
    assert weighting.semantic[25, 31] == weighting.semantic[0, 0] == 1


def test_an_object_takes_the_class_of_most_of_its_pixels():
    logits = torch.zeros(4, 10, 10)
    logits[2], logits[3, :4] = 1, 2
    group = torch.zeros(10, 10, dtype=torch.int64)
    (segment,) = merge(logits, group, torch.ones(1), (2, 3))["segments_info"]
    assert segment["category_id"] == 2
    assert segment["area"] == 100
