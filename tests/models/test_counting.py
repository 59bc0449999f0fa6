"""Costs against closed forms: k^2 C_in C_out / groups for each output pixel, and their kin."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from segedu.models import Cost, cost, get_model

LAYERS = {
    "convolution": (nn.Conv2d(3, 8, 3, padding=1), 10, 27 * 8 * 100, 800),
    "stride": (nn.Conv2d(3, 8, 3, stride=2), 11, 27 * 8 * 25, 200),
    "dilated": (nn.Conv2d(3, 8, 3, dilation=2), 14, 27 * 8 * 100, 800),
    "grouped": (nn.Conv2d(3, 9, 5, groups=3), 14, 25 * 9 * 100, 900),
    "transposed": (nn.ConvTranspose2d(3, 8, 2, stride=2), 10, 4 * 3 * 8 * 100, 8 * 400),
    "transposed, grouped": (nn.ConvTranspose2d(3, 6, 4, 2, groups=3), 10, 16 * 6 * 100, 6 * 484),
    "volume": (nn.Conv3d(3, 2, 3, padding=1), (4, 5, 6), 81 * 2 * 120, 2 * 120),
    "linear": (nn.Linear(10, 4), 10, 3 * 10 * 10 * 4, 3 * 10 * 4),
    "no product": (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2)), 10, 0, 0),
}


@pytest.mark.parametrize(("layer", "size", "macs", "activations"), LAYERS.values(), ids=LAYERS)
def test_cost_of_a_layer_is_its_closed_form(layer, size, macs, activations):
    parameters = sum(p.numel() for p in layer.parameters())
    assert cost(layer, size) == Cost(parameters, macs, activations)


class Attention(nn.Module):
    """Self-attention over the pixels, with torch's function or as two matrix products."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, x):
        x = x.flatten(2).mT[:, None]  # (N, 1, L, C)
        if self.fused:
            return F.scaled_dot_product_attention(x, x, x)
        return (x @ x.mT).softmax(-1) @ x


@pytest.mark.parametrize("fused", [False, True])
def test_cost_of_attention_has_both_matrix_products(fused):
    length, channels = 6 * 6, 3
    found = cost(Attention(fused), 6)
    assert found.macs == 2 * length * length * channels
    assert found.activations == length * length + length * channels


def test_cost_of_a_network_equals_the_flop_counter_on_real_numbers():
    model = get_model("unet", 5, base_width=4).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 32, 48))
    found = cost(model, (32, 48))
    assert 2 * found.macs == counter.get_total_flops()
    assert found.parameters == sum(p.numel() for p in model.parameters())


def test_cost_grows_with_the_pixels_and_leaves_the_mode():
    model = get_model("enet", 5)
    small, large = cost(model, 64), cost(model, 128)
    assert large.macs == 4 * small.macs
    assert large.activations == 4 * small.activations
    assert model.training
