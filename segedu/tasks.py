"""What can be learnt: `fit` and `evaluate` take one of these and know nothing else of it.

    task = Instance()
    loader = make_loader(dataset, 4, shuffle=True, collate_fn=task.collate)
    fit(model, loader, epochs=10, task=task)

`Semantic` gives every pixel a class, `Instance` finds objects, `Panoptic` does both, `Promptable`
answers clicks. Batches are lists of samples, but for `Semantic`: images differ in size.

Networks for objects compute their losses themselves. Those that tell things from stuff (they have
an attribute ``things``) learn from panoptic samples and give panoptic results; the others are
detectors. Either kind learns from, and is judged on, either kind of sample: see `as_panoptic` and
`as_instances`.

Of several processes each takes the loss of its share of a batch, and the gradient is the mean over
them, as in the reference implementations. It is that of the whole batch, and two processes learn
what one does, where all shares divide by the same number: of images, of pixels that are not void,
of positive anchors. Where objects fall unevenly on the shares, those of a share with fewer weigh
more; MaskFormer and Mask2Former alone divide their mask losses by the number of segments of all
processes. Besides, each process takes the statistics of batch normalisation, and Panoptic-DeepLab
the hardest pixels, of its own share, and networks that draw anchors, proposals or points draw
others.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.engine.interactive import rounds
from segedu.engine.task import Semantic, Task
from segedu.losses import CrossEntropyLoss, DiscriminativeLoss
from segedu.metrics import AveragePrecision, ClickIoU, PanopticQuality
from segedu.models import sam
from segedu.models.embedding import EmbeddingNetwork
from segedu.models.mask_classification import MaskClassifier
from segedu.ops import masks_to_boxes

__all__ = ["Instance", "Panoptic", "Promptable", "Semantic", "Task", "as_instances", "as_panoptic"]

Sample = Mapping[str, Any]


class _Listed(Task):
    """A task whose batches are lists of samples, since images differ in size."""

    def collate(self, samples: Sequence[Sample]) -> list[Sample]:
        """The list of the samples."""
        return list(samples)


class _Objects(_Listed):
    """What `Instance` and `Panoptic` share: the losses are the network's own."""

    larger_is_better = True
    uses_all_parameters = False  # a batch without an object teaches some heads nothing

    def loss(self, model: nn.Module, batch: Sequence[Sample]) -> Tensor:
        """The sum of the network's losses."""
        images = _images(batch)
        tells_stuff = hasattr(model, "things")
        targets = [as_panoptic(s) if tells_stuff else as_instances(s) for s in batch]
        if isinstance(model, EmbeddingNetwork):
            return sum(embedding_losses(model, images, targets).values())
        return sum(model(images, targets).values())


class Instance(_Objects):
    """Objects with a mask, or a box, each; judged by average precision.

    Batches are lists of samples with ``image`` (3,H,W) and what `as_instances` reads.

    Args:
        iou_type: ``"segm"`` judges masks, ``"bbox"`` boxes.
    """

    monitor = "AP"

    def __init__(self, iou_type: str = "segm") -> None:
        super().__init__()
        self.iou_type = iou_type

    def predict(self, model: nn.Module, batch: Sequence[Sample]) -> list[dict[str, Tensor]]:
        """For each image ``boxes``, ``labels``, ``scores`` and ``masks``."""
        results = _read(model, "instance", batch)
        return [_detections(r) if "panoptic_seg" in r else r for r in results]

    def update(
        self, metric: Any, prediction: Sequence[Mapping[str, Tensor]], batch: Sequence[Sample]
    ) -> None:
        """``metric.update(detections, instance samples)``."""
        metric.update(prediction, [as_instances(sample) for sample in batch])

    def metric(self) -> AveragePrecision:
        """COCO's average precision."""
        return AveragePrecision(self.iou_type)


class Panoptic(_Objects):
    """A class for every pixel and a number for every object; judged by panoptic quality.

    Batches are lists of samples with ``image`` (3,H,W) and what `as_panoptic` reads.

    Args:
        categories: category id -> whether it is a thing, for the metric, such as ``isthing`` of a
            data set. Of instance samples with C classes ``{0: False, 1: True, ..., C - 1: True}``.
    """

    monitor = "pq"

    def __init__(self, categories: Mapping[int, bool]) -> None:
        super().__init__()
        self.categories = dict(categories)

    def predict(self, model: nn.Module, batch: Sequence[Sample]) -> list[dict[str, Any]]:
        """For each image ``panoptic_seg`` and ``segments_info``.

        Raises:
            ValueError: the network is a detector.
        """
        results = _read(model, "panoptic", batch)
        if not all("panoptic_seg" in result for result in results):
            raise ValueError(
                f"{type(model).__name__} finds objects only and makes no panoptic map: "
                "the task is Instance()"
            )
        return results

    def update(
        self, metric: Any, prediction: Sequence[Mapping[str, Any]], batch: Sequence[Sample]
    ) -> None:
        """``metric.update(results, panoptic samples)``."""
        metric.update(prediction, [as_panoptic(sample) for sample in batch])

    def metric(self) -> PanopticQuality:
        """Panoptic quality of these categories."""
        return PanopticQuality(self.categories)


