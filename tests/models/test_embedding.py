import pytest
import torch
from torch import Tensor, nn

from segedu.metrics import PanopticQuality
from segedu.models.embedding import (
    EmbeddingMaps,
    EmbeddingNetwork,
    embedding_enet,
    embedding_tiny,
    mean_shift,
)
from segedu.models.panoptic_deeplab import VOID
from segedu.tasks import embedding_losses
from tests.models.overfit import Samples
from tests.models.panoptic_samples import (
    IMAGE,
    ONE,
    SKY,
    TWO,
    on_empty_cases,
    quality_by_heart,
    results_of_contract,
    sample,
    trains_the_same_again,
)


def compute_loss(model: nn.Module, samples: Samples) -> Tensor:
    return sum(embedding_losses(model, [s["image"] for s in samples], samples).values())


def small(**settings) -> EmbeddingNetwork:
    torch.manual_seed(0)
    return embedding_tiny(4, things=(2, 3), embedding_dim=2, base_width=4, **settings)


def test_clusters_that_the_loss_calls_perfect_are_found():
    generator = torch.Generator().manual_seed(0)
    means = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0], [3.0, 3.0]])
    truth = torch.arange(4).repeat_interleave(50)
    angle = torch.rand(200, generator=generator) * 6.3
    away = 0.5 * torch.stack([angle.cos(), angle.sin()], 1)  # points at δ_v from their mean
    priority = torch.rand(200, generator=generator)
    label = mean_shift(means[truth] + away, priority)
    assert label.unique().tolist() == [0, 1, 2, 3]
    assert label[priority.argmax()] == 0  # the first cluster begins where the heat is highest
    assert all(len(label[truth == k].unique()) == 1 for k in range(4))


def test_a_shifted_mean_gathers_what_the_first_point_does_not_reach():
    points = torch.tensor([[0.0], [0.8], [1.3], [9.0]])
    assert mean_shift(points, torch.tensor([1.0, 0, 0, 0]), bandwidth=1.0).tolist() == [0, 0, 0, 1]
    once = mean_shift(points, torch.tensor([1.0, 0, 0, 0]), bandwidth=1.0, iterations=1)
    assert once.tolist() == [0, 0, 1, 2]
    few = mean_shift(points, torch.tensor([0, 0, 0, 1.0]), bandwidth=1.0, min_points=2)
    assert few.tolist() == [0, 0, 0, -1]
    assert mean_shift(points[:0], torch.zeros(0)).tolist() == []


def test_a_perfect_embedding_gives_the_true_objects():
    truth = sample(SKY, ONE, TWO)
    truth["panoptic_seg"][truth["panoptic_seg"] == 0] = 4
    truth["segments_info"].append({"id": 4, "category_id": 1})
    model = small(thing_area=1).eval()
    target = model.targets([truth])
    logits = torch.nn.functional.one_hot(target.semantic.clamp(max=3), 4).permute(0, 3, 1, 2) * 20.0
    embedding = 3.0 * torch.stack([target.embedding, -target.embedding], dim=1)
    result = model.assemble(EmbeddingMaps(logits, target.center, embedding), 0, IMAGE)
    metric = PanopticQuality({0: False, 1: False, 2: True, 3: True})
    metric.update(result, truth)
    assert metric.compute()["pq"] == 1
    assert [s["score"] > 0.99 for s in result["segments_info"] if s["isthing"]] == [True, True]


def test_targets_number_the_objects_and_leave_crowds_and_void_out():
    target = small().targets([sample(SKY, ONE, TWO, crowd=(3,))])
    assert target.semantic.shape == target.embedding.shape == (1, 64, 64)  # whole strides of 32
    assert target.semantic[0, 0, 0] == 0
    assert target.semantic[0, 63, 63] == target.semantic[0, 39, 0] == VOID
    assert target.embedding.unique().tolist() == [0, 2]
    assert (target.embedding == 2).sum() == 63
    assert target.center[0, 0, 27, 14] == 1
    assert target.center[0, 0, 27, 31] < 0.1


def test_maps_in_training_and_results_in_eval_mode():
    model = small().train()
    maps = model([IMAGE, torch.rand(3, 33, 70)])
    assert [part.shape for part in maps] == [(2, 4, 64, 96), (2, 1, 64, 96), (2, 2, 64, 96)]
    assert len(results_of_contract(model.eval())) == 2


@torch.no_grad()
def test_no_things_and_nothing_at_all():
    model = small().eval()
    maps = EmbeddingMaps(
        torch.zeros(1, 4, 64, 64), torch.zeros(1, 1, 64, 64), torch.zeros(1, 2, 64, 64)
    )
    maps.semantic[:, 1] = 9
    assert [s["category_id"] for s in model.assemble(maps, 0, IMAGE)["segments_info"]] == [1]
    model.stuff_area = 10_000
    result = model.assemble(maps, 0, IMAGE)
    assert result["segments_info"] == []
    assert not result["panoptic_seg"].any()


@on_empty_cases
def test_empty_cases_train(samples):
    model = small().train()
    loss = compute_loss(model, samples)
    assert loss.isfinite()
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_same_seed_gives_the_same_training():
    assert trains_the_same_again(small, compute_loss)


def test_bad_images_samples_and_settings_are_named():
    model = small()
    with pytest.raises(TypeError, match=r"images\[0\] must be a float tensor"):
        model([IMAGE.byte()])
    with pytest.raises(ValueError, match=r"samples\[0\]\['segments_info'\] must have category_id"):
        model.targets([sample((SKY[0], 4))])
    with pytest.raises(ValueError, match="things must be in 0, ..., 3, got"):
        embedding_enet(4, things=(7,))


@pytest.mark.weekly  # a training of 130 steps; a few are in test_tasks.py
def test_the_tiny_network_learns_scenes_by_heart():
    assert quality_by_heart(embedding_tiny, 130, compute_loss) > 0.7
