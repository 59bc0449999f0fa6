import pytest
import torch
import torch.nn.functional as F

from segedu.models import get_model
from segedu.models.attention import (
    CBAM,
    ChannelAttention,
    DANetHead,
    NonLocal2d,
    PositionAttention,
    SqueezeExcitation,
    scaled_dot_product_attention,
)
from tests.models.parameters import count


@pytest.mark.parametrize("scale", [None, 1.0, 0.1])
def test_attention_equals_the_fused_kernel_and_its_weights_sum_to_one(scale):
    query, key, value = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 4)
    output, weights = scaled_dot_product_attention(query, key, value, scale)
    expected = F.scaled_dot_product_attention(query, key, value, scale=scale)
    assert torch.allclose(output, expected, atol=1e-6)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 3, 5))


def test_attention_has_the_right_gradient():
    inputs = [torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *x: scaled_dot_product_attention(*x)[0], inputs)


@pytest.mark.parametrize("block", [NonLocal2d(8), PositionAttention(8), ChannelAttention()])
def test_blocks_start_as_the_identity(block):
    x = torch.rand(2, 8, 5, 6)
    assert torch.equal(block(x), x)


def test_a_position_attends_to_the_whole_map():
    block = PositionAttention(8)
    torch.nn.init.ones_(block.gamma)
    x = torch.randn(1, 8, 5, 6, requires_grad=True)
    block(x)[0, :, 0, 0].sum().backward()
    assert (x.grad.abs().sum(1) > 0).all()


def test_channel_attention_is_the_formula_of_the_released_code():
    block = ChannelAttention()
    torch.nn.init.ones_(block.gamma)
    x = torch.rand(2, 4, 3, 5)
    flat = x.flatten(2)
    energy = flat @ flat.transpose(1, 2)
    weights = (energy.amax(-1, keepdim=True) - energy).softmax(-1)
    assert torch.allclose(block(x), (weights @ flat).view_as(x) + x, atol=1e-6)


def test_parameters_are_the_references():
    assert count(NonLocal2d(512)) == 526_592
    assert count(PositionAttention(512)) == 328_321
    assert count(ChannelAttention()) == 1
    with torch.device("meta"):
        assert count(DANetHead(2048, 19)) == 23_954_619


@pytest.mark.parametrize("block", [SqueezeExcitation(32), CBAM(32).eval()])
def test_gates_only_shrink(block):
    x = torch.randn(2, 32, 6, 7)
    assert (block(x).abs() <= x.abs()).all()
    assert block(x).shape == x.shape


@pytest.mark.parametrize("block", [NonLocal2d(8), NonLocal2d(8, subsample=True)])
def test_weights_of_the_non_local_block_give_its_output(block):
    torch.nn.init.ones_(block.out[1].weight)
    x = torch.randn(2, 8, 4, 6)
    weights = block.eval().attention(x)
    assert weights.shape == (2, 24, 6 if isinstance(block.pool, torch.nn.MaxPool2d) else 24)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 24))
    value = block.pool(block.g(x)).flatten(2)  # (N, C/2, hw or hw/4)
    y = (value @ weights.transpose(1, 2)).unflatten(2, (4, 6))
    assert torch.allclose(block(x), x + block.out(y), atol=1e-5)


def test_weights_of_danet_give_its_outputs():
    x = torch.randn(2, 8, 4, 6)
    position, channel = PositionAttention(8), ChannelAttention()
    for block in (position, channel):
        torch.nn.init.ones_(block.gamma)
    weights = position.attention(x)
    assert weights.shape == (2, 24, 24)
    y = (position.value(x).flatten(2) @ weights.transpose(1, 2)).view_as(x)
    assert torch.allclose(position(x), x + y, atol=1e-5)
    weights = channel.attention(x)
    assert weights.shape == (2, 8, 8)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 8))
    assert torch.allclose(channel(x), x + (weights @ x.flatten(2)).view_as(x), atol=1e-5)


def test_gates_give_the_outputs():
    x = torch.randn(2, 32, 6, 7)
    squeeze, cbam = SqueezeExcitation(32), CBAM(32).eval()
    assert squeeze.attention(x).shape == (2, 32, 1, 1)
    assert torch.equal(squeeze(x), x * squeeze.attention(x))
    channels = cbam.channel_attention(x)
    positions = cbam.position_attention(x * channels)
    assert (channels.shape, positions.shape) == ((2, 32, 1, 1), (2, 1, 6, 7))
    assert torch.equal(cbam(x), x * channels * positions)


@pytest.mark.parametrize(("blocks", "factors"), [(1, [4]), (2, [4, 8]), (3, [4, 8, 16])])
def test_a_short_last_stage_takes_the_first_dilations(blocks, factors):
    model = get_model("danet_resnet50", 5, base_width=4, layers=(1, 1, 1, blocks))
    assert [block.conv2.dilation[0] for block in model.backbone.layer4] == factors
    with pytest.raises(ValueError, match="multi_grid needs 3 factors, got 1"):
        get_model("danet_resnet50", 5, multi_grid=(1,), base_width=4, layers=(1, 1, 1, 3))
