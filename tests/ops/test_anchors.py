import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from segedu.ops import cell_anchors, grid_anchors, pyramid_anchors

SIZES = ((32,), (64,), (128,), (256,), (512,))
RATIOS = ((0.5, 1.0, 2.0),) * 5


@pytest.mark.parametrize("image", [(128, 160), (96, 224), (33, 47)])
@pytest.mark.parametrize("sizes", [SIZES, ((16, 20.16), (32, 40.32), (64, 80.63), (99,), (1, 2))])
def test_equal_torchvision(image, sizes):
    grids = [(-(-image[0] // s), -(-image[1] // s)) for s in (4, 8, 16, 32, 64)]
    maps = [torch.zeros(1, 1, *grid) for grid in grids]
    theirs = AnchorGenerator(sizes, RATIOS)(ImageList(torch.zeros(1, 3, *image), [image]), maps)
    ours = pyramid_anchors(image, grids, sizes, RATIOS)
    assert [len(level) for level in ours] == [
        h * w * 3 * len(size) for (h, w), size in zip(grids, sizes, strict=True)
    ]
    assert torch.equal(torch.cat(ours), theirs[0])


def test_cell_by_hand():
    """The areas are 32², the edges whole numbers."""
    assert cell_anchors((32,), (0.5, 1.0, 2.0)).tolist() == [
        [-23, -11, 23, 11],
        [-16, -16, 16, 16],
        [-11, -23, 11, 23],
    ]


def test_order_is_row_by_row_and_the_anchors_of_a_place_together():
    cell = torch.tensor([[-1.0, -1, 1, 1], [-2, -1, 2, 1]])
    anchors = grid_anchors(cell, (2, 3), (10, 100))
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert centre[::2].tolist() == [[0, 0], [100, 0], [200, 0], [0, 10], [100, 10], [200, 10]]
    assert torch.equal(centre[::2], centre[1::2])
    assert anchors.dtype == cell.dtype


def test_empty():
    assert cell_anchors((), (1.0,)).shape == (0, 4)
    assert grid_anchors(torch.zeros(3, 4), (0, 5), (4, 4)).shape == (0, 4)
    assert pyramid_anchors((8, 8), [], [], []) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cell_anchors((0,), (1.0,)), r"sizes must be positive, got \(0,\)"),
        (lambda: cell_anchors((8,), (-1.0,)), r"aspect_ratios must be positive, got \(-1.0,\)"),
        (lambda: grid_anchors(torch.zeros(4), (1, 1), (1, 1)), r"cell must be \(A, 4\)"),
        (lambda: pyramid_anchors((8, 8), [(16, 16)], [(8,)], [(1.0,)]), r"stride .* got \(0, 0\)"),
        (lambda: pyramid_anchors((8, 8), [(4, 4)], SIZES, RATIOS), "got 1, 5 and 5"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
