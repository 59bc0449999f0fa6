import pytest
import torch

from segedu.models.targets import batch_images


def test_images_are_normalised_and_padded_with_the_mean():
    batch = batch_images([torch.full((3, 40, 20), 0.5), torch.zeros(3, 33, 64)])
    assert batch.shape == (2, 3, 64, 64)
    assert batch[0, 0, 0, 0] == pytest.approx((0.5 - 0.485) / 0.229)
    assert not batch[0, :, 40:].any()
    assert not batch[0, :, :, 20:].any()
