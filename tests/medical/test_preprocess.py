import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segedu.medical.phantom import NODULE, Nodule, PhantomConfig, generate
from segedu.medical.preprocess import (
    WINDOWS,
    Window,
    bounding_box,
    extract_lungs,
    normalize,
    window,
)
from segedu.medical.volume import Volume

SMALL = {
    "shape": (38, 88, 88),
    "spacing": (7.5, 4.2, 4.2),
    "supersample": 1,
    "nodules": (),
    "noise": 25.0,
}


def dice(found: Volume, truth: Volume, label: int) -> float:
    a, b = found.array == label, truth.array == label
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture(scope="module")
def healthy():
    return generate(3, PhantomConfig(**SMALL))


def test_both_lungs_of_a_phantom_are_found_in_any_orientation(healthy):
    found = extract_lungs(healthy.image)
    assert found.array.dtype == np.uint8
    for label in (1, 2):
        assert dice(found, healthy.lungs, label) > 0.95
    turned = extract_lungs(healthy.image.reorient("RAI"))
    assert turned.axes == "RAI"
    assert np.array_equal(turned.reorient().array, found.array)


def test_trachea_bowel_gas_and_air_outside_are_not_lung(healthy):
    found = extract_lungs(healthy.image).array > 0
    outside = (healthy.labels.array == 0) | (healthy.labels.array == 10)
    assert not (found & outside).any()
    gas = (healthy.image.array < -700) & (healthy.labels.array == 7)
    assert gas.any() and not (found & gas).any()
    trachea = (healthy.labels.array == 4) & (healthy.lungs.array == 0)
    assert (found & trachea).sum() < 0.25 * trachea.sum()


@pytest.mark.parametrize(("side", "left"), [("right", 2), ("left", 1)])
def test_a_single_lung_is_found_on_its_side(side, left):
    phantom = generate(5, PhantomConfig(**SMALL, missing_lung=side))
    found = extract_lungs(phantom.image)
    assert np.unique(found.array).tolist() == [0, left]
    assert dice(found, phantom.lungs, left) > 0.95


def test_fluid_is_not_lung():
    phantom = generate(6, PhantomConfig(**SMALL, effusion=60.0))
    found = extract_lungs(phantom.image)
    fluid = phantom.labels.array == 9
    assert fluid.any() and (found.array[fluid] > 0).mean() < 0.15
    # a small and a large lung, each with its name
    assert dice(found, phantom.lungs, 1) > 0.93 and dice(found, phantom.lungs, 2) > 0.95


def test_lungs_that_touch_are_parted():
    ct = np.full((20, 60, 80), 40, np.int16)
    ct[2:18, 15:45, 10:36] = -850  # right
    ct[2:18, 15:45, 38:70] = -850  # left
    ct[8:12, 20:24, 36:38] = -850  # a thin bridge in front
    ct = np.pad(ct, ((0, 0), (10, 10), (10, 10)), constant_values=-1000)
    found = extract_lungs(Volume(ct, (5.0, 3.0, 3.0)), closing_mm=1.0).array
    assert (found[2:18, 25:55, 20:46] == 1).mean() > 0.98
    assert (found[2:18, 25:55, 48:80] == 2).mean() > 0.98


def test_vessels_and_nodules_inside_and_at_the_border_are_closed():
    ct = np.full((20, 60, 80), 40, np.int16)
    ct[2:18, 15:45, 10:34] = -850
    ct[2:18, 15:45, 44:70] = -850
    ct[9:11, 28:31, 20:23] = 30  # inside
    ct[9:11, 28:30, 10:12] = 30  # at the border
    ct = np.pad(ct, ((0, 0), (10, 10), (10, 10)), constant_values=-1000)
    found = extract_lungs(Volume(ct, (3.0, 2.0, 2.0))).array
    assert (found[9:11, 38:41, 30:33] == 1).all()
    assert (found[9:11, 38:40, 21] == 1).all()  # a ball leaves a dent of one voxel


