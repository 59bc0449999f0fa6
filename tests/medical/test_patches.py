import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segedu.engine import make_loader, sliding_window
from segedu.medical.patches import (
    Case,
    GridDataset,
    PatchDataset,
    pad_to,
    slices_as_channels,
    split_patients,
    stack_neighbours,
)


def case(shape=(9, 12, 11), patient="p", rare=((4, 5, 6),)) -> Case:
    """Every voxel of the image holds its own number; a few voxels are foreground."""
    image = torch.arange(torch.tensor(shape).prod().item(), dtype=torch.float).reshape(1, *shape)
    mask = torch.zeros(shape, dtype=torch.uint8)
    for label, place in enumerate(rare, start=1):
        mask[place] = label
    return Case(patient, image, mask)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from("abcdefghij"), min_size=3, max_size=40), st.integers(0, 99))
def test_no_patient_is_on_both_sides(patients, seed):
    if len(set(patients)) < 3:
        with pytest.raises(ValueError, match="need as many patients"):
            split_patients(patients, seed=seed)
        return
    parts = split_patients(patients, seed=seed)
    assert sorted(sum(parts, [])) == list(range(len(patients)))
    names = [{patients[i] for i in part} for part in parts]
    assert all(names)
    assert not names[0] & names[1] and not names[0] & names[2] and not names[1] & names[2]
    assert parts == split_patients(patients, seed=seed)


def test_the_shares_are_shares_of_the_patients():
    patients = [f"p{i}" for i in range(103)]
    assert [len(part) for part in split_patients(patients, (0.7, 0.15, 0.15))] == [71, 16, 16]
    assert split_patients(patients, seed=1) != split_patients(patients, seed=2)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 1.0])
def test_the_positive_ratio_is_exact_and_positive_patches_hold_their_voxel_in_the_middle(ratio):
    data = PatchDataset([case(rare=((4, 5, 6), (2, 9, 3)))], (3, 3, 5), 40, positive_ratio=ratio)
    positive = [i for i in range(40) if data.is_positive(i)]
    assert len(positive) == round(40 * ratio)
    seen = set()
    for i in positive:
        label = data[i]["mask"][1, 1, 2].item()
        assert label in (1, 2)
        seen.add(label)
    assert seen == ({1, 2} if positive else set())


def test_patches_are_pieces_of_the_scan_and_cover_all_of_it():
    whole = case((6, 7, 8), rare=())
    data = PatchDataset([whole], (4, 5, 6), 400, positive_ratio=0.0)  # 27 places
    covered = torch.zeros(whole.image.numel(), dtype=torch.bool)
    torch.manual_seed(0)
    for i in range(400):
        patch = data[i]["image"]
        assert patch.shape == (1, 4, 5, 6)
        first = int(patch[0, 0, 0, 0])
        d, h, w = first // 56, first // 8 % 7, first % 8
        assert torch.equal(patch[0], whole.image[0, d : d + 4, h : h + 5, w : w + 6])
        covered[patch.flatten().long()] = True
    assert covered.all()


def test_padding_has_the_smallest_value_of_each_channel():
    image = torch.stack([torch.rand(2, 3, 3) - 5, torch.rand(2, 3, 3) + 5])
    padded, box = pad_to(image, (4, 5, 6))
    assert torch.equal(padded[:, *box], image)
    for channel, part in zip(padded, image, strict=True):
        assert channel.min() == part.min() and (channel == part.min()).sum() > 4 * 5 * 6 - 2 * 3 * 3
    patch = GridDataset([Case("p", image, torch.ones(2, 3, 3).byte())], (4, 5, 6))[0]
    assert torch.equal(patch["image"], padded)


def test_a_small_scan_is_padded_and_the_padding_is_ignored():
    whole = case((2, 6, 5), rare=((1, 2, 3),))
    for ratio in (0.0, 1.0):
        sample = PatchDataset([whole], (4, 6, 8), 1, positive_ratio=ratio)[0]
        assert sample["mask"].shape == (4, 6, 8)
        inside = sample["mask"] != 255
        assert inside.sum() == 60  # the whole scan is there
        assert (sample["image"][0][~inside] == whole.image.min()).all()
        assert torch.equal(sample["image"][0][inside], whole.image.flatten())


def test_a_patch_one_voxel_deep_is_an_image():
    sample = PatchDataset([case()], (1, 8, 8), 1, positive_ratio=1.0)[0]
    assert sample["image"].shape == (1, 8, 8) and sample["mask"].shape == (8, 8)
    assert sample["mask"].dtype == torch.int64 and sample["mask"].max() == 1


