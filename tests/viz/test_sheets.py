"""Sheets of samples with their labels."""

import numpy as np
import pytest
import torch

from segedu.viz import sheet, show_labels, show_pixels, shown_classes

COLORS = [(0, 0, 0), (255, 0, 0)]
GREY = np.full((4, 6, 3), 100, np.uint8)
LEFT = torch.zeros(4, 6, dtype=torch.uint8)
LEFT[:, :3] = 1


@pytest.mark.parametrize(("channels", "shown"), [(1, [0, 0, 0]), (3, [0, 1, 2]), (5, [0, 1, 2])])
def test_images_of_any_number_of_channels_are_shown(channels, shown):
    image = torch.arange(channels, dtype=torch.uint8)[:, None, None].expand(-1, 2, 3)
    assert show_pixels(image).shape == (2, 3, 3)
    assert show_pixels(image)[0, 0].tolist() == shown


@pytest.mark.parametrize(
    "sample",
    [
        {"mask": LEFT},
        {"masks": LEFT[None].bool(), "labels": torch.tensor([1])},
        {
            "panoptic_seg": LEFT.int() + 1,
            "segments_info": [
                {"id": 1, "category_id": 0, "isthing": False},
                {"id": 2, "category_id": 1, "isthing": True},
            ],
        },
    ],
)
def test_labels_of_every_kind_of_sample_are_coloured(sample):
    shown = show_labels(GREY, sample, COLORS).astype(int)
    assert shown[2, 0, 0] > shown[2, 0, 1]  # red where the object is
    assert shown[2, 5, 0] == shown[2, 5, 1]


def test_an_image_without_objects_stays_as_it_is():
    sample = {"masks": torch.zeros(0, 4, 6, dtype=torch.bool), "labels": torch.zeros(0).long()}
    assert np.array_equal(show_labels(GREY, sample, COLORS), GREY)


def test_a_sheet_has_a_row_for_each_sample_and_a_legend():
    one, four = (sheet([[GREY, GREY]] * count, ["a", "b"], COLORS) for count in (1, 4))
    assert one.width == four.width and four.height > 3 * one.height - 200
    assert sheet([[GREY, GREY]] * 4, ["a", "b"], COLORS, columns=2).width == 2 * one.width - 8
    titled = sheet([[GREY, GREY]], ["a", "b"], COLORS, titles=["image", "labels"])
    above = titled.height - one.height
    assert titled.crop((0, 0, one.width, above)).convert("L").getextrema() == (0, 255)
    rows = [np.asarray(page)[start:] for page, start in ((one, 8), (titled, above + 8))]
    assert np.array_equal(*rows)


def test_a_legend_explains_the_classes_that_are_shown():
    mask = torch.tensor([[0, 3], [255, 3]])
    objects = {"masks": torch.ones(1, 2, 2, dtype=torch.bool), "labels": torch.tensor([5])}
    panoptic = {"panoptic_seg": mask, "segments_info": [{"id": 3, "category_id": 7}]}
    assert shown_classes([{"mask": mask}, objects, panoptic]) == [0, 3, 5, 7]
    names = [f"a long name of a class {number}" for number in range(40)]
    colors = [(number, 0, 0) for number in range(40)]
    every, few = (sheet([[GREY]], names, colors, only=only) for only in (None, [0, 3]))
    assert few.height < every.height
