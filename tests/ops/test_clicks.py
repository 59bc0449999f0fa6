"""Clicks in the middle of masks and of errors."""

import pytest
import torch

from segedu.ops import center_clicks, error_clicks

WANTED = torch.zeros(3, 9, 12, dtype=torch.bool)
WANTED[0, 2:7, 3:8] = True  # 5 x 5
WANTED[1, :, :] = True  # all of the image, whose border is an edge, too
WANTED[2, 4, 1] = True  # one pixel


def test_the_centre_is_the_deepest_pixel():
    places = center_clicks(WANTED)
    assert places[0].tolist() == [5, 4] and places[2].tolist() == [1, 4]
    assert places[1, 1] == 4 and places[1, 0] in range(4, 8)
    assert places.dtype == torch.float32
    assert center_clicks(WANTED[:0]).shape == (0, 2)


def test_a_correction_goes_to_the_larger_error_and_says_of_which_kind():
    found = WANTED.clone()
    found[0, 2:7, 3:5] = False  # a strip of 2 is missing,
    found[0, 0:5, 9:12] = True  # a strip of 3 too much
    found[1, :7] = False  # seven rows are missing
    places, labels = error_clicks(found, WANTED)
    assert labels.tolist() == [0, 1, -1]  # the third is right
    assert places[0, 0] == 10 and places[0, 1] in (1, 2, 3)  # all as deep
    assert places[1, 1] == 3


def test_by_chance_it_goes_to_any_wrong_pixel_and_to_no_other():
    found = WANTED.clone()
    found[0, 2, 3:8] = False
    found[1, 0, 0] = False
    torch.manual_seed(0)
    drawn = [error_clicks(found, WANTED, random=True) for _ in range(60)]
    assert {tuple(places[0].tolist()) for places, _ in drawn} == {(x, 2) for x in range(3, 8)}
    assert all(places[1].tolist() == [0, 0] for places, _ in drawn)
    assert all(labels.tolist() == [1, 1, -1] for _, labels in drawn)


def test_a_pixel_is_not_clicked_on_twice():
    """Two pixels are missing; once each was clicked on there is nothing left to say."""
    wanted = torch.zeros(1, 4, 5, dtype=torch.bool)
    wanted[0, 1, 2:4] = True
    clicked, told = torch.zeros_like(wanted), []
    for _ in range(3):
        places, labels = error_clicks(torch.zeros_like(wanted), wanted, clicked=clicked)
        told.append((*places[0].tolist(), labels.item()))
        clicked[0, int(places[0, 1]), int(places[0, 0])] = True
    assert told[:2] == [(2, 1, 1), (3, 1, 1)] and told[2][2] == -1
    torch.manual_seed(0)
    clicked[0, 1, 2] = False
    by_chance = error_clicks(torch.zeros_like(wanted), wanted, random=True, clicked=clicked)
    assert by_chance[0].tolist() == [[2, 1]]


def test_bad_masks():
    with pytest.raises(ValueError, match="masks must not be empty"):
        center_clicks(torch.zeros(2, 4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"\(P, H, W\), got \(9, 12\) and \(9, 12\)"):
        error_clicks(WANTED[0], WANTED[0])
    with pytest.raises(
        ValueError, match=r"clicked must be \(3, 9, 12\) as found, got \(1, 9, 12\)"
    ):
        error_clicks(WANTED, WANTED, clicked=WANTED[:1])
