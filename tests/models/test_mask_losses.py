import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from segedu.models.mask_losses import (
    cross_entropy,
    dice_loss,
    focal_loss,
    pairwise_cross_entropy,
    pairwise_dice_loss,
    pairwise_focal_loss,
)


def logits_and_masks() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 50, generator=generator)
    return logits, (torch.rand(3, 50, generator=generator) > 0.5).float()


@pytest.mark.parametrize(
    ("pairwise", "single"),
    [
        (pairwise_focal_loss, focal_loss),
        (pairwise_dice_loss, dice_loss),
        (pairwise_cross_entropy, cross_entropy),
    ],
)
def test_pairwise_losses_are_the_losses_of_all_pairs(pairwise, single):
    logits, masks = logits_and_masks()
    matrix = pairwise(logits, masks)
    for q in range(4):
        assert torch.allclose(matrix[q], single(logits[q].expand(3, -1), masks), atol=1e-5)


def test_dice_of_masks_by_hand():
    masks = torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0]])
    logits = torch.tensor([[99.0, -99, 99, -99], [-99, -99, -99, -99]])
    assert dice_loss(logits, masks).tolist() == pytest.approx([1 - 3 / 5, 0])  # one pixel more


def test_focal_loss_is_torchvisions():
    logits, masks = logits_and_masks()
    theirs = sigmoid_focal_loss(logits[:3], masks).mean(1)  # alpha 1/4, gamma 2
    assert torch.allclose(focal_loss(logits[:3], masks), theirs, atol=1e-6)
