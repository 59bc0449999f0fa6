import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import ops as reference

from segedu.ops import roi_align, roi_align_reference, roi_pool

properties = settings(deadline=None, max_examples=50)
seeds = st.integers(0, 2**31)
RAMP = torch.arange(64, dtype=torch.float32).view(1, 1, 8, 8)  # value = 8 · row + column


def sample(seed, k, *, images=2, height=7, width=9):
    """Features (images, 3, H, W) and RoIs (k, 5), many of them over the border or outside."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(images, 3, height, width, generator=generator)
    corner = torch.rand(k, 2, generator=generator) * 60 - 20
    extent = torch.rand(k, 2, generator=generator) * 40
    image = torch.randint(0, images, (k, 1), generator=generator)
    return features, torch.cat((image, corner, corner + extent), dim=1)


@properties
@given(
    seeds,
    st.integers(0, 4),
    st.booleans(),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([(1, 1), (3, 2), (7, 7)]),
    st.sampled_from([1.0, 0.25, 1 / 16]),
)
def test_align_equals_torchvision(seed, k, aligned, ratio, size, scale):
    features, rois = sample(seed, k)
    expected = reference.roi_align(features, rois, size, scale, ratio, aligned)
    for function in (roi_align, roi_align_reference):
        got = function(features, rois, size, scale, ratio, aligned)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@properties
@given(seeds, st.integers(0, 4), st.sampled_from([(1, 1), (3, 2), (7, 7)]))
def test_pool_equals_torchvision(seed, k, size):
    features, rois = sample(seed, k)
    for scale in (1.0, 0.25):
        expected = reference.roi_pool(features, rois, size, scale)
        assert torch.equal(roi_pool(features, rois, size, scale), expected)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 2])
def test_gradient_equals_torchvision(aligned, ratio):
    features, rois = sample(1, 5)
    ours, theirs = (features.clone().requires_grad_() for _ in range(2))
    weight = torch.randn(5, 3, 2, 3, generator=torch.Generator().manual_seed(2))
    (roi_align_reference(ours, rois, (2, 3), 0.5, ratio, aligned) * weight).sum().backward()
    (reference.roi_align(theirs, rois, (2, 3), 0.5, ratio, aligned) * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-5)


def test_one_box_three_ways():
    """On a ramp the right answer is the value at the middle of each bin."""
    roi = [torch.tensor([[1.0, 1.0, 5.0, 5.0]])]
    # The middle of the first bin is (2, 2), which lies between features 1 and 2: 8 · 1.5 + 1.5.
    assert roi_align(RAMP, roi, 2, aligned=True).flatten().tolist() == [13.5, 15.5, 29.5, 31.5]
    # Without the shift each sample is half a row and half a column too far: 4.5 more.
    assert roi_align(RAMP, roi, 2, aligned=False).flatten().tolist() == [18, 20, 34, 36]
    # The rounded box takes the feature at its end in, and its bins overlap.
    assert roi_pool(RAMP, roi, 2).flatten().tolist() == [27, 29, 43, 45]


def test_a_fraction_of_a_pixel_is_not_lost():
    """A tutorial crops with ``int()`` and resizes: half a pixel more or less changes nothing."""

    def truncated(box):
        x0, y0, x1, y1 = (int(v) for v in box)
        crop = ramp[:, :, y0:y1, x0:x1]
        return torch.nn.functional.interpolate(crop, (2, 2), mode="bilinear")[0, 0]

    ramp = RAMP.double()
    whole, shifted = torch.tensor([[1.0, 1, 5, 5], [1.55, 1.55, 5.55, 5.55]], dtype=ramp.dtype)
    assert torch.equal(truncated(whole), truncated(shifted))
    aligned = [roi_align(ramp, [b[None]], 2, aligned=True)[0, 0] for b in (whole, shifted)]
    torch.testing.assert_close(truncated(whole), aligned[0])
    torch.testing.assert_close(aligned[1] - aligned[0], ramp.new_full((2, 2), 0.55 * 9))
    assert aligned[1][0, 0].item() == pytest.approx(18.45, rel=1e-12)


def test_boxes_are_those_of_the_image():
    """The same tutorial crops the map with the image's coordinates, sixteen times too large."""
    roi = torch.tensor([[16.0, 16.0, 80.0, 80.0]])
    expected = roi_align(RAMP, [roi / 16], 2, aligned=True)
    assert torch.equal(roi_align(RAMP, [roi], 2, spatial_scale=1 / 16, aligned=True), expected)


