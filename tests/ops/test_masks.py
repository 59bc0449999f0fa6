import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import paste_masks_in_image

from segedu.ops import (
    binary_masks,
    crop_masks,
    mask_iou,
    masks_to_boxes,
    paste_masks,
    polygon_to_mask,
    resize_labels,
    rle,
    segmentation_to_mask,
)


class TestPaste:
    @settings(deadline=None, max_examples=40)
    @given(st.integers(0, 2**31), st.integers(0, 5), st.sampled_from([1, 5, 28]))
    def test_equals_torchvision(self, seed, n, side):
        generator = torch.Generator().manual_seed(seed)
        masks = torch.rand(n, side, side, generator=generator)
        corner = torch.rand(n, 2, generator=generator) * torch.tensor([40.0, 30.0])
        boxes = torch.cat((corner, corner + torch.rand(n, 2, generator=generator) * 30), dim=1)
        boxes = boxes.clamp(max=45)  # over the lower border, and some without an area
        expected = paste_masks_in_image(masks[:, None], boxes, (35, 45))[:, 0]
        assert torch.equal(paste_masks(masks, boxes, (35, 45)), expected)

    def test_a_full_mask_fills_its_box_to_a_pixel(self):
        boxes = torch.tensor([[4.0, 6.0, 20.0, 16.0]])
        pasted = paste_masks(torch.ones(1, 28, 28), boxes, (24, 32)) >= 0.5
        # Cutting the grown box down to whole pixels costs up to one; here a row above and below.
        assert masks_to_boxes(pasted).tolist() == [[4, 5, 20, 17]]

    def test_outside_and_over_the_border(self):
        boxes = torch.tensor([[-50.0, -50, -30, -30], [90, 90, 95, 99], [-4, -4, 4, 4]])
        pasted = paste_masks(torch.ones(3, 7, 7), boxes, (10, 12))
        assert not pasted[:2].any()
        assert pasted[2, :4, :4].min() >= 0.5 and not pasted[2, 6:].any()
        assert boxes[2, 0] == -4  # the caller's tensor is left alone

    def test_empty(self):
        assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (5, 6)).shape == (0, 5, 6)


