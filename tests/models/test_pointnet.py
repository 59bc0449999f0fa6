"""PointNet: the paper's size, any order of the points, gradients, learning by heart."""

import pytest
import torch
import torch.nn.functional as F

from segedu.models.pointnet import PointNet
from tests.models.overfit import learns_by_heart


def test_size_of_the_paper():
    # Qi et al. 2017, table 6: 0.8 M parameters of the vanilla classifier; here without batch norm
    net = PointNet(40, per_point=False)
    convs = [m for m in net.modules() if isinstance(m, torch.nn.Conv1d)]
    assert sum(p.numel() for m in convs for p in m.parameters()) == 815_400
    # and 148 M multiplications for 1024 points: nearly all in the layers of each point
    shared = [m for part in (net.point, net.cloud) for m in part if hasattr(m, "kernel_size")]
    assert sum(m.weight.numel() for m in shared) == 147_648


@pytest.mark.parametrize("per_point", [True, False])
def test_order_of_points_does_not_matter(per_point):
    torch.manual_seed(0)
    net = PointNet(4, base_width=4, per_point=per_point).double().eval()
    points = torch.rand(2, 30, 3, dtype=torch.float64)
    order = torch.randperm(30)
    a, b = net(points), net(points[:, order])
    torch.testing.assert_close(b, a[..., order] if per_point else a, rtol=0, atol=1e-12)


def test_points_that_are_nowhere_the_maximum_can_go():
    torch.manual_seed(0)
    net = PointNet(4, base_width=2, per_point=False).double().eval()
    points = torch.rand(1, 200, 3, dtype=torch.float64)
    best = net.cloud(net.point(points.transpose(1, 2))).argmax(2).unique()  # the critical points
    assert len(best) <= 32 < 200
    torch.testing.assert_close(net(points[:, best]), net(points), rtol=0, atol=1e-12)


def test_a_point_is_judged_in_the_light_of_the_others():
    torch.manual_seed(0)
    net = PointNet(4, base_width=4).eval()
    points = torch.rand(1, 30, 3)
    moved = points.clone()
    moved[:, 1:] += 5
    assert not torch.allclose(net(points)[..., 0], net(moved)[..., 0])


@pytest.mark.parametrize("per_point", [True, False])
def test_gradients_reach_everything_and_it_learns_by_heart(per_point):
    torch.manual_seed(0)
    net = PointNet(2, base_width=8, per_point=per_point)
    points = torch.rand(8, 16, 3)
    target = (points[..., 0] > 0.5).long() if per_point else torch.arange(8) % 2
    assert learns_by_heart(net, lambda: F.cross_entropy(net(points), target), below=0.2)


def test_bad_input():
    net = PointNet(2, base_width=2)
    for shape in ((2, 3, 10), (10, 3), (2, 0, 3)):
        with pytest.raises(ValueError, match=r"points must be \(N, P, 3\)"):
            net(torch.zeros(shape))
    with pytest.raises(ValueError, match="at least 1"):
        PointNet(0)
