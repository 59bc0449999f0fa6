import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import ops as reference
from torchvision.models.detection._utils import BoxCoder as ReferenceCoder

from segedu.ops import (
    BoxCoder,
    box_area,
    box_convert,
    box_iou,
    clip_boxes,
    masks_to_boxes,
)

NONE = torch.zeros(0, 4)
FORMATS = ("xyxy", "xywh", "cxcywh")
properties = settings(deadline=None, max_examples=40)


def random_boxes(seed, n, size=50.0):
    corner = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed)) * size
    extent = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed + 1)) * size / 2
    return torch.cat((corner, corner + extent + 0.01), dim=1)


seeds = st.integers(0, 2**31)
counts = st.integers(0, 9)


@properties
@given(seeds, counts, counts)
def test_equal_torchvision(seed, n, m):
    one, two = random_boxes(seed, n), random_boxes(seed + 7, m)
    torch.testing.assert_close(box_area(one), reference.box_area(one), rtol=0, atol=0)
    torch.testing.assert_close(box_iou(one, two), reference.box_iou(one, two), rtol=0, atol=0)
    torch.testing.assert_close(
        clip_boxes(one - 9, (20, 30)),
        reference.clip_boxes_to_image(one - 9, (20, 30)),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_convert_equals_torchvision_and_back(source, target):
    boxes = random_boxes(0, 20)
    given_ = reference.box_convert(boxes, "xyxy", source)
    got = box_convert(given_, source, target)
    torch.testing.assert_close(got, reference.box_convert(given_, source, target))
    torch.testing.assert_close(box_convert(got, target, source), given_, atol=1e-4, rtol=0)
    assert got.data_ptr() != given_.data_ptr()
    assert box_convert(NONE, source, target).shape == (0, 4)


@properties
@given(seeds, st.integers(1, 9))
def test_iou_is_a_similarity(seed, n):
    boxes = random_boxes(seed, n)
    iou = box_iou(boxes, boxes)
    assert torch.equal(iou, iou.T)
    assert torch.equal(iou.diagonal(), torch.ones(n))
    assert ((iou >= 0) & (iou <= 1)).all()
    torch.testing.assert_close(box_iou(boxes * 4, boxes * 4), iou)  # it knows no unit


def test_iou_by_hand_in_any_number_type():
    one, two = (
        torch.tensor([[0, 0, 2, 2]]),
        torch.tensor([[1, 1, 3, 3], [2, 2, 4, 4], [0, 0, 2, 2]]),
    )
    for dtype in (torch.uint8, torch.int64, torch.float16, torch.float64):
        got = box_iou(one.to(dtype), two.to(dtype))[0].tolist()
        assert got == pytest.approx([1 / 7, 0, 1])
    assert box_area(torch.tensor([0, 0, 200, 200], dtype=torch.uint8)) == 40000


def test_batches_of_boxes():
    one, two = random_boxes(0, 6).view(2, 3, 4), random_boxes(5, 8).view(2, 4, 4)
    assert box_iou(one, two).shape == (2, 3, 4)
    assert torch.equal(box_iou(one, two)[1], box_iou(one[1], two[1]))


def test_boxes_without_area_are_no_nan_and_give_no_nan_gradient():
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]], requires_grad=True)
    value = box_iou(point, point)
    assert value.item() == 0
    (gradient,) = torch.autograd.grad(value.sum(), point)
    assert gradient.isfinite().all()


