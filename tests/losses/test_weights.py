import math

import pytest
import torch

from segedu.losses import class_weights
from tests.real_data import REAL, needs

CAMVID = [
    10682767, 14750079, 623349, 20076880, 2845085, 6166762,
    743859, 714595, 3719877, 405385, 184967,
]  # fmt: skip


def test_formulas_by_hand():
    counts = [10, 30, 60]
    inverse = torch.tensor([10.0, 10 / 3, 5 / 3])
    torch.testing.assert_close(class_weights(counts, "inverse"), inverse / inverse.mean())
    root = inverse.sqrt()
    torch.testing.assert_close(class_weights(counts, "sqrt"), root / root.mean())
    log = inverse.log()
    torch.testing.assert_close(class_weights(counts, "log"), log / log.mean())
    torch.testing.assert_close(class_weights(counts), torch.tensor([3.0, 1.0, 0.5]))
    enet = torch.tensor([1 / math.log(1.02 + f) for f in (0.1, 0.3, 0.6)])
    torch.testing.assert_close(class_weights(counts, "enet"), enet)
    effective = torch.tensor([0.1 / (1 - 0.9**n) for n in counts])
    torch.testing.assert_close(
        class_weights(counts, "effective_number", beta=0.9), effective / effective.mean()
    )


def test_effective_number_of_large_counts_does_not_underflow():
    weights = class_weights(CAMVID, "effective_number", beta=0.9999999)
    assert weights.isfinite().all()
    assert weights.argmax() == 10
    assert torch.equal(class_weights(CAMVID, "effective_number", beta=0.0), torch.ones(11))


@pytest.mark.parametrize(
    "strategy", ["inverse", "sqrt", "log", "median_frequency", "effective_number", "enet"]
)
def test_rarer_never_weighs_less_and_absent_weighs_nothing(strategy):
    weights = class_weights([1000, 0, 10, 100], strategy, beta=0.99)
    assert weights[1] == 0
    assert weights[2] > weights[3] > weights[0] > 0


def test_a_single_class():
    for strategy in ("inverse", "sqrt", "log", "median_frequency", "effective_number"):
        assert class_weights([0, 7], strategy).tolist() == [0, 1]


def test_median_frequency_uses_the_images_that_hold_the_class():
    got = class_weights([10, 10, 30], image_pixels=[20, 40, 50])
    torch.testing.assert_close(got, torch.tensor([0.5 / 0.5, 0.5 / 0.25, 0.5 / 0.6]))


@needs("camvid/CamVid_240x180/trainannot")
@pytest.mark.slow
def test_camvid_has_its_known_median_frequency_weights():
    """Reads 367 label maps; the counts are those of half the resolution, hence the tolerance."""
    root = REAL / "camvid/CamVid_240x180/trainannot"
    import numpy as np
    from PIL import Image

    counts, image_pixels = np.zeros(11, np.int64), np.zeros(11, np.int64)
    for file in sorted(root.glob("*.png")):
        each = np.bincount(np.asarray(Image.open(file)).ravel(), minlength=12)[:11]
        counts += each
        image_pixels += (each > 0) * each.sum()
    expected = [0.2794, 0.2018, 4.7889, 0.1491, 1.0, 0.4235, 3.8464, 1.9798, 0.789, 6.3847, 8.8193]
    got = class_weights(counts, image_pixels=image_pixels)
    torch.testing.assert_close(got, torch.tensor(expected), rtol=0.03, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pixel_counts": [0, 0]}, "not all of them 0"),
        ({"pixel_counts": [-1, 2]}, "counts >= 0"),
        ({"pixel_counts": [[1, 2]]}, "vector"),
        ({"strategy": "magic"}, "strategy must be one of"),
        ({"beta": 1.0}, "beta"),
        ({"constant": 1.0}, "constant"),
        ({"image_pixels": [1, 1]}, "none below its pixel count"),
        ({"image_pixels": [9, 9], "strategy": "enet"}, "only used by median_frequency"),
    ],
)
def test_bad_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        class_weights(**{"pixel_counts": [3, 4], **settings})
