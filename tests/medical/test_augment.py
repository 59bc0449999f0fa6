import math

import pytest
import torch
import torch.nn.functional as F

from segedu.medical import augment
from segedu.medical.augment import Augment, move_voxels

NOTHING = {
    "rotation": 0.0,
    "scale": (1.0, 1.0),
    "elastic": 0.0,
    "noise": 0.0,
    "gamma": (1.0, 1.0),
    "bias": 0.0,
    "probability": 1.0,
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample(size=(12, 16, 14), seed: int = 0) -> dict:
    """A bright smooth blob off the centre and its mask."""
    axes = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in size), indexing="ij")
    distance = sum((axis - 0.2 * i) ** 2 for i, axis in enumerate(axes))
    image = torch.exp(-3 * distance) + 0.01 * torch.rand(size, generator=generator(seed))
    return {"image": image[None], "mask": (distance < 0.25).long()}


def dice(a: torch.Tensor, b: torch.Tensor) -> float:
    return (2 * (a & b).sum() / (a.sum() + b.sum())).item()


@pytest.mark.parametrize("size", [(24, 30, 26), (30, 36)])
def test_image_and_mask_move_together(size):
    for seed in range(5):
        given = sample(size, seed)
        moved = Augment(
            rotation=25, elastic=0.8, flip=(0, 1), noise=0.0, probability=1.0, bias=0.0,
            gamma=(1.0, 1.0), generator=generator(seed),
        )(given)  # fmt: skip
        assert moved["image"].shape == given["image"].shape
        assert moved["mask"].dtype == torch.int64
        assert set(moved["mask"].unique().tolist()) <= {0, 1, 255}
        assert not torch.equal(moved["mask"], given["mask"])
        level = math.exp(-3 * 0.25) + 0.005  # at the border of the mask
        bright = (moved["image"][0] > level) & (moved["mask"] != 255)
        assert dice(bright, moved["mask"] == 1) > 0.85


@pytest.mark.parametrize("size", [(9, 13, 11), (12, 10)])
def test_the_matrix_does_what_affine_grid_does(size):
    image, mask = torch.rand(1, *size), torch.randint(3, size)
    angle = 0.4
    matrix = torch.eye(len(size))
    matrix[-2:, -2:] = torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    got, labels = move_voxels(image, mask, matrix, None)
    half = (torch.tensor(size) - 1) / 2  # affine_grid works in units of half the image, x first
    theta = (matrix * half / half[:, None]).flip(0, 1)
    theta = torch.cat([theta, torch.zeros(len(size), 1)], dim=1)[None]
    grid = F.affine_grid(theta, (1, 1, *size), align_corners=True)
    want = F.grid_sample(image[None], grid, padding_mode="border", align_corners=True)[0]
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    want = F.grid_sample(mask[None, None] + 1.0, grid, mode="nearest", align_corners=True)[0, 0]
    assert ((labels == want.long() - 1) | ((want == 0) & (labels == 255))).float().mean() > 0.99


def test_a_quarter_turn_and_a_doubling_are_exact():
    image, mask = torch.rand(1, 4, 9, 9), torch.randint(4, (4, 9, 9))
    turn = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    got, labels = move_voxels(image, mask, turn, None)
    torch.testing.assert_close(got, image.rot90(-1, (2, 3)), atol=1e-5, rtol=0)
    assert torch.equal(labels, mask.rot90(-1, (1, 2)))
    _, small = move_voxels(image, mask, 2 * torch.eye(3), None)
    assert (small[1:3, 2:7, 2:7] != 255).all() and (small[:, 0] == 255).all()


def test_a_rotation_knows_the_spacing():
    # voxels three times as tall as wide: a turn by 90 degrees maps 3 columns to 1 row
    turned = Augment(**NOTHING | {"rotation": 90.0}, spacing=(3.0, 1.0), generator=generator())
    matrix = turned.draw_matrix(2)
    real = torch.diag(torch.tensor([3.0, 1.0])) @ matrix @ torch.diag(torch.tensor([1 / 3, 1.0]))
    torch.testing.assert_close(real @ real.T, torch.eye(2))  # a pure rotation in millimetres
    assert not torch.allclose(matrix @ matrix.T, torch.eye(2))


