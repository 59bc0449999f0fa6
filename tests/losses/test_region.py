import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from segedu.losses import (
    BinaryDiceLoss,
    BinaryFocalTverskyLoss,
    BinaryJaccardLoss,
    BinaryTverskyLoss,
    DiceLoss,
    FocalTverskyLoss,
    GeneralizedDiceLoss,
    JaccardLoss,
    TverskyLoss,
)


def batch(classes=4, shape=(2, 5, 7), seed=0, dtype=torch.float64, ignored=3):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=g, dtype=dtype)
    target = torch.randint(0, classes, shape, generator=g)
    target.view(-1)[:ignored] = 255
    return logits, target


def dice_by_hand(logits, target, per_image):
    """The textbook form: one-hot, mask, sum."""
    c = logits.shape[1]
    valid = (target != 255).unsqueeze(1)
    p = logits.softmax(1) * valid
    g = F.one_hot(target.where(target != 255, 0), c).movedim(-1, 1) * valid
    dims = tuple(range(2, logits.ndim)) if per_image else (0, *range(2, logits.ndim))
    return 1 - 2 * (p * g).sum(dims) / (p.sum(dims) + g.sum(dims))


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 3, 4, 5), (3, 11)])
@pytest.mark.parametrize("per_image", [False, True])
def test_dice_is_the_one_hot_formula_in_any_dimension(shape, per_image):
    logits, target = batch(shape=shape)
    a = logits.clone().requires_grad_()
    b = logits.clone().requires_grad_()
    ours = DiceLoss(per_image=per_image, absent="count")(a, target)
    hand = dice_by_hand(b, target, per_image).mean()
    torch.testing.assert_close(ours, hand)
    ours.backward()
    hand.backward()
    torch.testing.assert_close(a.grad, b.grad)


def test_dice_gradient():
    logits, target = batch(shape=(2, 3, 3))
    assert gradcheck(DiceLoss(), (logits.requires_grad_(), target))


def test_absent_class_is_skipped_or_counted():
    logits, target = batch(ignored=0)
    target[target == 3] = 0
    each = dice_by_hand(logits, target, per_image=False)
    torch.testing.assert_close(DiceLoss()(logits, target), each[:3].mean())
    torch.testing.assert_close(DiceLoss(absent="count")(logits, target), each.mean())
    assert each[3] == 1
    without = DiceLoss(include_background=False)(logits, target)
    torch.testing.assert_close(without, each[1:3].mean())


def test_reductions():
    logits, target = batch()
    each = dice_by_hand(logits, target, per_image=True)
    torch.testing.assert_close(DiceLoss(per_image=True, reduction="none")(logits, target), each)
    torch.testing.assert_close(
        DiceLoss(per_image=True, reduction="sum")(logits, target), each.sum()
    )
    weighted = DiceLoss(weight=[1, 2, 0, 1], per_image=True)(logits, target)
    w = torch.tensor([1.0, 2, 0, 1], dtype=torch.float64).expand_as(each)
    torch.testing.assert_close(weighted, (w * each).sum() / w.sum())


@pytest.mark.parametrize("absent", ["skip", "count"])
def test_all_ignored_gives_zero_and_no_gradient(absent):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = DiceLoss(absent=absent)(logits, torch.full((2, 4, 4), 255))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_binary_is_the_foreground_of_two_classes():
    logits, target = batch(classes=2)
    one = logits[:, 1:] - logits[:, :1]
    for per_image in (False, True):
        settings = {"per_image": per_image, "absent": "count", "smooth": 0.5}
        for binary, multi in [
            (BinaryDiceLoss, DiceLoss),
            (BinaryJaccardLoss, JaccardLoss),
            (BinaryTverskyLoss, TverskyLoss),
            (BinaryFocalTverskyLoss, FocalTverskyLoss),
        ]:
            torch.testing.assert_close(
                binary(**settings)(one, target),
                multi(include_background=False, **settings)(logits, target),
            )


