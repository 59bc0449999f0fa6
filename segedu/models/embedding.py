"""Objects as clusters of embeddings. De Brabandere, Neven & Van Gool, 2017 (arXiv:1708.02551).

"Semantic Instance Segmentation with a Discriminative Loss Function": any semantic network, with
other output channels, maps each pixel to a point; a loss pulls the points of an object together and
pushes objects apart; at test time the clusters are the objects.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from segedu.models.bottom_up import make_targets, merge, on_things, pad_target
from segedu.models.enet import ENet
from segedu.models.fpn import SemanticFPN
from segedu.models.targets import Target, batch_images, check_images, check_segments, things_of
from segedu.ops.precision import full_dtype, full_precision


class EmbeddingMaps(NamedTuple):
    """What the network says of N images, or should say (`EmbeddingNetwork.targets`)."""

    semantic: Tensor  #: (N, C, H, W) logits; as a target (N, H, W) classes, 255 void
    center: Tensor  #: (N, 1, H, W), near 1 at the centre of an object
    embedding: Tensor  #: (N, E, H, W); as a target (N, H, W) numbers of objects, 0 for none


def mean_shift(
    points: Tensor,
    priority: Tensor,
    bandwidth: float = 1.5,
    *,
    min_points: int = 1,
    iterations: int = 10,
) -> Tensor:
    """Cluster points one cluster after the other, with a flat kernel (the paper's section 3.2).

    The free point of highest priority is a first mean; the free points within ``bandwidth`` of it
    give a new mean, and so on until it stays (the paper begins at a random point). Those points are
    a cluster and no longer free. Stops after 255 rounds.

    Args:
        points: (P, E).
        priority: (P,).
        bandwidth: radius of a cluster. Where the loss is 0, means lie at least 2 δ_d = 3 apart and
            points within δ_v = 0.5 of theirs; δ_d = 1.5 is half the way to another mean.
        min_points: smaller clusters do not count.
        iterations: at most so many shifts.

    Returns:
        int64 (P,): number of the cluster, from 0 in the order found, -1 for none.
    """
    label = torch.full((len(points),), -1, device=points.device)
    free, found = torch.ones_like(label, dtype=torch.bool), 0
    for _ in range(255):
        if not bool(free.any()):
            break
        seed = priority.masked_fill(~free, -torch.inf).argmax()
        mean, near = points[seed], torch.zeros_like(free)
        for _ in range(iterations):
            before = near
            near = free & ((points - mean).norm(dim=1) <= bandwidth)
            if torch.equal(near, before):
                break
            mean = points[near].mean(0)
        near[seed] = True  # even if the mean has moved away from it
        free &= ~near
        if int(near.sum()) >= min_points:
            label[near] = found
            found += 1
    return label


class EmbeddingNetwork(nn.Module):
    """A semantic network whose channels are class scores, a centre heat map and an embedding.

    Images are (3, H, W) in [0, 1] of any sizes in a list. In eval mode the result is a panoptic one
    for each image, as that of `segedu.models.bottom_up.merge`. In training it is the maps
    themselves, `EmbeddingMaps` at the size of the padded batch: the losses are those of
    `segedu.losses`, which models do not import; `segedu.tasks.embedding_losses` adds them.

    Faithful: an off-the-shelf network, the embedding of its last layer with no activation, clusters
    by mean shift within the pixels of things. Different: the classes come from the same network
    (the paper takes them from another one, or from the ground truth); objects of different classes
    share one space; and each cluster starts at the free pixel with the highest heat in a map of
    centres, as Panoptic-DeepLab's, where the paper starts anywhere: the result is deterministic,
    and begins in the middle of an object, not on its border.

    Args:
        network: maps images (N, 3, H, W) to (N, ``num_classes`` + 1 + E, H, W).
        num_classes: classes, stuff and things.
        things: classes that are things; all if not given.
        bandwidth: see `mean_shift`.
        center_sigma: see `segedu.models.bottom_up.center_heatmap`.
        stuff_area: fewest pixels of stuff.
        thing_area: fewest pixels of an object; smaller clusters are void.
    """

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        *,
        things: Collection[int] | None = None,
        bandwidth: float = 1.5,
        center_sigma: float = 8.0,
        stuff_area: int = 2048,
        thing_area: int = 64,
    ) -> None:
        super().__init__()
        self.network, self.num_classes = network, num_classes
        self.things = things_of(num_classes, things)
        self.bandwidth, self.center_sigma = bandwidth, center_sigma
        self.stuff_area, self.thing_area = stuff_area, thing_area

    def forward(self, images: Sequence[Tensor]) -> EmbeddingMaps | list[dict[str, Any]]:
        """Maps in training, else panoptic results; see the class."""
        check_images(images, None, False)
        output = full_precision(self.network(batch_images(images)))
        maps = EmbeddingMaps(
            output[:, : self.num_classes],
            output[:, self.num_classes : self.num_classes + 1],
            output[:, self.num_classes + 1 :],
        )
        if self.training:
            return maps
        return [self.assemble(maps, i, image) for i, image in enumerate(images)]

    def assemble(self, maps: EmbeddingMaps, index: int, image: Tensor) -> dict[str, Any]:
        """The panoptic result of one image, without what it was padded with."""
        height, width = image.shape[-2:]
        logits, center, embedding = (part[index, :, :height, :width] for part in maps)
        mask = on_things(logits.argmax(0), self.things)
        heat = center[0][mask]  # (P,)
        label = mean_shift(embedding[:, mask].T, heat, self.bandwidth, min_points=self.thing_area)
        group = torch.full(mask.shape, -1, device=mask.device)
        group[mask] = label
        taken = label >= 0
        objectness = heat.new_zeros(int(taken.any()) and int(label.max()) + 1)
        objectness = objectness.scatter_reduce(0, label[taken], heat[taken].clamp(0, 1), "amax")
        return merge(logits, group, objectness, self.things, stuff_area=self.stuff_area)

    def targets(self, samples: Sequence[Target]) -> EmbeddingMaps:
        """What panoptic samples (``image``, ``panoptic_seg``, ``segments_info``) ask for.

        Crowds and void belong to no object; they teach no embedding, and void no class.

        Raises:
            TypeError, ValueError: samples that are not such.
        """
        images = [sample["image"] for sample in samples]
        check_images(images, samples, True)
        batch = batch_images(images)
        parts = []
        for i, (image, sample) in enumerate(zip(images, samples, strict=True)):
            check_segments(sample, tuple(image.shape[-2:]), self.num_classes, f"samples[{i}]")
            padded = pad_target(sample, batch)
            made = {"sigma": self.center_sigma, "dtype": full_dtype(batch)}
            maps, _ = make_targets(padded, self.things, **made)
            parts.append((maps.semantic, maps.center, self.number_objects(padded)))
        return EmbeddingMaps(*(torch.stack(part) for part in zip(*parts, strict=True)))

    def number_objects(self, target: Target) -> Tensor:
        """Map (H, W) of the objects' numbers from 1 on; 0 on stuff, crowds and void."""
        numbers = torch.zeros_like(target["panoptic_seg"], dtype=torch.int64)
        for segment in target["segments_info"]:
            if segment["category_id"] in self.things and not segment.get("iscrowd", False):
                numbers[target["panoptic_seg"] == segment["id"]] = segment["id"]
        return numbers


def embedding_enet(
    num_classes: int, *, embedding_dim: int = 8, base_width: int = 16, **settings: Any
) -> EmbeddingNetwork:
    """On ENet, with 8 dimensions, as in the paper's experiments on Cityscapes.

    Parameters: 353,244 with 21 classes.

    Args:
        num_classes: classes, stuff and things.
        embedding_dim: E.
        base_width: see `segedu.models.enet.ENet`.
        **settings: see `EmbeddingNetwork`.

    Example:
        >>> model = embedding_enet(5, things=(3, 4)).eval()
        >>> model([torch.rand(3, 60, 90)])[0]["panoptic_seg"].shape
        torch.Size([60, 90])
    """
    network = ENet(num_classes + 1 + embedding_dim, base_width=base_width)
    return EmbeddingNetwork(network, num_classes, **settings)


def embedding_tiny(
    num_classes: int,
    *,
    embedding_dim: int = 8,
    base_width: int = 16,
    depth: int = 50,
    max_pool: bool = True,
    **settings: Any,
) -> EmbeddingNetwork:
    """On a narrow semantic FPN that learns scenes of 128 x 128 pixels on a CPU.

    Args:
        num_classes: classes, stuff and things.
        embedding_dim: E.
        base_width, depth, max_pool: see `segedu.models.backbones.ResNetFeatures`.
        **settings: see `EmbeddingNetwork`.
    """
    channels = num_classes + 1 + embedding_dim
    resnet = {"depth": depth, "base_width": base_width, "max_pool": max_pool}
    network = SemanticFPN(channels, layers=(1, 1, 1, 1), **resnet)
    small = {"center_sigma": 3.0, "stuff_area": 32, "thing_area": 16}
    return EmbeddingNetwork(network, num_classes, **small | settings)
