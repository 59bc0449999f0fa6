import pytest
import torch

from segedu.models.mask_classification import segments_of
from segedu.models.sam import Masks, losses
from segedu.models.targets import batch_images, check_instances


def test_images_are_normalised_and_padded_with_the_mean():
    batch = batch_images([torch.full((3, 40, 20), 0.5), torch.zeros(3, 33, 64)])
    assert batch.shape == (2, 3, 64, 64)
    assert batch[0, 0, 0, 0] == pytest.approx((0.5 - 0.485) / 0.229)
    assert not batch[0, :, 40:].any()
    assert not batch[0, :, :, 20:].any()


MASKS = {
    "0 and 255": torch.tensor([0, 255], dtype=torch.uint8),
    "ids": torch.tensor([0, 3]),
    "negative": torch.tensor([0, -1]),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_of_targets_are_0_and_1(kind):
    """As 255 targets a mask of 0 and 255 would give a loss far below 0."""
    masks = MASKS[kind][torch.randint(0, 2, (1, 8, 8), generator=torch.manual_seed(0))]
    target = {"boxes": torch.tensor([[0.0, 0, 8, 8]]), "labels": torch.tensor([1]), "masks": masks}
    image = torch.zeros(3, 8, 8)
    logits = torch.zeros(1, 1, 3, 8, 8)  # (N, P, K, H, W)
    for refused in (
        lambda: check_instances(target, (8, 8), 2, "targets[0]"),
        lambda: segments_of(target, 2, image),
        lambda: losses(Masks(logits, torch.zeros(1, 1, 3), logits), masks[None]),
    ):
        with pytest.raises(ValueError, match=r"must be bool or hold 0 and 1 only, got values from"):
            refused()
    for right in (masks != 0, (masks != 0).byte()):
        check_instances(target | {"masks": right}, (8, 8), 2, "targets[0]")
        assert segments_of(target | {"masks": right}, 2, image).masks.equal((masks != 0).float())


def test_boxes_of_targets_are_finite():
    target = {"labels": torch.tensor([1]), "boxes": torch.tensor([[0.0, 0, 8, float("inf")]])}
    with pytest.raises(ValueError, match="must be xyxy with an area, got .*inf"):
        check_instances(target, (8, 8), 2, "targets[0]", ("boxes", "labels"))
