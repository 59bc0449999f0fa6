import gzip
import json
import math
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segedu.metrics import SurfaceMetrics, surface_distances
from segedu.metrics.surface import element_sizes, surface
from segedu.ops.distance import distance_transform, separable_transform
from tests.real_data import REAL, needs


def blob(seed, shape):
    """A smooth random mask, not empty and not full."""
    g = torch.Generator().manual_seed(seed)
    noise = torch.randn((1, 1, *[n // 3 + 2 for n in shape]), generator=g)
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    smooth = torch.nn.functional.interpolate(noise, size=shape, mode=mode)[0, 0]
    return smooth > smooth.quantile(0.6)


def brute(p, t, spacing):
    """Directed distances between all surface elements, pair by pair."""
    a, b = ((surface(m).nonzero() * torch.tensor(spacing)).double() for m in (p, t))
    d = (a[:, None] - b).pow(2).sum(-1).sqrt()
    return d.amin(1).numpy(), d.amin(0).numpy()


def test_by_hand():
    p, t = torch.zeros(1, 9).bool(), torch.zeros(1, 9).bool()
    p[0, 0:4] = True
    t[0, 2:5] = True
    d = surface_distances(p, t)
    assert sorted(d.pred_to_target) == [0, 0, 1, 2]
    assert sorted(d.target_to_pred) == [0, 0, 1]
    assert d.hausdorff() == 2
    assert d.average() == 4 / 7
    assert d.dice(1.0) == 6 / 7
    assert d.percentile(95) == pytest.approx(np.percentile([0, 0, 1, 2, 0, 0, 1], 95))
    assert d.percentile(95, "max") == pytest.approx(np.percentile([0, 0, 1, 2], 95))
    assert surface_distances(p, t, (1.0, 2.5)).hausdorff() == 5


def test_the_weighted_surface_dice_is_a_share_of_the_length():
    target = torch.zeros(6, 6, dtype=torch.bool)
    target[1:4, 1:4] = True
    pred = target.clone()
    pred[5, 5] = True
    assert surface_distances(pred, target).dice(1) == 16 / 17
    square, diamond = 8 + 4 * 0.5**0.5, 4 * 0.5**0.5  # lengths of the two outlines of pred
    d = surface_distances(pred, target, weighted=True)
    assert d.dice(1) == pytest.approx(2 * square / (2 * square + diamond), abs=1e-12)
    assert d.dice(3) == 1
    far = 0.5**0.5 * (2**0.5 + 2 * 5**0.5 + 8**0.5)  # the four pieces of the diamond
    assert d.average() == pytest.approx(far / (2 * square + diamond), abs=1e-12)
    for hd95, expected in (("pooled", 16 / 17), ("weighted", d.dice(1))):
        metric = SurfaceMetrics(2, tolerance=1, hd95=hd95)
        metric.update(pred[None].long(), target[None].long())
        assert metric.compute()["surface_dice"] == expected


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([(9, 12), (6, 7, 8)]), st.booleans())
def test_equals_brute_force_and_is_symmetric(seed, shape, anisotropic):
    p, t = blob(seed, shape), blob(seed + 1, shape)
    spacing = (2.0, 0.5, 1.25)[: len(shape)] if anisotropic else (1.0,) * len(shape)
    d, back = surface_distances(p, t, spacing), surface_distances(t, p, spacing)
    forward, reverse = brute(p, t, spacing)
    np.testing.assert_allclose(np.sort(d.pred_to_target), np.sort(forward), atol=1e-12)
    np.testing.assert_allclose(np.sort(d.target_to_pred), np.sort(reverse), atol=1e-12)
    assert d.hausdorff() == back.hausdorff()
    assert d.average() == pytest.approx(back.average(), abs=1e-12)
    # With interpolated percentiles the pooled one may exceed both directed ones by a little.
    assert max(d.percentile(95), d.percentile(95, "max")) <= d.hausdorff() + 1e-12
    assert 0 <= d.dice(1.0) <= d.dice(2.0) <= 1
    assert surface_distances(p, p, spacing).hausdorff() == 0


def test_eroding_the_prediction_never_comes_closer():
    g = torch.zeros(30, 30, dtype=torch.bool)
    g[5:25, 5:25] = True
    seen, mask = [], g
    for _ in range(6):
        seen.append(surface_distances(mask, g).hausdorff())
        mask = mask & ~surface(mask)
    assert seen == sorted(seen)
    assert seen[0] == 0


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(40, 50), (14, 16, 18)])
@pytest.mark.parametrize("anisotropic", [False, True])
def test_equals_medpy_and_monai(shape, anisotropic):
    medpy = pytest.importorskip("medpy.metric.binary")
    monai = pytest.importorskip("monai.metrics")
    p, t = blob(1, shape), blob(2, shape)
    spacing = (2.0, 0.5, 1.25)[: len(shape)] if anisotropic else (1.0,) * len(shape)
    d = surface_distances(p, t, spacing)
    pair = p.numpy(), t.numpy(), spacing
    assert d.hausdorff() == pytest.approx(medpy.hd(*pair), abs=1e-6)
    assert d.percentile(95, "pooled") == pytest.approx(medpy.hd95(*pair), abs=1e-6)
    assert d.average() == pytest.approx(medpy.assd(*pair), abs=1e-6)
    batch = p[None, None], t[None, None]
    options = {"include_background": True, "spacing": list(spacing)}
    hd95 = monai.compute_hausdorff_distance(*batch, percentile=95, **options)
    assert d.percentile(95, "max") == pytest.approx(hd95.item(), rel=1e-6)
    assd = monai.compute_average_surface_distance(*batch, symmetric=True, **options)
    assert d.average() == pytest.approx(assd.item(), rel=1e-6)
    dice = monai.compute_surface_dice(*batch, [1.0], **options)
    assert d.dice(1.0) == pytest.approx(dice.item(), abs=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 0.5), (1.0, 1.0, 1.0), (2.0, 0.5, 1.25)])