def test_scale_enlarges():
    given = sample()
    big = Augment(**NOTHING | {"scale": (1.3, 1.3)}, generator=generator())(given)
    assert (big["mask"] == 1).sum() > 1.5 * given["mask"].sum()


def test_outside_is_ignored_in_the_mask_and_continued_in_the_image():
    flat = {"image": torch.full((1, 8, 8), 3.0), "mask": torch.ones(8, 8).long()}
    small = Augment(**NOTHING | {"scale": (0.5, 0.5)}, generator=generator())(flat)
    assert (small["mask"] == 255).any() and (small["mask"] == 1).any()
    torch.testing.assert_close(small["image"], flat["image"])


def test_flips_are_only_those_allowed():
    given, seen = sample(), set()
    for seed in range(12):
        moved = Augment(**NOTHING, flip=(2,), generator=generator(seed))(given)
        kept = torch.equal(moved["image"], given["image"])
        assert kept or torch.equal(moved["image"], given["image"].flip(3))
        assert torch.equal(moved["mask"], given["mask"] if kept else given["mask"].flip(2))
        seen.add(kept)
    assert seen == {True, False}


@pytest.mark.parametrize("kind", ["noise", "gamma", "bias"])
def test_intensities_change_and_the_mask_does_not(kind):
    value = (0.5, 0.6) if kind == "gamma" else 0.5
    given = sample()
    changed = Augment(**NOTHING | {kind: value}, generator=generator(1))(given)
    assert torch.equal(changed["mask"], given["mask"])
    difference = changed["image"] - given["image"]
    assert difference.abs().max() > 0.01
    if kind == "gamma":  # brighter in between, the same at the ends
        torch.testing.assert_close(changed["image"].max(), given["image"].max())
        assert difference.min() >= -1e-6
    if kind == "bias":  # smooth: the factor hardly differs between neighbours
        low = given["image"].min()
        factor = ((changed["image"] - low) / (given["image"] - low).clamp(min=1e-3))[
            given["image"] > 0.2
        ]
        assert 0.6 < factor.min() < factor.max() < 1.66


def test_the_generator_decides_and_the_sample_is_left_alone():
    given = sample()
    before = given["image"].clone(), given["mask"].clone()
    a, b, c = (
        Augment(flip=(0,), probability=1.0, generator=generator(s))(given) for s in (3, 3, 4)
    )
    assert torch.equal(a["image"], b["image"]) and torch.equal(a["mask"], b["mask"])
    assert not torch.equal(a["image"], c["image"])
    assert torch.equal(given["image"], before[0]) and torch.equal(given["mask"], before[1])


def test_the_size_of_the_slabs_does_not_matter(monkeypatch):
    given = sample()
    whole = Augment(elastic=1.5, probability=1.0, generator=generator())(given)
    monkeypatch.setattr(augment, "_AT_ONCE", 500)  # two slices at a time
    parts = Augment(elastic=1.5, probability=1.0, generator=generator())(given)
    torch.testing.assert_close(parts["image"], whole["image"])
    assert torch.equal(parts["mask"], whole["mask"])


@pytest.mark.gpu
def test_on_a_gpu():
    given = {key: value.cuda() for key, value in sample().items()}
    moved = Augment(probability=1.0, generator=generator())(given)
    want = Augment(probability=1.0, generator=generator())(sample())
    torch.testing.assert_close(moved["image"].cpu(), want["image"], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probability": 2}, "probability"),
        ({"scale": (0, 1)}, "scale"),
        ({"gamma": (2, 1)}, "gamma"),
        ({"noise": -1}, "noise"),
        ({"control": 0}, "control"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Augment(**settings)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 4, 4\) and \(4, 5\)"):
        Augment()({"image": torch.zeros(1, 4, 4), "mask": torch.zeros(4, 5)})
