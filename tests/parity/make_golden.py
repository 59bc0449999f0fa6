"""Write the fixtures of `golden/` by running the reference implementations once.

The references are not part of this project: clone each to ``DIR/<owner>+<name>`` at the commit that
`RECIPES` names, then run ``python -m tests.parity.make_golden DIR [name ...]``. They compute in
float64, also where they say float32, so that the numbers do not depend on the processor.
"""

import importlib.util
import subprocess
import sys
import types
import unittest.mock
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import torch.utils.model_zoo
from torch import nn

from tests.parity.closed_form import (
    CIRCLES,
    discs,
    fill,
    images,
    in_float64,
    noisy,
    panoptic_discs,
    save,
    together,
)


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


def _refinenet(blocks: int) -> nn.Module:
    from models.resnet import Bottleneck, RefineNet

    return RefineNet(Bottleneck, [3, 4, blocks, 3], num_classes=5)


def _pspnet(depth: int) -> nn.Module:
    from model.pspnet import PSPNet

    return PSPNet(layers=depth, classes=5, pretrained=False)


def _deeplab_v3_plus(depth: int) -> nn.Module:
    from network import modeling

    build = getattr(modeling, f"deeplabv3plus_resnet{depth}")
    return build(num_classes=5, output_stride=16, pretrained_backbone=False)


def _fc_densenet() -> nn.Module:
    from models.tiramisu import FCDenseNet103

    model = FCDenseNet103(5)
    model.softmax = nn.Identity()  # its output is a log-softmax, ours are logits
    return model


def _non_local() -> nn.Module:
    from lib.non_local_embedded_gaussian import NONLocalBlock2D

    return NONLocalBlock2D(32, sub_sample=True)


