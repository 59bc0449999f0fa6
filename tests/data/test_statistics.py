import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from segedu.data import channel_statistics, pixel_counts


def images(*arrays):
    return [{"image": tv_tensors.Image(torch.from_numpy(array))} for array in arrays]


def test_statistics_are_those_of_all_pixels_at_once():
    """Images of different size count by their pixels, and no order or size loses a digit."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, 256, (5, *size), dtype=np.uint8) for size in ((3, 4), (20, 7), (1, 1))
    ]
    found = channel_statistics(images(*arrays))
    pixels = np.concatenate([array.reshape(5, -1) for array in arrays], axis=1) / 255
    np.testing.assert_allclose(found.mean, pixels.mean(1), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(1), rtol=1e-12)
    assert channel_statistics(images(*arrays[::-1])) == found


def test_small_deviations_survive():
    """In float32, 255^2 summed over many pixels swallows a deviation of one."""
    array = np.full((1, 2000, 2000), 250, dtype=np.uint8)
    array[0, 0, 0] = 251
    found = channel_statistics(images(array))
    assert found.std[0] == pytest.approx(1 / 2000 / 255, rel=1e-6)


def test_errors():
    flat = np.zeros((2, 3, 3), dtype=np.uint8)
    flat[0, 0] = 1
    with pytest.raises(ValueError, match="channel 1 has the value 0 in every pixel"):
        channel_statistics(images(flat))
    with pytest.raises(ValueError, match="the dataset is empty"):
        channel_statistics([])
    with pytest.raises(ValueError, match="image 1 has 3 channels, others have 2"):
        channel_statistics(images(flat, np.zeros((3, 2, 2), dtype=np.uint8)))
    with pytest.raises(ValueError, match="image 0 must be uint8"):
        channel_statistics(images(np.zeros((3, 2, 2), dtype=np.float32)))


def test_pixels_of_classes_and_of_the_images_that_hold_them():
    class Masks(list):
        num_classes = 3

    masks = torch.tensor([[0, 0, 1, 255], [0, 0, 0, 0]], dtype=torch.uint8)
    counts = pixel_counts(Masks({"mask": mask[None]} for mask in masks))
    assert counts.pixels == (6, 1, 0)
    assert counts.image_pixels == (7, 3, 0)  # labelled ones