def test_weighted_metrics_equal_surface_distance(spacing):
    deepmind = pytest.importorskip("surface_distance")
    shape = (40, 50) if len(spacing) == 2 else (12, 14, 13)
    for seed in range(4):
        p, t = blob(seed, shape), blob(seed + 1, shape)
        theirs = deepmind.compute_surface_distances(t.numpy(), p.numpy(), spacing)
        d = surface_distances(p, t, spacing, weighted=True)
        for q in (50, 95, 100):
            expected = deepmind.compute_robust_hausdorff(theirs, q)
            assert d.percentile(q, "weighted") == pytest.approx(expected, abs=1e-6)
        for tolerance in (0, 1, 2.5):
            expected = deepmind.compute_surface_dice_at_tolerance(theirs, tolerance)
            assert d.dice(tolerance) == pytest.approx(expected, abs=1e-12)
        pred, target = d.pred_weight.sum(), d.target_weight.sum()
        from_target, from_pred = deepmind.compute_average_surface_distance(theirs)
        expected = (from_target * target + from_pred * pred) / (target + pred)
        assert d.average() == pytest.approx(expected, abs=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 0.5), (1.0, 1.0, 1.0), (2.0, 0.5, 1.25)])
def test_every_surface_element_has_the_size_of_surface_distance(spacing):
    tables = pytest.importorskip("surface_distance.lookup_tables")
    kind = "contour_length" if len(spacing) == 2 else "surface_area"
    theirs = getattr(tables, f"create_table_neighbour_code_to_{kind}")(spacing)
    weights = getattr(tables, f"ENCODE_NEIGHBOURHOOD_{len(spacing)}D_KERNEL").ravel()
    ours = element_sizes(spacing)
    for code in range(len(ours)):
        other = sum(int(w) for bit, w in enumerate(weights) if code >> bit & 1)
        assert ours[code] == pytest.approx(theirs[other], abs=1e-12)


