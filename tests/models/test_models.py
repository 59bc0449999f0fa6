"""What holds for every network of `list_models`, most of it on narrow versions.

What a network cannot do stands in `CANNOT`, and the tests hold it to exactly that. Capture as one
graph is in test_compile.py, ONNX in ../engine/test_export.py, learning in test_overfit.py, CUDA in
test_gpu.py; `torch.export` is for one size of the images.
"""

import copy
import subprocess
import sys
from collections.abc import Collection
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segedu.models import get_model, list_models, setr

# Narrow versions, so that all tests of all networks take seconds on a CPU.
RESNET = {"base_width": 8, "layers": (1, 1, 1, 1)}
NARROW = {
    "fcn32s_vgg16": {"base_width": 8, "head_width": 32, "batch_norm": True},
    "fcn16s_vgg16": {"base_width": 8, "head_width": 32, "batch_norm": True},
    "fcn8s_vgg16": {"base_width": 8, "head_width": 32, "batch_norm": True},
    "fcn_resnet50": RESNET | {"aux_loss": True},
    "unet": {"base_width": 8},
    "unet_valid": {"base_width": 8, "in_channels": 3, "depth": 2},
    "unet_plus_plus": {"base_width": 8, "deep_supervision": True},
    "segnet_vgg16": {"base_width": 8},
    "segnet_basic": {"base_width": 16},
    "refinenet_resnet50": RESNET,
    "pspnet_resnet50": RESNET,
    "deeplab_v3_resnet50": RESNET | {"aux_loss": True},
    "deeplab_v3_mobilenet_v3": {"width_mult": 0.25, "aux_loss": True},
    "deeplab_v3_plus_resnet50": RESNET,
    "fc_densenet56": {
        "layers": (2, 2, 2),
        "bottleneck": 2,
        "growth_rate": 8,
        "first_width": 16,
        "dropout": 0.0,
    },
    "dense_unet121": {
        "layers": (2, 2, 2, 2),
        "growth_rate": 8,
        "first_width": 16,
        "decoder_widths": (32, 32, 32, 16, 16),
    },
    "danet_resnet50": RESNET,
    "semantic_fpn_resnet50": RESNET,
    "hrnet_w18": {"width": 8, "stem_width": 8, "modules": (1, 1, 1), "blocks": 1},
    "enet": {"base_width": 8},
    "fast_scnn": {"base_width": 16, "aux_loss": True},
    "bisenet_v1": {"base_width": 8},
    "bisenet_v2": {"base_width": 16, "head_width": 32},
    "segformer_b0": {
        "base_width": 8,
        "depths": (1, 1, 1, 1),
        "decoder_width": 32,
        "drop_path": 0.0,
    },
    "setr_naive": {"size": "tiny", "channels": 32, "image_size": 64},
    "setr_pup": {"size": "tiny", "channels": 32, "image_size": 64},
    "setr_mla": {"size": "tiny", "channels": 32, "image_size": 64},
    "lraspp_mobilenet_v3": {"width_mult": 0.25},
}
NAMES = list(NARROW)
# These differ from another name in depth or width only, so their narrow versions are the same.
SAME_WHEN_NARROW = {
    "fcn_resnet101",
    "refinenet_resnet101",
    "pspnet_resnet101",
    "deeplab_v3_resnet101",
    "deeplab_v3_plus_resnet101",
    "fc_densenet67",
    "fc_densenet103",
    "hrnet_w32",
    "hrnet_w48",
    *(f"segformer_b{variant}" for variant in range(1, 6)),
}
CANNOT = {
    "answer at the size of the images": {"unet_valid": "the paper's convolutions are not padded"},
    "train on one image": dict.fromkeys(
        (
            "pspnet_resnet50",
            "deeplab_v3_resnet50",
            "deeplab_v3_mobilenet_v3",
            "deeplab_v3_plus_resnet50",
            "fast_scnn",
            "bisenet_v1",
            "bisenet_v2",
        ),
        "they normalise what global pooling leaves: one value per channel and image",
    ),
}
# Pixels a side of the smallest images; of all others 1. Narrow versions may pool less often.
LEAST_SIZE = {
    "unet": 16,
    "unet_plus_plus": 16,
    "segnet_vgg16": 32,
    "segnet_basic": 16,
    "fc_densenet56": 8,
    "dense_unet121": 32,
    "enet": 8,
    "segformer_b0": 32,
}
SAME_SIZE = [name for name in NAMES if name not in CANNOT["answer at the size of the images"]]
# Networks of one paper share their code: what takes long, the first of each goes through every time
# and the others every week; what takes longest, these: one that ONNX cannot hold, one that it holds
# for images of one size, and one of any size by a layer that has to be exchanged.
EVERY_TIME = ("enet", "setr_naive", "pspnet_resnet50")
FIRST = {list_models()[name].paper: name for name in reversed(NAMES)}


def others_weekly(chosen: Collection[str]) -> list:
    """All names, to be parametrised by; those that are not chosen have their turn every week."""
    return [
        name if name in chosen else pytest.param(name, marks=pytest.mark.weekly) for name in NAMES
    ]


ONE_A_PAPER = others_weekly(FIRST.values())
# The bias of a normalisation that the next one subtracts again: its gradient is exactly zero.
CANCELLED = {"bisenet_v2": {"context.norm.bias"}}
SEED = 0


def narrow(name: str, num_classes: int = 5, **settings) -> nn.Module:
    torch.manual_seed(SEED)
    with mock.patch.dict(setr.SIZES, tiny=(4, 96, 3)):  # 12 layers do three times the same
        return get_model(name, num_classes, **NARROW[name] | settings)


def logits_of(output: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)


