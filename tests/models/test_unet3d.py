import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segedu.losses import AuxiliaryLoss, CrossEntropyLoss
from segedu.models import get_model, list_models
from segedu.models.catalogue import deep_supervision_weights
from segedu.models.unet3d import PlainUNet, UNet3d
from tests.models.parameters import count


def unet3d(num_classes: int = 3, **settings) -> nn.Module:
    torch.manual_seed(0)
    return UNet3d(num_classes, **{"base_width": 2, "depth": 2} | settings)


def plain(num_classes: int = 3, **settings) -> nn.Module:
    torch.manual_seed(0)
    return PlainUNet(num_classes, **{"base_width": 4, "stages": 3} | settings)


BUILDERS = [unet3d, plain]


def test_parameters_are_those_of_the_paper_and_of_nnunet():
    with torch.device("meta"):
        paper = UNet3d(3, in_channels=3)
        convs = [m for m in paper.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]
        assert sum(map(count, convs)) == 19_069_955
        assert count(paper) == 19_074_627
        assert count(PlainUNet(2)) == 31_195_594
        assert count(PlainUNet(2, dimensions=2, stages=8)) == 46_324_558


def test_the_papers_network_turns_132_x_132_x_116_into_44_x_44_x_28():
    with torch.device("meta"):
        output = UNet3d(3, in_channels=3, padded=False)(torch.empty(1, 3, 132, 132, 116))
    assert output.shape == (1, 3, 44, 44, 28)


