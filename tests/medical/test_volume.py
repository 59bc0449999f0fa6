import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import zoom

from segedu.medical.volume import PLANES, Volume, VolumeError

AXES = [
    "".join(letters)
    for order in itertools.permutations(("LR", "PA", "SI"))
    for letters in itertools.product(*order)
]
SPACING, ORIGIN = (2.5, 0.7, 0.9), (-30.0, 12.5, 400.0)


def rotation(degrees=(8.0, -5.0, 12.0)):
    """A slightly oblique direction matrix, right-angled to the last digit."""
    matrix = np.eye(3)[:, ::-1]
    for axis, angle in enumerate(np.deg2rad(degrees)):
        turn = np.eye(3)
        a, b = [i for i in range(3) if i != axis]
        turn[[a, b], [a, b]] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def make(shape=(4, 5, 6), seed=0, direction=None, dtype=np.float32):
    array = (np.random.default_rng(seed).random(shape) * 100).astype(dtype)
    return Volume(array, SPACING, ORIGIN, np.eye(3)[:, ::-1] if direction is None else direction)


def values_in_world(volume):
    """The content of a volume without its axes: value by rounded world position."""
    index = np.argwhere(np.ones(volume.shape))
    keys = map(tuple, (volume.to_world(index) + 0.0).round(3).tolist())
    return dict(zip(keys, volume.array[tuple(index.T)].tolist(), strict=True))


def test_there_are_48_orientations():
    assert len(set(AXES)) == 48


@pytest.mark.parametrize("axes", AXES)
def test_every_orientation_keeps_each_value_at_its_place_and_comes_back(axes):
    volume = make(direction=rotation())
    turned = volume.reorient(axes)
    assert turned.axes == axes
    assert values_in_world(turned) == pytest.approx(values_in_world(volume))
    back = turned.reorient(volume.axes)
    assert np.array_equal(back.array, volume.array)
    assert back.same_grid(volume, tolerance=1e-9)


@pytest.mark.oracle
@pytest.mark.parametrize("axes", AXES)
def test_axes_are_named_as_nibabel_names_them(axes):
    nibabel = pytest.importorskip("nibabel")
    turned = make(direction=rotation()).reorient(axes)
    assert "".join(nibabel.aff2axcodes(turned.affine("RAS"))) == axes


@pytest.mark.parametrize("world", ["LPS", "RAS"])
def test_affine_there_and_back(world):
    volume = make(direction=rotation())
    again = Volume.from_affine(volume.array, volume.affine(world), world)
    assert again.spacing == pytest.approx(volume.spacing)
    assert again.same_grid(volume, tolerance=1e-9)


def test_lps_and_ras_differ_in_two_signs():
    volume = make()
    assert volume.affine("RAS")[:3, 3].tolist() == [30.0, -12.5, 400.0]
    assert volume.affine()[:3, 3].tolist() == list(ORIGIN)
    assert volume.to_world([1, 2, 3]).tolist() == pytest.approx([-30 + 2.7, 12.5 + 1.4, 402.5])


@settings(deadline=None, max_examples=30)
@given(st.tuples(*[st.floats(-40, 40)] * 3))
def test_index_and_world_are_inverse(index):
    volume = make(direction=rotation())
    assert volume.to_index(volume.to_world(index)) == pytest.approx(index, abs=1e-9)


def test_volume_in_millilitres():
    assert Volume(np.ones((10, 10, 10), bool), (2.0, 1.0, 0.5)).voxel_ml == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"array": np.zeros((2, 2))}, "3-D"),
        ({"array": np.zeros((0, 2, 2))}, "empty"),
        ({"array": np.zeros((1, 2, 2), complex)}, "complex"),
        ({"spacing": (1, 0, 1)}, "spacing"),
        ({"spacing": (1, float("nan"), 1)}, "spacing"),
        ({"spacing": (1, 1)}, "spacing"),
        ({"origin": (0, 0, float("inf"))}, "origin"),
        ({"direction": np.zeros((3, 3))}, "right angles"),
        ({"direction": [[1, 0.1, 0], [0, 1, 0], [0, 0, 1]]}, "sheared"),
        ({"direction": np.eye(2)}, "direction"),
    ],
)
def test_impossible_geometry_is_refused(change, word):
    with pytest.raises(VolumeError, match=word):
        Volume(**{"array": np.zeros((2, 2, 2)), **change})


