"""What wrong input to each public entry point raises: one table, one row per mistake.

Every row is a call that a user can get wrong, the exception, and words that its message must hold:
the argument, or what came and what is allowed. The last test asks that no public name is missing.
"""

import importlib
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from segedu import engine, losses, metrics, models, viz
from segedu.data import camvid, cityscapes, photos, scenes, transforms, voc
from segedu.tools import retarget

LOGITS = torch.zeros(2, 3, 4, 4)  # (N, C, H, W)
TARGET = torch.zeros(2, 4, 4, dtype=torch.int64)  # (N, H, W)
IMAGE = np.zeros((4, 4, 3), dtype=np.uint8)
MASK = np.zeros((4, 4), dtype=np.uint8)
COLORS = [(0, 0, 0), (255, 0, 0)]
MODEL = nn.Conv2d(3, 2, 1)


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD(MODEL.parameters(), lr=0.1)


def on_labels(loss: nn.Module) -> Callable[[], object]:
    """The loss on a label that is no class."""
    return lambda: loss(LOGITS, torch.full_like(TARGET, 7))


MULTICLASS = [
    losses.CrossEntropyLoss,
    losses.OHEMLoss,
    losses.FocalLoss,
    losses.SigmoidFocalLoss,
    losses.AdaptiveFocalLoss,
    losses.DiceLoss,
    losses.JaccardLoss,
    losses.GeneralizedDiceLoss,
    losses.TverskyLoss,
    losses.FocalTverskyLoss,
    losses.LovaszSoftmaxLoss,
    losses.BoundaryLoss,
    losses.HausdorffDTLoss,
]
BINARY = [
    losses.BinaryCrossEntropyLoss,
    losses.BinaryDiceLoss,
    losses.BinaryFocalLoss,
    losses.BinaryFocalTverskyLoss,
    losses.BinaryJaccardLoss,
    losses.BinaryTverskyLoss,
    losses.LovaszHingeLoss,
]

