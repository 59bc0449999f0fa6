"""Every network can learn four scenes by heart: the cheapest proof that it can learn at all."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.data.scenes import CLASSES, SceneConfig, SceneDataset
from segedu.metrics import SemanticMetrics
from tests.models.test_models import logits_of, narrow, others_weekly

# All twelve classes; contours are void, as in Pascal VOC: a stride of 8 cannot draw them.
SCENES = SceneConfig(48, void_border=2, scale_range=0, fine_detail=0, clutter=0, noise=0)
EVERY = 10  # steps between two looks at the scores
# These learn in about a second; the others, which need more, have their turn every week.
QUICK = (
    ["unet", "fcn32s_vgg16", "deeplab_v3_resnet50", "deeplab_v3_plus_resnet50", "pspnet_resnet50"]
    + ["semantic_fpn_resnet50", "dense_unet121", "hrnet_w18", "bisenet_v1", "danet_resnet50"]
    + ["segformer_b0", "lraspp_mobilenet_v3"]
)


class Recipe(NamedTuple):
    lr: float = 2e-2
    steps: int = 60
    zoom: int = 1  #: pixels of the input per pixel of the scene, for networks of a large stride
    settings: dict[str, int] = {}  #: where the narrow version learns slowly


MAIN_HEAD = {"aux_loss": False}  # logits of the others, as large, would take most of the time
RECIPES = {
    "unet": Recipe(settings={"base_width": 16}),
    "unet_plus_plus": Recipe(settings={"base_width": 16, "depth": 3}),
    "segnet_vgg16": Recipe(steps=100),
    "refinenet_resnet50": Recipe(lr=2e-3, steps=100),  # no normalisation in the decoder
    "deeplab_v3_mobilenet_v3": Recipe(zoom=2),
    "enet": Recipe(lr=1e-2, steps=140, settings={"base_width": 16}),
    "fast_scnn": Recipe(lr=1e-2, steps=100),
    "setr_naive": Recipe(lr=8e-3, zoom=4, settings=MAIN_HEAD),
    "setr_pup": Recipe(lr=8e-3, zoom=2, settings=MAIN_HEAD),
    "setr_mla": Recipe(lr=8e-3, zoom=3, settings=MAIN_HEAD),
    "lraspp_mobilenet_v3": Recipe(zoom=2),
}


@pytest.fixture(scope="module")
def scenes() -> tuple[Tensor, Tensor]:
    samples = list(SceneDataset(4, SCENES, seed=29))
    x = torch.stack([sample["image"] for sample in samples]).float() / 255
    return (x - 0.5) / 0.25, torch.stack([sample["mask"] for sample in samples]).long()


def prepared(name: str, **settings: int) -> nn.Module:
    """Without dropout, which prevents what is wanted here, and with statistics that keep up."""
    model = narrow(name, len(CLASSES), **settings)
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.3
    return model


def mean_iou(logits: Tensor, target: Tensor) -> float:
    metrics = SemanticMetrics(len(CLASSES))
    metrics.update(logits, target)
    return float(metrics.compute()["mean_iou"])


@pytest.mark.slow  # a short training for each network
@pytest.mark.parametrize("name", others_weekly(QUICK))
def test_four_scenes_are_learnt_by_heart(name, scenes):
    lr, steps, zoom, settings = RECIPES.get(name, Recipe())
    x, target = scenes
    x = x.repeat_interleave(zoom, -2).repeat_interleave(zoom, -1)  # (4, 3, zoom * H, zoom * W)
    model = prepared(name, **settings)

    def predict() -> list[Tensor]:
        """One answer for each pixel of the scenes: (4, C, H, W) from each head."""
        return [y[..., zoom // 2 :: zoom, zoom // 2 :: zoom] for y in logits_of(model(x))]

    if name == "unet_valid":  # answers for the middle of the image
        height, width = model.eval()(x[:1]).shape[-2:]
        top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
        target = target[:, top : top + height, left : left + width]
    # rare classes count as much for the mean IoU as frequent ones
    weight = target[target != 255].bincount(minlength=len(CLASSES)).clamp(min=1) ** -0.5
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    scores = []
    for step in range(1, steps + 1):
        model.train()
        losses = (F.cross_entropy(y, target, weight, ignore_index=255) for y in predict())
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
        schedule.step()
        if step % EVERY == 0:
            model.eval()
            with torch.no_grad():
                scores.append(mean_iou(*predict(), target))
            if scores[-1] > 0.95:
                return
    pytest.fail(f"mean IoU {[round(score, 3) for score in scores]}")
