import pytest
import torch
from torch import nn

from segedu.models.segnet import SegNet, segnet_basic, segnet_vgg16


def test_values_return_to_where_the_maxima_were():
    model = SegNet(nn.ModuleList([nn.Identity()]), nn.ModuleList([nn.Identity()]))
    x = torch.tensor([[1.0, 2, 0], [4, 3, 0], [9, 9, 9]])[None, None]
    assert model(x)[0, 0].tolist() == [[0, 0, 0], [4, 0, 0], [0, 0, 0]]  # odd: the rim stays empty


@pytest.mark.parametrize("build", [segnet_vgg16, segnet_basic])
def test_the_logits_are_not_normalised_or_rectified(build):
    last = build(5, base_width=4).decoder[-1][-1]
    assert isinstance(last, nn.Conv2d)
    assert last.out_channels == 5


def test_relus_are_where_the_paper_has_them():
    def relus(module):
        return sum(isinstance(m, nn.ReLU) for m in module.modules())

    assert relus(segnet_vgg16(5, base_width=4)) == 25
    basic = segnet_basic(5, base_width=4)
    assert (relus(basic.encoder), relus(basic.decoder)) == (4, 0)


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match="at least 32 pixels a side, got 31 x 64"):
        segnet_vgg16(5, base_width=4)(torch.zeros(1, 3, 31, 64))
