"""Networks for objects beside their peers: results, losses with gradients, peak memory.

    python benchmarks/instance.py                       # scenes of 480 x 640, all pairs
    python benchmarks/instance.py --only sam --cpu-time # one pair, shown and not written
    python benchmarks/instance.py --quick               # small, no memory, no file

Both networks of a pair have the same random weights and must give the same before they are timed: a
fast wrong number is worth nothing. Mask R-CNN has two classes, so that half of the proposals pass
the score threshold and every image keeps as many detections as it may, as a trained detector on a
full street does; the class scores of the mask classifiers are spread for the same reason. Memory is
the peak of what a run allocates.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import race
from segedu.data.scenes import CLASSES, SceneConfig, SceneDataset
from segedu.files import json_text, write_json
from segedu.models import mask2former, maskformer, sam
from segedu.models.mask_classification import prepare_targets
from segedu.models.mask_rcnn import mask_rcnn_resnet50_fpn
from segedu.models.targets import IMAGE_MEAN, IMAGE_STD, batch_images, normalize

BUSY = "The machine had other work to do meanwhile: only the ratios mean something."
Run = Callable[[], Any]
Runs = dict[str, dict[str, Run]]  # task -> network -> run; both give the same in the first task


class Setting(NamedTuple):
    size: int  #: height of the images, whose width is 4/3 of it
    detections: int  #: of Mask R-CNN, for each image
    device: str


def scenes(count: int, task: str, setting: Setting) -> tuple[list[Tensor], list[dict[str, Any]]]:
    """Images float (3, H, W) in [0, 1] and their samples."""
    config = SceneConfig(size=(setting.size, 4 * setting.size // 3))
    samples = [
        {key: x.to(setting.device) if isinstance(x, Tensor) else x for key, x in sample.items()}
        for sample in SceneDataset(count, config, task=task)
    ]
    return [sample["image"].as_subclass(Tensor).float().div(255) for sample in samples], samples


def evaluating(model: nn.Module, run: Run) -> Run:
    def evaluate() -> Any:
        model.eval()
        with torch.inference_mode():
            return run()

    return evaluate


def learning(model: nn.Module, losses: Callable[[], dict[str, Tensor]]) -> Run:
    def learn() -> float:
        model.train()
        torch.manual_seed(0)  # the proposals or points that are drawn
        total = sum(losses().values())
        total.backward()
        model.zero_grad()
        return total.item()

    return learn


def mask_rcnn_settings(setting: Setting) -> dict[str, int]:
    """Settings of both networks; with 100 detections, those of training on COCO."""
    return {
        "min_size": setting.size,
        "max_size": 2 * setting.size,
        "box_detections_per_img": setting.detections,
        "rpn_post_nms_top_n_test": 10 * setting.detections,
        "rpn_post_nms_top_n_train": 20 * setting.detections,
        "box_batch_size_per_image": 5 * setting.detections,
    }


def mask_rcnn_runs(setting: Setting) -> Runs:
    """Two images, one kind of object."""
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    images, samples = scenes(2, "instance", setting)
    targets = [
        {**{key: x.as_subclass(Tensor) for key, x in s.items()}, "labels": s["labels"].clamp(1, 1)}
        for s in samples
    ]
    settings = mask_rcnn_settings(setting)
    ours = mask_rcnn_resnet50_fpn(2, **settings)
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2, **settings)
    theirs.load_state_dict(ours.state_dict())
    models = {"segedu": ours.to(setting.device), "torchvision": theirs.to(setting.device)}
    return {
        "detection": {
            name: evaluating(model, lambda model=model: model(images))
            for name, model in models.items()
        },
        "losses and gradients": {
            name: learning(model, lambda model=model: model(images, targets))
            for name, model in models.items()
        },
    }


def maskformer_runs(setting: Setting) -> Runs:
    """Two images, all classes."""
    from transformers import (
        MaskFormerConfig,
        MaskFormerDetrConfig,
        MaskFormerForInstanceSegmentation,
        MaskFormerImageProcessor,
    )

    config = MaskFormerConfig(
        backbone_config=_resnet50(),
        decoder_config=MaskFormerDetrConfig(dropout=0.0),
        num_labels=len(CLASSES),
    )
    ours = maskformer.MaskFormer(len(CLASSES), dropout=0.0)
    theirs = MaskFormerForInstanceSegmentation(config)
    return _mask_classifier_runs(setting, ours, theirs, maskformer, MaskFormerImageProcessor())


def mask2former_runs(setting: Setting) -> Runs:
    """Two images, all classes."""
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
    )

    config = Mask2FormerConfig(backbone_config=_resnet50(), num_labels=len(CLASSES))
    ours = mask2former.Mask2Former(len(CLASSES))
    theirs = Mask2FormerForUniversalSegmentation(config)
    return _mask_classifier_runs(setting, ours, theirs, mask2former, Mask2FormerImageProcessor())


def _resnet50() -> object:
    from transformers import ResNetConfig

    return ResNetConfig(out_features=["stage1", "stage2", "stage3", "stage4"])


def _mask_classifier_runs(
    setting: Setting, ours: nn.Module, theirs: nn.Module, names: ModuleType, processor: Any
) -> Runs:
    images, samples = scenes(2, "panoptic", setting)
    sizes = [tuple(image.shape[-2:]) for image in images]
    with torch.no_grad():
        theirs.class_predictor.weight.mul_(20)  # so that queries are sure of their class
    ours.load_state_dict(names.from_hugging_face(theirs.state_dict()))
    ours, theirs = ours.to(setting.device), theirs.to(setting.device)
    # transformers' inner predictions: as many as ours has, see `MaskFormer`
    inner = len(ours.transformer.layers) - (names is maskformer)

    def our_logits() -> tuple[Tensor, Tensor]:
        return tuple(ours.predict(batch_images(images), only_last=True)[-1])

    def their_output() -> Any:
        if names is maskformer:  # inner predictions are for the loss; Mask2Former needs them always
            theirs.config.use_auxiliary_loss = theirs.training
        return theirs(
            pixel_values=batch_images(images),
            output_hidden_states=theirs.training,
            output_auxiliary_logits=True,
        )

    def their_logits() -> tuple[Tensor, Tensor]:
        output = their_output()
        return output.class_queries_logits, output.masks_queries_logits

    def their_segments() -> list[dict[str, Any]]:
        return processor.post_process_panoptic_segmentation(
            their_output(), threshold=0.8, label_ids_to_fuse=set(), target_sizes=sizes
        )

    def their_losses() -> dict[str, Tensor]:
        output = their_output()
        size = [4 * length for length in output.masks_queries_logits.shape[-2:]]
        wanted = prepare_targets(samples, len(CLASSES), images, size)
        return theirs.get_loss_dict(
            output.masks_queries_logits,
            output.class_queries_logits,
            [segments.masks for segments in wanted],
            [segments.labels for segments in wanted],
            output.auxiliary_logits[-inner:],
        )

    return {
        "logits": {
            "segedu": evaluating(ours, our_logits),
            "transformers": evaluating(theirs, their_logits),
        },
        "panoptic result": {
            "segedu": evaluating(ours, lambda: ours(images)),
            "transformers": evaluating(theirs, their_segments),
        },
        "losses and gradients": {
            "segedu": learning(ours, lambda: ours(images, samples)),
            "transformers": learning(theirs, their_losses),
        },
    }


def sam_runs(setting: Setting) -> Runs:
    """One image, eight boxes; transformers has no loss for SAM, so ours is taken of both."""
    from transformers import SamConfig, SamModel

    images, samples = scenes(1, "instance", setting)
    size = tuple(images[0].shape[-2:])
    side = max(size) - max(size) % 16  # what the network works at
    boxes = samples[0]["boxes"].as_subclass(Tensor)[:8]
    masks = samples[0]["masks"].as_subclass(Tensor)[:8]
    config = SamConfig(
        vision_config={"image_size": side},
        prompt_encoder_config={"image_size": side, "image_embedding_size": side // 16},
        mask_decoder_config={"layer_norm_eps": 1e-5},  # the authors'; transformers has 1e-6
    )
    theirs, ours = SamModel(config), sam.SAM(image_size=side)
    ours.load_state_dict(sam.from_hugging_face(theirs.state_dict()))
    ours, theirs = ours.to(setting.device), theirs.to(setting.device)
    resized = ours._resized(size)
    scale = boxes.new_tensor([resized[1] / size[1], resized[0] / size[0]]).repeat(2)

    def our_masks() -> sam.Masks:
        return ours(torch.stack(images), boxes=boxes[None])

    def their_masks() -> sam.Masks:
        """With the preparation and the enlargement of transformers' processor."""
        x = F.interpolate(torch.stack(images), resized, mode="bilinear", antialias=True)
        x = F.pad(normalize(x, IMAGE_MEAN, IMAGE_STD), (0, side - resized[1], 0, side - resized[0]))
        output = theirs(pixel_values=x, input_boxes=(boxes * scale)[None])
        full = F.interpolate(output.pred_masks[0], (side, side), mode="bilinear")
        full = F.interpolate(full[..., : resized[0], : resized[1]], size, mode="bilinear")
        return sam.Masks(full[None], output.iou_scores, output.pred_masks)

    runs = {"segedu": (ours, our_masks), "transformers": (theirs, their_masks)}
    return {
        "masks": {
            name: evaluating(model, lambda run=run: tuple(run()))
            for name, (model, run) in runs.items()
        },
        "losses and gradients": {
            name: learning(model, lambda run=run: sam.losses(run(), masks[None]))
            for name, (model, run) in runs.items()
        },
    }


