import math

import pytest
import torch

from segedu.losses import AdaptiveFocalLoss, CrossEntropyLoss, FocalLoss, SigmoidFocalLoss
from segedu.losses.fused import plain_focal


def batch(seed=0):
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 5, 6, generator=g, dtype=torch.float64)
    target = torch.randint(0, 3, (2, 5, 6), generator=g)
    target[0, 0] = 255
    return logits, target


def test_by_hand():
    p = torch.tensor([0.3, 0.9], dtype=torch.float64)
    expected = (1 - p) ** 2 * -p.log()
    torch.testing.assert_close(plain_focal(p.log(), 2.0), expected)
    logits = torch.stack([p.log(), (1 - p).log()])[None, :, :, None]  # softmax gives p again
    loss = FocalLoss(reduction="none")(logits, torch.zeros(1, 2, 1, dtype=torch.int64))
    torch.testing.assert_close(loss.flatten(), expected)


def test_gamma_zero_is_cross_entropy():
    logits, target = batch()
    torch.testing.assert_close(
        FocalLoss(gamma=0.0)(logits, target), CrossEntropyLoss()(logits, target)
    )
    weight = [1.0, 2.0, 0.5]
    torch.testing.assert_close(
        FocalLoss(0.0, weight, "weights")(logits, target), CrossEntropyLoss(weight)(logits, target)
    )


def test_normalizers_divide_the_same_sum():
    logits, target = batch()
    total = FocalLoss(reduction="sum")(logits, target)
    labelled = target != 255
    for name, count in [
        ("pixels", labelled.sum()),
        ("weights", labelled.sum()),
        ("positives", (labelled & (target != 0)).sum()),
    ]:
        torch.testing.assert_close(FocalLoss(normalizer=name)(logits, target), total / count)
    total = SigmoidFocalLoss(reduction="sum")(logits, target)
    per_pixel = SigmoidFocalLoss(reduction="none")(logits, target)
    torch.testing.assert_close(per_pixel.sum(), total)
    for name, count in [
        ("elements", 3 * labelled.sum()),
        ("pixels", labelled.sum()),
        ("positives", (labelled & (target != 0)).sum()),
    ]:
        torch.testing.assert_close(SigmoidFocalLoss(normalizer=name)(logits, target), total / count)


def test_adaptive_gamma_follows_the_running_mean():
    logits, target = batch()
    labelled = target != 255
    p = logits.softmax(1).gather(1, target.where(labelled, 0)[:, None])[:, 0][labelled].mean()
    loss = AdaptiveFocalLoss(momentum=0.5).double().train()
    value = loss(logits, target)
    torch.testing.assert_close(loss.gamma, -p.log())  # starts with the first batch
    torch.testing.assert_close(value, FocalLoss(-p.log().item())(logits, target))
    sure = 20 * torch.nn.functional.one_hot(target.where(labelled, 0), 3).movedim(-1, 1).double()
    loss(sure, target)
    torch.testing.assert_close(loss.mean_probability, 0.5 * p + 0.5)
    before = loss.mean_probability.clone()
    loss.eval()(logits, target)
    assert torch.equal(loss.mean_probability, before)
    assert "mean_probability" in loss.state_dict()


def test_adaptive_gamma_is_bounded_and_survives_an_empty_batch():
    loss = AdaptiveFocalLoss(max_gamma=2.0).double().train()
    wrong = torch.zeros(1, 2, 1, 1, dtype=torch.float64)
    wrong[:, 1] = 50.0
    loss(wrong, torch.zeros(1, 1, 1, dtype=torch.int64))
    assert loss.gamma == 2.0
    loss(wrong, torch.full((1, 1, 1), 255))
    assert loss.mean_probability.isfinite()


def test_adaptive_gamma_comes_back_with_the_state():
    """What a resumed training or a judgement reads is the γ that the training had."""
    logits, target = batch()
    loss = AdaptiveFocalLoss().double().train()
    for scale in (1, 3, 9):
        loss(scale * logits, target)
    again = AdaptiveFocalLoss().double()
    again.load_state_dict(loss.state_dict())
    torch.testing.assert_close(again.eval()(logits, target), loss.eval()(logits, target))
    assert again.gamma == loss.gamma > 0


def test_bad_arguments():
    with pytest.raises(ValueError, match="gamma must be >= 0"):
        FocalLoss(gamma=-1.0)
    with pytest.raises(ValueError, match="normalizer must be one of"):
        FocalLoss(normalizer="batch")
    with pytest.raises(ValueError, match="normalizer must be one of"):
        SigmoidFocalLoss(normalizer="weights")
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\]"):
        SigmoidFocalLoss(alpha=2.0)
    with pytest.raises(ValueError, match="momentum"):
        AdaptiveFocalLoss(momentum=1.0)
    with pytest.raises(ValueError, match="one entry for each of the 3 classes"):
        FocalLoss(alpha=[0.25, 0.75])(*batch())


@pytest.mark.parametrize("sure", [1e8, math.inf])
def test_a_sure_right_class_does_not_swallow_the_terms_of_the_others(sure):
    """The positive term is 0; what remains are the negative terms of the other two classes."""
    logits = torch.tensor([sure, 2.0, -1.0]).view(1, 3, 1)
    loss = SigmoidFocalLoss(0.0, None, reduction="sum")(logits, torch.tensor([[0]]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(2)) + math.log1p(math.exp(-1)))