class Promptable(_Listed):
    """A mask for a prompt: clicks are simulated, first on an object, then on what is wrong.

    Batches are lists of samples with ``image`` (3,H,W) in [0, 1] and what `as_instances` reads.
    In training the first prompt is, by chance, the box of the object or a pixel of it, and the
    further clicks are drawn from the wrong pixels; each answer is a mask prompt for the next
    (Kirillov et al. 2023, appendix A). The losses of all rounds count alike. For judging all
    clicks follow from the masks, and the score is the mean IoU after the last.

    Different from the paper: all objects of an image begin with the same kind of prompt, boxes
    are drawn without noise, and there are no rounds without a new click.

    Args:
        clicks: prompts for an object, one after the other, at least 1; the paper trains with 9.
        max_objects: of an image, drawn for each training step.
    """

    monitor = "mean_iou"
    larger_is_better = True
    uses_all_parameters = False  # with a single prompt the mask prompt's are not used

    def __init__(self, clicks: int = 3, max_objects: int = 32) -> None:
        super().__init__()
        if clicks < 1 or max_objects < 1:
            raise ValueError(f"clicks and max_objects must be >= 1, got {clicks}, {max_objects}")
        self.clicks, self.max_objects = clicks, max_objects

    def loss(self, model: nn.Module, batch: Sequence[Sample]) -> Tensor:
        """The mean over images and rounds of the sum of SAM's losses."""
        values = []
        for image, sample in zip(_images(batch), batch, strict=True):
            embedding = model.embed(image[None])
            masks = _masks(sample)
            masks = masks[torch.randperm(len(masks))[: self.max_objects].to(masks.device)]
            if not len(masks):
                values.append(0 * embedding.sum())
            for turn in rounds(model, embedding, masks, self.clicks, random=True):
                values.append(sum(sam.losses(turn.answer, masks[None]).values()) / self.clicks)
        return torch.stack(values).sum() / len(batch)

    def predict(self, model: nn.Module, batch: Sequence[Sample]) -> list[dict[str, Tensor]]:
        """For each image ``masks`` bool (P,K,H,W), of each object after each of K clicks."""
        predictions = []
        for image, sample in zip(_images(batch), batch, strict=True):
            masks = _masks(sample)
            turns = rounds(model, model.embed(image[None]), masks, self.clicks)
            found = [turn.found for turn in turns]
            empty = masks[:, None].expand(-1, self.clicks, -1, -1)  # no object: (0,K,H,W)
            predictions.append({"masks": torch.stack(found, dim=1) if found else empty})
        return predictions

    def update(
        self, metric: Any, prediction: Sequence[Mapping[str, Tensor]], batch: Sequence[Sample]
    ) -> None:
        """``metric.update(masks after each click, masks)``."""
        metric.update(prediction, [{"masks": _masks(sample)} for sample in batch])

    def metric(self) -> ClickIoU:
        """Mean IoU after each click."""
        return ClickIoU(self.clicks)


def as_panoptic(sample: Sample) -> Sample:
    """A sample as panoptic networks learn it; a panoptic one stays as it is.

    Of an instance sample the labels become the category ids, and what no object covers becomes one
    segment of category 0, the background. Where objects overlap, the later one is seen.

    Args:
        sample: ``panoptic_seg`` and ``segments_info``, or ``masks`` (M,H,W) and ``labels`` (M,)
            from 1 on, perhaps ``iscrowd`` (M,).

    Raises:
        ValueError: for another sample.
    """
    if "panoptic_seg" in sample:
        return sample
    _require(sample, "masks", "labels")
    masks = sample["masks"].as_subclass(Tensor).bool()
    crowd = sample.get("iscrowd", torch.zeros(len(masks))).tolist()
    ids = torch.ones(masks.shape[1:], dtype=torch.int32, device=masks.device)
    segments = [{"id": 1, "category_id": 0, "isthing": False, "iscrowd": 0}]
    about = zip(masks, sample["labels"].tolist(), crowd, strict=True)
    for number, (mask, label, is_crowd) in enumerate(about, start=2):
        ids[mask] = number
        thing = {"id": number, "category_id": label, "isthing": True, "iscrowd": int(is_crowd)}
        segments.append(thing)
    area = torch.bincount(ids.flatten(), minlength=len(segments) + 1)[1:].tolist()
    seen = [s | {"area": a} for s, a in zip(segments, area, strict=True) if a]
    return {"image": sample["image"], "panoptic_seg": ids, "segments_info": seen}


