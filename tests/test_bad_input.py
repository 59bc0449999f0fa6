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

from segedu import engine, losses, metrics, models, ops, viz
from segedu.data import (
    camvid,
    cityscapes,
    coco,
    coco_panoptic,
    object_folders,
    pennfudan,
    photos,
    scenes,
    transforms,
    voc,
)
from segedu.tools import retarget

LOGITS = torch.zeros(2, 3, 4, 4)  # (N, C, H, W)
TARGET = torch.zeros(2, 4, 4, dtype=torch.int64)  # (N, H, W)
IMAGE = np.zeros((4, 4, 3), dtype=np.uint8)
MASK = np.zeros((4, 4), dtype=np.uint8)
COLORS = [(0, 0, 0), (255, 0, 0)]
MODEL = nn.Conv2d(3, 2, 1)
BOXES = torch.tensor([[0.0, 0.0, 4.0, 4.0]])  # (1, 4)
SCORES = torch.ones(1)


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
    "SizeConstraintLoss": (
        lambda: losses.SizeConstraintLoss()(LOGITS, torch.ones(3), 2 * torch.ones(3)),
        ValueError,
        "bounds must be shares.*upper",
    ),
    "BoxTightnessLoss": (
        lambda: losses.BoxTightnessLoss()(LOGITS, [BOXES], [SCORES.long()]),
        ValueError,
        "each of N images.* 1 and 1",
    ),
    "NeighborLoss": (
        lambda: losses.NeighborLoss()(LOGITS, LOGITS[:1]),
        ValueError,
        r"images .*\(1, 3, 4, 4\)",
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
    "offset_curve": (
        lambda: metrics.offset_curve(LOGITS, TARGET, 3),
        ValueError,
        r"label must be one of the classes .*got 3",
    ),
    "region_areas": (
        lambda: metrics.region_areas(LOGITS),
        ValueError,
        r"labels .*float32 \(2, 3, 4, 4\)",
    ),
    "score": (
        lambda: metrics.score(LOGITS, TARGET, num_classes=5),
        ValueError,
        r"logits must be \(N, 5, .*got \(2, 3, 4, 4\)",
    ),
    "CalibrationMetrics": (lambda: metrics.CalibrationMetrics(0), ValueError, "num_bins"),
    "AveragePrecision": (lambda: metrics.AveragePrecision("polygon"), ValueError, "iou_type.*segm"),
    "ErrorBudget": (lambda: metrics.ErrorBudget("polygon"), ValueError, "iou_type.*segm"),
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
    "ClickIoU": (
        lambda: metrics.ClickIoU(2).update(
            [{"masks": TARGET[:, None].bool()}], [{"masks": TARGET.bool()}]
        ),
        ValueError,
        r"prediction must be bool \(2, 2, 4, 4\), got .*\(2, 1, 4, 4\)",
    ),
    # ops
    "BoxCoder": (lambda: ops.BoxCoder((1.0, 0.0)), ValueError, r"weights.*4.*\(1.0, 0.0\)"),
    "box_area": (lambda: ops.box_area(torch.zeros(2, 5)), ValueError, r"boxes.*4.*\(2, 5\)"),
    "box_convert": (
        lambda: ops.box_convert(BOXES, "yx", "xyxy"),
        ValueError,
        "in_format.*xyxy.*yx",
    ),
    "box_iou": (lambda: ops.box_iou(BOXES, BOXES[0]), ValueError, r"boxes2.*\(4,\)"),
    "clip_boxes": (lambda: ops.clip_boxes(BOXES, (-1, 4)), ValueError, r"size.*\(-1, 4\)"),
    "masks_to_boxes": (lambda: ops.masks_to_boxes(TARGET[0]), ValueError, r"masks.*\(4, 4\)"),
    "nms": (lambda: ops.nms(BOXES, torch.ones(3)), ValueError, r"scores.*\(3,\)"),
    "nms_reference": (
        lambda: ops.nms_reference(BOXES, SCORES, 2.0),
        ValueError,
        "iou_threshold.*2.0",
    ),
    "batched_nms": (
        lambda: ops.batched_nms(BOXES, SCORES, torch.zeros(2)),
        ValueError,
        r"labels.*\(2,\)",
    ),
    "soft_nms": (
        lambda: ops.soft_nms(BOXES, SCORES, method="hard"),
        ValueError,
        "method.*gaussian.*hard",
    ),
    "fast_nms": (lambda: ops.fast_nms(BOXES, SCORES), ValueError, r"scores \(C, N\).*\(1,\)"),
    "matrix_nms": (lambda: ops.matrix_nms(BOXES, SCORES), ValueError, r"iou.*\(N, N\).*\(1, 4\)"),
    "roi_align": (
        lambda: ops.roi_align(LOGITS, [BOXES], 7),
        ValueError,
        r"boxes must be 2 .*\(1, 4\)",
    ),
    "roi_align_reference": (
        lambda: ops.roi_align_reference(LOGITS[0], [BOXES], 7),
        ValueError,
        r"features.*\(3, 4, 4\)",
    ),
    "roi_pool": (lambda: ops.roi_pool(LOGITS, [BOXES, BOXES], 0), ValueError, "output_size.*0"),
    "cell_anchors": (lambda: ops.cell_anchors((0,), (1.0,)), ValueError, r"sizes.*\(0,\)"),
    "grid_anchors": (
        lambda: ops.grid_anchors(BOXES, (2, 2), (0, 4)),
        ValueError,
        r"stride.*\(0, 4\)",
    ),
    "pyramid_anchors": (
        lambda: ops.pyramid_anchors((8, 8), [(2, 2)], [], []),
        ValueError,
        "grid_sizes.*1, 0 and 0",
    ),
    "match_iou": (lambda: ops.match_iou(BOXES, 0.3, 0.7), ValueError, "low.*high.*0.7 and 0.3"),
    "balanced_sample": (
        lambda: ops.balanced_sample(SCORES, 4, 1.5),
        ValueError,
        "positive_fraction.*1.5",
    ),
    "hungarian": (lambda: ops.hungarian(BOXES / 0), ValueError, "cost.*finite"),
    "paste_masks": (
        lambda: ops.paste_masks(LOGITS[0], BOXES, (8, 8)),
        ValueError,
        r"boxes \(N, 4\).*\(1, 4\)",
    ),
    "crop_masks": (
        lambda: ops.crop_masks(TARGET[0], BOXES),
        ValueError,
        r"masks.*\(N, H, W\).*\(4, 4\)",
    ),
    "binary_masks": (lambda: ops.binary_masks(TARGET - 1), ValueError, "0 and 1 only.*-1 to -1"),
    "mask_iou": (
        lambda: ops.mask_iou(TARGET, TARGET[:, :2]),
        ValueError,
        r"masks2.*\(2, 2, 4\)",
    ),
    "polygon_to_mask": (lambda: ops.polygon_to_mask([0, 0, 1, 1], 4, 4), ValueError, "polygon.*4"),
    "resize_labels": (
        lambda: ops.resize_labels(TARGET, (0, 4)),
        ValueError,
        r"size.*\(0, 4\)",
    ),
    "segmentation_to_mask": (
        lambda: ops.segmentation_to_mask({"size": [2, 3], "counts": "15"}, 3, 2),
        ValueError,
        r"segmentation.*3 x 2.*\[2, 3\]",
    ),
    "rle": (
        lambda: ops.rle.decode({"size": [2, 2], "counts": [1]}),
        ValueError,
        "counts.*2 x 2.*1",
    ),
    "center_clicks": (lambda: ops.center_clicks(TARGET.bool()), ValueError, "masks .* empty"),
    "error_clicks": (
        lambda: ops.error_clicks(TARGET.bool(), TARGET[:, :2].bool()),
        ValueError,
        r"found and wanted .*\(2, 2, 4\)",
    ),
    "distance_transform": (
        lambda: ops.distance_transform(TARGET[0].bool(), (1.0,)),
        ValueError,
        "spacing.*2",
    ),
    # models
    "cost": (lambda: models.cost(MODEL, 0), ValueError, "size .*0"),
    "get_model": (lambda: models.get_model("unett", 2), ValueError, "unett.*unet"),
    "get_model classes": (lambda: models.get_model("unet", 0), ValueError, "num_classes.*0"),
    # engine
    "fit": (lambda: engine.fit(MODEL, [], epochs=1), ValueError, "batches.*0"),
    "evaluate": (lambda: engine.evaluate(MODEL, []), ValueError, "metric, a loss or a task"),
    "Task": (lambda: engine.fit(MODEL, [1], task="instance", epochs=1), TypeError, "Task, got str"),
    "Semantic": (
        lambda: engine.Semantic().loss(MODEL, {"image": LOGITS, "mask": TARGET}),
        ValueError,
        "needs a loss",
    ),
    "load_model": (lambda: engine.load_model("nowhere.pt"), FileNotFoundError, "nowhere.pt"),
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
    "predict_strips": (
        lambda: [*engine.predict_strips(MODEL, lambda part: IMAGE, (8, 8), 0)],
        ValueError,
        "window",
    ),
    "predict_labels": (
        lambda: engine.predict_labels(MODEL, torch.zeros(4, 4)),
        ValueError,
        r"\(N,3,H,W\).*\(4, 4\)",
    ),
    "train": (
        lambda: engine.train(lambda: MODEL, [], epochs=1, batch_size=1, schedule="step"),
        ValueError,
        "cosine.*poly.*step",
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
    "live_curves": (
        lambda: viz.live_curves(["dice"])({"epoch": 1, "loss": 1.0}),
        ValueError,
        "no record has 'dice'",
    ),
    "learning_curves": (lambda: viz.learning_curves([]), ValueError, "history"),
    "confusion_matrix": (
        lambda: viz.confusion_matrix(np.eye(2), ["a"]),
        ValueError,
        "names|matrix",
    ),
    "benchmark_ratios": (lambda: viz.benchmark_ratios({}), ValueError, "rows .* got none"),
    "architecture": (lambda: viz.architecture(MODEL, 0), ValueError, "size .*0"),
    "architecture's dashed lines": (
        lambda: viz.architecture(MODEL, 8, dashed="places"),
        ValueError,
        "English ｜ 中文.*'places'",
    ),
    "shapes": (lambda: viz.shapes(MODEL, (4, 4, 4, 4)), ValueError, r"size .*\(4, 4, 4, 4\)"),
    "table": (lambda: viz.table([[1, 2]], ["a"]), ValueError, r"1 cells.*\[1, 2\]"),
    "binary_errors": (
        lambda: viz.binary_errors(IMAGE, MASK, MASK[:2]),
        ValueError,
        r"same shape, got \(4, 4\) and \(2, 4\)",
    ),
    "class_bars": (lambda: viz.class_bars({"a": [1.0]}, ["x", "y"]), ValueError, "'a'"),
    "distribution": (lambda: viz.distribution([np.inf]), ValueError, "values must hold a finite"),
    "box_plot": (lambda: viz.box_plot({"a": []}), ValueError, "a must hold a finite"),
    "cumulative": (lambda: viz.cumulative({"a": []}), ValueError, "a must hold a finite"),
    "scatter": (lambda: viz.scatter([1.0], [1.0, 2.0]), ValueError, "same length"),
    "schedules": (lambda: viz.schedules({}), ValueError, "curves"),
    "receptive_field": (lambda: viz.receptive_field([]), ValueError, "layers"),
    "dry_run": (lambda: ops.dry_run(MODEL, (4, 0)), ValueError, r"size .*\(4, 0\)"),
    "receptive_fields": (lambda: ops.receptive_fields([(3, 0)]), ValueError, "stride|layer"),
    "effective_receptive_field": (
        lambda: viz.effective_receptive_field(np.zeros(4)),
        ValueError,
        "gradient",
    ),
    "effective_field": (
        lambda: ops.effective_field(torch.ones(4, 4), share=2.0),
        ValueError,
        "share",
    ),
    "kernel": (lambda: viz.kernel(3, stride=0), ValueError, "stride"),
    "pictures": (lambda: viz.pictures([IMAGE], ["a", "b"]), ValueError, "got 2 for 1"),
    "show_pixels": (lambda: viz.show_pixels(torch.zeros(4, 4)), ValueError, r"\(C, H, W\).*4, 4"),
    "show_labels": (lambda: viz.show_labels(IMAGE, {"label": 1}, COLORS), ValueError, "label"),
    "sheet": (lambda: viz.sheet([], ["a"], COLORS[:1]), ValueError, "rows is empty"),
    "titles": (
        lambda: viz.sheet([[IMAGE]], ["a"], COLORS[:1], titles=["a", "b"]),
        ValueError,
        "2 titles do not fit 1 pictures",
    ),
    "shown_classes": (lambda: viz.shown_classes([{}]), ValueError, "sample must have mask, masks"),
    "frames": (lambda: viz.frames([IMAGE], ["one"], "a ｜ 甲"), ValueError, "2 to 12"),
    "live": (lambda: viz.live({}, {}, {}), ValueError, "one or two, got 0"),
    "live_clicks": (lambda: viz.live_clicks(MODEL, {}), TypeError, "promptable.*sam_tiny, got"),
    "Clicking": (lambda: viz.Clicking(MODEL, IMAGE), TypeError, "promptable.*sam_tiny, got"),
    "explore": (lambda: viz.explore(lambda v: IMAGE, [1], "a ｜ 甲"), ValueError, "2 to 12"),
    "source": (lambda: viz.source(3), TypeError, "3|int"),
    # data
    "SceneConfig": (lambda: scenes.SceneConfig(clutter=2), ValueError, r"clutter.*\[0, 1\].*2"),
    "SceneDataset": (lambda: scenes.SceneDataset(4, task="depth"), ValueError, "task.*depth"),
    "splits": (lambda: scenes.splits(4, 0, 64), ValueError, "num_images must be >= 1; got 0"),
    "generate": (lambda: scenes.generate(-1), ValueError, "seed"),
    "photos.load": (lambda: photos.load("mona lisa"), ValueError, "coffee.*mona lisa"),
    "photos.info": (lambda: photos.info("mona lisa"), ValueError, "coffee.*mona lisa"),
    "PhotoDataset": (lambda: photos.PhotoDataset(task="depth"), ValueError, "task.*depth"),
    "transforms.training": (lambda: transforms.training(0), ValueError, "size"),
    "transforms.evaluation": (lambda: transforms.evaluation((4, -1)), ValueError, "size"),
    "BatchAugment": (lambda: transforms.BatchAugment(scale=(2, 1)), ValueError, "scale"),
    "FinishBatch": (lambda: transforms.FinishBatch(color=2), ValueError, r"color.*0\.\.1, got 2"),
    "denormalize": (lambda: transforms.denormalize(torch.zeros(4, 4)), ValueError, "image"),
    "VOCSegmentation": (lambda: voc.VOCSegmentation("nowhere"), FileNotFoundError, "nowhere"),
    "CamVid": (lambda: camvid.CamVid("nowhere"), FileNotFoundError, "nowhere"),
    "Cityscapes": (lambda: cityscapes.Cityscapes("nowhere"), FileNotFoundError, "nowhere"),
    "VOCObjects": (lambda: voc.VOCObjects("nowhere"), FileNotFoundError, "nowhere"),
    "CityscapesObjects": (
        lambda: cityscapes.CityscapesObjects("nowhere"),
        FileNotFoundError,
        "nowhere",
    ),
    "CocoInstances": (
        lambda: coco.CocoInstances("nowhere", "absent.json"),
        FileNotFoundError,
        "absent.json",
    ),
    "draw_polygon": (lambda: coco.draw_polygon([0, 0, 1, 1], 4, 4), ValueError, "polygon.*4"),
    "CocoPanoptic": (
        lambda: coco_panoptic.CocoPanoptic("nowhere", "absent.json"),
        FileNotFoundError,
        "absent.json",
    ),
    "PennFudan": (lambda: pennfudan.PennFudan("nowhere"), FileNotFoundError, "nowhere"),
    "ObjectFolders": (
        lambda: object_folders.ObjectFolders("nowhere"),
        FileNotFoundError,
        "nowhere",
    ),
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
    *("Metric", "OffsetCurve"),  # the base of the others; a result
    *("check_labels", "SurfaceDistances", "BINARY_COLORS", "ERROR_COLORS", "instance_colors"),
    "Layer",  # viz.live refuses what does not fit in it, see tests/viz/test_live_figures.py
    "use_style",
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


@pytest.mark.parametrize("package", [ops, losses, metrics, engine, viz], ids=lambda p: p.__name__)
def test_every_public_name_has_a_row(package):
    assert set(package.__all__) - set(TABLE) - NO_ROW == set()