def test_iou_is_not_one_for_every_pair():
    """A tutorial's ``box_iou`` divides ones by ones: every box then suppresses every other."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [5, 0, 15, 10]])
    expected = torch.tensor([[1, 0, 1 / 3], [0, 1, 0], [1 / 3, 0, 1]])
    torch.testing.assert_close(box_iou(boxes, boxes), expected)


def test_clipping_keeps_boxes_in_order():
    boxes = torch.tensor([[-5.0, -5, 5, 5], [90, 90, 120, 130], [200, 0, 300, 9]])
    clipped = clip_boxes(boxes, (100, 110))
    assert clipped.tolist() == [[0, 0, 5, 5], [90, 90, 110, 100], [110, 0, 110, 9]]
    assert boxes[0, 0] == -5  # the caller's tensor is left alone
    assert clip_boxes(NONE, (4, 4)).shape == (0, 4)


class TestCoder:
    @pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
    def test_equals_torchvision(self, weights):
        boxes, anchors = random_boxes(0, 30), random_boxes(1, 30)
        offsets = torch.randn(30, 3, 4, generator=torch.Generator().manual_seed(0)) * 8
        coder, theirs = BoxCoder(weights), ReferenceCoder(weights)
        torch.testing.assert_close(
            coder.encode(boxes, anchors), theirs.encode_single(boxes, anchors)
        )
        torch.testing.assert_close(
            coder.decode(offsets, anchors[:, None]), theirs.decode(offsets.flatten(1), [anchors])
        )

    @properties
    @given(seeds, counts)
    def test_decode_undoes_encode(self, seed, n):
        coder = BoxCoder((10.0, 10.0, 5.0, 5.0), clamp=20.0)
        boxes, anchors = random_boxes(seed, n).double(), random_boxes(seed + 3, n).double()
        torch.testing.assert_close(coder.decode(coder.encode(boxes, anchors), anchors), boxes)

    def test_clamp(self):
        anchor = torch.tensor([[0.0, 0.0, 16.0, 16.0]], dtype=torch.float64)
        box = BoxCoder().decode(torch.tensor([[0.0, 0.0, 500.0, 500.0]]).double(), anchor)
        assert (box[0, 2] - box[0, 0]).item() == pytest.approx(1000, rel=1e-12)
        assert BoxCoder().clamp == pytest.approx(math.log(62.5), rel=1e-12)

    def test_proposals_from_anchors_have_an_area(self):
        """A tutorial draws random corners for its proposals: most have x2 <= x1 or y2 <= y1."""
        random = torch.rand(1000, 4, generator=torch.Generator().manual_seed(0))
        wrong = (random[:, 2:] <= random[:, :2]).any(1).float().mean()
        assert wrong > 0.7
        offsets = torch.randn(1000, 4, generator=torch.Generator().manual_seed(1))
        offsets.requires_grad_()
        proposals = BoxCoder().decode(offsets, random_boxes(0, 1000))
        assert (box_area(proposals) > 0).all() and (proposals[:, 2:] > proposals[:, :2]).all()
        proposals.sum().backward()
        assert offsets.grad.abs().sum() > 0  # they also learn


class TestMasksToBoxes:
    @properties
    @given(seeds, st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))
    def test_is_torchvision_plus_the_last_pixel(self, seed, n, height, width):
        masks = torch.rand(n, height, width, generator=torch.Generator().manual_seed(seed)) < 0.1
        expected = reference.masks_to_boxes(masks)
        expected[masks.flatten(1).any(1), 2:] += 1
        assert torch.equal(masks_to_boxes(masks), expected)

    def test_one_pixel_has_area_one(self):
        mask = torch.zeros(1, 5, 6)
        mask[0, 2, 3] = 1
        assert masks_to_boxes(mask).tolist() == [[3, 2, 4, 3]]
        assert box_area(masks_to_boxes(mask)) == 1

    def test_empty(self):
        assert masks_to_boxes(torch.zeros(0, 5, 6)).shape == (0, 4)
        assert masks_to_boxes(torch.zeros(2, 5, 6)).tolist() == [[0] * 4] * 2
        assert masks_to_boxes(torch.zeros(1, 0, 6)).tolist() == [[0] * 4]


def test_empty_inputs():
    assert box_iou(NONE, random_boxes(0, 3)).shape == (0, 3)
    assert box_iou(random_boxes(0, 3), NONE).shape == (3, 0)
    assert box_area(NONE).shape == (0,)
    assert BoxCoder().encode(NONE, NONE).shape == BoxCoder().decode(NONE, NONE).shape == (0, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: box_iou(torch.zeros(4), NONE), r"boxes1 must be \(..., N, 4\), got \(4,\)"),
        (lambda: box_iou(NONE, torch.zeros(2, 5)), r"boxes2 .* got \(2, 5\)"),
        (lambda: box_area(torch.zeros(3)), r"boxes must be \(..., 4\), got \(3,\)"),
        (lambda: box_convert(NONE, "yxyx", "xyxy"), "in_format must be one of xyxy.*'yxyx'"),
        (lambda: box_convert(NONE, "xyxy", "polar"), "out_format"),
        (lambda: clip_boxes(NONE, (-1, 3)), r"size must .* got \(-1, 3\)"),
        (lambda: masks_to_boxes(torch.zeros(3, 3)), r"masks must be \(N, H, W\), got \(3, 3\)"),
        (lambda: BoxCoder((1.0, 1.0, 0.0, 1.0)), "weights must be 4 positive"),
        (lambda: BoxCoder().decode(torch.zeros(2, 3), NONE), "offsets must be"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