class TestCrop:
    def test_by_hand(self):
        masks = torch.ones(2, 4, 5)
        boxes = torch.tensor([[1.0, 1.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
        cropped = crop_masks(masks, boxes)
        assert cropped.sum((1, 2)).tolist() == [6, 0]
        assert cropped[0, 1:4, 1:3].all()
        assert crop_masks(masks, boxes, padding=1).sum((1, 2)).tolist() == [16, 1]
        assert masks.all()  # the caller's tensor is left alone

    @settings(deadline=None, max_examples=40)
    @given(st.integers(0, 2**31), st.integers(0, 4))
    def test_the_box_of_a_mask_crops_nothing(self, seed, n):
        masks = torch.rand(n, 6, 7, generator=torch.Generator().manual_seed(seed)) < 0.1
        assert torch.equal(crop_masks(masks, masks_to_boxes(masks)), masks)

    def test_gradient_flows_inside_alone(self):
        masks = torch.zeros(1, 4, 4, requires_grad=True)
        crop_masks(masks, torch.tensor([[0.0, 0, 2, 2]])).sum().backward()
        assert masks.grad.sum() == masks.grad[0, :2, :2].sum() == 4


class TestIoU:
    @settings(deadline=None, max_examples=40)
    @given(st.integers(0, 2**31), st.integers(0, 3), st.integers(0, 3))
    def test_equals_the_definition(self, seed, n, m):
        generator = torch.Generator().manual_seed(seed)
        one, two = (torch.rand(k, 3, 4, generator=generator) < 0.3 for k in (n, m))
        iou = mask_iou(one, two)
        assert iou.shape == (n, m)
        for i, j in np.ndindex(n, m):
            union = (one[i] | two[j]).sum()
            expected = (one[i] & two[j]).sum() / union if union else 0.0
            assert iou[i, j] == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paste_masks(torch.zeros(1, 7, 7), torch.zeros(2, 4), (4, 4)), r"got \(1, 7, 7\)"),
        (lambda: paste_masks(torch.zeros(1, 7, 8), torch.zeros(1, 4), (4, 4)), r"\(N, M, M\)"),
        (lambda: paste_masks(torch.zeros(1, 7, 7), torch.zeros(1, 4), (0, 4)), "size .* got .0, 4"),
        (lambda: crop_masks(torch.zeros(7, 7), torch.zeros(7, 4)), r"masks must be \(N, H, W\)"),
        (lambda: mask_iou(torch.zeros(1, 2, 3), torch.zeros(1, 3, 2)), r"masks2 \(M, H, W\)"),
        (lambda: mask_iou(torch.ones(1, 2, 3), 255 * torch.eye(3)[None, :2]), "masks2 .*to 255.0"),
        (
            lambda: binary_masks(torch.tensor([0.0, float("nan")])),
            "masks must be .*nan to nan",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


class TestRasterising:
    def test_pixel_centres_decide(self):
        mask = polygon_to_mask([0.6, 0, 3.5, 0, 3.5, 1.4, 0.6, 1.4], height=2, width=4)
        assert mask.tolist() == [[False, True, True, False], [False, False, False, False]]

    def test_even_odd(self):
        ring = [0, 0, 4, 0, 4, 4, 0, 4, 0, 0, 1, 1, 3, 1, 3, 3, 1, 3, 1, 1]
        mask = polygon_to_mask(ring, height=4, width=4)
        assert mask.sum() == 12
        assert not mask[1:3, 1:3].any()

    def test_outside_the_picture_is_cut_off(self):
        mask = polygon_to_mask([-5, -5, 9, -5, 9, 9, -5, 9], height=2, width=3)
        assert mask.all()

    @settings(deadline=None, max_examples=50)
    @given(
        st.lists(
            st.tuples(st.floats(-2, 14), st.floats(-2, 12)), min_size=3, max_size=8, unique=True
        )
    )
    def test_equals_the_definition(self, vertices):
        """Counts, pixel by pixel, the edges that a ray to the left meets."""
        mask = polygon_to_mask(np.ravel(vertices), height=10, width=12)
        for i, j in np.ndindex(10, 12):
            x, y, inside = j + 0.5, i + 0.5, False
            for (xa, ya), (xb, yb) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
                # An edge from top to bottom and its reverse must give the same crossing.
                if (ya > y) != (yb > y) and xa + (y - ya) * (xb - xa) / (yb - ya) <= x:
                    inside = not inside
            assert mask[i, j] == inside

    def test_run_lengths_go_down_the_columns(self):
        runs = {"size": [2, 3], "counts": "123"}  # one pixel out, two in, three out
        assert segmentation_to_mask(runs, 2, 3).tolist() == [
            [False, True, False],
            [True, False, False],
        ]

    @pytest.mark.oracle
    @settings(deadline=None, max_examples=50)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 90), st.integers(1, 40))
    def test_run_lengths_are_those_of_pycocotools(self, seed, height, width, length):
        coco_mask = pytest.importorskip("pycocotools.mask")
        noise = np.random.default_rng(seed).random(height * width // length + 1) < 0.5
        mask = np.repeat(noise, length)[: height * width].reshape(width, height).T
        encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        runs = {"size": [height, width], "counts": encoded["counts"].decode()}
        assert np.array_equal(segmentation_to_mask(runs, height, width), mask)

    def test_bad_segmentations(self):
        with pytest.raises(ValueError, match="polygon must be x, y pairs of >= 3 vertices, got 4"):
            polygon_to_mask([0, 0, 1, 1], 4, 4)
        with pytest.raises(ValueError, match="got 7 numbers"):
            polygon_to_mask([0, 0, 1, 1, 2, 0, 3], 4, 4)
        with pytest.raises(ValueError, match="must add up to 2 x 3, got 5"):
            segmentation_to_mask({"size": [2, 3], "counts": "14"}, 2, 3)
        with pytest.raises(ValueError, match="must be of size 3 x 2, got .2, 3."):
            segmentation_to_mask({"size": [2, 3], "counts": "15"}, 3, 2)

    def test_polygons_are_united_and_rle_is_read_in_each_form(self):
        squares = [[0, 0, 2, 0, 2, 2, 0, 2], [1, 1, 3, 1, 3, 3, 1, 3]]
        mask = segmentation_to_mask(squares, 3, 4)
        assert mask.sum() == 7  # the shared pixel counts once
        assert not segmentation_to_mask([], 3, 4).any()
        for compress in (False, True):
            code = rle.encode(mask, compress=compress)
            assert np.array_equal(segmentation_to_mask(code, 3, 4), mask)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int32, torch.int64])
def test_labels_of_every_type_show_the_pixel_under_their_centre(dtype):
    labels = (torch.arange(2 * 7 * 9).reshape(2, 7, 9) % 251).to(dtype)
    for size in ((7, 9), (14, 27), (3, 4), (1, 1), (20, 5)):
        found = resize_labels(labels, size)
        assert found.dtype == dtype and found.shape == (2, *size)
        rows = [int((i + 0.5) * 7 / size[0]) for i in range(size[0])]
        columns = [int((j + 0.5) * 9 / size[1]) for j in range(size[1])]
        assert torch.equal(found, labels[:, rows][:, :, columns])
        exact = F.interpolate(labels[None].double(), size, mode="nearest-exact")[0]
        assert torch.equal(found, exact.to(dtype))
    assert torch.equal(resize_labels(labels, (14, 18))[:, ::2, ::2], labels)