# name -> (call, exception, pattern in the message)
TABLE: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    # losses
    **{loss.__name__: (on_labels(loss()), ValueError, "7") for loss in MULTICLASS},
    **{
        loss.__name__: (
            lambda loss=loss: loss()(LOGITS, TARGET),
            ValueError,
            "shape|channel|size|got",
        )
        for loss in BINARY
    },
    "losses reduction": (
        lambda: losses.DiceLoss(reduction="average"),
        ValueError,
        "reduction.*mean",
    ),
    "losses float target": (
        lambda: losses.CrossEntropyLoss()(LOGITS, TARGET.float()),
        TypeError,
        "target.*integer",
    ),
    "losses shape": (
        lambda: losses.DiceLoss()(LOGITS, TARGET[:, :2]),
        ValueError,
        r"logits \(2, 3, 4, 4\) and target \(2, 2, 4\)",
    ),
    "CombinedLoss": (lambda: losses.CombinedLoss({}), ValueError, "parts"),
    "AuxiliaryLoss": (
        lambda: losses.AuxiliaryLoss(losses.DiceLoss(), (1.0,))((LOGITS, LOGITS), TARGET),
        ValueError,
        "weights has 1 .* 2 outputs",
    ),
    "DiscriminativeLoss": (
        lambda: losses.DiscriminativeLoss()(LOGITS, TARGET[:, :2]),
        ValueError,
        "got",
    ),
    "class_weights": (
        lambda: losses.class_weights(torch.ones(3), "guess"),
        ValueError,
        "strategy",
    ),
    # metrics
    "SemanticMetrics": (
        lambda: metrics.SemanticMetrics(3).update(TARGET + 7, TARGET),
        ValueError,
        "pred .* no class",
    ),
    "CalibrationMetrics": (lambda: metrics.CalibrationMetrics(0), ValueError, "num_bins"),
    "MaskAP": (lambda: metrics.MaskAP("polygon"), ValueError, "iou_type.*segm"),
    "PanopticQuality": (
        lambda: metrics.PanopticQuality({1: True}).update({"panoptic_seg": TARGET[0]}, {}),
        (ValueError, KeyError),
        "segments_info|panoptic_seg",
    ),
    "SurfaceMetrics": (lambda: metrics.SurfaceMetrics(2, hd95="mean"), ValueError, "hd95"),
    "surface_distances": (
        lambda: metrics.surface_distances(TARGET[0].bool(), TARGET[0, :2].bool()),
        ValueError,
        "shape",
    ),
    # models
    "get_model": (lambda: models.get_model("unett", 2), ValueError, "unett.*unet"),
    "get_model classes": (lambda: models.get_model("unet", 0), ValueError, "num_classes.*0"),
    # engine
    "fit": (lambda: engine.fit(MODEL, [], epochs=1), ValueError, "batches.*0"),
    "evaluate": (lambda: engine.evaluate(MODEL, []), ValueError, "metric or a loss"),
    "load_checkpoint": (
        lambda: engine.load_checkpoint("nowhere.pt"),
        FileNotFoundError,
        "nowhere.pt",
    ),
    "make_loader": (lambda: engine.make_loader([1], 0), ValueError, "batch_size"),
    "parameter_groups": (
        lambda: engine.parameter_groups(MODEL, 0.1, multipliers={"head": 10.0}),
        ValueError,
        "head",
    ),
    "cosine_lr": (lambda: engine.cosine_lr(optimizer(), 0), ValueError, "total_steps"),
    "poly_lr": (lambda: engine.poly_lr(optimizer(), 5, warmup_steps=9), ValueError, "warmup_steps"),
    "sliding_window": (
        lambda: engine.sliding_window(MODEL, torch.zeros(1, 3, 8, 8), 0),
        ValueError,
        "window",
    ),
    "predict_tta": (
        lambda: engine.predict_tta(MODEL, torch.zeros(3, 8, 8)),
        ValueError,
        r"images.*\(3, 8, 8\)",
    ),
    # viz
    "overlay": (lambda: viz.overlay(IMAGE, MASK[:2], COLORS), ValueError, "size|shape"),
    "colorize": (lambda: viz.colorize(MASK + 9, COLORS), ValueError, "9"),
    "colorize_panoptic": (lambda: viz.colorize_panoptic(MASK, [], [1, 2]), ValueError, "colors"),
    "overlay_panoptic": (lambda: viz.overlay_panoptic(IMAGE, MASK[:2], [], COLORS), ValueError, ""),
    "overlay_instances": (
        lambda: viz.overlay_instances(IMAGE, MASK),
        ValueError,
        r"masks.*\(N, H, W\)",
    ),
    "show_instances": (lambda: viz.show_instances(IMAGE, MASK), ValueError, "masks"),
    "error_map": (lambda: viz.error_map(MASK, MASK[:2]), ValueError, "same shape"),
    "show_row": (lambda: viz.show_row([IMAGE], ["a", "b"]), ValueError, "titles"),
    "legend": (lambda: viz.legend(["a"], COLORS), ValueError, "names"),
    "learning_curves": (lambda: viz.learning_curves([]), ValueError, "history"),
    "confusion_matrix": (
        lambda: viz.confusion_matrix(np.eye(2), ["a"]),
        ValueError,
        "names|matrix",
    ),
    "class_bars": (lambda: viz.class_bars({"a": [1.0]}, ["x", "y"]), ValueError, "'a'"),
    "schedules": (lambda: viz.schedules({}), ValueError, "curves"),
    "receptive_field": (lambda: viz.receptive_field([]), ValueError, "layers"),
    "receptive_fields": (lambda: viz.receptive_fields([(3, 0)]), ValueError, "stride|layer"),
    "effective_receptive_field": (
        lambda: viz.effective_receptive_field(np.zeros(4)),
        ValueError,
        "gradient",
    ),
    "effective_size": (lambda: viz.effective_size(np.ones((4, 4)), share=2.0), ValueError, "share"),
    "kernel": (lambda: viz.kernel(3, stride=0), ValueError, "stride"),
    "frames": (lambda: viz.frames([IMAGE], ["one"], "a ｜ 甲"), ValueError, "2 to 12"),
    "explore": (lambda: viz.explore(lambda v: IMAGE, [1], "a ｜ 甲"), ValueError, "2 to 12"),
    "source": (lambda: viz.source(3), TypeError, "3|int"),
    # data
    "SceneConfig": (lambda: scenes.SceneConfig(clutter=2), ValueError, r"clutter.*\[0, 1\].*2"),
    "SceneDataset": (lambda: scenes.SceneDataset(4, task="depth"), ValueError, "task.*depth"),
    "generate": (lambda: scenes.generate(-1), ValueError, "seed"),
    "photos.load": (lambda: photos.load("mona lisa"), ValueError, "coffee.*mona lisa"),
    "photos.info": (lambda: photos.info("mona lisa"), ValueError, "coffee.*mona lisa"),
    "PhotoDataset": (lambda: photos.PhotoDataset(task="depth"), ValueError, "task.*depth"),
    "transforms.training": (lambda: transforms.training(0), ValueError, "size"),
    "transforms.evaluation": (lambda: transforms.evaluation((4, -1)), ValueError, "size"),
    "BatchAugment": (lambda: transforms.BatchAugment(scale=(2, 1)), ValueError, "scale"),
    "denormalize": (lambda: transforms.denormalize(torch.zeros(4, 4)), ValueError, "image"),
    "VOCSegmentation": (lambda: voc.VOCSegmentation("nowhere"), FileNotFoundError, "nowhere"),
    "CamVid": (lambda: camvid.CamVid("nowhere"), FileNotFoundError, "nowhere"),
    "Cityscapes": (lambda: cityscapes.Cityscapes("nowhere"), FileNotFoundError, "nowhere"),
    # tools
    "retarget": (
        lambda: retarget.retarget(importlib.import_module("pathlib").Path("nowhere"), "not a url"),
        ValueError,
        "url.*not a url",
    ),
}

# Nothing a user passes to these can be wrong, or another row covers them.
NO_ROW = {
    *("CheckpointError", "History", "plateau_lr", "step_lr", "tensorboard", "seed_everything"),
    *("save_checkpoint",),  # what it refuses is in tests/engine/test_checkpoint.py
    *("check_labels", "SurfaceDistances", "ERROR_COLORS", "instance_colors", "use_style"),
}


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.mark.parametrize("name", TABLE)
def test_wrong_input_is_named(name):
    call, exception, pattern = TABLE[name]
    with pytest.raises(exception, match=f"(?s){pattern}"):
        call()


@pytest.mark.parametrize("package", [losses, metrics, engine, viz], ids=lambda p: p.__name__)
def test_every_public_name_has_a_row(package):
    assert set(package.__all__) - set(TABLE) - NO_ROW == set()
