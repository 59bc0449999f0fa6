import pytest
import torch

from segedu.models.fpn import FeaturePyramid, SemanticBranch, SemanticFPN


def test_the_coarsest_level_reaches_every_finer_one():
    pyramid = FeaturePyramid([4, 4, 4], 4)
    maps = [torch.randn(1, 4, 16 // 2**i, 24 // 2**i) for i in range(3)]
    maps[2].requires_grad_()
    for level in pyramid(maps):
        (gradient,) = torch.autograd.grad(level.sum(), maps[2], retain_graph=True)
        assert gradient.abs().sum() > 0


def test_odd_sizes_meet_at_the_finest_level():
    sizes = [(25, 33), (13, 17), (7, 9), (4, 5)]
    levels = [torch.randn(1, 8, *size) for size in sizes]
    assert SemanticBranch(8, 16)(levels).shape == (1, 16, 25, 33)


def test_steps_of_the_branch_are_three_two_one_and_one():
    branch = SemanticBranch(8, 16)
    assert [len(level) for level in branch.levels] == [1, 1, 2, 3]


def test_without_the_top_down_path_a_level_knows_its_own_map_only():
    pyramid = FeaturePyramid([4, 4, 4], 4, top_down=False)
    maps = [torch.randn(1, 4, 16 // 2**i, 24 // 2**i, requires_grad=True) for i in range(3)]
    for i, level in enumerate(pyramid(maps)):
        assert level.shape[-2:] == maps[i].shape[-2:]
        gradients = torch.autograd.grad(level.sum(), maps, retain_graph=True, allow_unused=True)
        assert [gradient is not None for gradient in gradients] == [i == k for k in range(3)]
    model = SemanticFPN(5, top_down=False, base_width=4, layers=(1, 1, 1, 1))
    assert not model.fpn.top_down


def test_groups_of_four_channels():
    assert SemanticBranch(8, 128).levels[0][0][1].num_groups == 32  # the paper's
    for width in (0, 2, 18):
        with pytest.raises(ValueError, match=f"width must be a multiple of 4 .*, got {width}"):
            SemanticBranch(8, width)
    for width in (1, 3):
        with pytest.raises(ValueError, match=f"base_width must be even, got {width}"):
            SemanticFPN(4, base_width=width, layers=(1, 1, 1, 1))
