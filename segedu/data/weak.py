"""An annotator who says less than a mask does, and the time that it takes.

    cheap = Annotated(SceneDataset(64), "scribbles", seed=0)
    cheap[0]["mask"]  # 255 wherever nothing was said: cross entropy leaves it out
    cheap.seconds(AnnotationTimes(scribble=10.0)) / 60

The model of the annotator, who sees a mask and makes no mistake of class: a *region* is what hangs
together of one class (pixels that touch at a corner do); regions of fewer than ``smallest`` pixels
are overlooked. Then, of each region or class,

- ``"tags"``: whether the class is in the image;
- ``"points"``: for each region one pixel, drawn from those that lie more than half as deep inside
  as its deepest one;
- ``"scribbles"``: for each region one line of one pixel's width that keeps to its middle, along the
  middle three quarters of the longest way through it;
- ``"boxes"``: for each region the smallest box, exactly; a mask of them shows the smaller where
  they overlap;
- ``"masks"``: all pixels of each region, exactly.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from segedu.data.pairs import IGNORE_INDEX
from segedu.data.views import View
from segedu.ops import masks_to_boxes
from segedu.ops.clicks import depth
from segedu.ops.steps import step_pairs

KINDS = ("tags", "points", "scribbles", "boxes", "masks")
_MIDDLE = 0.75  # of the way through a region that a scribble covers
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))  # each pair of neighbours once


@dataclass(frozen=True)
class AnnotationTimes:
    """Seconds for each thing that an annotator does.

    Bearman et al. 2016 ("What's the point", ECCV) measured 22.1 s for an image of PASCAL VOC with a
    point in every class that is there, and 239.7 s with outlines of 79 s each, COCO's time (Lin et
    al. 2014). At 1.5 of 20 classes and 2.8 objects in an image, 18.5 tags of absent classes and 1.5
    points, or 2.8 outlines, the two equations give 1.0 s for a tag and 2.4 s for a point.

    A box is four clicks on the outermost points of an object, 7 s against 35 s for one that is
    drawn (Papadopoulos et al. 2017, "Extreme clicking", abstract). All were measured on objects;
    here a region of stuff takes as long. Whole street scenes show how much longer exact work may
    take: in Cityscapes 7 minutes for coarse polygons, 90 for exact ones (Cordts et al. 2016).

    Args:
        tag: to say of a class whether it is in the image.
        point, box, outline: for one of them, with its class.
        scribble: likewise; without a default, so it must be given to price scribbles: more than a
            point, less than an outline.

    Raises:
        ValueError: a time is not positive.
    """

    tag: float = 1.0
    point: float = 2.4
    box: float = 7.0
    outline: float = 79.0
    scribble: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be positive seconds, got {value}")

    def of(self, kind: str) -> float:
        """Seconds for one mark of a kind.

        Raises:
            ValueError: for an unknown kind; for scribbles, if no time for them was given.
        """
        _check_kind(kind)
        marks = {"points": self.point, "boxes": self.box, "masks": self.outline}
        seconds = (marks | {"tags": self.tag, "scribbles": self.scribble})[kind]
        if seconds is None:
            raise ValueError("AnnotationTimes has no time for a scribble: give scribble=SECONDS")
        return seconds


class WeakLabels(NamedTuple):
    """What an annotator said of one image, M marks."""

    kind: str
    mask: Tensor  #: (H, W), the type of the mask that was seen; 255 where nothing was said
    tags: Tensor  #: bool (C,), the classes that are in the image
    labels: Tensor  #: int64 (M,), the class of each point, scribble, box or region; none of tags
    boxes: Tensor  #: float32 (M, 4), xyxy in pixels, of ``"boxes"``; (0, 4) of the other kinds

    def seconds(self, times: AnnotationTimes | None = None) -> float:
        """How long it took: a tag for each class without a mark, and the marks.

        Raises:
            ValueError: see `AnnotationTimes.of`.
        """
        times = times or AnnotationTimes()
        unmarked = len(self.tags) - len(self.labels.unique())
        marks = len(self.labels) * times.of(self.kind) if len(self.labels) else 0.0
        return unmarked * times.tag + marks


def annotate(
    mask: Tensor, kind: str, num_classes: int, *, seed: int = 0, smallest: int = 1
) -> WeakLabels:
    """What the annotator says of a mask; same seed, same labels.

    Args:
        mask: integer (H, W), classes 0 .. C - 1, and 255 where it is void.
        kind: ``"tags"``, ``"points"``, ``"scribbles"``, ``"boxes"`` or ``"masks"``.
        num_classes: C.
        seed: of the points and scribbles, at least 0.
        smallest: pixels of the smallest region that is seen.

    Raises:
        TypeError: the mask does not hold integers.
        ValueError: an unknown kind, a mask of another shape, a label that is no class, or a setting
            out of range.

    Example:
        >>> mask = torch.tensor([[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 255]])
        >>> annotate(mask, "points", 3).mask
        tensor([[255, 255, 255, 255],
                [255,   0, 255,   1],
                [255, 255, 255, 255]])
        >>> annotate(mask, "boxes", 3).boxes
        tensor([[0., 0., 3., 3.],
                [3., 0., 4., 2.]])
    """
    _check(mask, kind, num_classes, seed, smallest)
    mask = mask.as_subclass(Tensor)
    generator = np.random.default_rng(seed)
    found = [(c, r) for c, r in _regions(mask.numpy()) if r.sum() >= smallest]
    labels = torch.tensor([c for c, _ in found], dtype=torch.int64)
    tags = torch.zeros(num_classes, dtype=torch.bool)
    tags[labels] = True
    said = torch.full_like(mask, IGNORE_INDEX)
    boxes = torch.zeros(0, 4)
    if kind == "boxes" and found:
        boxes = masks_to_boxes(torch.from_numpy(np.stack([r for _, r in found])))
    places = {
        "tags": lambda number, region: np.zeros_like(region),
        "points": lambda number, region: _point(region, generator),
        "scribbles": lambda number, region: _scribble(region, generator),
        "boxes": lambda number, region: _inside(boxes[number], region.shape),
        "masks": lambda number, region: region,
    }[kind]
    drawn = [(c, places(number, region)) for number, (c, region) in enumerate(found)]
    for c, place in sorted(drawn, key=lambda pair: -int(pair[1].sum())):  # the smaller on top
        said[torch.from_numpy(place)] = c
    return WeakLabels(kind, said, tags, labels[:0] if kind == "tags" else labels, boxes)


class Annotated(View):
    """The images of a semantic data set with what an annotator says of them.

    Samples hold ``mask`` as of `annotate`, and ``tags`` bool (C,). They are made each time anew, so
    put a `segedu.data.views.Cached` around, and changes of size and colour (`Transformed`) outside
    of that: an annotator sees whole images.

    Args:
        dataset: samples with ``image`` and ``mask``; it knows its ``num_classes``.
        kind, smallest: see `annotate`.
        seed: data sets of different seeds have other points and scribbles.

    Raises:
        ValueError: for a data set of another task, an unknown kind or a setting out of range.
    """

    def __init__(self, dataset: Any, kind: str, *, seed: int = 0, smallest: int = 1) -> None:
        if getattr(dataset, "task", "semantic") != "semantic":
            raise ValueError(f"weak labels are for the task 'semantic', got {dataset.task!r}")
        _check_settings(kind, seed, smallest)
        super().__init__(dataset)
        self.kind, self.seed, self.smallest = kind, seed, smallest

    def annotate(self, index: int) -> WeakLabels:
        """What the annotator says of an image."""
        return self._annotate(self.dataset[index]["mask"], index)

    def _annotate(self, mask: Tensor, index: int) -> WeakLabels:
        seed = (self.seed << 32) + index
        return annotate(
            mask, self.kind, self.dataset.num_classes, seed=seed, smallest=self.smallest
        )

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.dataset[index]
        labels = self._annotate(sample["mask"], index)
        return {**sample, "mask": tv_tensors.Mask(labels.mask), "tags": labels.tags}

    def seconds(self, times: AnnotationTimes | None = None) -> float:
        """How long the annotator took for all images.

        Raises:
            ValueError: see `AnnotationTimes.of`.
        """
        return sum(self.annotate(index).seconds(times) for index in range(len(self)))


def _check(mask: Tensor, kind: str, num_classes: int, seed: int, smallest: int) -> None:
    _check_settings(kind, seed, smallest)
    if mask.is_floating_point() or mask.dtype == torch.bool:
        raise TypeError(f"mask must hold integer classes, got {mask.dtype}")
    if mask.ndim != 2:
        raise ValueError(f"mask must be (H, W), got {tuple(mask.shape)}")
    wrong = (mask < 0) | ((mask >= num_classes) & (mask != IGNORE_INDEX))
    if bool(wrong.any()):
        raise ValueError(
            f"mask must hold 0..{num_classes - 1} and {IGNORE_INDEX}, got "
            f"{mask[wrong].unique().tolist()}"
        )


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")


def _check_settings(kind: str, seed: int, smallest: int) -> None:
    _check_kind(kind)
    if seed < 0 or smallest < 1:
        raise ValueError(f"seed must be >= 0 and smallest >= 1, got {seed} and {smallest}")


def _regions(mask: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Class and place, bool (H, W), of each region, class by class."""
    from scipy.ndimage import label

    for c in np.unique(mask[mask != IGNORE_INDEX]).tolist():
        pieces, count = label(mask == c, np.ones((3, 3)))
        for number in range(1, count + 1):
            yield c, pieces == number


