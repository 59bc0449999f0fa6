import pytest
import torch

from segedu.models.mask_classification import (
    Prediction,
    Segments,
    batch_images,
    dice_loss,
    instance_inference,
    match,
    pairwise_dice_loss,
    panoptic_inference,
    segments_of,
    semantic_inference,
    set_losses,
)
from segedu.models.maskformer import (
    CRITERION,
    MaskFormer,
    focal_loss,
    from_hugging_face,
    maskformer_tiny,
    pairwise_focal_loss,
)
from tests.models.mask_scenes import THINGS, overfit, panoptic_quality, scenes

SMALL = {
    "base_width": 8,
    "layers": (1, 1, 1, 1),
    "width": 32,
    "heads": 4,
    "ffn_width": 32,
    "num_queries": 6,
    "num_layers": 2,
}


def small(num_classes: int = 4, **settings) -> MaskFormer:
    torch.manual_seed(0)
    return MaskFormer(num_classes, **SMALL | settings)


def two_images() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=generator) for size in ((64, 80), (50, 33))]


def two_targets() -> list[dict]:
    """One object in the first image, none in the second."""
    masks = torch.zeros(1, 64, 80, dtype=torch.bool)
    masks[0, 10:30, 20:50] = True
    none = torch.zeros(0, 50, 33, dtype=torch.bool)
    return [
        {"masks": masks, "labels": torch.tensor([2])},
        {"masks": none, "labels": torch.zeros(0, dtype=torch.int64)},
    ]


def decided(labels: list[int], rectangles: list[tuple], num_classes: int = 4, size=(8, 12)):
    """Logits of queries that are sure of a class and of a rectangle (top, left, bottom, right)."""
    classes = torch.full((len(labels), num_classes + 1), -10.0)
    masks = torch.full((len(labels), *size), -10.0)
    for q, (label, (top, left, bottom, right)) in enumerate(zip(labels, rectangles, strict=True)):
        classes[q, label] = 10.0
        masks[q, top:bottom, left:right] = 10.0
    return classes, masks


def test_parameters_are_the_references():
    with torch.device("meta"):
        model = MaskFormer(150)
    assert sum(p.numel() for p in model.parameters()) == 41_307_863


@pytest.mark.parametrize("task", ["semantic", "instance", "panoptic"])
@torch.no_grad()
def test_results_have_the_size_of_each_image(task):
    model = small(task=task).eval()
    for image, result in zip(two_images(), model(two_images()), strict=True):
        size = image.shape[1:]
        if task == "semantic":
            assert result["scores"].shape == (4, *size)
        elif task == "instance":
            count = len(result["labels"])
            assert result["masks"].shape == (count, *size)
            assert result["boxes"].shape == (count, 4)
            assert (result["scores"].diff() <= 0).all()
        else:
            assert result["panoptic_seg"].shape == size
            assert result["panoptic_seg"].dtype == torch.int32