def _danet_head() -> nn.Module:
    # the package imports compiled operators, the two files that matter do not need them
    root = Path(sys.path[0]) / "encoding"
    for name in ("encoding", "encoding.models", "encoding.models.sseg"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["encoding.nn"] = _module_from("encoding.nn", root / "nn" / "da_att.py")
    base = sys.modules["encoding.models.sseg.base"] = types.ModuleType("base")
    base.BaseNet = nn.Module
    nn.functional.upsample = nn.functional.interpolate
    path = root / "models" / "sseg" / "danet.py"
    return _module_from("encoding.models.sseg.danet", path).DANetHead(64, 5, nn.BatchNorm2d)


def _module_from(name: str, path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _enet() -> nn.Module:
    from models.enet import ENet

    return ENet(5)


def _fast_scnn() -> nn.Module:
    from models.fast_scnn import FastSCNN

    return FastSCNN(5, aux=True)


def _bisenet(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        sys.modules["lib"] = types.ModuleType("lib")  # its __init__ needs what we do not
        sys.modules["lib"].__path__ = [sys.path[0] + "/lib"]
        sys.modules["lib.models"] = types.ModuleType("lib.models")
        sys.modules["lib.models"].__path__ = [sys.path[0] + "/lib/models"]
        torch.utils.model_zoo.load_url = lambda url: {}  # random weights will do
        module = importlib.import_module(f"lib.models.{name.lower()}")
        return getattr(module, name)(5)

    return build


class _Setr(nn.Module):
    """The pieces of mmsegmentation's configurations ``setr_vit-l_*``, narrow."""

    def __init__(self, decoder: str) -> None:
        super().__init__()
        from mmseg.models.backbones.vit import VisionTransformer
        from mmseg.models.decode_heads.fcn_head import FCNHead
        from mmseg.models.decode_heads.setr_mla_head import SETRMLAHead
        from mmseg.models.decode_heads.setr_up_head import SETRUPHead
        from mmseg.models.necks.mla_neck import MLANeck

        norm = {"type": "BN"}
        shared = {"num_classes": 5, "dropout_ratio": 0}
        self.backbone = VisionTransformer(
            img_size=64,
            embed_dims=192,
            num_layers=12,
            num_heads=3,
            out_indices=(2, 5, 8, 11) if decoder == "mla" else (4, 6, 9, 11),
            norm_cfg={"type": "LN", "eps": 1e-6},
            patch_bias=True,
            interpolate_mode="bilinear",
        )
        self.neck = nn.Identity()
        if decoder == "mla":
            self.neck = MLANeck([192] * 4, 32, norm_cfg=norm, act_cfg={"type": "ReLU"})
            heads = [
                SETRMLAHead(
                    mla_channels=16,
                    in_channels=[32] * 4,
                    channels=64,
                    in_index=(0, 1, 2, 3),
                    norm_cfg=norm,
                    **shared,
                )
            ]
            plain = {"num_convs": 0, "kernel_size": 1, "concat_input": False}
            heads += [
                FCNHead(**plain, in_channels=32, channels=32, in_index=i, **shared)
                for i in range(4)
            ]
        else:
            kernel, steps = (1, (1, 1)) if decoder == "naive" else (3, (4, 2))
            scale = 4 if decoder == "naive" else 2
            how = {"in_channels": 192, "channels": 32, "kernel_size": kernel, "norm_cfg": norm}
            heads = [SETRUPHead(num_convs=steps[0], up_scale=scale, in_index=3, **how, **shared)]
            heads += [
                SETRUPHead(num_convs=steps[1], up_scale=4, in_index=i, **how, **shared)
                for i in range(3)
            ]
        self.heads = nn.ModuleList(heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.neck(self.backbone(x))
        scores = [head(features) for head in self.heads]
        return torch.cat([F.interpolate(s, x.shape[-2:], mode="bilinear") for s in scores])


def _setr(decoder: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import mmcv  # mmcv-lite will do: no compiled operator is used

        mmcv.__version__ = "2.1.0"  # the newest that mmsegmentation accepts
        sys.modules["mmcv.ops"] = unittest.mock.MagicMock()
        return _Setr(decoder)

    return build


class _Yolact(nn.Module):
    """dbolya's network with what is done to its output."""

    def __init__(self) -> None:
        super().__init__()
        torch.cuda.current_device = lambda: 0
        torch.cuda.device_count = lambda: 2  # so that nothing is compiled
        sys.modules["cv2"] = unittest.mock.MagicMock()  # only reads and draws images
        from data.config import cfg, set_cfg

        set_cfg("yolact_resnet50_config")
        cfg.mask_proto_debug = False
        from yolact import Yolact

        self.net = Yolact()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.net.training = True  # of the network alone, not of its layers
        for conv in self.net.fpn.lat_layers:
            conv.weight /= 1000  # closed-form ResNets are loud; tanh and softmax must not saturate
        return self.read(x, self.net(x))


class _YolactOutput(_Yolact):
    def read(self, x: torch.Tensor, output: dict[str, torch.Tensor]) -> torch.Tensor:
        output["proto"] = output["proto"].permute(0, 3, 1, 2)
        return together([output[k] for k in ("loc", "conf", "mask", "proto", "segm", "priors")])


class _YolactLosses(_Yolact):
    def read(self, x: torch.Tensor, output: dict[str, torch.Tensor]) -> torch.Tensor:
        from layers.modules.multibox_loss import MultiBoxLoss

        masks, boxes = discs(x.shape[-1], CIRCLES)
        target = torch.cat([boxes / x.shape[-1], torch.tensor([[0.0], [17.0], [79.0]])], dim=1)
        crowds = [1]  # the last one
        losses = MultiBoxLoss(81, 0.5, 0.4, 3)(self.net, output, [target], [masks.float()], crowds)
        return torch.stack([losses[key] for key in "CBMS"])


class _YolactDetections(_Yolact):
    def read(self, x: torch.Tensor, output: dict[str, torch.Tensor]) -> torch.Tensor:
        from layers.output_utils import postprocess

        output["conf"] = output["conf"].softmax(-1)
        self.net.detect.use_fast_nms = True
        found = self.net.detect(output, self.net)
        classes, scores, boxes, masks = postprocess(found, 150, 120)
        return together([classes.float(), scores, boxes.float(), masks.mean((1, 2))])


class _PanopticDeepLab(nn.Module):
    """bowenc0221's network, and what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        _without_downloads_and_drawing()
        from segmentation.model.backbone import resnet50
        from segmentation.model.loss import DeepLabCE, L1Loss, MSELoss
        from segmentation.model.meta_arch import PanopticDeepLab

        self.net = PanopticDeepLab(  # panoptic_deeplab_R50_os32_cityscapes.yaml
            resnet50(pretrained=False, replace_stride_with_dilation=(False, False, False)),
            in_channels=2048,
            feature_key="res5",
            low_level_channels=(1024, 512, 256),
            low_level_key=["res4", "res3", "res2"],
            low_level_channels_project=(128, 64, 32),
            decoder_channels=256,
            atrous_rates=(3, 6, 9),
            num_classes=19,
            has_instance=True,
            instance_low_level_channels_project=(64, 32, 16),
            instance_decoder_channels=128,
            instance_head_channels=32,
            instance_aspp_channels=256,
            instance_num_classes=(1, 2),
            instance_class_key=["center", "offset"],
            semantic_loss=DeepLabCE(ignore_label=255, top_k_percent_pixels=0.2),
            semantic_loss_weight=1.0,
            center_loss=MSELoss(reduction="none"),
            center_loss_weight=200.0,
            offset_loss=L1Loss(reduction="none"),
            offset_loss_weight=0.01,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        decoder = self.net.decoder
        for head in (decoder.semantic_head, decoder.instance_head):
            for layers in head.classifier.values():
                layers[1].weight /= 1000  # closed-form ResNets are loud
        return self.read(self.net(x))


def _without_downloads_and_drawing() -> None:
    mock = unittest.mock.MagicMock
    missing = ("cv2", "torchvision.models.utils")
    missing += ("segmentation.utils.comm", "segmentation.utils.env")
    sys.modules |= {name: mock() for name in missing}
    sys.modules["segmentation.utils"] = mock(AverageMeter=_Meter)


class _Meter:
    def update(self, value: float, count: int) -> None:
        self.value = value


def _panoptic_targets() -> dict[str, torch.Tensor]:
    """Of `panoptic_discs`."""
    _without_downloads_and_drawing()
    from segmentation.data.transforms.target_transforms import PanopticTargetGenerator

    ids, info = panoptic_discs()
    settings = {"ignore_stuff_in_offset": True, "small_instance_area": 400}
    generator = PanopticTargetGenerator(
        255, lambda panoptic: panoptic, [11, 17], 8, small_instance_weight=3, **settings
    )
    return generator(ids.numpy(), info)


class _PanopticOutput(_PanopticDeepLab):
    def read(self, output: dict[str, torch.Tensor]) -> torch.Tensor:
        return together([output[key] for key in ("semantic", "center", "offset")])


class _PanopticLosses(_PanopticDeepLab):
    def read(self, output: dict[str, torch.Tensor]) -> torch.Tensor:
        self.net.loss(
            output, {k: v[None] for k, v in _panoptic_targets().items() if k != "center_points"}
        )
        meters = self.net.loss_meter_dict
        return torch.tensor(
            [meters[f"{key} loss"].value for key in ("Semantic", "Center", "Offset")]
        )


class _PanopticTargets(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        target = _panoptic_targets()
        keys = ("semantic", "center", "offset")
        return together([target[k].float() for k in (*keys, *(f"{key}_weights" for key in keys))])


class _PanopticMerge(nn.Module):
    """Their grouping of noisy maps: of each pixel the class and the area of the segment."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        target = _panoptic_targets()
        from segmentation.model.post_processing import get_panoptic_segmentation

        labels, _ = get_panoptic_segmentation(
            *noisy(target["semantic"], target["center"], target["offset"]),
            thing_list=[11, 17],
            label_divisor=1000,
            stuff_area=300,
            void_label=-1000,
            threshold=0.1,
            nms_kernel=7,
            top_k=200,
        )
        _, inverse, count = labels.unique(return_inverse=True, return_counts=True)
        return together([labels // 1000 + 1.0, count[inverse].float()])


class _Config(dict):
    __getattr__ = dict.__getitem__


def _hrnet() -> nn.Module:
    np.int = int
    from models.seg_hrnet import HighResolutionNet

    def stage(modules: int, branches: int, block: str, width: int) -> _Config:
        return _Config(
            NUM_MODULES=modules,
            NUM_BRANCHES=branches,
            BLOCK=block,
            NUM_BLOCKS=[4] * branches,
            NUM_CHANNELS=[width * 2**i for i in range(branches)],
            FUSE_METHOD="SUM",
        )

    extra = _Config(
        FINAL_CONV_KERNEL=1,
        STAGE1=stage(1, 1, "BOTTLENECK", 64),
        STAGE2=stage(1, 2, "BASIC", 18),
        STAGE3=stage(4, 3, "BASIC", 18),
        STAGE4=stage(3, 4, "BASIC", 18),
    )
    model = _Config(EXTRA=extra, ALIGN_CORNERS=False)
    return HighResolutionNet(_Config(MODEL=model, DATASET=_Config(NUM_CLASSES=5)))


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
    **{
        f"refinenet_resnet{depth}": Recipe(
            "DrSleep/refinenet-pytorch",
            "8f25c076016e61a835551493aae303e81cf36c53",
            f"models.resnet.RefineNet(Bottleneck, [3, 4, {blocks}, 3], num_classes=5), upsampled",
            partial(_refinenet, blocks),
            (1, 3, 64, 96),
            output=_upsampled,
        )
        for depth, blocks in ((50, 6), (101, 23))
    },
    **{
        f"pspnet_resnet{depth}": Recipe(
            "hszhao/semseg",
            "4f274c3f276778228bc14a4565822d46359f0cc8",
            f"model.pspnet.PSPNet(layers={depth}, classes=5, pretrained=False)",
            partial(_pspnet, depth),
            (1, 3, 57, 81),
        )
        for depth in (50, 101)
    },
    **{
        f"deeplab_v3_plus_resnet{depth}": Recipe(
            "VainF/DeepLabV3Plus-Pytorch",
            "4e1087de98bc49d55b9239ae92810ef7368660db",
            f"network.modeling.deeplabv3plus_resnet{depth}(num_classes=5, output_stride=16)",
            partial(_deeplab_v3_plus, depth),
            (1, 3, 97, 129),
        )
        for depth in (50, 101)
    },
    "fc_densenet103": Recipe(
        "bfortuner/pytorch_tiramisu",
        "c1cf07967f20ebd1e7d4ca0a61126f9cab11be99",
        "models.tiramisu.FCDenseNet103(5) without its softmax",
        _fc_densenet,
        (1, 3, 75, 98),
    ),
    "non_local": Recipe(
        "AlexHex7/Non-local_pytorch",
        "ec15789af4533448169f3dc36abe542badd34221",
        "lib.non_local_embedded_gaussian.NONLocalBlock2D(32, sub_sample=True)",
        _non_local,
        (2, 32, 13, 10),
    ),
    "danet_head": Recipe(
        "junfu1115/DANet",
        "b0a0fa008148f102321cdaa7ca38fb0ddd0239d1",
        "encoding.models.sseg.danet.DANetHead(64, 5, nn.BatchNorm2d), three outputs",
        _danet_head,
        (1, 64, 13, 10),
        output=torch.cat,
    ),
    "enet": Recipe(
        "davidtvs/PyTorch-ENet",
        "e17d404e2f649a3476eabe39f8a05e5eb77c55fd",
        "models.enet.ENet(5)",
        _enet,
        (1, 3, 75, 98),
    ),
    "fast_scnn": Recipe(
        "Tramac/Fast-SCNN-pytorch",
        "0638517d359ae1664a27dfb2cd1780a40a06c465",
        "models.fast_scnn.FastSCNN(5, aux=True), both outputs",
        _fast_scnn,
        (1, 3, 64, 96),
        output=torch.cat,
    ),
    **{
        f"bisenet_v{version}": Recipe(
            "CoinCheung/BiSeNet",
            "6b4b67a8e3eb0cc23b3d7a94843a7c3c11dedca8",
            f"lib.models.bisenetv{version}.BiSeNetV{version}(5), all outputs",
            _bisenet(f"BiSeNetV{version}"),
            (1, 3, 64, 96),
            output=torch.cat,
        )
        for version in (1, 2)
    },
    **{
        f"setr_{decoder}": Recipe(
            "open-mmlab/mmsegmentation",
            "v1.2.2",
            f"ViT-Ti/16 (patch_bias=True), heads of setr_vit-l_{decoder}, all outputs",
            _setr(decoder),
            (1, 3, 64, 96),
        )
        for decoder in ("naive", "pup", "mla")
    },
    **{
        f"yolact_{what}": Recipe(
            "dbolya/yolact",
            "902073d414728280b496c5f0a59a8e8285b3c13c",
            f"yolact.Yolact() of yolact_resnet50_config, {call}",
            build,
            (1, 3, 138, 138),
        )
        for what, call, build in (
            ("output", "loc, conf, mask, proto, segm and priors", _YolactOutput),
            ("losses", "MultiBoxLoss C, B, M, S", _YolactLosses),
            ("detections", "Detect, postprocess to 150 x 120", _YolactDetections),
        )
    },
    **{
        f"panoptic_deeplab_{what}": Recipe(
            "bowenc0221/panoptic-deeplab",
            "cf8e20bbbf1cf540c7593434b965a93c4a889890",
            call,
            build,
            (1, 3, 129, 129),
        )
        for what, call, build in (
            ("output", "R50_os32: semantic, center and offset", _PanopticOutput),
            ("losses", "R50_os32: semantic, center and offset loss", _PanopticLosses),
            ("targets", "PanopticTargetGenerator, three maps and their weights", _PanopticTargets),
            ("merge", "get_panoptic_segmentation, class and area per pixel", _PanopticMerge),
        )
    },
    "hrnet_w18": Recipe(
        "HRNet/HRNet-Semantic-Segmentation",
        "0bbb2880446ddff2d78f8dd7e8c4c610151d5a51",
        "models.seg_hrnet.HighResolutionNet(w18 configuration, 5 classes), upsampled",
        _hrnet,
        (1, 3, 64, 96),
        output=_upsampled,
        folder="lib",
    ),
}


@torch.no_grad()
def write(references: Path, name: str) -> None:
    """Run one reference in a process of its own: what is changed of torch and numpy stays so."""
    recipe = RECIPES[name]
    checkout = references / recipe.repository.replace("/", "+")
    if not checkout.is_dir():
        raise FileNotFoundError(f"clone {recipe.repository} at {recipe.commit} to {checkout}")
    sys.path.insert(0, str(checkout / recipe.folder))
    torch.Tensor.float, np.float32 = torch.Tensor.double, np.float64
    with in_float64():
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
            subprocess.run([sys.executable, "-m", __spec__.name, directory, name], check=True)