PAIRS: dict[str, Callable[[Setting], Runs]] = {
    "mask_rcnn_resnet50_fpn": mask_rcnn_runs,
    "maskformer_resnet50": maskformer_runs,
    "mask2former_resnet50": mask2former_runs,
    "sam_vit_base": sam_runs,
}


def candidates(name: str, setting: Setting) -> Runs:
    torch.manual_seed(0)
    return PAIRS[name](setting)


def compare(runs: Runs) -> float:
    """The largest difference in what the first task gives; AssertionError if not the same."""
    ours, theirs = (run() for run in next(iter(runs.values())).values())
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    pairs = zip(_tensors(ours), _tensors(theirs), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def _tensors(result: Any) -> list[Tensor]:
    """All tensors in lists and dicts."""
    if isinstance(result, Tensor):
        return [result]
    parts = result.values() if isinstance(result, dict) else result
    return [tensor for part in parts for tensor in _tensors(part)]


def measure(name: str, setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """The difference of a pair, and for each task the time and memory of both."""
    runs = candidates(name, setting)
    result: dict[str, Any] = {"difference": compare(runs)}
    clock = time.process_time if options.cpu_time else time.perf_counter
    for task, networks in runs.items():
        rows = race.race(networks, options.rounds, clock)
        if not options.quick:
            for network, run in networks.items():
                rows[network]["peak_mb"] = race.allocated_peak(run, setting.device) >> 20
        result[task] = rows
        race.show(f"{name}, {task}", rows)
    return result


def main() -> None:
    parser = race.command_line(__doc__, "small images, no memory, no file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=480, help="height of the images")
    parser.add_argument("--cpu-time", action="store_true", help="clock the process, not the wall")
    parser.add_argument("--detections", type=int, default=100, help="of Mask R-CNN, per image")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", choices=PAIRS, default=list(PAIRS), metavar="NAME")
    options = parser.parse_args()
    if options.quick:
        options.size, options.detections = 96, 5
    setting = Setting(options.size, options.detections, options.device)
    machine = race.busy_machine(options.device)
    result = {
        "command": " ".join(["python", "benchmarks/instance.py", *sys.argv[1:]]),
        "machine": machine,
        "note": BUSY if machine["load"] > machine["threads"] else "",
        "clock": "processor" if options.cpu_time else "wall",
        "setting": {**setting._asdict(), "rounds": options.rounds},
        "mask_rcnn_settings": mask_rcnn_settings(setting),
        "models": {name: measure(name, setting, options) for name in options.only},
    }
    if options.only == list(PAIRS) and not options.quick:  # a part of the table is only shown
        print(write_json(race.RESULTS / "instance_benchmark.json", result))
    else:
        differences = {name: pair["difference"] for name, pair in result["models"].items()}
        print(json_text(differences), end="")


if __name__ == "__main__":
    main()
