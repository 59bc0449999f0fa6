"""The annotator: what is said of masks drawn by hand, and how long it takes."""

import pytest
import torch
from scipy.ndimage import label

from segedu.data.scenes import SceneConfig, SceneDataset
from segedu.data.views import Cached
from segedu.data.weak import KINDS, Annotated, AnnotationTimes, annotate
from segedu.ops.clicks import depth

VOID = 255
# Class 2 in two regions, one of a single pixel; class 0 is nowhere.
MASK = torch.full((7, 9), 1)
MASK[1:6, 1:4] = 2
MASK[6, 8] = 2
MASK[0, 8] = VOID
every_kind = pytest.mark.parametrize("kind", KINDS)


def test_tags_name_the_classes_and_mark_no_pixel():
    labels = annotate(MASK, "tags", 4)
    assert labels.tags.tolist() == [False, True, True, False]
    assert (labels.mask == VOID).all() and labels.mask.dtype == MASK.dtype
    assert len(labels.labels) == len(labels.boxes) == 0


@pytest.mark.parametrize("seed", range(5))
def test_points_lie_in_the_inner_part_of_each_region(seed):
    labels = annotate(MASK, "points", 4, seed=seed)
    assert labels.labels.tolist() == [1, 2, 2]
    y, x = (labels.mask == 2).nonzero(as_tuple=True)
    assert [*zip(y.tolist(), x.tolist(), strict=True)][1] == (6, 8)  # the region of one pixel
    assert x[0] == 2 and y[0] in (2, 3, 4)  # of 3 x 5 pixels those that are not on its edge
    assert (labels.mask == 1).sum() == 1 and (labels.mask != VOID).sum() == 3
    deep = depth(MASK == 1)
    assert (deep[labels.mask == 1] > deep.max() / 2).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_scribble_is_one_line_along_the_middle_of_its_region(seed):
    labels = annotate(MASK, "scribbles", 4, seed=seed).mask
    said = labels != VOID
    assert torch.equal(labels[said], MASK[said])
    assert labels[6, 8] == 2  # the region of one pixel
    line = labels[:6] == 2
    assert line.any(1).sum() >= 3 and line.sum() <= 6  # along 5 rows, without the ends
    assert label(line.numpy(), [[1] * 3] * 3)[1] == 1
    assert line[2:5, 2].sum() >= 2  # the middle column
    around = labels == 1
    assert label(around.numpy(), [[1] * 3] * 3)[1] == 1 and around.sum() >= 7


def test_boxes_are_tight_and_the_smaller_lies_on_top():
    mask = torch.zeros(6, 8, dtype=torch.uint8)
    mask[1:5, 1] = mask[4, 1:7] = 1  # an L
    mask[2:4, 4:6] = 2  # inside of the box of the L
    labels = annotate(mask, "boxes", 3)
    assert labels.labels.tolist() == [0, 1, 2]
    assert labels.boxes.tolist() == [[0, 0, 8, 6], [1, 1, 7, 5], [4, 2, 6, 4]]
    filled = torch.zeros(6, 8, dtype=torch.uint8)
    filled[1:5, 1:7] = 1
    filled[2:4, 4:6] = 2
    assert torch.equal(labels.mask, filled)


def test_what_is_outside_of_all_boxes_is_not_said():
    mask = torch.full((4, 4), VOID)
    mask[1:3, 1:3] = 0
    labels = annotate(mask, "boxes", 1)
    assert labels.boxes.tolist() == [[1, 1, 3, 3]] and torch.equal(labels.mask, mask)
    nothing = annotate(torch.full((4, 4), VOID), "boxes", 1)
    assert nothing.boxes.shape == (0, 4) and not nothing.tags.any()


def test_full_masks_are_the_mask():
    assert torch.equal(annotate(MASK, "masks", 4).mask, MASK)


@every_kind
def test_regions_that_are_too_small_are_overlooked(kind):
    labels = annotate(MASK, kind, 4, smallest=2)
    assert labels.mask[6, 8] in (VOID, 1)  # 1 in the box of class 1
    assert labels.tags.tolist() == [False, True, True, False]
    assert labels.labels.tolist() == ([] if kind == "tags" else [1, 2])
    assert not annotate(MASK, kind, 4, smallest=16).tags[2]