def test_cases_take_turns_and_those_without_foreground_give_no_positive_patches():
    empty = case(rare=())
    data = PatchDataset([empty, case()], (3, 3, 3), 8, positive_ratio=0.5)
    assert all(data[i]["mask"].max() == 1 for i in range(8) if data.is_positive(i))
    with pytest.raises(ValueError, match="no case has foreground"):
        PatchDataset([empty], (3, 3, 3), 8)


def test_a_loader_repeats_its_patches():
    loaders = [
        make_loader(PatchDataset([case()], (3, 3, 3), 6), 2, shuffle=True, seed=5) for _ in "ab"
    ]
    for a, b in zip(*loaders, strict=True):
        assert torch.equal(a["image"], b["image"])


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_the_grid_covers_every_voxel(overlap):
    whole = case()
    data = GridDataset([whole, case((2, 4, 4), rare=())], (4, 5, 6), overlap=overlap)
    seen = torch.zeros(whole.image.numel())
    first = [i for i, (number, _) in enumerate(data.places) if number == 0]
    for i in first:
        seen[data[i]["image"].flatten().long()] += 1
    assert seen.min() >= 1
    assert len(data) - len(first) == 1  # the small scan is one padded patch
    assert (data[len(data) - 1]["mask"] != 255).sum() == 32
    if overlap:
        assert seen.max() >= 8


def test_windows_over_a_volume_equal_the_whole_volume():
    torch.manual_seed(0)
    model = torch.nn.Conv3d(1, 3, 1)
    volume = torch.rand(1, 1, 13, 17, 11)
    whole = model(volume).softmax(1)
    torch.testing.assert_close(sliding_window(model, volume, (6, 8, 11)), whole)
    assert torch.equal(sliding_window(model, volume, (16, 20, 11)), whole)


@pytest.mark.oracle
def test_windows_over_a_volume_equal_monais():
    # with constant weights: MONAI raises Gaussian ones below 0.001 to 0.001
    infer = pytest.importorskip("monai.inferers.utils").sliding_window_inference
    torch.manual_seed(0)
    model = torch.nn.Conv3d(1, 2, 3, padding=1)  # looks beyond its voxel, so that cuts matter
    volume = torch.rand(1, 1, 12, 17, 8)
    with torch.no_grad():
        want = infer(volume, (8, 8, 8), 1, model, overlap=0.5, mode="constant")
    got = sliding_window(model, volume, 8, weights="constant", activation=torch.nn.Identity())
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: split_patients("abc", (0.5, 0.4)), "sum to 1"),
        (lambda: split_patients("abc", (1.5, -0.5)), "positive"),
        (lambda: PatchDataset([case()], (3, 3), 4), r"three positive .* \(3, 3\)"),
        (lambda: PatchDataset([case()], (3, 3, 3), 0), "positive length"),
        (lambda: PatchDataset([case()], (3, 3, 3), 1, positive_ratio=1.5), "positive_ratio"),
        (lambda: GridDataset([case()], (3, 3, 3), overlap=1.0), "overlap must be in"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_slice_is_stacked_with_its_neighbours_and_the_ends_are_repeated():
    volume = torch.arange(5)[:, None, None].expand(5, 2, 3)
    stacked = stack_neighbours(volume, 2)
    assert stacked.shape == (5, 5, 2, 3)
    assert stacked[:, :, 0, 0].tolist() == [
        [0, 0, 0, 1, 2],
        [0, 0, 1, 2, 3],
        [0, 1, 2, 3, 4],
        [1, 2, 3, 4, 4],
        [2, 3, 4, 4, 4],
    ]
    assert torch.equal(stack_neighbours(volume, 0), volume[:, None])


@pytest.mark.parametrize(("shape", "neighbours"), [((1, 5, 2, 3), 1), ((5, 2, 3), -1)])
def test_only_slices_of_a_volume_have_neighbours(shape, neighbours):
    with pytest.raises(ValueError, match="volume must be"):
        stack_neighbours(torch.zeros(shape), neighbours)


def test_patches_of_few_slices_train_the_label_of_the_middle_one():
    whole = case()
    patch = PatchDataset([whole], (3, 4, 4), 1, positive_ratio=1.0)
    torch.manual_seed(0)
    thick = patch[0]
    torch.manual_seed(0)
    patch.transforms = slices_as_channels
    sample = patch[0]
    assert torch.equal(sample["image"], thick["image"][0])
    assert torch.equal(sample["mask"], thick["mask"][1])
    assert sample["mask"][2, 2] == 1
