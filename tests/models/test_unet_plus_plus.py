import pytest
import torch

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
