import pytest
import torch

from segedu.models.hrnet import HighResolutionModule, HRNet


def test_every_branch_receives_from_every_other():
    module = HighResolutionModule([4, 8, 16], blocks=1).eval()
    maps = [torch.rand(1, 4 * 2**i, 16 // 2**i, 16 // 2**i, requires_grad=True) for i in range(3)]
    for fused, like in zip(module(maps), maps, strict=True):
        assert fused.shape == like.shape
        for gradient in torch.autograd.grad(fused.sum(), maps, retain_graph=True):
            assert gradient.abs().sum() > 0


@pytest.mark.parametrize(("width", "parameters"), [(48, 65_859_379)])
def test_parameters_are_the_references(width, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in HRNet(19, width).parameters()) == parameters


def test_stride_four_is_never_given_up():
    model = HRNet(2, 4, stem_width=4, modules=(1, 1, 1), blocks=1).eval()
    sizes = []
    for stage in model.stages:
        stage.register_forward_hook(lambda _, __, maps: sizes.append([m.shape[-1] for m in maps]))
    model(torch.zeros(1, 3, 64, 64))
    assert sizes == [[16, 8], [16, 8, 4], [16, 8, 4, 2]]
