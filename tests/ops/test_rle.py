import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segedu.ops import rle


def random_mask(seed, height, width):
    rng = np.random.default_rng(seed)
    return np.kron(rng.random((height, width)) < 0.5, np.ones((1 + seed % 70, 1), bool))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 40), st.booleans())
def test_decode_undoes_encode(seed, height, width, compress):
    mask = random_mask(seed, height, width)
    code = rle.encode(mask, compress=compress)
    np.testing.assert_array_equal(rle.decode(code), mask)
    assert rle.area(code) == mask.sum()


@pytest.mark.oracle
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 40))
def test_bytes_are_those_of_coco(seed, height, width):
    coco = pytest.importorskip("pycocotools.mask")
    mask = random_mask(seed, height, width)
    assert rle.encode(mask) == coco.encode(np.asfortranarray(mask.astype(np.uint8)))


def test_by_hand():
    mask = np.array([[0, 1], [1, 1]])
    assert rle.encode(mask, compress=False) == {"size": [2, 2], "counts": [1, 3]}
    assert rle.encode(mask)["counts"] == b"13"
    assert rle.decode({"size": [2, 2], "counts": "13"}).tolist() == [[False, True], [True, True]]
    assert rle.encode(np.ones((1, 2)), compress=False)["counts"] == [0, 2]


def test_bad_input():
    with pytest.raises(ValueError, match="must add up to 2 x 2"):
        rle.decode({"size": [2, 2], "counts": [1, 2]})
    with pytest.raises(ValueError, match="same size"):
        rle.overlaps([{"size": [2, 2], "counts": [4]}], [{"size": [1, 4], "counts": [4]}], [[True]])
    with pytest.raises(ValueError, match="each mask must add up to 2 x 2"):
        bad = [{"size": [2, 2], "counts": [3]}, {"size": [2, 2], "counts": [5]}]
        rle.overlaps(bad, bad, np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="mask must be"):
        rle.encode(np.zeros((1, 2, 2)))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 30), st.booleans())
def test_overlaps_are_those_of_the_pixels(seed, height, width, empty):
    rng = np.random.default_rng(seed)
    first, second = (
        [random_mask(seed + i, height, width)[: height + 1] for i in rng.integers(0, 99, count)]
        for count in (3, 4)
    )
    first, second = (np.stack([np.resize(m, (height, width)) for m in x]) for x in (first, second))
    if empty:
        first[1], second[2], second[3] = False, False, True
    wanted = rng.random((3, 4)) < 0.7
    codes = [[rle.encode(m) for m in x] for x in (first, second)]
    expected = (first[:, None] & second).sum((2, 3)) * wanted
    shared, *areas = rle.overlaps(*codes, wanted)
    np.testing.assert_array_equal(shared, expected)
    for masks, area in zip((first, second), areas, strict=True):
        np.testing.assert_array_equal(area, masks.sum((1, 2)))
