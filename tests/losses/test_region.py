import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from segedu.losses import DiceLoss


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


@pytest.mark.oracle
@pytest.mark.parametrize("per_image", [False, True])
def test_dice_equals_monai(per_image):
    monai = pytest.importorskip("monai.losses")
    logits, target = batch(ignored=0)
    theirs = monai.DiceLoss(softmax=True, to_onehot_y=True, batch=not per_image)
    ours = DiceLoss(per_image=per_image, absent="count", smooth=1e-5)
    torch.testing.assert_close(
        ours(logits, target), theirs(logits, target.unsqueeze(1)), rtol=1e-6, atol=1e-6
    )


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


def test_half_precision_is_summed_in_float32():
    logits, target = batch(shape=(1, 300, 300), dtype=torch.float32)
    half = logits.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = DiceLoss()(half, target)
    torch.testing.assert_close(loss, DiceLoss()(half.detach().float(), target))
    loss.backward()
    assert half.grad.dtype == torch.bfloat16


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
    with pytest.raises(ValueError, match="one entry for each of the 4 classes"):
        DiceLoss(weight=[1.0, 2.0])(logits, target)
