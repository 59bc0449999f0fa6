from dataclasses import replace

import numpy as np
import pytest

from segedu.medical.phantom import LABELS, NODULE, Nodule, PhantomConfig, generate
from segedu.medical.phantom.acquisition import ct_noise

COARSE = PhantomConfig(shape=(30, 64, 64), spacing=(9.5, 5.7, 5.7), supersample=1, nodules=())
CLEAN = replace(COARSE, noise=0.0, blur=0.0)


@pytest.fixture(scope="module")
def clean():
    return generate(0, CLEAN)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_patient():
    config = replace(COARSE, shape=(4, 48, 48), spacing=(9.5, 7.6, 7.6), nodules=(Nodule(),))
    a, b, c = (generate(seed, config) for seed in (7, 7, 8))
    for first, second in zip(a[:3], b[:3], strict=True):
        assert first.array.tobytes() == second.array.tobytes()
    assert a.nodules == b.nodules
    assert (a.lungs.array != c.lungs.array).any()


def test_every_tissue_is_there_and_has_its_attenuation(clean):
    hu, labels = clean.image.array, clean.labels.array
    assert hu.dtype == np.int16 and labels.dtype == np.uint8
    present = set(np.unique(labels).tolist())
    assert present == set(range(len(LABELS))) - {NODULE, 9}
    median = {k: np.median(hu[labels == k]) for k in present}
    assert median[0] == -1000 and -930 < median[2] < -800
    assert -110 < median[1] < 70 and 100 < median[5] < 200 and median[6] > 180
    assert 40 < median[7] < 130


def test_the_lungs_are_unlike_of_human_size_and_on_their_sides(clean):
    right, left = ((clean.lungs.array == k) for k in (1, 2))
    ml = clean.lungs.voxel_ml
    assert 1200 < left.sum() * ml < right.sum() * ml < 4000
    world_x = clean.lungs.to_world(np.argwhere(right))[:, 0].mean()
    assert world_x < 0 < clean.lungs.to_world(np.argwhere(left))[:, 0].mean()
    inside = np.isin(clean.labels.array, (2, 3, 4))
    assert inside[right | left].all()
    assert (clean.labels.array[(right | left) == 0] != 2).all()


def test_partial_volume_is_the_mean_of_the_tissues():
    config = replace(CLEAN, shape=(8, 24, 24), spacing=(9.5, 14, 14), variation=0.0, table=False)
    fine = replace(config, shape=(32, 96, 96), spacing=(9.5 / 4, 3.5, 3.5))
    means = generate(0, fine).image.array.reshape(8, 4, 24, 4, 24, 4).mean((1, 3, 5))
    whole = generate(0, replace(config, supersample=4)).image.array
    mixed = ~np.isin(generate(0, config).labels.array, (1, 2))  # texture there is drawn anew
    assert np.abs(whole - means)[mixed].mean() < 12
    assert len(np.unique(whole)) > 3 * len(np.unique(generate(0, config).image.array[mixed]))


def test_a_nodule_has_the_size_the_place_and_the_contrast_that_it_should():
    nodule = Nodule(20.0, hu=60.0, lobulation=0.0, centre=(-68.0, -4.0, 3.0))
    config = PhantomConfig(
        shape=(24, 24, 84), spacing=(1.8, 1.8, 2.0), nodules=(nodule,), noise=0.0, blur=0.0,
        variation=0.0, table=False,
    )  # fmt: skip
    phantom = generate(0, config)
    mask = phantom.labels.array == NODULE
    volume = mask.sum() * phantom.labels.voxel_ml
    assert volume == pytest.approx(4 / 3 * np.pi * 1.0**3, rel=0.04)
    centre = phantom.labels.to_world(np.argwhere(mask)).mean(0)
    np.testing.assert_allclose(centre, nodule.centre, atol=0.3)
    assert np.median(phantom.image.array[mask]) == pytest.approx(60, abs=5)  # and its texture
    assert (phantom.lungs.array[mask] == 1).all()


def test_the_patient_is_the_same_without_nodules():
    config = replace(CLEAN, shape=(12, 64, 64), spacing=(24.0, 5.7, 5.7))
    with_one = generate(2, replace(config, nodules=(Nodule(40.0),)))
    without = generate(2, config)
    other = with_one.labels.array != NODULE
    assert 0 < (~other).sum() < 60
    assert np.array_equal(with_one.labels.array[other], without.labels.array[other])
    assert np.array_equal(with_one.lungs.array, without.lungs.array)


def test_nodules_find_a_place_in_the_lung_that_is_asked_for():
    nodules = tuple(Nodule(d, lung=side) for d in (8, 25) for side in ("left", "right"))
    for nodule in generate(4, replace(CLEAN, shape=(1, 8, 8), nodules=nodules)).nodules:
        assert (nodule.centre[0] > 0) == (nodule.lung == "left")
    with pytest.raises(ValueError, match="nothing fits into the lung"):
        generate(0, replace(CLEAN, shape=(1, 8, 8), nodules=(Nodule(200.0),)))


def test_the_knobs_of_disease_do_what_they_say(clean):
    sick = generate(0, replace(CLEAN, emphysema=0.4))
    lung = (clean.labels.array == 2) & (sick.labels.array == 2)
    assert (sick.image.array[lung] < -920).mean() > (clean.image.array[lung] < -920).mean() + 0.2
    wet = generate(0, replace(CLEAN, effusion=50.0))
    fluid = wet.labels.array == 9
    assert fluid.any() and (clean.lungs.array[fluid] == 1).all()
    assert (wet.lungs.array[fluid] == 0).all()
    single = generate(0, replace(CLEAN, missing_lung="left"))
    assert np.unique(single.lungs.array).tolist() == [0, 1]
    plain = generate(0, replace(CLEAN, contrast_hu=0.0)).image.array[clean.labels.array == 5]
    assert np.median(clean.image.array[clean.labels.array == 5]) > np.median(plain) + 30
    fat = generate(0, replace(CLEAN, fat=30.0)).image.array
    assert ((fat > -130) & (fat < -70)).sum() > 1.5 * (
        (clean.image.array > -130) & (clean.image.array < -70)
    ).sum()


def test_noise_has_its_strength_and_the_spectrum_of_a_reconstruction():
    noise = ct_noise((12, 64, 64), (1, 0.8, 0.8), np.random.default_rng(0))
    assert noise.std() == pytest.approx(1, abs=1e-3)
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(0)
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(64, 0.8), np.fft.fftfreq(64, 0.8)))
    low, middle, high = (
        power[(f > a) & (f < b)].mean() for a, b in ((0, 0.03), (0.1, 0.2), (0.5, 1))
    )
    assert low < 0.4 * middle and high < 0.2 * middle  # a ramp, cut off


def test_noise_is_added_where_tissue_is(clean):
    b = generate(0, replace(CLEAN, noise=30.0)).image.array.astype(int)
    a, labels = clean.image.array.astype(int), clean.labels.array
    assert (b - a)[labels == 5].std() > 1.3 * (b - a)[labels == 0].std() > 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shape": (0, 8, 8)}, "must be positive"),
        ({"emphysema": 0.9}, r"emphysema must be in 0..0.5, got 0.9"),
        ({"noise": -1.0}, "noise must not be negative"),
        ({"missing_lung": "both"}, "'both'"),
        ({"nodules": (Nodule(lung="top"),)}, "'top'"),
    ],
)
def test_bad_knobs(settings, message):
    with pytest.raises(ValueError, match=message):
        PhantomConfig(**settings)