def test_training_gives_losses_of_every_layer_and_a_gradient_to_every_parameter():
    model = small().train()
    losses = model(two_images(), two_targets())
    names = {"loss_class", "loss_mask", "loss_dice"}
    assert losses.keys() == names | {f"{name}_0" for name in names}
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_bfloat16_autocast_trains():
    model = small().train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(model(two_images(), two_targets()).values())
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_images_without_objects_train():
    model = small().train()
    losses = model(two_images()[1:] * 2, two_targets()[1:] * 2)
    assert losses["loss_mask"] == losses["loss_dice"] == 0
    assert losses["loss_class"] > 0
    sum(losses.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_more_objects_than_queries_use_all_queries():
    model = small(num_queries=2).train()
    target = {"masks": torch.eye(3)[:, :, None].repeat(1, 1, 3), "labels": torch.tensor([0, 1, 2])}
    losses = model([torch.rand(3, 3, 3)] * 2, [target] * 2)
    assert all(value.isfinite() for value in losses.values())


def test_the_same_seed_gives_the_same_training():
    def train() -> list[torch.Tensor]:
        model = small()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(2):
            optimizer.zero_grad()
            sum(model.train()(two_images(), two_targets()).values()).backward()
            optimizer.step()
        return list(model.parameters())

    assert all(torch.equal(a, b) for a, b in zip(train(), train(), strict=True))


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


def test_bad_images_and_a_wrong_number_of_targets_are_refused():
    model = small()
    with pytest.raises(TypeError, match=r"images\[0\] must be a float tensor.*got torch.uint8"):
        model([torch.zeros(3, 4, 4, dtype=torch.uint8)])
    with pytest.raises(ValueError, match=r"images\[0\] must be \(3, H, W\), got \(1, 4, 4\)"):
        model([torch.zeros(1, 4, 4)])
    with pytest.raises(ValueError, match="images must not be empty"):
        model([])
    for targets in (None, two_targets()[:1]):
        with pytest.raises(ValueError, match="targets"):
            model.train()(two_images(), targets)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "depth"}, "task must be one of .*, got 'depth'"),
        ({"width": 48}, "width must be a multiple of 32"),
        ({"heads": 5}, "heads must divide the 32 channels, got 5"),
        ({"things": {4}}, r"things must be in 0, ..., 3, got \[4\]"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings)


def test_images_are_normalised_and_padded_with_the_mean():
    batch = batch_images([torch.full((3, 40, 20), 0.5), torch.zeros(3, 33, 64)])
    assert batch.shape == (2, 3, 64, 64)
    assert batch[0, 0, 0, 0] == pytest.approx((0.5 - 0.485) / 0.229)
    assert not batch[0, :, 40:].any()
    assert not batch[0, :, :, 20:].any()


def test_pairwise_losses_are_the_losses_of_all_pairs():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 50, generator=generator)
    masks = (torch.rand(3, 50, generator=generator) > 0.5).float()
    for pairwise, single in (
        (pairwise_focal_loss(logits, masks), focal_loss),
        (pairwise_dice_loss(logits, masks), dice_loss),
    ):
        for q in range(4):
            expected = single(logits[q].expand(3, -1), masks)
            assert torch.allclose(pairwise[q], expected, atol=1e-6)


def test_every_segment_gets_the_query_that_shows_it():
    classes, masks = decided([0, 1, 2], [(0, 0, 4, 4), (4, 4, 8, 8), (0, 8, 4, 12)])
    wanted = Segments(torch.tensor([2, 0]), (masks[[2, 0]] > 0).float())
    queries, segments = match(CRITERION, classes, masks, wanted)
    assert queries.tolist() == [0, 2]
    assert segments.tolist() == [1, 0]


def test_a_perfect_prediction_costs_nothing_and_a_class_mistake_does():
    classes, masks = decided([0, 4], [(0, 0, 4, 4), (0, 0, 0, 0)])
    wanted = [Segments(torch.tensor([0]), (masks[:1] > 0).float())]
    right = set_losses(CRITERION, Prediction(classes[None], masks[None]), wanted)
    assert sum(right.values()) < 1e-3
    wanted = [Segments(torch.tensor([1]), wanted[0].masks)]
    wrong = set_losses(CRITERION, Prediction(classes[None], masks[None]), wanted)
    assert wrong["loss_class"] > 10


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


def test_published_names_become_ours():
    decoder = "model.transformer_module.decoder.layers.3."
    published = {
        decoder + "encoder_attn.out_proj.weight": (
            "transformer.layers.3.cross_attention.out.weight"
        ),
        decoder + "fc2.bias": "transformer.layers.3.ffn.2.bias",
        decoder + "self_attn_layer_norm.weight": "transformer.layers.3.self_norm.weight",
    }
    for name, ours in published.items():
        assert list(from_hugging_face({name: torch.zeros(1)})) == [ours]


@pytest.mark.slow  # 80 steps of training
def test_learns_two_scenes():
    images, targets = scenes(2)
    torch.manual_seed(0)
    model = maskformer_tiny(12, things=THINGS)
    overfit(model, images, targets, steps=80)
    assert panoptic_quality(model, images, targets) > 0.7
