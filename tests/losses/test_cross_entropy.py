import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from segedu.losses import BinaryCrossEntropyLoss, CrossEntropyLoss, OHEMLoss


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


def test_torch_itself_gives_nan_for_an_all_ignored_batch():
    """What ``CrossEntropyLoss`` guards against (tested for every loss in test_every_loss.py)."""
    logits = torch.randn(2, 3, 4, 4)
    assert F.cross_entropy(logits, torch.full((2, 4, 4), 255), ignore_index=255).isnan()


def hardest(losses, count):
    return losses.sort(descending=True).values[:count]


def test_ohem_rules_by_hand():
    logits, target = batch(shape=(2, 6, 10))
    losses = CrossEntropyLoss(reduction="none")(logits, target)
    labelled = losses[target != 255]  # 115 pixels
    hard = labelled[labelled.neg().exp() < 0.2]
    for settings, kept in [
        ({"threshold": 0.2, "min_kept": 0}, hard),
        ({"threshold": 0.2, "min_kept": len(hard) + 7}, hardest(labelled, len(hard) + 7)),
        ({"threshold": 0.2, "min_kept": 10**6}, labelled),
        ({"rule": "quantile", "threshold": 0.2, "min_fraction": 0.01}, hard),
        ({"rule": "quantile", "threshold": 1e-9, "min_fraction": 1 / 16}, hardest(labelled, 8)),
        (
            {"rule": "top_k", "fraction": 0.2},
            torch.cat([hardest(losses[0][target[0] != 255], 11), hardest(losses[1].flatten(), 12)]),
        ),
    ]:
        torch.testing.assert_close(OHEMLoss(**settings)(logits, target), kept.mean())


def test_ohem_weights_what_it_kept():
    logits, target = batch()
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64)
    everything = OHEMLoss(min_kept=10**6, weight=weight)
    torch.testing.assert_close(everything(logits, target), CrossEntropyLoss(weight)(logits, target))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "random"}, "rule must be one of"),
        ({"threshold": 0.0}, "threshold"),
        ({"min_kept": -1}, "min_kept"),
        ({"fraction": 0.0}, "fraction"),
        ({"min_fraction": 1.5}, "min_fraction"),
    ],
)
def test_ohem_bad_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        OHEMLoss(**settings)


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
    with pytest.raises(ValueError, match="each of the 2 classes"):
        BinaryCrossEntropyLoss(weight=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="vector of finite numbers"):
        CrossEntropyLoss(weight=[1.0, -1.0])
