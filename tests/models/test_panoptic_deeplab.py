import pytest
import torch

from segedu.metrics import PanopticQuality
from segedu.models.bottom_up import Maps, Weighting, make_targets, merge
from segedu.models.panoptic_deeplab import (
    VOID,
    PanopticDeepLab,
    find_centers,
    from_reference,
    group_objects,
    panoptic_deeplab_tiny,
    panoptic_losses,
)
from tests.models.overfit import summed
from tests.models.panoptic_samples import (
    IMAGE,
    ONE,
    PIXEL,
    SKY,
    TWO,
    on_empty_cases,
    quality_by_heart,
    results_of_contract,
    sample,
    trains_the_same_again,
)


def small(num_classes: int = 4, **settings) -> PanopticDeepLab:
    torch.manual_seed(0)
    settings = {"things": (2, 3), "base_width": 8, "layers": (1, 1, 1, 1)} | settings
    return PanopticDeepLab(num_classes, **settings)


def test_true_maps_give_the_true_result_whatever_the_void():
    truth = sample(SKY, ONE, TWO, PIXEL)
    target, _ = make_targets(truth, (2, 3), sigma=2.0)
    classes = target.semantic.where(target.semantic != VOID, 1)
    logits = torch.nn.functional.one_hot(classes, 4).permute(2, 0, 1) * 20.0
    group, heat = group_objects(classes, target.center[0], target.offset, (2, 3), nms_kernel=3)
    result = merge(logits, group, heat, (2, 3), stuff_area=10)
    metric = PanopticQuality({0: False, 1: False, 2: True, 3: True})
    metric.update(result, truth)
    assert metric.compute()["pq"] == 1
    scores = [s["score"] for s in result["segments_info"] if s["isthing"]]
    assert len(scores) == 3
    assert min(scores) > 0.99


def test_small_stuff_and_things_without_a_centre_are_void():
    logits = torch.zeros(4, 20, 20)
    logits[0], logits[1, :3, :3], logits[2, 10:] = 1, 2, 3
    classes = logits.argmax(0)
    group, heat = group_objects(classes, torch.zeros(20, 20), torch.zeros(2, 20, 20), (2, 3))
    result = merge(logits, group, heat, (2, 3), stuff_area=10)
    assert [s["category_id"] for s in result["segments_info"]] == [0]
    assert (result["panoptic_seg"] == 0).sum() == 9 + 200
    everything = merge(logits, group, heat, (2, 3), stuff_area=500)
    assert everything["segments_info"] == []


def test_as_many_centres_as_allowed_are_all_kept():
    heat = torch.zeros(30, 30)
    heat[5, 5], heat[5, 20], heat[20, 5], heat[20, 20] = 0.9, 0.5, 0.7, 0.05
    assert find_centers(heat).tolist() == [[5, 5], [20, 5], [5, 20]]
    assert find_centers(heat, top_k=3).tolist() == [[5, 5], [20, 5], [5, 20]]
    assert find_centers(heat, top_k=1).tolist() == [[5, 5]]
    heat[5, 8] = 0.8  # within the window of a higher one
    assert [5, 8] not in find_centers(heat).tolist()


def test_the_authors_names_are_ours():
    pairs = {
        "backbone.layer1.0.bn1.bias": "backbone.layer1.0.bn1.bias",
        "decoder.semantic_decoder.aspp.convs.0.1.bias": "semantic_decoder.aspp.convs.0.1.bias",
        "decoder.instance_decoder.aspp.convs.4.aspp_pooling.1.weight": (
            "instance_decoder.aspp.convs.4.1.weight"
        ),
        "decoder.semantic_decoder.project.2.1.bias": "semantic_decoder.project.2.1.bias",
        "decoder.semantic_decoder.fuse.1.0.0.0.weight": "semantic_decoder.fuse.1.0.weight",
        "decoder.instance_decoder.fuse.0.0.1.weight": "instance_decoder.fuse.0.3.weight",
        "decoder.instance_decoder.fuse.2.0.2.bias": "instance_decoder.fuse.2.4.bias",
        "decoder.semantic_head.classifier.semantic.0.0.0.1.bias": "semantic_head.0.1.bias",
        "decoder.instance_head.classifier.center.0.0.1.weight": "center_head.0.3.weight",
        "decoder.instance_head.classifier.offset.1.bias": "offset_head.1.bias",
    }
    assert [*from_reference(pairs)] == [*pairs.values()]
    assert {*pairs.values()} <= {*small().state_dict()}


def test_offsets_are_pixels_of_the_image():
    model = small().eval()
    with torch.no_grad():
        model.offset_head[1].weight.zero_()
        model.offset_head[1].bias.copy_(torch.tensor([1.0, -2.0]))
        offset = model.network(torch.zeros(1, 3, 65, 97)).offset
    torch.testing.assert_close(offset[0, :, 30, 40], torch.tensor([4.0, -8.0]))


def test_results_follow_the_contract():
    results = results_of_contract(small(stuff_area=1, center_threshold=-1.0).eval())
    segments = [segment for result in results for segment in result["segments_info"]]
    assert segments
    assert all(s["isthing"] == (s["category_id"] in (2, 3)) for s in segments)


@on_empty_cases
def test_empty_cases_train(samples):
    model = small().train()
    losses = model([IMAGE, IMAGE], samples)
    assert [*losses] == ["loss_semantic", "loss_center", "loss_offset"]
    assert all(loss.isfinite() and loss.ndim == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_losses_of_perfect_maps_are_zero_and_of_void_too():
    target, weighting = make_targets(sample(SKY, ONE), (2, 3))
    classes = target.semantic.where(target.semantic != VOID, 1)
    logits = torch.nn.functional.one_hot(classes, 4).permute(2, 0, 1) * 50.0
    batch = [Maps(logits[None], target.center[None], target.offset[None])]
    batch += [kind(*(x[None] for x in y)) for kind, y in ((Maps, target), (Weighting, weighting))]
    assert sum(panoptic_losses(*batch).values()) < 1e-6
    batch[0].offset[:] = torch.where(batch[2].offset[:, None] > 0, batch[0].offset, torch.inf)
    assert sum(panoptic_losses(*batch).values()) < 1e-6  # where no object is, nothing counts


def test_the_same_seed_gives_the_same_training():
    assert trains_the_same_again(small, summed)


def test_bad_targets_and_settings_are_named():
    model = small().train()
    with pytest.raises(ValueError, match="targets must be given in training"):
        model([IMAGE])
    with pytest.raises(ValueError, match="got 2 targets for 1 images"):
        model([IMAGE], [sample(), sample()])
    with pytest.raises(ValueError, match=r"targets\[0\] must have .*panoptic_seg"):
        model([IMAGE], [{"masks": 1}])
    with pytest.raises(ValueError, match="must have category_id in 0, ..., 3, got 4"):
        model([IMAGE], [sample((SKY[0], 4))])
    with pytest.raises(ValueError, match="must have different ids"):
        bad = sample(SKY)
        model([IMAGE], [bad | {"segments_info": bad["segments_info"] * 2}])
    with pytest.raises(ValueError, match="must be integer"):
        model([IMAGE], [sample() | {"panoptic_seg": torch.zeros(3, 3)}])
    with pytest.raises(ValueError, match="things must be in 0, ..., 3, got"):
        small(things=(4,))


@pytest.mark.weekly  # a training of 100 steps; a few are in test_tasks.py
def test_the_tiny_network_learns_scenes_by_heart():
    assert quality_by_heart(panoptic_deeplab_tiny, 100, summed) > 0.7
