import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from segedu.losses import CrossEntropyLoss


def batch(classes=4, shape=(2, 5, 7), seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=g, dtype=torch.float64)
    target = torch.randint(0, classes, shape, generator=g)
    target.view(-1)[:5] = 255
    return logits, target


@pytest.mark.parametrize("weight", [None, [1.0, 0.5, 3.0, 0.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 3, 4, 5)])
def test_equals_torch_where_torch_is_defined(weight, smoothing, reduction, shape):
    logits, target = batch(shape=shape)
    ours = CrossEntropyLoss(weight, label_smoothing=smoothing, reduction=reduction)
    theirs = F.cross_entropy(
        logits,
        target,
        None if weight is None else torch.tensor(weight, dtype=torch.float64),
        ignore_index=255,
        label_smoothing=smoothing,
        reduction=reduction,
    )
    torch.testing.assert_close(ours(logits, target), theirs)


def test_gradient():
    logits, target = batch(shape=(2, 3, 3))
    loss = CrossEntropyLoss([1.0, 0.5, 3.0, 0.2])
    assert gradcheck(loss, (logits.requires_grad_(), target))


def test_all_ignored_gives_zero_and_no_gradient():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    target = torch.full((2, 4, 4), 255)
    assert F.cross_entropy(logits, target, ignore_index=255).isnan()  # what we guard against
    loss = CrossEntropyLoss()(logits, target)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_bad_arguments():
    logits, target = batch()
    with pytest.raises(ValueError, match="no class: 4, 7"):
        target[0, 0, :2] = torch.tensor([7, 4])
        CrossEntropyLoss()(logits, target)
    with pytest.raises(TypeError, match="integer class indices"):
        CrossEntropyLoss()(logits, target.double())
    with pytest.raises(TypeError, match="floating point"):
        CrossEntropyLoss()(logits.long(), target)
    with pytest.raises(ValueError, match="label_smoothing"):
        CrossEntropyLoss(label_smoothing=1.0)
    with pytest.raises(ValueError, match="vector of finite numbers"):
        CrossEntropyLoss(weight=[1.0, -1.0])