def as_instances(sample: Sample) -> Sample:
    """A sample as detectors learn it; an instance one stays as it is.

    Of a panoptic sample the things are the objects, and their category ids the labels. Boxes that
    are missing are those of the masks.

    Args:
        sample: ``labels`` and ``boxes`` or ``masks``, or ``panoptic_seg`` and ``segments_info``.

    Raises:
        ValueError: for another sample.
    """
    if "panoptic_seg" not in sample:
        if "boxes" not in sample and "masks" in sample:
            sample = {**sample, "boxes": masks_to_boxes(sample["masks"].as_subclass(Tensor))}
        _require(sample, "boxes", "labels")
        return sample
    things = [segment for segment in sample["segments_info"] if segment["isthing"]]
    masks = _masks_of(sample["panoptic_seg"], things)
    labels = torch.tensor([segment["category_id"] for segment in things], dtype=torch.int64)
    crowd = torch.tensor([segment.get("iscrowd", 0) for segment in things], dtype=torch.int64)
    return {
        "image": sample["image"],
        "boxes": masks_to_boxes(masks),
        "masks": masks,
        "labels": labels.to(masks.device),
        "iscrowd": crowd.to(masks.device),
    }


def embedding_losses(
    model: EmbeddingNetwork, images: Sequence[Tensor], samples: Sequence[Sample]
) -> dict[str, Tensor]:
    """The losses of an embedding network, weighted: classes, embeddings and centres."""
    maps, target = model(images), model.targets(samples)
    return {
        "loss_semantic": CrossEntropyLoss()(maps.semantic, target.semantic),
        "loss_embedding": DiscriminativeLoss(ignore_index=-1)(maps.embedding, target.embedding),
        "loss_center": 10 * F.mse_loss(maps.center, target.center),
    }


def _read(model: nn.Module, task: str, batch: Sequence[Sample]) -> list[dict[str, Any]]:
    """Results of a network; a mask classifier can be read in several ways."""
    if not isinstance(model, MaskClassifier):
        return model(_images(batch))
    before, model.task = model.task, task
    try:
        return model(_images(batch))
    finally:
        model.task = before


def _detections(result: Sample) -> dict[str, Tensor]:
    """The things of a panoptic result as a detector gives them."""
    things = [segment for segment in result["segments_info"] if segment["isthing"]]
    masks = _masks_of(result["panoptic_seg"], things)
    labels = torch.tensor([segment["category_id"] for segment in things], dtype=torch.int64)
    scores = torch.tensor([segment["score"] for segment in things], dtype=torch.float32)
    return {
        "boxes": masks_to_boxes(masks),
        "labels": labels.to(masks.device),
        "scores": scores.to(masks.device),
        "masks": masks,
    }


def _masks_of(ids: Tensor, segments: Sequence[Mapping[str, Any]]) -> Tensor:
    """Masks (M,H,W) of so many segments of a map (H,W)."""
    numbers = torch.tensor([s["id"] for s in segments], dtype=ids.dtype, device=ids.device)
    return ids.as_subclass(Tensor) == numbers[:, None, None]


def _masks(sample: Sample) -> Tensor:
    """The masks (P,H,W) of an instance or panoptic sample that are not empty."""
    objects = as_instances(sample)
    _require(objects, "masks")
    masks = objects["masks"].as_subclass(Tensor).bool()
    return masks[masks.flatten(1).any(1)]


def _images(batch: Any) -> list[Tensor]:
    if isinstance(batch, Mapping) or not isinstance(batch, Sequence):
        raise TypeError(
            f"a batch must be a list of samples, got {type(batch).__name__}: build the loader with "
            "collate_fn=task.collate"
        )
    return [sample["image"] for sample in batch]


def _require(sample: Sample, *keys: str) -> None:
    missing = [key for key in keys if key not in sample]
    if missing:
        raise ValueError(
            f"a sample must have {' and '.join(keys)}, or panoptic_seg and segments_info; got "
            f"{', '.join(sample)}"
        )