def wake(model: nn.Module) -> nn.Module:
    """Move every parameter off its initial value: layers that start at zero hide those below."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model


def without_norms(model: nn.Module) -> nn.Module:
    """For tracers, of whose time layers of PyTorch that are fixed in eval mode take two fifths."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
    return model


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    """One narrow network of each name in eval mode, to be used but not changed."""
    return {name: wake(narrow(name)).eval() for name in NAMES}


def test_every_network_has_a_narrow_version():
    assert {*NARROW} == {*list_models("semantic")} - SAME_WHEN_NARROW


@pytest.mark.parametrize("name", list_models())
def test_parameters_are_as_listed(name):
    num_classes = None if list_models()[name].task == "promptable" else 21
    with torch.device("meta"):
        model = get_model(name, num_classes)
    assert sum(p.numel() for p in model.parameters()) == list_models()[name].parameters


@pytest.mark.parametrize("name", SAME_SIZE)
@pytest.mark.parametrize("size", [(67, 99), (96, 65)])
@torch.no_grad()
def test_logits_have_the_size_of_the_images(models, name, size):
    x = torch.randn(1, 3, *size)
    logits = models[name](x)
    assert logits.shape == (1, 5, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", SAME_SIZE)
@torch.no_grad()
def test_the_least_size_works_and_a_smaller_one_is_refused(models, name):
    least = LEAST_SIZE.get(name, 1)
    x = torch.randn(2, 3, least, 64)
    assert models[name](x).shape == (2, 5, least, 64)
    if least > 1:
        wanted = f"images need at least {least} pixels a side, got 64 x {least - 1}"
        with pytest.raises(ValueError, match=wanted):
            models[name](x.transpose(2, 3)[..., 1:])


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_images_of_a_batch_do_not_see_each_other(models, name):
    x = torch.randn(2, 3, 76, 76)
    both = models[name](x)
    assert torch.allclose(both[1:], models[name](x[1:]), atol=1e-4)


@pytest.mark.parametrize("name", ONE_A_PAPER)
@torch.no_grad()
def test_one_channel_and_one_class(name):
    model = narrow(name, 1, in_channels=1).eval()
    assert model(torch.randn(1, 1, 76, 76)).shape[:2] == (1, 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_trains_or_says_why_not(name):
    model = narrow(name).train()
    x = torch.randn(1, 3, 76, 76)
    if name in CANNOT["train on one image"]:
        with pytest.raises(ValueError, match="needs a batch of at least 2 images"):
            model(x)
    else:
        sum(output.square().mean() for output in logits_of(model(x))).backward()


@pytest.mark.parametrize("name", NAMES)
def test_all_logits_of_training_have_one_shape_and_a_gradient_reaches_every_parameter(name):
    model = wake(narrow(name)).train()
    torch.manual_seed(SEED)
    outputs = logits_of(model(torch.randn(2, 3, 76, 76)))
    assert {output.shape for output in outputs} == {outputs[0].shape}
    assert outputs[0].shape[:2] == (2, 5)
    assert len(list_models()[name].aux_weights or (1.0,)) == len(outputs)
    target = torch.randint(5, (2, *outputs[0].shape[-2:]))
    sum(F.cross_entropy(output, target) for output in outputs).backward()
    without = {
        key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    }
    assert without <= CANCELLED.get(name, set())


@pytest.mark.parametrize("name", ONE_A_PAPER)
@torch.no_grad()
def test_a_state_dict_restores_the_network(models, name, tmp_path):
    torch.save(models[name].state_dict(), tmp_path / "model.pt")
    other = narrow(name).eval()
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    x = torch.randn(1, 3, 76, 76)
    assert torch.equal(other(x), models[name](x))


@pytest.mark.parametrize("name", ONE_A_PAPER)
@torch.no_grad()
def test_channels_last_changes_nothing(models, name):
    x = torch.randn(1, 3, 76, 76)
    model = copy.deepcopy(models[name]).to(memory_format=torch.channels_last)
    expected = models[name](x)
    actual = model(x.to(memory_format=torch.channels_last))
    assert torch.allclose(actual, expected, atol=1e-4 * max(1, expected.abs().max().item()))


@pytest.mark.parametrize("name", ONE_A_PAPER)
def test_bfloat16_autocast_trains(name):
    model = narrow(name).train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = logits_of(model(torch.randn(2, 3, 76, 76)))
        loss = sum(output.float().square().mean() for output in outputs)
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", others_weekly(EVERY_TIME))
@torch.no_grad()
def test_exports(name):
    model = without_norms(wake(narrow(name))).eval()
    x = torch.randn(1, 3, 76, 76)
    exported = torch.export.export(model, (x,)).module()
    assert torch.allclose(exported(x), model(x), atol=1e-4)


def test_unknown_names_settings_and_classes_are_refused():
    with pytest.raises(ValueError, match="did you mean unet"):
        get_model("u-net", 2)
    with pytest.raises(TypeError, match="colour"):
        get_model("unet", 2, colour=True)
    with pytest.raises(ValueError, match="num_classes must be left out, sam_tiny knows none"):
        get_model("sam_tiny", 2)
    for num_classes in (0, -1, 2.0, True, None):
        with pytest.raises(ValueError, match="num_classes"):
            get_model("unet", num_classes)


def test_the_list_cannot_be_changed_from_outside():
    list_models().clear()
    assert list_models()


def test_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="task must be one of .*'semantic'.*, got 'depth'"):
        list_models("depth")


def test_importing_the_package_imports_no_network():
    code = (
        "import sys, segedu.models; "
        "print(*(m for m in sys.modules if m.startswith(('torchvision', 'segedu.models.'))))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(run.stdout.split())
    files = ("catalogue", "counting", "kinds", "live_memory", "state", "trained")
    assert loaded == {f"segedu.models.{name}" for name in files}