def _depth(region: np.ndarray) -> np.ndarray:
    """Distance (H, W) of each pixel of a region to the nearest one outside of it."""
    return depth(torch.from_numpy(region)).numpy()


def _point(region: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One pixel of the inner part of a region, as bool (H, W)."""
    deep = _depth(region)
    place = np.zeros_like(region)
    place.flat[generator.choice(np.flatnonzero(deep > deep.max() / 2))] = True
    return place


def _scribble(region: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The pixels of a line through the middle of a region, as bool (H, W).

    A step costs the more the nearer it is to the edge, and by chance up to twice as much. The
    longest of the cheapest ways is found as that of a tree is: from anywhere to the far end, and
    from there to the other.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import dijkstra

    pixels = np.flatnonzero(region)
    toll = (1 + generator.random(len(pixels))) / _depth(region).flat[pixels]
    number = np.full(region.shape, -1)
    number.flat[pixels] = np.arange(len(pixels))
    starts, ends, lengths = [], [], []
    for dy, dx in _STEPS:
        one, other = (number[place].ravel() for place in step_pairs(dy, dx, *number.shape))
        both = (one >= 0) & (other >= 0)
        starts.append(one[both])
        ends.append(other[both])
        lengths.append(np.full(both.sum(), np.hypot(dy, dx)))
    start, end = np.concatenate(starts), np.concatenate(ends)
    cost = np.concatenate(lengths) * (toll[start] + toll[end]) / 2
    roads = csr_array((cost, (start, end)), shape=(len(pixels), len(pixels)))
    begin = dijkstra(roads, directed=False, indices=0).argmax()
    far, before = dijkstra(roads, directed=False, indices=begin, return_predecessors=True)
    way = [far.argmax()]
    while way[-1] != begin:
        way.append(before[way[-1]])
    rest = int(len(way) * (1 - _MIDDLE) / 2)
    place = np.zeros_like(region)
    place.flat[pixels[way[rest : len(way) - rest]]] = True
    return place


def _inside(box: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels of a box with whole corners, as bool (H, W)."""
    left, top, right, bottom = box.int().tolist()
    place = np.zeros(shape, dtype=bool)
    place[top:bottom, left:right] = True
    return place
