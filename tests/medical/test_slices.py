import matplotlib.pyplot as plt
import numpy as np
import pytest

from segedu.medical.slices import ERRORS, contours, cut, errors, grey_values, most_telling
from segedu.medical.volume import PLANES, Volume

COLORS = [(0, 0, 0), (255, 0, 0), (0, 255, 0)]


@pytest.fixture
def pair():
    """Truth and a prediction one column further to the left, with a lesion in slice 2."""
    truth = np.zeros((5, 12, 10), np.uint8)
    truth[1:4, 3:9, 2:7] = 1
    found = np.roll(truth, 1, axis=2)
    truth[2, 5, 4] = 2
    return Volume(truth, (6.0, 2.0, 2.0)), Volume(found, (6.0, 2.0, 2.0))


def test_a_slice_knows_where_it_lies(pair):
    truth, found = pair
    grey = truth.with_array(truth.array / 2)
    expected = {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "S", "I")}
    expected["sagittal"] = ("A", "P", "S", "I")
    sizes = {"axial": (24, 20), "coronal": (30, 20), "sagittal": (30, 24)}
    for plane in PLANES:
        shown = cut(plane, 2, grey, truth, found)
        assert shown.letters == expected[plane] and shown.size == sizes[plane]
        assert shown.title.startswith(
            f"{plane}, slice 3 of {truth.reorient(PLANES[plane]).shape[0]}"
        )
        turned = [v.reorient("LIP") for v in (grey, truth, found)]
        assert np.array_equal(cut(plane, 2, *turned).truth, shown.truth)


def test_the_slice_with_most_lesions_is_shown(pair):
    truth, found = pair
    assert most_telling("axial", truth, found, [2]) == 2
    assert most_telling("axial", truth, found, []) == 1
    assert most_telling("sagittal", truth, found, [2]) == 4


def test_the_map_of_errors_tells_three_kinds(pair):
    truth, found = pair
    shown = cut("axial", 2, truth.with_array(np.zeros(truth.shape)), truth, found)
    figure = errors(shown)
    picture = figure.axes[0].images[0].get_array()
    only_truth, only_found, another = (np.rint(0.9 * np.array(c)) for c in ERRORS.values())
    assert (picture[3:9, 2] == only_truth).all() and (picture[3:9, 7] == only_found).all()
    assert (picture[5, 4] == another).all() and (picture[4, 4] == 0).all()
    plt.close(figure)


def test_contours_are_lines_for_the_truth_and_dashes_for_the_prediction(pair):
    shown = cut("axial", 2, pair[0].with_array(np.zeros(pair[0].shape)), *pair)
    figure = contours(shown, COLORS)
    styles = [tuple(c.get_linestyles()[0]) for c in figure.axes[0].collections]
    assert len(styles) == 3  # class 1 in both, class 2 in the truth
    assert [style[1] is None for style in styles] == [True, False, True]
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert texts == {"R", "L", "A", "P", "5 mm"}
    plt.close(figure)


def test_grey_values_are_those_of_the_window_or_of_the_percentiles():
    ct = Volume(np.array([[[-1350.0, -600, 150, 900]]]))
    assert grey_values(ct, "lung").array.tolist() == [[[0, 0.5, 1, 1]]]
    mr = grey_values(Volume(np.arange(101.0).reshape(1, 1, 101)), "mr").array[0, 0]
    assert mr[1] == 0 and mr[50] == pytest.approx(0.5) and mr[99] == 1
    assert not np.isnan(grey_values(Volume(np.ones((2, 2, 2))), "mr").array).any()
