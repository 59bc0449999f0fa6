import torch

from segedu.models.fpn import FeaturePyramid, SemanticBranch


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
    assert SemanticBranch(8, 16, groups=4)(levels).shape == (1, 16, 25, 33)


def test_steps_of_the_branch_are_three_two_one_and_one():
    branch = SemanticBranch(8, 16, groups=4)
    assert [len(level) for level in branch.levels] == [1, 1, 2, 3]
