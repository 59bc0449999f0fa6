from functools import cache

import pytest
import torch
import torch.nn.functional as F

from segedu.models.unet_plus_plus import UNetPlusPlus


@pytest.mark.parametrize(
    ("form", "deep_supervision", "parameters"),
    [
        ("bilinear", False, 9_163_329),
        ("bilinear", True, 9_163_428),
        ("paper", False, 9_042_177),
        ("paper", True, 9_042_276),
    ],
)
def test_parameters_are_the_references(form, deep_supervision, parameters):
    with torch.device("meta"):
        model = UNetPlusPlus(1, form=form, deep_supervision=deep_supervision)
    assert sum(p.numel() for p in model.parameters()) == parameters


@torch.no_grad()
def test_the_papers_form_is_equation_1():
    model = UNetPlusPlus(3, base_width=4, form="paper", deep_supervision=True)
    images, state = torch.randn(2, 3, 32, 48), model.state_dict()

    def conv(name, x, padding):
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    @cache
    def node(i, j):
        if j == 0:
            x = images if i == 0 else F.max_pool2d(node(i - 1, 0), 2)
        else:
            up = f"ups.{i}_{j}"
            below = node(i + 1, j - 1)
            below = F.conv_transpose2d(below, state[f"{up}.weight"], state[f"{up}.bias"], stride=2)
            x = torch.cat([*(node(i, k) for k in range(j)), below], dim=1)
        for layer in (0, 2):
            x = conv(f"nodes.{i}_{j}.layers.{layer}", x, padding=1).relu()
        return x

    expected = [conv(f"heads.{j}", node(0, j), padding=0) for j in (4, 3, 2, 1)]
    for head, by_hand in zip(model.forward_heads(images), expected, strict=True):
        assert head.std() > 1e-3
        assert torch.allclose(head, by_hand, atol=1e-5)


@pytest.mark.parametrize("form", ["bilinear", "paper"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@torch.no_grad()
def test_pruning_gives_the_shallower_head(form, depth):
    model = UNetPlusPlus(3, base_width=4, depth=3, form=form, deep_supervision=True).eval()
    x = torch.randn(2, 3, 41, 50)
    pruned = model.prune(depth)
    assert torch.equal(pruned(x), model.forward_heads(x)[3 - depth])
    assert not pruned.training
    smaller = sum(p.numel() for p in pruned.parameters())
    assert smaller < sum(p.numel() for p in model.parameters())


def test_training_returns_the_deepest_head_first():
    torch.manual_seed(0)
    model = UNetPlusPlus(3, base_width=4, depth=2, deep_supervision=True)
    x = torch.randn(2, 3, 16, 16)
    deepest, shallow = model.forward_heads(x)
    outputs = model(x)
    assert torch.equal(outputs[0], deepest)
    assert torch.equal(outputs[1], shallow)
    for name in ("2_0", "1_1", "0_2"):  # the shallow head does not see the third level
        model.nodes[name].requires_grad_(False)
    model.zero_grad()
    shallow_parameters = torch.autograd.grad(
        model(x)[1].sum(), list(model.nodes["1_0"].parameters()), allow_unused=True
    )
    assert all(gradient is not None for gradient in shallow_parameters)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="form must be 'bilinear' or 'paper', got 'tf'"):
        UNetPlusPlus(2, form="tf")
    with pytest.raises(ValueError, match="deep_supervision=True"):
        UNetPlusPlus(2, base_width=2).prune(2)
    with pytest.raises(ValueError, match="depth must be 1 to 4, got 5"):
        UNetPlusPlus(2, base_width=2, deep_supervision=True).prune(5)
    with pytest.raises(ValueError, match="at least 16 pixels a side"):
        UNetPlusPlus(2, base_width=2)(torch.zeros(1, 3, 8, 64))