def test_large_nodules_stay_in_the_lung():
    nodules = [Nodule(30, lung="right"), Nodule(30, lung="left"), Nodule(24), Nodule(24)]
    for seed in (11, 12):  # several lie at the border of a lung
        phantom = generate(seed, PhantomConfig(**SMALL | {"nodules": tuple(nodules)}))
        found = extract_lungs(phantom.image).array > 0
        assert found[phantom.labels.array == NODULE].mean() > 0.97


@pytest.mark.parametrize("hu", [-1000, 40])
def test_where_there_is_no_lung_the_message_says_so(hu):
    with pytest.raises(ValueError, match="no lung found"):
        extract_lungs(Volume(np.full((8, 20, 20), hu, np.int16)))


def test_on_the_real_ct_lungs_agree_with_totalsegmentators_and_bowel_gas_is_left_out(real_data):
    from segedu.medical.nifti import read_nifti

    folder = real_data / "totalsegmentator_example"
    ct, truth = (read_nifti(folder / f"example_{k}.nii.gz") for k in ("ct_sm", "seg"))
    found = extract_lungs(ct)  # of the belly: just the lowest ends of the lungs, and much gas
    assert found.same_grid(truth)
    for label, lobes in ((1, (12, 13, 14)), (2, (10, 11))):
        other = truth.with_array(np.where(np.isin(truth.array, lobes), label, 0))
        assert dice(found, other, label) > 0.94
    assert 110 < (found.array > 0).sum() * found.voxel_ml < 135  # of 320 ml of air in the body


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_map_their_range_to_0_and_1(name):
    low, high = WINDOWS[name].low, WINDOWS[name].high
    hu = np.array([[[low - 500, low, (low + high) / 2, high, high + 500]]])
    assert window(Volume(hu), name).array.ravel().tolist() == [0, 0, 0.5, 1, 1]


def test_a_window_of_ones_own():
    assert window(Volume(np.array([[[0, 50, 100]]])), Window(50, 100)).array.ravel().tolist() == [
        0,
        0.5,
        1,
    ]


@settings(deadline=None, max_examples=50)
@given(st.floats(1e-3, 1e6), st.floats(-1e3, 1e3))
def test_normalising_undoes_any_scale(scale, shift):
    values = np.random.default_rng(0).gamma(2.0, 1.0, (6, 8, 7))
    want = normalize(Volume(values)).array
    assert want.dtype == np.float32
    assert abs(want.mean()) < 1e-5 and abs(want.std() - 1) < 1e-4
    np.testing.assert_allclose(normalize(Volume(values * scale + shift)).array, want, atol=1e-3)


def test_normalising_is_robust_to_bright_voxels_and_to_empty_surroundings():
    values = np.random.default_rng(0).normal(100, 10, (10, 10, 10))
    spiked = values.copy()
    spiked[0, 0, :3] = 1e6
    difference = normalize(Volume(spiked)).array - normalize(Volume(values)).array
    assert np.abs(difference[1:]).mean() < 0.02 and np.abs(difference[1:]).max() < 0.4
    wide = np.pad(values, 10)
    inside = normalize(Volume(wide)).array[10:20, 10:20, 10:20]
    np.testing.assert_allclose(inside, normalize(Volume(values)).array, atol=1e-5)
    assert not normalize(Volume(np.full((2, 2, 2), 7))).array.any()


def test_bounding_box_holds_the_mask_and_a_margin():
    mask = np.zeros((10, 12, 14), bool)
    mask[3:5, 4, 6:9] = True
    volume = Volume(mask, (2.0, 1.0, 1.0))
    assert bounding_box(volume) == ((3, 4, 6), (5, 5, 9))
    assert bounding_box(volume, margin_mm=3.0) == ((1, 1, 3), (7, 8, 12))
    assert bounding_box(volume, margin_mm=99) == ((0, 0, 0), (10, 12, 14))
    assert volume.crop(*bounding_box(volume)).array.sum() == mask.sum()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: window(v, "brain"), "window must be one of lung.*'brain'"),
        (lambda v: window(v, Window(0, 0)), "positive width"),
        (lambda v: normalize(v, low=60, high=40), "0 <= low < high"),
        (lambda v: normalize(v.with_array(np.full((2, 2, 2), np.nan))), "not finite"),
        (bounding_box, "mask is empty"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(Volume(np.zeros((2, 2, 2))))
