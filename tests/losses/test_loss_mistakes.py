"""Mistakes that circulate in tutorials. Each test shows the wrong version failing where ours holds.

The wrong versions are rewritten here from their description, as short as they can be.
"""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segedu.losses import (
    AdaptiveFocalLoss,
    AuxiliaryLoss,
    BinaryDiceLoss,
    BinaryFocalLoss,
    CrossEntropyLoss,
    DiceLoss,
    DiscriminativeLoss,
    FocalLoss,
    GeneralizedDiceLoss,
    TverskyLoss,
    class_weights,
)
from segedu.losses.fused import plain_focal


def batch(classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 6, 7, generator=g, dtype=torch.float64)
    target = torch.randint(0, classes, (2, 6, 7), generator=g)
    return logits, target


def test_dice_multiplies_probabilities_by_class_indices():
    """Two classes swapped must only swap the losses; with indices as numbers they change."""
    logits, target = batch()

    def wrong(logits, target):
        p = logits.softmax(1).sum(1)  # a "soft index" would be as wrong
        return 1 - 2 * (p * target).sum() / (p.sum() + target.sum())

    order = torch.tensor([2, 1, 0])
    assert not torch.isclose(wrong(logits, target), wrong(logits[:, order], order[target]))
    torch.testing.assert_close(
        DiceLoss()(logits, target), DiceLoss()(logits[:, order], order[target])
    )


def test_binary_dice_with_a_softmax_over_one_channel_is_constant():
    target = torch.randint(0, 2, (1, 5, 5))
    a, b = torch.randn(1, 1, 5, 5), torch.randn(1, 1, 5, 5)
    assert torch.equal(a.softmax(1), b.softmax(1))  # always 1: no logits can change a loss of it
    a.requires_grad_()
    BinaryDiceLoss()(a, target).backward()
    assert a.grad.abs().sum() > 0
    assert not torch.isclose(BinaryDiceLoss()(a, target), BinaryDiceLoss()(b, target))


def test_dice_applies_softmax_to_probabilities_again():
    """A perfect prediction must cost nothing."""
    _, target = batch()
    perfect = 100 * F.one_hot(target, 3).movedim(-1, 1).double()
    assert DiceLoss()(perfect, target) < 1e-6
    assert DiceLoss()(perfect.softmax(1), target) > 0.3


def test_dice_counts_an_absent_class_as_a_failure_in_silence():
    logits, target = batch()
    perfect = 100 * F.one_hot(target.clamp(max=1), 3).movedim(-1, 1).double()
    assert DiceLoss()(perfect, target.clamp(max=1)) < 1e-6
    assert DiceLoss(absent="count")(perfect, target.clamp(max=1)) == pytest.approx(1 / 3)


def test_dice_pooled_over_the_batch_hides_a_small_image():
    """Ratio of sums or mean of ratios: both exist, so both have a name."""
    target = torch.zeros(2, 8, 8, dtype=torch.int64)
    target[0, :, :4] = 1  # large object, found
    target[1, 0, 0] = 1  # tiny object, missed
    logits = torch.where(target == 1, 20.0, -20.0)
    logits[1] = -20.0
    assert BinaryDiceLoss(smooth=0.0)(logits, target) < 0.02
    assert BinaryDiceLoss(smooth=0.0, per_image=True)(logits, target) == pytest.approx(
        0.5, abs=0.01
    )


def test_generalized_dice_weights_the_ratios_instead_of_the_sums():
    logits, target = batch()
    target[(target == 2) & (logits[:, 0] < 0.5)] = 0  # class 2 becomes rare
    p, g = logits.softmax(1), F.one_hot(target, 3).movedim(-1, 1)
    hit, both = (p * g).sum((0, 2, 3)), (p + g).sum((0, 2, 3))
    weight = 1 / g.sum((0, 2, 3)).double() ** 2
    wrong = 1 - (weight * 2 * hit / both).sum() / weight.sum()
    right = 1 - 2 * (weight * hit).sum() / (weight * both).sum()
    assert not torch.isclose(wrong, right, rtol=1e-3)
    torch.testing.assert_close(GeneralizedDiceLoss()(logits, target), right)


def test_generalized_dice_lets_an_absent_class_take_all_the_weight():
    """1 / (0 + 1e-5) makes the loss that of a class which is not there."""
    _, target = batch()
    target[target == 2] = 0
    almost = 5 * F.one_hot(target, 3).movedim(-1, 1).double()
    p, g = almost.softmax(1), F.one_hot(target, 3).movedim(-1, 1)
    hit, both = (p * g).sum((0, 2, 3)), (p + g).sum((0, 2, 3))
    weight = 1 / (g.sum((0, 2, 3)) + 1e-5)
    wrong = 1 - (weight * 2 * hit / both).sum() / weight.sum()
    assert wrong > 0.99
    assert GeneralizedDiceLoss()(almost, target) < 0.05


@pytest.mark.parametrize("loss", [FocalLoss(), DiceLoss(), TverskyLoss(), CrossEntropyLoss()])
def test_no_ignore_index(loss):
    """``one_hot``, ``gather`` and ``weights[target]`` all fail on a label of 255; ours must not."""
    logits, target = batch()
    target[:, 0] = 255
    with pytest.raises((IndexError, RuntimeError)):
        F.one_hot(target, 3)
    with pytest.raises((IndexError, RuntimeError)):
        torch.ones(3)[target]
    torch.testing.assert_close(loss(logits, target), loss(logits[:, :, 1:], target[:, 1:]))


