import torch
from torch import nn

from segedu.models.enet import DownBottleneck, ENet


def test_parameters_are_the_references():
    with torch.device("meta"):
        counts = [sum(p.numel() for p in ENet(n).parameters()) for n in (12, 19, 20)]
    assert counts == [350_652, 351_660, 351_804]


def test_pooling_is_padded_with_empty_channels():
    block = DownBottleneck(4, 16, dropout=0.0).eval()
    for parameter in block.branch.parameters():
        nn.init.zeros_(parameter)
    x = torch.rand(1, 4, 6, 8)
    y, indices = block(x)
    assert y.shape == (1, 16, 3, 4)
    assert torch.equal(y[:, :4], nn.functional.max_pool2d(x, 2))
    assert not y[:, 4:].any()
    assert indices.shape == (1, 4, 3, 4)


def test_prelu_in_the_encoder_and_relu_in_the_decoder():
    model = ENet(2, base_width=8)
    encoder = [model.initial, model.down1, model.stage1, model.down2, model.stage2, model.stage3]
    decoder = [model.up4, model.stage4, model.up5, model.stage5]
    assert not any(isinstance(m, nn.ReLU) for part in encoder for m in part.modules())
    assert not any(isinstance(m, nn.PReLU) for part in decoder for m in part.modules())
