"""Label maps, sliding windows and test-time augmentation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from segedu.engine import (
    make_loader,
    predict_labels,
    predict_strips,
    predict_tta,
    sliding_window,
)
from segedu.engine.inference import window_profile, window_starts
from tests.engine.largest_tensor import LargestTensor

IMAGES = torch.rand(2, 3, 23, 31, generator=torch.Generator().manual_seed(0))


def pointwise(images):
    """A model that looks at single pixels: windows and flips cannot change what it sees."""
    return torch.stack([images[:, 0], images[:, 1] * 2, images.sum(1)], dim=1)


def directional(images):
    """A model that looks to the left."""
    return pointwise(images.roll(1, dims=-1))


@pytest.mark.parametrize("weights", ["gaussian", "constant"])
@pytest.mark.parametrize("window", [8, (5, 31), (23, 7), 100])
@pytest.mark.parametrize("overlap", [0, 0.25, 0.9])
def test_windows_equal_the_whole_image(weights, window, overlap):
    got = sliding_window(pointwise, IMAGES, window, overlap=overlap, weights=weights)
    torch.testing.assert_close(got, pointwise(IMAGES).softmax(1))


@pytest.mark.parametrize("window", [6, (4, 9, 8)])
def test_windows_equal_the_whole_volume(window):
    volumes = torch.rand(2, 3, 9, 10, 11, generator=torch.Generator().manual_seed(0))
    got = sliding_window(pointwise, volumes, window)
    torch.testing.assert_close(got, pointwise(volumes).softmax(1))


def test_windows_at_once_are_one_batch_and_change_nothing():
    batches = []

    def model(images):
        batches.append(len(images))
        return directional(images)

    together = sliding_window(model, IMAGES, 9, at_once=4)
    assert batches == [8] * 8 + [6]  # 5 x 7 windows of 2 images
    torch.testing.assert_close(together, sliding_window(directional, IMAGES, 9))


@pytest.mark.parametrize("at_once", [1, 4])
def test_strips_are_the_sliding_window_from_the_top_down(at_once):
    read = []

    def part(here):
        read.append(here[0].stop)
        return IMAGES[(..., *here)]

    heights, seen = [], []
    strips = predict_strips(directional, part, (23, 31), 9, at_once=at_once)
    for strip in strips:
        heights.append(strip.shape[2])
        seen.append(strip)
        # Nothing below the window whose rows are finished was read, but for the rest of a batch.
        assert at_once > 1 or max(read) <= sum(heights[:-1]) + 9
    assert heights == [4, 4, 4, 2, 9]
    assert torch.equal(torch.cat(seen, dim=2), sliding_window(directional, IMAGES, 9))


def test_strips_of_a_long_image_hold_a_windows_rows():
    """The largest tensor that arises does not grow with the height."""
    largest = []
    for height in (64, 640):
        with LargestTensor() as mode:
            part = lambda here: torch.ones(1, 3, *(s.stop - s.start for s in here))  # noqa: E731
            for _ in predict_strips(pointwise, part, (height, 48), 16):
                pass
        largest.append(mode.bytes)
    assert largest[0] == largest[1]


def test_an_image_that_fits_is_seen_whole():
    model = nn.Conv2d(3, 4, 5, padding=2)
    assert torch.equal(sliding_window(model, IMAGES, 32), model(IMAGES).softmax(1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [(40, 40), (24, 24, 24)])
def test_half_precision_gives_probabilities(size, dtype):
    """Sums in half precision gave 1.16 in 2-D, and NaN in 3-D, where a corner weighs exp(-24)."""
    images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    got = sliding_window(pointwise, images.to(dtype), 8, overlap=0.75)
    assert got.dtype == dtype
    assert got.isfinite().all() and got.min() >= 0 and got.max() <= 1
    step = torch.finfo(dtype).eps  # what rounding one probability may cost
    exact = pointwise(images.to(dtype).float()).softmax(1)
    torch.testing.assert_close(got.float(), exact, rtol=0, atol=4 * step)


def test_double_precision_stays_double():
    images = IMAGES.double()
    got = sliding_window(pointwise, images, 9)
    torch.testing.assert_close(got, pointwise(images).softmax(1), rtol=0, atol=1e-12)


def test_half_precision_views_give_probabilities():
    half = IMAGES.to(torch.bfloat16)
    got = predict_tta(pointwise, half, rotate=True)
    exact = pointwise(half.float()).softmax(1)
    torch.testing.assert_close(got.float(), exact, rtol=0, atol=0.03)
    assert got.max() <= 1


def test_context_is_enough_away_from_the_cuts():
    # Receptive field 3: with a constant weight only pixels beside a cut can differ.
    torch.manual_seed(0)
    model = nn.Conv2d(3, 2, 3, padding=1)
    got = sliding_window(model, IMAGES, (23, 20), overlap=0.5, weights="constant")
    same = (got - model(IMAGES).softmax(1)).abs().amax(dim=(0, 1, 2)) < 1e-6
    assert not same.all() and same.sum() >= 31 - 6


def test_weights_are_what_they_are_called():
    # Two windows of width 4 over 6 columns: 0..3 and 2..5; each says which one it is.
    calls = iter([0.0, 1.0])

    def model(images):
        return torch.full((1, 1, 1, 4), next(calls))

    image = torch.zeros(1, 3, 1, 6)
    found = sliding_window(model, image, (1, 4), weights="constant", activation=nn.Identity())
    assert found.flatten().tolist() == [0, 0, 0.5, 0.5, 1, 1]
    calls = iter([0.0, 1.0])
    found = sliding_window(model, image, (1, 4), activation=nn.Identity()).flatten()
    w = window_profile(4, "gaussian", image)
    want = torch.stack([w[0] / (w[0] + w[2]), w[1] / (w[1] + w[3])])
    torch.testing.assert_close(found[2:4], want)
    assert 0 < found[2] < 0.5 < found[3] < 1


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(0, 0.99))
def test_starts_cover_everything(length, window, overlap):
    window = min(window, length)
    starts = window_starts(length, window, overlap)
    assert starts[0] == 0 and starts[-1] == length - window
    assert sorted(set(starts)) == starts
    assert all(b - a <= window for a, b in zip(starts, starts[1:], strict=False))


@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_tta_of_an_equivariant_model_is_plain(flip, rotate):
    got = predict_tta(pointwise, IMAGES, flip=flip, rotate=rotate)
    torch.testing.assert_close(got, pointwise(IMAGES).softmax(1))


def test_tta_averages_probabilities_of_aligned_views():
    got = predict_tta(directional, IMAGES)
    plain = directional(IMAGES).softmax(1)
    mirrored = directional(IMAGES.flip(-1)).softmax(1).flip(-1)
    torch.testing.assert_close(got, (plain + mirrored) / 2)


def test_tta_scales():
    flat = IMAGES[:, :, :1, :1].expand(-1, -1, 23, 31)
    got = predict_tta(pointwise, flat, scales=(0.5, 1.0, 1.5), rotate=True)
    torch.testing.assert_close(got, pointwise(flat).softmax(1))
    got = predict_tta(pointwise, IMAGES, scales=(0.7, 1.3))
    assert got.shape == (2, 3, 23, 31)
    torch.testing.assert_close(got.sum(1), torch.ones(2, 23, 31))


def test_they_combine():
    def inner(images):
        return sliding_window(pointwise, images, 9)

    got = predict_tta(inner, IMAGES, activation=nn.Identity())
    torch.testing.assert_close(got, pointwise(IMAGES).softmax(1))


def test_one_channel_is_a_sigmoid():
    got = predict_tta(lambda images: images[:, :1], IMAGES, flip=False)
    torch.testing.assert_close(got, IMAGES[:, :1].sigmoid())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sliding_window(pointwise, IMAGES[0], 8), r"images .*\(3, 23, 31\)"),
        (lambda: sliding_window(pointwise, IMAGES, 0), "window must be positive"),
        (lambda: sliding_window(pointwise, IMAGES, (4, 4, 4)), "one number or 2"),
        (lambda: sliding_window(pointwise, IMAGES, 8, overlap=1), "overlap must be in"),
        (lambda: sliding_window(pointwise, IMAGES, 8, weights="hann"), "'hann'"),
        (lambda: sliding_window(pointwise, IMAGES, 8, at_once=0), "at_once must be .* got 0"),
        (lambda: predict_tta(pointwise, IMAGES[0]), r"images .*\(3, 23, 31\)"),
        (lambda: predict_tta(pointwise, IMAGES, scales=()), "scales"),
        (lambda: predict_tta(pointwise, IMAGES, scales=(1, -1)), "scales"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


class Largest(nn.Module):
    """Its label is the channel of the image with the largest value."""

    def forward(self, images):
        assert not self.training
        return images * 2


def test_labels_of_one_image_of_several_of_a_data_set_and_of_a_loader():
    wanted = IMAGES.argmax(1)  # (2, 23, 31)
    samples = [{"image": image} for image in IMAGES]
    loader = make_loader(samples, 2)
    for images in (IMAGES, samples, loader):
        assert torch.equal(predict_labels(Largest(), images, batch_size=1), wanted)
    assert torch.equal(predict_labels(Largest(), IMAGES[1]), wanted[1])


def test_labels_of_a_binary_network_are_where_the_logit_is_positive():
    model = nn.Conv2d(3, 1, 1)
    labels = predict_labels(model, IMAGES)
    assert torch.equal(labels, (model(IMAGES)[:, 0] > 0).long())
    assert not model.training


def test_labels_refuse_images_of_several_sizes():
    samples = [{"image": torch.zeros(3, 4, 4)}, {"image": torch.zeros(3, 4, 5)}]
    for batch_size in (1, 2):
        with pytest.raises(ValueError, match="one size"):
            predict_labels(Largest(), samples, batch_size=batch_size)
    with pytest.raises(ValueError, match=r"\(N,3,H,W\)"):
        predict_labels(Largest(), torch.zeros(4, 4))
    with pytest.raises(ValueError, match="no image"):
        predict_labels(Largest(), [])
    with pytest.raises(ValueError, match="no image"):
        predict_labels(Largest(), torch.zeros(0, 3, 4, 5))