def test_far_outside_is_zero():
    far = torch.tensor([[100.0, 100, 120, 120], [-90, -90, -50, -50]])
    for function in (roi_align, roi_align_reference, roi_pool):
        assert not function(RAMP + 1, [far], 3).any()


def test_without_compiled_operators_and_boxes_get_a_gradient(monkeypatch):
    monkeypatch.setattr(sys.modules["segedu.ops.roi_align"], "torchvision_ops", lambda: None)
    features, rois = sample(4, 3)
    rois.requires_grad_()
    got = roi_align(features, rois, 3, 0.25)
    torch.testing.assert_close(got, reference.roi_align(features, rois, 3, 0.25), rtol=0, atol=1e-5)
    got.sum().backward()
    assert rois.grad[:, 1:].abs().sum() > 0  # the compiled operator gives boxes none


def test_lists_are_rois_with_the_index_of_their_image():
    features, rois = sample(6, 4)
    lists = [rois[rois[:, 0] == n, 1:] for n in range(2)]
    order = rois[:, 0].argsort(stable=True)
    assert torch.equal(roi_align(features, lists, 2), roi_align(features, rois[order], 2))


@pytest.mark.parametrize("function", [roi_align, roi_align_reference, roi_pool])
def test_empty(function):
    none = torch.zeros(0, 4)
    assert function(RAMP, [none], 3).shape == (0, 1, 3, 3)
    assert function(RAMP, torch.zeros(0, 5), (2, 4)).shape == (0, 1, 2, 4)
    assert function(torch.zeros(0, 5, 8, 8), [], 3).shape == (0, 5, 3, 3)
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    assert function(RAMP, [point], 2).isfinite().all()
    assert torch.equal(
        roi_align_reference(RAMP, [point], 2, aligned=True),
        reference.roi_align(RAMP, [point], 2, aligned=True),
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: roi_align(RAMP[0], [], 2), r"features must be \(N, C, H, W\), got \(1, 8, 8\)"),
        (lambda: roi_align(RAMP, [], 2), r"boxes must be 1 tensors \(K, 4\), got \[\]"),
        (lambda: roi_align(RAMP, torch.zeros(2, 4), 2), r"boxes must be \(K, 5\).* got \(2, 4\)"),
        (lambda: roi_align(RAMP, torch.ones(1, 5), 2), r"images 0 to 0, got \[1.0\]"),
        (lambda: roi_align(RAMP, torch.zeros(0, 5), 0), "output_size .* got 0"),
        (lambda: roi_align(RAMP, torch.zeros(0, 5), 2, 0.0), "spatial_scale must be > 0, got 0.0"),
        (lambda: roi_align_reference(RAMP, torch.zeros(0, 5), 2, 1.0, -1), "sampling_ratio"),
        (lambda: roi_pool(RAMP, [torch.zeros(2, 5)], 2), r"\(K, 4\), got \[\(2, 5\)\]"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.gpu
def test_on_a_gpu():
    features, rois = sample(7, 6)
    for function in (roi_align, roi_align_reference, roi_pool):
        got = function(features.cuda(), rois.cuda(), 3, 0.25)
        torch.testing.assert_close(got.cpu(), function(features, rois, 3, 0.25), rtol=0, atol=1e-5)