@pytest.mark.parametrize(
    ("affine", "word"),
    [
        (np.diag([1.0, 0, 1, 1]), "singular"),
        ([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "singular"),
        ([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "sheared"),
        (np.diag([1.0, 1, 1, 2]), "last row"),
        (np.full((4, 4), np.nan), "finite"),
        (np.eye(3), "4 x 4"),
    ],
)
def test_impossible_affines_are_refused(affine, word):
    with pytest.raises(VolumeError, match=word):
        Volume.from_affine(np.zeros((2, 2, 2)), affine)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda v: v.reorient("SPX"), "letter"),
        (lambda v: v.reorient("SIL"), "letter"),
        (lambda v: v.with_array(np.zeros((1, 1, 1))), "shape"),
        (lambda v: v.crop((0, 0, 0), (4, 5, 7)), "leaves"),
        (lambda v: v.crop((0, 0, 0), (4, 0, 6)), "empty"),
        (lambda v: v.crop((0.5, 0, 0), (4, 4, 6)), "whole"),
        (lambda v: v.pad((-1, 0, 0), (0, 0, 0)), "negative"),
        (lambda v: v.resample(0), "positive"),
        (lambda v: v.view("diagonal"), "plane"),
        (lambda v: v.view("axial", 4), "index"),
        (lambda v: v.affine("RAI"), "world"),
    ],
)
def test_bad_arguments_are_named(call, word):
    with pytest.raises(ValueError, match=word):
        call(make())


def test_masks_are_not_interpolated_by_mistake():
    with pytest.raises(TypeError, match="labels=True"):
        make().with_array(np.ones((4, 5, 6), bool)).resample(1)


def test_crop_and_its_way_back():
    volume = make()
    small = volume.crop((1, 0, 2), (3, 4, 6))
    assert small.shape == (2, 4, 4)
    assert set(values_in_world(small).items()) <= set(values_in_world(volume).items())
    back = small.place_on(volume, fill=-1)
    expected = np.full(volume.shape, -1, np.float32)
    expected[1:3, 0:4, 2:6] = volume.array[1:3, 0:4, 2:6]
    assert np.array_equal(back.array, expected)


def test_pad_and_its_way_back():
    volume = make(direction=rotation())
    big = volume.pad((1, 2, 0), (0, 3, 5), fill=-7)
    assert big.shape == (5, 10, 11)
    assert (big.array == -7).sum() == 5 * 10 * 11 - 4 * 5 * 6
    back = big.place_on(volume)
    assert np.array_equal(back.array, volume.array)
    assert back.same_grid(volume, tolerance=1e-9)


def test_a_volume_beside_the_grid_leaves_only_the_fill():
    volume = make()
    far = Volume(volume.array, volume.spacing, volume.to_world((10, 0, 0)), volume.direction)
    assert (far.place_on(volume, fill=3).array == 3).all()


@pytest.mark.parametrize("shift", [(0.3, 0, 0), (0, 0.5, 0)])
def test_placing_never_interpolates(shift):
    volume = make()
    moved = Volume(volume.array, volume.spacing, volume.to_world(shift), volume.direction)
    with pytest.raises(ValueError, match="resample_to"):
        moved.place_on(volume)


def test_the_achieved_spacing_is_returned_and_the_faces_stay():
    volume = make((10, 20, 30))
    result = volume.resample((1.0, 1.0, 1.0))
    assert result.shape == (25, 14, 27)
    assert result.spacing == pytest.approx((1.0, 1.0, 1.0))
    uneven = volume.resample(0.8)
    assert uneven.spacing == pytest.approx((25 / 31, 14 / 18, 27 / 34))
    for corner in itertools.product((0, 1), repeat=3):
        faces = [np.array(corner) * v.shape - 0.5 for v in (volume, uneven)]
        assert volume.to_world(faces[0]) == pytest.approx(uneven.to_world(faces[1]))


def test_a_side_never_vanishes():
    assert make().resample(1000).shape == (1, 1, 1)


@pytest.mark.parametrize("labels", [False, True])
def test_resampling_to_the_own_grid_changes_nothing(labels):
    volume = make(direction=rotation())
    assert np.array_equal(volume.resample_to(volume, labels=labels).array, volume.array)
    turned = volume.reorient("RIA")
    assert np.array_equal(turned.resample_to(volume, labels=labels).array, volume.array)