def test_metrics_average_images_then_classes_and_state_the_empty_rule():
    target = torch.zeros(2, 8, 8, dtype=torch.int64)
    target[:, 1:4, 1:4] = 1
    target[0, 5:7, 5:7] = 2
    pred = target.clone()
    pred[1, 1:4, 4] = 1  # one column too much
    pred[0, 5:7, 5:7] = 0  # class 2 missed
    metric = SurfaceMetrics(4, tolerance=0.5, missing=11.0)
    metric.update(pred, target)
    got = metric.compute()
    assert got["per_class"][1]["hd"] == 0.5
    assert got["per_class"][2] == {
        "hd": 11.0, "hd95": 11.0, "assd": 11.0, "surface_dice": 0.0, "images": 1,
    }  # fmt: skip
    assert 3 not in got["per_class"]
    assert got["hd"] == (0.5 + 11) / 2
    assert [(c["image"], c["class"]) for c in got["cases"]] == [(0, 1), (0, 2), (1, 1)]
    assert SurfaceMetrics(2).compute()["hd"] != SurfaceMetrics(2).compute()["hd"]  # NaN
    infinite = SurfaceMetrics(3)
    infinite.update(pred, target)
    assert infinite.compute()["hd"] == math.inf


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.5, 1.5)])
def test_distance_transform_of_the_gpu_equals_scipy(spacing):
    mask = blob(3, (9, 10, 11))
    torch.testing.assert_close(
        separable_transform(mask, spacing), distance_transform(mask, spacing)
    )
    assert distance_transform(torch.ones(2, 2).bool()).isinf().all()


def read_nifti(file):
    """The array of an uncomplicated NIfTI-1 file: dim at byte 40, type at 70, offset at 108."""
    raw = gzip.decompress(file.read_bytes())
    rank, *shape = np.frombuffer(raw, "<i2", 8, 40)
    dtype = {2: "u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8"}[
        struct.unpack_from("<h", raw, 70)[0]
    ]
    offset = int(struct.unpack_from("<f", raw, 108)[0])
    shape = [int(n) for n in shape[:rank]]
    return np.frombuffer(raw, dtype, math.prod(shape), offset).reshape(shape, order="F")


@needs("medical/totalsegmentator_example")
def test_known_answer_of_the_ct_organs():
    root = REAL / "medical/totalsegmentator_example"
    expected = json.loads((root / "expected_overlap_seg_vs_fast.json").read_text())["organs"]
    volumes = []
    for name in ("example_seg_fast", "example_seg"):
        file = next(root.rglob(f"{name}.nii.gz"))
        volumes.append(torch.from_numpy(read_nifti(file).astype(np.int64)))
    for organ in ("liver", "aorta", "pancreas"):
        p, t = (v == expected[organ]["label"] for v in volumes)
        got = surface_distances(p, t, (3.0, 3.0, 3.0)).hausdorff()
        assert got == pytest.approx(expected[organ]["hausdorff_mm_voxel_centres_SimpleITK"])
        dice = 2 * (p & t).sum() / (p.sum() + t.sum())
        assert dice.item() == pytest.approx(expected[organ]["dice"], abs=1e-6)


def test_bad_input():
    one, none = torch.ones(4, 4).bool(), torch.zeros(4, 4).bool()
    with pytest.raises(ValueError, match="target is empty"):
        surface_distances(one, none)
    with pytest.raises(ValueError, match="one shape"):
        surface_distances(one, one[:2])
    with pytest.raises(ValueError, match="2 positive numbers"):
        surface_distances(one, one, (1.0, 0.0))
    with pytest.raises(ValueError, match="hd95 must be one of"):
        SurfaceMetrics(2, hd95="median")
    with pytest.raises(ValueError, match=r"holds labels \[7\]"):
        SurfaceMetrics(2).update(one[None].long(), one[None].long() * 7)
    with pytest.raises(ValueError, match="same shape"):
        SurfaceMetrics(2).update(one[None].long(), one.long())
