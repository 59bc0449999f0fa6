"""Write the fixtures of `golden/` by running the reference implementations once.

The references are not part of this project: clone each to ``DIR/<owner>+<name>`` at the commit that
`RECIPES` names, then run ``python tests/parity/make_golden.py DIR name [name ...]``.
"""

import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from closed_form import fill, images, save
from torch import nn


class Recipe(NamedTuple):
    repository: str
    commit: str
    call: str  #: what is built, as a reader would type it
    build: Callable[[], nn.Module]
    input_shape: tuple[int, ...]
    output: Callable = lambda output: output  #: picks the logits
    folder: str = ""  #: of the checkout that goes on the path


def _fcn(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        sys.modules["fcn"] = types.ModuleType("fcn")  # only its downloads need that package
        import models

        return getattr(models, name)(n_class=5)

    return build


def _unet() -> nn.Module:
    from unet import UNet

    return UNet(n_channels=3, n_classes=2, bilinear=False)


def _unet_plus_plus(deep_supervision: bool) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from archs import NestedUNet

        return NestedUNet(2, deep_supervision=deep_supervision)

    return build


def _segnet() -> nn.Module:
    import torchvision

    torchvision.models.vgg16 = lambda pretrained: torchvision.models.get_model("vgg16")
    from model import SegNet

    model = SegNet(3, 5)
    del model.vgg16  # only its weights were copied
    return model


def _refinenet() -> nn.Module:
    from models.resnet import Bottleneck, RefineNet

    return RefineNet(Bottleneck, [3, 4, 6, 3], num_classes=5)


def _pspnet() -> nn.Module:
    from model.pspnet import PSPNet

    return PSPNet(layers=50, classes=5, pretrained=False)


def _deeplab_v3_plus() -> nn.Module:
    from network.modeling import deeplabv3plus_resnet50

    return deeplabv3plus_resnet50(num_classes=5, output_stride=16, pretrained_backbone=False)


def _upsampled(output: torch.Tensor) -> torch.Tensor:
    return F.interpolate(output, scale_factor=4, mode="bilinear")


RECIPES = {
    "unet": Recipe(
        "milesial/Pytorch-UNet",
        "21d7850f2af30a9695bbeea75f3136aa538cfc4a",
        "unet.UNet(n_channels=3, n_classes=2, bilinear=False)",
        _unet,
        (1, 3, 100, 90),
    ),
    "unet_plus_plus": Recipe(
        "4uiiurz1/pytorch-nested-unet",
        "557ea02f0b5d45ec171aae2282d2cd21562a633e",
        "archs.NestedUNet(2)",
        _unet_plus_plus(deep_supervision=False),
        (1, 3, 64, 80),
    ),
    "unet_plus_plus_deep": Recipe(
        "4uiiurz1/pytorch-nested-unet",
        "557ea02f0b5d45ec171aae2282d2cd21562a633e",
        "archs.NestedUNet(2, deep_supervision=True)",
        _unet_plus_plus(deep_supervision=True),
        (1, 3, 64, 80),
        output=torch.cat,  # four heads, shallowest first
    ),
    **{
        f"fcn{stride}s_vgg16": Recipe(
            "wkentaro/pytorch-fcn",
            "4b988509bfd1a613d5e8482595a1c6654047d69b",
            f"torchfcn.models.FCN{stride}s(n_class=5)",
            _fcn(f"FCN{stride}s"),
            (1, 3, 45, 64),
            folder="torchfcn",
        )
        for stride in (32, 16, 8)
    },
    "segnet_vgg16": Recipe(
        "say4n/pytorch-segnet",
        "f7738c6bce384b54fcbb3fe8aff02736d6ec2285",
        "SegNet(3, 5)",
        _segnet,
        (1, 3, 75, 98),
        output=lambda output: output[0],
        folder="src",
    ),
    "refinenet_resnet50": Recipe(
        "DrSleep/refinenet-pytorch",
        "8f25c076016e61a835551493aae303e81cf36c53",
        "models.resnet.RefineNet(Bottleneck, [3, 4, 6, 3], num_classes=5), upsampled",
        _refinenet,
        (1, 3, 64, 96),
        output=_upsampled,
    ),
    "pspnet_resnet50": Recipe(
        "hszhao/semseg",
        "4f274c3f276778228bc14a4565822d46359f0cc8",
        "model.pspnet.PSPNet(layers=50, classes=5, pretrained=False)",
        _pspnet,
        (1, 3, 57, 81),
    ),
    "deeplab_v3_plus_resnet50": Recipe(
        "VainF/DeepLabV3Plus-Pytorch",
        "4e1087de98bc49d55b9239ae92810ef7368660db",
        "network.modeling.deeplabv3plus_resnet50(num_classes=5, output_stride=16)",
        _deeplab_v3_plus,
        (1, 3, 97, 129),
    ),
}


@torch.no_grad()
def write(references: Path, name: str) -> None:
    recipe = RECIPES[name]
    checkout = references / recipe.repository.replace("/", "+")
    if not checkout.is_dir():
        raise FileNotFoundError(f"clone {recipe.repository} at {recipe.commit} to {checkout}")
    sys.path.insert(0, str(checkout / recipe.folder))
    output = recipe.output(fill(recipe.build())(images(recipe.input_shape)))
    description = {"reference": recipe.repository, "commit": recipe.commit, "call": recipe.call}
    save(name, output, **description, input_shape=list(recipe.input_shape))
    print(f"{name}: {tuple(output.shape)}, std {output.std():.3g}")


if __name__ == "__main__":
    directory, *names = sys.argv[1:]
    if len(names) == 1:
        write(Path(directory), names[0])
    else:  # one process each: the references' packages have clashing names
        for name in names or RECIPES:
            subprocess.run([sys.executable, __file__, directory, name], check=True)