def test_weighted_cross_entropy_divides_by_the_number_of_pixels():
    logits, target = batch()
    weight = torch.tensor([0.1, 1.0, 10.0], dtype=torch.float64)
    each = F.cross_entropy(logits, target, reduction="none") * weight[target]
    right = each.sum() / weight[target].sum()
    assert not torch.isclose(each.mean(), right)
    loss = CrossEntropyLoss(weight)(logits, target)
    torch.testing.assert_close(loss, right)
    # a mean does not change when all weights are doubled
    torch.testing.assert_close(CrossEntropyLoss(2 * weight)(logits, target), loss)


def test_class_weights_as_a_plain_attribute_stay_behind():
    loss = CrossEntropyLoss([1.0, 2.0, 3.0])
    assert loss.to(torch.float64).weight.dtype == torch.float64  # moved with the module
    assert "weight" in loss.state_dict()


def test_focal_alpha_is_one_number_for_all_classes():
    """A scalar factor on a softmax focal loss only rescales it; it balances nothing."""
    logits, target = batch()
    torch.testing.assert_close(
        FocalLoss(alpha=[0.25] * 3)(logits, target), 0.25 * FocalLoss()(logits, target)
    )
    balanced = FocalLoss(alpha=[0.1, 1.0, 1.0], reduction="none")(logits, target)
    plain = FocalLoss(reduction="none")(logits, target)
    torch.testing.assert_close(balanced[target == 0], 0.1 * plain[target == 0])
    torch.testing.assert_close(balanced[target != 0], plain[target != 0])


def test_detection_focal_is_a_softmax_with_one_alpha_averaged_over_everything():
    """RetinaNet's: sigmoids, α for the object and 1 − α for the rest, over the objects' number."""
    torch.manual_seed(0)
    logits = torch.randn(1, 1, 4, 4, dtype=torch.float64)
    target = torch.zeros(1, 4, 4, dtype=torch.int64)
    target[0, 0, 0] = 1  # one object among fifteen pixels of background
    q = logits[:, 0].sigmoid()
    p_t = torch.where(target == 1, q, 1 - q)
    alpha_t = torch.where(target == 1, 0.25, 0.75)
    right = (alpha_t * (1 - p_t) ** 2 * -p_t.log()).sum() / 1
    loss = BinaryFocalLoss(2.0, 0.25, "positives")(logits, target)
    torch.testing.assert_close(loss, right)
    wrong = (0.25 * (1 - p_t) ** 2 * -p_t.log()).mean()
    assert loss > 10 * wrong


def test_square_root_weights_are_called_focal():
    """Weights 1/√n have nothing to do with the focal loss; here they have their own name."""
    counts = torch.tensor([900, 100])
    root = class_weights(counts, "sqrt")
    assert (root[1] / root[0]).item() == pytest.approx(3)
    with pytest.raises(ValueError, match="strategy must be one of"):
        class_weights(counts, "focal")


def test_focal_gradient_formula():
    """dL/dp = 2 (1 − p) ln p − (1 − p)² / p, which is −3.319 at p = 0.3 (not −3.967)."""
    p = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    plain_focal(p.log(), 2.0).backward()
    assert p.grad.item() == pytest.approx(-3.319, abs=5e-4)
    assert p.grad.item() == pytest.approx(2 * 0.7 * math.log(0.3) - 0.7**2 / 0.3, rel=1e-12)


@pytest.mark.parametrize("loss", [FocalLoss(), AdaptiveFocalLoss()])
def test_focal_without_a_valid_pixel_returns_a_tensor_without_a_graph(loss):
    logits, target = batch()
    value = loss(logits.requires_grad_(), torch.full_like(target, 255))
    value.backward()  # raises if there is no graph
    assert (logits.grad == 0).all()


def test_adaptive_focal_learns_its_gamma_and_collapses():
    """With gamma as a parameter descent raises it without end, at predictions that do not move."""
    logits, target = batch()
    log_p = logits.log_softmax(1).gather(1, target[:, None])
    gamma = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
    optimizer = torch.optim.SGD([gamma], lr=5.0)
    seen = []
    for _ in range(50):
        optimizer.zero_grad()
        value = plain_focal(log_p, gamma).mean()
        value.backward()
        assert gamma.grad < 0
        optimizer.step()
        seen.append(value.item())
    assert gamma > 4
    assert seen[-1] < seen[0] / 2  # the loss fell and nothing was learned
    safe = AdaptiveFocalLoss().double()
    safe(logits, target)
    assert not any(p.requires_grad for p in safe.parameters())
    assert not safe.gamma.requires_grad


def test_embedding_loss_is_a_constant():
    x = torch.randn(1, 2, 4, 4, requires_grad=True)
    ids = torch.ones(1, 4, 4, dtype=torch.int64)
    ids[0, :2] = 2
    DiscriminativeLoss()(x, ids).backward()
    assert x.grad.abs().sum() > 0


def test_embedding_variance_term_weighs_instances_by_their_pixels():
    """One tight instance of 98 pixels must not hide one torn apart of 2 pixels."""
    x = torch.zeros(1, 1, 10, 10)
    ids = torch.ones(1, 10, 10, dtype=torch.int64)
    ids[0, 0, :2] = 2
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 2.5, -2.5
    loss = DiscriminativeLoss()
    loss(x, ids)
    torn = (2.5 - 0.5) ** 2
    assert loss.parts["var"].item() == pytest.approx(torn / 2)
    assert torn * 2 / 100 < 0.1  # what the pixel average would say


def test_deep_supervision_hands_a_list_to_the_loss():
    logits, target = batch()
    outputs = [logits, logits * 2]
    with pytest.raises((AttributeError, TypeError)):
        CrossEntropyLoss()(outputs, target)
    loss = AuxiliaryLoss(CrossEntropyLoss(), (0.5, 0.5))
    expected = sum(CrossEntropyLoss()(o, target) for o in outputs) / 2
    torch.testing.assert_close(loss(outputs, target), expected)