def test_binary_empty_image_predicted_empty_costs_nothing():
    nothing = torch.full((1, 4, 4), -50.0)
    target = torch.zeros(1, 4, 4, dtype=torch.int64)
    assert BinaryDiceLoss()(nothing, target).item() == pytest.approx(0, abs=1e-6)
    assert BinaryDiceLoss()(-nothing, target).item() == pytest.approx(16 / 17)


def test_tversky_family():
    logits, target = batch()
    torch.testing.assert_close(TverskyLoss(0.5, 0.5)(logits, target), DiceLoss()(logits, target))
    torch.testing.assert_close(TverskyLoss(1, 1)(logits, target), JaccardLoss()(logits, target))
    each = TverskyLoss(reduction="none")(logits, target)
    torch.testing.assert_close(
        FocalTverskyLoss(gamma=0.75, reduction="none")(logits, target), each**0.75
    )
    # beta weighs what was missed: predicting too little must cost more than too much
    target = torch.zeros(1, 1, 4, dtype=torch.int64)
    target[..., :2] = 1
    sure = 20 * torch.tensor([[1.0, 0, 0, 0], [1.0, 1, 1, 0]])[:, None, None]
    loss = BinaryTverskyLoss(0.3, 0.7, smooth=0.0)
    missed, extra = (loss(x - 10, target) for x in sure)
    assert missed > extra


def test_jaccard_follows_from_dice():
    logits, target = batch()
    dice = 1 - DiceLoss(reduction="none")(logits, target)
    jaccard = 1 - JaccardLoss(reduction="none")(logits, target)
    torch.testing.assert_close(jaccard, dice / (2 - dice))


def test_generalized_dice_weightings():
    logits, target = batch(ignored=0)
    p, g = logits.softmax(1), F.one_hot(target, 4).movedim(-1, 1)
    size = g.sum((0, 2, 3))
    for name, weight in [
        ("square", 1 / size**2),
        ("simple", 1 / size),
        ("uniform", torch.ones(4)),
    ]:
        hit, both = (p * g).sum((0, 2, 3)), (p + g).sum((0, 2, 3))
        expected = 1 - 2 * (weight * hit).sum() / (weight * both).sum()
        got = GeneralizedDiceLoss(weighting=name)(logits, target)
        torch.testing.assert_close(got, expected)
    each = GeneralizedDiceLoss(per_image=True, reduction="none")(logits, target)
    assert each.shape == (2,)
    torch.testing.assert_close(
        each[0], GeneralizedDiceLoss(include_background=True)(logits[:1], target[:1])
    )
    without = GeneralizedDiceLoss(include_background=False, weighting="uniform")(logits, target)
    hit, both = (p * g)[:, 1:].sum(), (p + g)[:, 1:].sum()
    torch.testing.assert_close(without, 1 - 2 * hit / both)


def test_bad_arguments():
    with pytest.raises(ValueError, match="absent must be one of"):
        DiceLoss(absent="nan")
    with pytest.raises(ValueError, match="smooth must be >= 0"):
        DiceLoss(smooth=-1)
    with pytest.raises(ValueError, match="reduction must be one of"):
        DiceLoss(reduction="average")
    logits, target = batch()
    with pytest.raises(ValueError, match="labels that are no class: 9"):
        DiceLoss()(logits, target.clone().fill_(9))
    with pytest.raises(ValueError, match=r"got logits .* and target"):
        DiceLoss()(logits, target[:1])
    with pytest.raises(ValueError, match="alpha must be >= 0"):
        TverskyLoss(alpha=-0.1)
    with pytest.raises(ValueError, match="gamma must be > 0"):
        FocalTverskyLoss(gamma=0)
    with pytest.raises(ValueError, match="weighting must be"):
        GeneralizedDiceLoss(weighting="cube")
    with pytest.raises(ValueError, match="one entry for each of the 4 classes"):
        DiceLoss(weight=[1.0, 2.0])(logits, target)