def test_resampling_equals_scipy_zoom():
    volume = make((8, 9, 10), dtype=np.float64)
    volume = Volume(volume.array, (2.0, 1.0, 3.0))
    result = volume.resample(1)
    expected = zoom(volume.array, (2, 1, 3), order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(result.array, expected, atol=1e-7)


def to_sitk(sitk, volume):
    image = sitk.GetImageFromArray(volume.array)  # SimpleITK's axes are the array's, reversed
    image.SetSpacing(volume.spacing[::-1])
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction[:, ::-1].flatten().tolist())
    return image


@pytest.mark.oracle
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("case", ["finer", "coarser", "oblique", "turned", "shifted out"])
def test_resampling_equals_simpleitk(case, labels):
    sitk = pytest.importorskip("SimpleITK")
    volume = make((12, 14, 16), dtype=np.uint8 if labels else np.float64)
    straight = np.eye(3)[:, ::-1]
    shape, spacing, start, direction = {
        "finer": ((30, 31, 32), (1.03, 0.31, 0.47), (0.11, 0.213, 0.317), straight),
        "coarser": ((5, 6, 7), (5.7, 1.9, 2.3), (0.6, 0.1, 0.7), straight),
        "oblique": ((14, 14, 14), (2.2, 0.9, 1.1), (1.1, 0.2, -0.4), rotation()),
        "turned": ((14, 16, 12), (0.71, 0.93, 2.6), (0.317, 0.113, 0.211), straight[:, [1, 2, 0]]),
        "shifted out": ((12, 14, 16), (2.5, 0.7, 0.9), (-3.3, 5.2, 1.4), straight),
    }[case]
    grid = Volume(np.zeros(shape, np.uint8), spacing, volume.to_world(start), direction)
    result = volume.resample_to(grid, labels=labels, fill=200)
    expected = sitk.GetArrayFromImage(
        sitk.Resample(
            to_sitk(sitk, volume),
            to_sitk(sitk, grid),
            sitk.Transform(),
            sitk.sitkNearestNeighbor if labels else sitk.sitkLinear,
            200.0,
        )
    )
    assert len(np.unique(expected)) > 50  # the grids do overlap
    assert result.same_grid(grid)
    np.testing.assert_allclose(result.array, expected, atol=1e-7)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int64, ">i2", np.float16])
def test_labels_keep_their_type_and_values(dtype):
    volume = make()
    volume = volume.with_array((volume.array > 50).astype(dtype))
    result = volume.resample(0.5, labels=True)
    assert result.array.dtype == volume.array.dtype
    assert set(np.unique(result.array).tolist()) == {0, 1}


def test_images_become_real_numbers():
    assert make(dtype=np.int16).resample(1).array.dtype == np.float32
    assert make(dtype=np.float16).resample(1).array.dtype == np.float32
    assert make(dtype=np.float64).resample(1).array.dtype == np.float64


def test_what_is_outside_is_the_darkest_value_or_no_label():
    volume = make(dtype=np.int16)
    grid = volume.pad((3, 3, 3), (3, 3, 3))
    assert volume.resample_to(grid).array[0, 0, 0] == volume.array.min()
    assert volume.resample_to(grid, labels=True).array[0, 0, 0] == 0


def test_views_are_radiological():
    """One bright voxel: left, front, top of the patient."""
    volume = make((5, 6, 7))
    array = np.zeros(volume.shape)
    array[4, 0, 6] = 1  # slices grow to the head, rows to the back, columns to the left
    volume = volume.with_array(array)
    for axes in ("SPL", "RAS", "IAR"):
        turned = volume.reorient(axes)
        places = {
            plane: np.argwhere(turned.view(plane, index)[0]).tolist()
            for plane, index in (("axial", 4), ("coronal", 0), ("sagittal", 6))
        }
        # Axial: front up, left on the right. Coronal: head up, left on the right. Sagittal: head
        # up, front on the left.
        assert places == {"axial": [[0, 6]], "coronal": [[0, 6]], "sagittal": [[0, 0]]}
    assert set(PLANES) == {"axial", "coronal", "sagittal"}
    assert volume.view("coronal")[1] == pytest.approx(2.5 / 0.9)


def test_geometry_cannot_be_changed_by_accident():
    volume = make()
    before = volume.direction.copy()
    with pytest.raises(ValueError):  # numpy's, in its words
        volume.direction[0, 0] = 2
    assert np.array_equal(volume.direction, before)
    with pytest.raises(AttributeError):
        volume.spacing = (1, 1, 1)