def test_valid_and_padded_agree_where_the_border_is_not_seen():
    valid, padded = unet3d(depth=1, padded=False).eval(), unet3d(depth=1).eval()
    x = torch.randn(1, 1, 28, 24, 26)
    small, full = valid(x), padded(x)
    assert torch.allclose(small, full[..., 8:-8, 8:-8, 8:-8], atol=1e-5)


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("size", [(16, 16, 16), (17, 9, 23), (10, 8), (33, 21)])
def test_logits_have_the_size_of_the_input(build, size):
    model = build(dimensions=len(size)).eval()
    logits = model(torch.randn(2, 1, *size))
    assert logits.shape == (2, 3, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("build", BUILDERS)
@torch.no_grad()
def test_images_and_volumes_go_through_the_same_network(build):
    flat, deep = build(dimensions=2).eval(), build().eval()
    inflated = {}
    for name, weight in flat.state_dict().items():
        if weight.ndim == 4:  # a kernel (., ., 3, 3) becomes the middle of one (., ., 3, 3, 3)
            size = deep.state_dict()[name].shape[2]
            weight = weight.unsqueeze(2)
            weight = (
                F.pad(weight, (0, 0, 0, 0, 1, 1))
                if size == 3
                else weight.repeat_interleave(size, dim=2)
            )
        inflated[name] = weight
    deep.load_state_dict(inflated)
    x = torch.randn(1, 1, 17, 23)
    expected = flat(x)
    volume = deep(x.unsqueeze(2).expand(-1, -1, 9, -1, -1))  # the same image in every slice
    # (the last slice of an odd depth is padded where the U-Net pools, so it is left out)
    torch.testing.assert_close(volume[:, :, 3], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("build", BUILDERS)
def test_a_gradient_reaches_every_parameter_that_has_an_effect(build):
    model = build().train()
    x, target = torch.randn(2, 1, 16, 12, 9), torch.randint(3, (2, 16, 12, 9))
    loss = AuxiliaryLoss(CrossEntropyLoss(), (1.0, 0.5) if build is plain else (1.0,))
    loss(model(x), target).backward()
    for name, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            cancelled = isinstance(module, nn.Conv3d) and key == "bias" and "code" in name
            assert cancelled == bool(parameter.grad.abs().max() < 1e-6), f"{name}.{key}"


def test_deep_supervision_gives_every_resolution_in_training_only():
    model = plain(stages=4)
    x = torch.randn(1, 1, 16, 17, 9)
    shapes = [tuple(logits.shape[2:]) for logits in model(x)]
    assert shapes == [(16, 17, 9), (8, 9, 5), (4, 5, 3)]
    first = model(x)[0]
    assert torch.equal(model.eval()(x), first)  # instance norm does the same in both modes
    lone = plain(stages=4, deep_supervision=False)
    assert torch.is_tensor(lone(x))
    lone.load_state_dict(
        {k: v for k, v in model.state_dict().items() if k in lone.state_dict()}
        | {f"heads.0.{k}": model.state_dict()[f"heads.2.{k}"] for k in ("weight", "bias")}
    )
    assert torch.equal(lone(x), first)


def test_widths_stop_at_the_maximum():
    widths = [stage[0].out_channels for stage in PlainUNet(2, base_width=4, max_width=12).encoder]
    assert widths == [4, 8, 12, 12, 12, 12]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: unet3d()(torch.zeros(1, 1, 8, 3, 9)), r"at least 4 pixels .* 8 x 3 x 9 \(D x H"),
        (lambda: unet3d(padded=False)(torch.zeros(1, 1, 44, 44, 43)), "43 pixels do not fit"),
        (lambda: plain(stages=4)(torch.zeros(1, 1, 8, 8, 8)), "more than 8 voxels .* 8 x 8 x 8"),
        (lambda: plain(stages=1), "stages must be at least 2, got 1"),
        (lambda: plain(dimensions=4), "dimensions must be 2 or 3, got 4"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", list_models("volume"))
@torch.no_grad()
def test_the_catalogue_builds_them_and_they_export(name):
    narrow = {"base_width": 4} | ({"stages": 3} if name == "nnunet" else {"depth": 2})
    model = get_model(name, 2, **narrow).eval()
    x = torch.randn(1, 1, 16, 16, 8)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


@pytest.mark.oracle
@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_plain_network_equals_monais(dimensions):
    """DynUNet names things otherwise and has no biases before the normalisations."""
    DynUNet = pytest.importorskip("monai.networks.nets").DynUNet
    stages, widths = 4, (4, 8, 12, 12)
    strides = (1, *[2] * (stages - 1))
    reference = DynUNet(
        dimensions, 2, 3, (3,) * stages, strides, strides[1:], widths,
        deep_supervision=True, deep_supr_num=2, trans_bias=True,
    )  # fmt: skip
    ours = plain(3, in_channels=2, base_width=4, max_width=12, stages=stages, dimensions=dimensions)
    blocks = ["input_block", "downsamples.0", "downsamples.1", "bottleneck"]
    blocks = dict(zip(blocks, ours.encoder, strict=True))
    blocks |= {f"upsamples.{i}.conv_block": stage for i, stage in enumerate(ours.decoder)}
    state = {}
    for name, stage in blocks.items():
        state[f"{name}.conv1.conv.weight"] = stage[0].weight
        state[f"{name}.conv2.conv.weight"] = stage[3].weight
        for i in (1, 2):
            norm = stage[3 * i - 2]
            state |= {f"{name}.norm{i}.weight": norm.weight, f"{name}.norm{i}.bias": norm.bias}
    for i, up in enumerate(ours.ups):
        state |= {f"upsamples.{i}.transp_conv.conv.{k}": v for k, v in up.named_parameters()}
    heads = ["deep_supervision_heads.1", "deep_supervision_heads.0", "output_block"]
    for name, head in zip(heads, ours.heads, strict=True):
        state |= {f"{name}.conv.conv.{k}": v for k, v in head.named_parameters()}
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    missing = reference.load_state_dict(state, strict=False).missing_keys
    assert all(key.startswith("skip_layers") for key in missing), missing  # the same tensors again
    x = torch.randn(2, 2, *(16, 24, 32)[:dimensions])
    expected = reference(x).unbind(1)  # its lower resolutions enlarged by nearest neighbours
    for got, want in zip(ours(x), expected, strict=True):
        got = F.interpolate(got, want.shape[2:])
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


def test_each_resolution_weighs_half_of_the_finer_one_and_all_one():
    weights = list_models()["nnunet"].aux_weights
    assert weights == (16 / 31, 8 / 31, 4 / 31, 2 / 31, 1 / 31)
    assert deep_supervision_weights(1) == (1.0,)
