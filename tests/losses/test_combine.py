import pytest
import torch

from segedu.losses import AuxiliaryLoss, CombinedLoss, CrossEntropyLoss, DiceLoss


def batch():
    g = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, (2, 8, 8), generator=g)
    return torch.randn(2, 3, 8, 8, generator=g, dtype=torch.float64), target


def test_combined_is_the_weighted_sum_and_logs_its_parts():
    logits, target = batch()
    ce, dice = CrossEntropyLoss(), DiceLoss()
    loss = CombinedLoss({"ce": (ce, 1.0), "dice": (dice, 0.5)})
    value = loss(logits.requires_grad_(), target)
    torch.testing.assert_close(value, ce(logits, target) + 0.5 * dice(logits, target))
    assert list(loss.parts) == ["ce", "dice"]
    torch.testing.assert_close(loss.parts["dice"], dice(logits, target).detach())
    assert not loss.parts["ce"].requires_grad


def test_combined_moves_class_weights_with_it():
    loss = CombinedLoss({"ce": (CrossEntropyLoss([1.0, 2.0, 3.0]), 1.0)})
    assert "losses.ce.weight" in dict(loss.named_buffers())


def test_auxiliary_weights_each_output():
    logits, target = batch()
    small = torch.nn.functional.avg_pool2d(logits, 2)
    loss = AuxiliaryLoss(CrossEntropyLoss(), (1.0, 0.4))
    up = torch.nn.functional.interpolate(small, size=(8, 8), mode="bilinear")
    ce = CrossEntropyLoss()
    torch.testing.assert_close(
        loss((logits, small), target), ce(logits, target) + 0.4 * ce(up, target)
    )
    assert list(loss.parts) == ["main", "aux1"]
    torch.testing.assert_close(loss(logits, target), ce(logits, target))


def test_bad_arguments():
    logits, target = batch()
    with pytest.raises(ValueError, match="at least one loss"):
        CombinedLoss({})
    with pytest.raises(ValueError, match="part 'map' must be a scalar"):
        CombinedLoss({"map": (CrossEntropyLoss(reduction="none"), 1.0)})(logits, target)
    with pytest.raises(ValueError, match="2 entries but the model returned 3"):
        AuxiliaryLoss(CrossEntropyLoss())((logits, logits, logits), target)
