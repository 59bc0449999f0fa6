"""Settings of the wrong kind are named before anything is built."""

from collections.abc import Sequence

import pytest
import torch

from segedu.models import get_model
from segedu.models.kinds import check_kind
from segedu.models.mask_rcnn.settings import Settings


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (3, int),
        (3, float),
        (2.5, float),
        (True, bool),
        ("naive", str),
        (None, int | None),
        ((1, 2), tuple[int, ...]),
        ([0.5, 1], Sequence[float]),
        ((1, 2), int | Sequence[int]),
        (torch.zeros(2), torch.Tensor),  # what is not told by numbers and words passes
    ],
)
def test_what_fits(value, hint):
    check_kind("it", value, hint)


@pytest.mark.parametrize(
    ("value", "hint", "default", "message"),
    [
        ("abc", int, 64, "it must be a whole number, such as 64, got 'abc'"),
        (2.5, int, None, "it must be a whole number, got 2.5"),
        (True, int, None, "it must be a whole number, got True"),
        (1, bool, True, "it must be True or False, such as True, got 1"),
        ("abc", tuple[int, ...], None, "it must be a whole number for each place, in brackets"),
        ((1, "a"), Sequence[float], None, "it must be a number for each place, in brackets"),
        (3, Sequence[int] | None, None, "it must be a whole number for each place, in brackets"),
        (None, str, None, "it must be a word, got None"),
    ],
)
def test_what_does_not(value, hint, default, message):
    with pytest.raises(ValueError, match=message):
        check_kind("it", value, hint, default)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("unet", {"base_width": "abc"}, "base_width must be a whole number, such as 64, got 'abc'"),
        ("unet", {"base_width": 0}, "base_width must be at least 1, got 0"),
        ("deeplab_v3_resnet50", {"base_width": "abc"}, "base_width must be a whole number"),
        ("segformer_b0", {"depths": 3}, "depths must be a whole number for each place"),
        ("mask_rcnn_tiny", {"min_size": "abc"}, "min_size must be a whole number or"),
        ("yolact_tiny", {"image_size": (3, 4)}, "image_size must be a whole number, such as 256"),
    ],
)
def test_networks_name_a_setting_of_the_wrong_kind(name, settings, message):
    with pytest.raises(ValueError, match=message):
        get_model(name, 2, **settings)


def test_settings_of_regions_may_be_one_or_several():
    assert Settings(min_size=(64, 96)).min_sizes == (64, 96)
    assert Settings(min_size=64).min_sizes == (64,)
