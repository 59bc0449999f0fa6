import numpy as np

from segedu.medical.postprocess import keep_largest
from segedu.medical.volume import Volume


def test_only_the_largest_piece_of_a_class_stays():
    array = np.zeros((3, 5, 9), np.uint8)
    array[0, :2, :2] = array[1, 2, 2] = 1  # touch at a corner: one piece of five
    array[:, 4, 8] = 1  # three
    array[2, 0, 4] = array[2, 4, 4] = 2
    found = keep_largest(Volume(array), [1, 3]).array
    assert found.dtype == np.uint8 and (found == 1).sum() == 5 and found[0, 4, 8] == 0
    assert (found == 2).sum() == 2  # not asked for
    assert array[0, 4, 8] == 1  # the input is not changed