def test_touching_corners_are_one_region():
    """The diagonal is one, and so are the two triangles beside it, which touch across it."""
    assert annotate(torch.eye(4).long(), "masks", 2).labels.tolist() == [0, 1]


@every_kind
def test_the_seed_decides(kind):
    scene = SceneDataset(1, SceneConfig(size=48))[0]["mask"]
    first, again, other = (annotate(scene, kind, 12, seed=seed).mask for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (kind in ("tags", "boxes", "masks"))


def test_seconds_by_hand():
    """Four classes, three regions of two of them: two tags of absent classes, and three marks."""
    times = AnnotationTimes(tag=1.0, point=2.0, box=5.0, outline=50.0, scribble=9.0)
    seconds = {kind: annotate(MASK, kind, 4).seconds(times) for kind in KINDS}
    assert seconds == {"tags": 4, "points": 8, "scribbles": 29, "boxes": 17, "masks": 152}
    assert annotate(torch.full((2, 2), VOID), "scribbles", 4).seconds() == 4  # none to price


def test_the_default_times_give_the_totals_that_were_measured():
    """PASCAL VOC: 1.5 of 20 classes and 2.8 objects in an image (Bearman et al. 2016)."""
    times = AnnotationTimes()
    assert 18.5 * times.tag + 1.5 * times.point == pytest.approx(22.1)
    assert 18.5 * times.tag + 2.8 * times.outline == pytest.approx(239.7)


def test_a_data_set_with_an_annotator():
    scenes = SceneDataset(3, SceneConfig(size=32), seed=5)
    weak = Annotated(scenes, "points", seed=1, smallest=4)
    assert len(weak) == 3 and weak.num_classes == 12 and weak.labels == scenes.labels
    sample, dense = weak[1], scenes[1]
    said = sample["mask"] != VOID
    assert 0 < said.sum() < 40 and torch.equal(sample["mask"][said], dense["mask"][said])
    assert torch.equal(sample["image"], dense["image"])
    assert type(sample["mask"]) is type(dense["mask"]) and sample["tags"].shape == (12,)
    assert torch.equal(weak[1]["mask"], sample["mask"])
    assert not torch.equal(weak[0]["mask"], Annotated(scenes, "points", seed=2)[0]["mask"])
    assert weak.seconds() == sum(weak.annotate(index).seconds() for index in range(3)) > 36
    assert Cached(weak)[2].keys() == {"image", "mask", "tags"}


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="kind must be one of tags, .*, got 'polygons'"):
        annotate(MASK, "polygons", 4)
    with pytest.raises(ValueError, match=r"mask must be \(H, W\), got \(1, 7, 9\)"):
        annotate(MASK[None], "points", 4)
    with pytest.raises(ValueError, match=r"mask must hold 0..1 and 255, got \[2\]"):
        annotate(MASK, "points", 2)
    with pytest.raises(TypeError, match="integer classes, got torch.float32"):
        annotate(MASK.float(), "points", 4)
    with pytest.raises(ValueError, match="seed must be >= 0 and smallest >= 1, got -1 and 1"):
        annotate(MASK, "points", 4, seed=-1)
    with pytest.raises(ValueError, match="got 0 and 0"):
        Annotated(SceneDataset(1), "points", smallest=0)
    with pytest.raises(ValueError, match="for the task 'semantic', got 'panoptic'"):
        Annotated(SceneDataset(1, task="panoptic"), "points")
    with pytest.raises(ValueError, match="no time for a scribble: give scribble=SECONDS"):
        annotate(MASK, "scribbles", 4).seconds()
    with pytest.raises(ValueError, match="kind must be one of tags, .*, got 'polygons'"):
        AnnotationTimes().of("polygons")
    with pytest.raises(ValueError, match="point must be positive seconds, got 0"):
        AnnotationTimes(point=0)
