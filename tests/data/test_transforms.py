import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

from segedu.data import transforms
from segedu.data.transforms import (
    MEAN,
    STD,
    BatchAugment,
    FinishBatch,
    ScaleAndCrop,
    ToModelInput,
    denormalize,
    evaluation,
    training,
)

sizes = st.tuples(st.integers(1, 60), st.integers(1, 60))


def coordinates(height, width):
    """A mask that says where each pixel comes from, and the image of the same numbers."""
    codes = torch.arange(height * width, dtype=torch.int64).reshape(height, width) % 251
    image = codes.to(torch.uint8).expand(3, height, width).clone()
    return {"image": tv_tensors.Image(image), "mask": tv_tensors.Mask(codes.to(torch.uint8))}


def instances(height=40, width=60):
    masks = torch.zeros(3, height, width, dtype=torch.bool)
    masks[0, 5:15, 5:15] = masks[1, 20:30, 40:55] = masks[2, 35:, :10] = True
    boxes = torch.tensor([[5.0, 5, 15, 15], [40, 20, 55, 30], [0, 35, 10, 40]])
    return {
        "image": tv_tensors.Image(torch.zeros(3, height, width, dtype=torch.uint8)),
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width)),
        "masks": tv_tensors.Mask(masks),
        "labels": torch.tensor([7, 8, 9]),
    }


@settings(deadline=None, max_examples=60)
@given(old=sizes, new=sizes, seed=st.integers(0, 99))
def test_training_gives_the_size_and_invents_no_label(old, new, seed):
    torch.manual_seed(seed)
    sample = coordinates(*old)
    out = training(new)(sample)
    assert out["image"].shape == (3, *new)
    assert out["mask"].shape == new
    assert out["image"].dtype == torch.float32
    assert out["mask"].dtype == torch.int64
    assert set(out["mask"].unique().tolist()) <= set(sample["mask"].unique().tolist()) | {255}


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999))
def test_image_and_mask_move_together(seed):
    """Without rescaling every pixel of the image must still be the one its label names."""
    torch.manual_seed(seed)
    out = training((30, 50), scale=(1.0, 1.0), color=False)(coordinates(40, 45))
    gray = (denormalize(out["image"])[0] * 255).round().long()
    inside = out["mask"] != 255
    assert torch.equal(gray[inside], out["mask"][inside])
    assert inside.sum() == 30 * 45


def test_padding_is_ignored_and_has_the_mean_color():
    out = evaluation((64, 32))(coordinates(16, 16))
    assert (out["mask"][32:] == 255).all()
    assert (out["mask"][:32] != 255).all()
    # the mean, rounded to the 256 steps of the file
    assert out["image"][:, 32:].abs().max() < 0.5 / 255 / min(STD) + 1e-6


def test_scale_one_half_shows_everything_at_half_size():
    torch.manual_seed(0)
    out = training(32, scale=(0.5, 0.5), flip=False, color=False)(coordinates(32, 32))
    inside = out["mask"] != 255
    assert inside[:16, :16].all()
    assert inside.sum() == 16 * 16


def test_mask_is_never_interpolated():
    mask = torch.zeros(9, 9, dtype=torch.uint8)
    mask[3:6, 3:6] = 20
    sample = {"image": tv_tensors.Image(mask.expand(3, 9, 9)), "mask": tv_tensors.Mask(mask)}
    out = evaluation(31)(sample)
    assert out["mask"].unique().tolist() == [0, 20]
    assert len(out["image"].unique()) > 10  # the image is


def test_evaluation_without_size_only_normalises():
    sample = coordinates(5, 7)
    out = evaluation()(sample)
    assert torch.equal(out["mask"], sample["mask"].long())
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(
        out["image"].as_subclass(torch.Tensor), (sample["image"] / 255 - mean) / std
    )


def test_denormalize_undoes_evaluation():
    sample = coordinates(5, 7)
    batch = evaluation()(sample)["image"][None]
    torch.testing.assert_close(denormalize(batch)[0] * 255, sample["image"].float())
    with pytest.raises(ValueError, match="3, H, W"):
        denormalize(torch.zeros(1, 4, 4))


def test_same_seed_same_sample():
    transform = training(24)
    torch.manual_seed(3)
    first = transform(coordinates(40, 40))
    torch.manual_seed(3)
    second = transform(coordinates(40, 40))
    assert torch.equal(first["image"], second["image"])
    assert torch.equal(first["mask"], second["mask"])
    assert not torch.equal(first["image"], transform(coordinates(40, 40))["image"])


def test_flip_is_a_fair_coin():
    torch.manual_seed(0)
    transform = training(8, scale=(1, 1), color=False)
    first = [int(transform(coordinates(8, 8))["mask"][0, 0]) for _ in range(200)]
    assert set(first) == {0, 7}
    assert 70 < first.count(7) < 130


def test_color_changes_the_image_alone():
    torch.manual_seed(0)
    sample = coordinates(8, 8)
    plain = training(8, scale=(1, 1), flip=False, color=False)(sample)
    varied = training(8, scale=(1, 1), flip=False)(sample)
    assert torch.equal(plain["mask"], varied["mask"])
    assert not torch.equal(plain["image"], varied["image"])


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999))
def test_instances_stay_consistent(seed):
    torch.manual_seed(seed)
    out = training(24)(instances())
    count = len(out["labels"])
    assert out["masks"].shape == (count, 24, 24)
    assert out["boxes"].shape == (count, 4)
    assert isinstance(out["boxes"], tv_tensors.BoundingBoxes)
    assert out["masks"].dtype == torch.bool
    for mask, (left, top, right, bottom) in zip(out["masks"], out["boxes"].tolist(), strict=True):
        rows, columns = mask.nonzero().unbind(1)
        assert len(rows) > 0
        assert left - 1 <= columns.min() and columns.max() <= right
        assert top - 1 <= rows.min() and rows.max() <= bottom


def test_instance_that_leaves_the_picture_is_dropped():
    sample = instances()
    sample["masks"][1] = False
    out = evaluation((40, 60))(sample)
    assert out["labels"].tolist() == [7, 9]


def test_several_scales_move_all_parts_of_an_instance_sample_and_leave_the_callers_alone():
    sample = instances()
    before = {key: value.clone() for key, value in sample.items()}
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        out = transforms.instances((20, 40, 80), 90, flip=True, color=True)(sample)
        height, width = out["image"].shape[1:]
        seen.add((height, width))
        assert out["image"].dtype == torch.float32 and 0 <= out["image"].min() <= 1
        assert out["masks"].shape == (3, height, width) and out["labels"].tolist() == [7, 8, 9]
        for box, mask in zip(out["boxes"], out["masks"], strict=True):
            y, x = mask.nonzero().T
            around = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1])
            assert (around - box).abs().max() <= 0.5
    assert seen == {(20, 30), (40, 60), (60, 90)}  # 90 is the longest side allowed
    for key, value in before.items():
        assert torch.equal(sample[key], value)


def test_instances_as_they_are_in_the_unit_range():
    sample = instances() | {"image": tv_tensors.Image(torch.full((3, 40, 60), 51).byte())}
    out = transforms.instances()(sample)
    assert out["image"].unique().tolist() == [pytest.approx(0.2)]
    for key in ("boxes", "masks", "labels"):
        assert torch.equal(out[key], sample[key]) and out[key].dtype == sample[key].dtype
    empty = {key: sample[key][:0] for key in ("masks", "labels")}
    empty["masks"] = tv_tensors.Mask(empty["masks"])
    empty["boxes"] = tv_tensors.wrap(sample["boxes"][:0], like=sample["boxes"])
    out = transforms.instances((80,))(sample | empty)
    assert out["masks"].shape == (0, 80, 120) and out["boxes"].shape == (0, 4)
    for sizes in ((), (0,)):
        with pytest.raises(ValueError, match="min_sizes must be one or more sizes"):
            transforms.instances(sizes)


def test_panoptic_segments_are_counted_anew():
    ids = torch.zeros(20, 20, dtype=torch.int32)
    ids[:, :10], ids[0, 19] = 300, 5
    sample = {
        "image": tv_tensors.Image(torch.zeros(3, 20, 20, dtype=torch.uint8)),
        "panoptic_seg": tv_tensors.Mask(ids),
        "segments_info": [
            {"id": 300, "category_id": 1, "isthing": False, "area": 200},
            {"id": 5, "category_id": 2, "isthing": True, "area": 1},
        ],
    }
    out = evaluation((10, 20))(sample)  # half size: the single pixel of segment 5 goes
    assert out["segments_info"] == [{"id": 300, "category_id": 1, "isthing": False, "area": 50}]
    assert out["panoptic_seg"][:, 10:].unique().tolist() == [0]  # padding is void
    assert sample["segments_info"][0]["area"] == 200


def test_samples_make_a_batch():
    batch = default_collate([training(16)(coordinates(20, 30)) for _ in range(3)])
    assert batch["image"].shape == (3, 3, 16, 16)
    assert batch["mask"].shape == (3, 16, 16)


@pytest.mark.parametrize("size", [0, (4, -1)])
def test_bad_size_is_refused(size):
    with pytest.raises(ValueError, match="size must be"):
        training(size)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (2.0, 1.0)])
def test_bad_scale_is_refused(scale):
    with pytest.raises(ValueError, match="scale must be"):
        training(8, scale=scale)
    with pytest.raises(ValueError, match="scale must be"):
        BatchAugment(scale=scale)


def batch(count=4, height=24, width=36):
    mask = coordinates(height, width)["mask"].long() % 6
    masks = mask.expand(count, height, width).contiguous()
    return masks[:, None].float().expand(-1, 3, -1, -1) / 6, masks


def test_batch_augment_leaves_pictures_alone_but_for_the_mirror():
    torch.manual_seed(0)
    images, masks = batch(16)
    augment = BatchAugment(degrees=0, scale=(1, 1), translate=0, color=0)
    new_images, new_masks = augment(images, masks)
    torch.testing.assert_close(new_images, new_masks[:, None].expand(-1, 3, -1, -1) / 6)
    mirrored = [torch.equal(new, old.flip(-1)) for new, old in zip(new_masks, masks, strict=True)]
    same = [torch.equal(new, old) for new, old in zip(new_masks, masks, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert any(mirrored) and any(same)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999))
def test_batch_augment_moves_image_and_mask_by_the_same_map(seed):
    """Blocks of 12 pixels: well inside a block both must still agree after any affine map."""
    torch.manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(48), torch.arange(60), indexing="ij")
    masks = (rows // 12 * 5 + columns // 12)[None].expand(3, -1, -1) + 1
    images = masks[:, None].float().expand(-1, 3, -1, -1)
    new_images, new_masks = BatchAugment(color=0)(images, masks)
    assert set(new_masks.unique().tolist()) <= {*masks.unique().tolist(), 255}
    labels = new_masks[:, None].float()
    framed = F.pad(labels, [2] * 4, value=255)  # at the rim the image fades into the mean
    inner = F.max_pool2d(framed, 5, 1) == -F.max_pool2d(-framed, 5, 1)  # equal in a 5x5 window
    inner &= labels != 255
    torch.testing.assert_close(new_images[:, :1][inner], labels[inner])


def test_batch_augment_rotates_without_shear():
    """On a wide picture a rotation must keep right angles: a disc stays a disc."""
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(120), indexing="ij")
    disc = ((rows - 19.5) ** 2 + (columns - 59.5) ** 2 <= 15**2).long()[None].expand(8, -1, -1)
    torch.manual_seed(0)
    augment = BatchAugment(degrees=90, scale=(1, 1), translate=0, color=0)
    _, turned = augment(torch.zeros(8, 3, 40, 120), disc)
    assert ((turned == 1) != (disc == 1)).float().mean() < 0.005


def test_batch_augment_differs_between_pictures_and_repeats_with_the_seed():
    images, masks = batch()
    torch.manual_seed(1)
    first = BatchAugment()(images, masks)
    torch.manual_seed(1)
    second = BatchAugment()(images, masks)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[1][0], first[1][1])
    assert first[1].dtype == masks.dtype


def test_batch_augment_refuses_shapes_that_do_not_pair():
    with pytest.raises(ValueError, match="images must have shape"):
        BatchAugment()(torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 9))


@pytest.mark.gpu
def test_batch_augment_runs_where_the_batch_lies():
    images, masks = (part.cuda() for part in batch())
    new_images, new_masks = BatchAugment()(images, masks)
    assert new_images.is_cuda and new_masks.is_cuda


def crops(count=6):
    """Crops of bytes as the loader stacks them."""
    torch.manual_seed(0)
    samples = [ScaleAndCrop(16, (0.5, 2))(coordinates(20, 30)) for _ in range(count)]
    noisy = [{**s, "image": torch.randint_like(s["image"], 256)} for s in samples]
    return [{**s, "image": tv_tensors.Image(s["image"])} for s in noisy]


def test_a_batch_is_finished_as_its_samples_are():
    samples = crops()
    expected = default_collate([ToModelInput()(sample) for sample in samples])
    found = FinishBatch(flip=False, color=0)(default_collate(samples))
    assert found["image"].dtype == torch.float32 and found["mask"].dtype == torch.int64
    torch.testing.assert_close(found["image"], expected["image"])
    assert torch.equal(found["mask"], expected["mask"])


def test_each_picture_of_a_batch_draws_its_own_colours():
    """Those of torchvision's functions, with the same numbers."""
    batch = default_collate(crops())
    torch.manual_seed(1)
    found = denormalize(FinishBatch(flip=False)(batch)["image"])
    torch.manual_seed(1)
    factors = torch.empty(3, len(found)).uniform_(0.7, 1.3)
    assert factors.std(1).min() > 0.05
    for image, old, (first, second, third) in zip(found, batch["image"], factors.T, strict=True):
        expected = v2.functional.adjust_brightness(old.float() / 255, float(first))
        expected = v2.functional.adjust_contrast(expected, float(second))
        expected = v2.functional.adjust_saturation(expected, float(third))
        torch.testing.assert_close(image, expected, rtol=0, atol=1e-5)


def test_half_of_a_batch_is_mirrored_image_and_mask_together():
    batch = default_collate(crops(32))
    torch.manual_seed(0)
    found = FinishBatch(color=0)(batch)
    plain = FinishBatch(flip=False, color=0)(batch)
    mirrored = 0
    for index in range(32):
        mirror = not torch.equal(found["image"][index], plain["image"][index])
        mirrored += mirror
        for key in ("image", "mask"):
            whole = plain[key][index]
            assert torch.equal(found[key][index], whole.flip(-1) if mirror else whole)
    assert 8 < mirrored < 24


@pytest.mark.parametrize("channels", [1, 4])
def test_batches_of_grey_images_and_of_more_channels_have_no_saturation(channels):
    batch = {
        "image": torch.randint(256, (3, channels, 8, 8), dtype=torch.uint8),
        "mask": torch.zeros(3, 8, 8, dtype=torch.uint8),
    }
    finish = FinishBatch(mean=[0.5] * channels, std=[0.5] * channels)
    found = finish(batch)["image"]
    assert found.shape == batch["image"].shape and found.abs().max() <= 1 + 1e-6


def test_batches_that_are_no_crops_are_refused():
    batch = default_collate(crops(2))
    with pytest.raises(ValueError, match="mask \\(N, H, W\\), got"):
        FinishBatch()({**batch, "mask": batch["mask"][:, :8]})
    with pytest.raises(ValueError, match="image must be uint8, as ScaleAndCrop gives it"):
        FinishBatch()({**batch, "image": batch["image"].float()})


@pytest.mark.gpu
def test_a_batch_is_finished_where_it_lies():
    batch = {key: value.cuda() for key, value in default_collate(crops()).items()}
    found = FinishBatch()(batch)
    assert found["image"].is_cuda and found["mask"].is_cuda


def test_constants_are_those_of_torchvision():
    weights = pytest.importorskip("torchvision.models").ResNet50_Weights.DEFAULT.transforms()
    np.testing.assert_allclose(transforms.MEAN, weights.mean)
    np.testing.assert_allclose(transforms.STD, weights.std)


# ------------------------------------------------------------------- masks of every type


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool])
def test_masks_of_every_integer_type_are_padded_with_ignore(dtype):
    """int64 masks were padded with class 0."""
    mask = torch.ones(4, 4, dtype=dtype)
    sample = {"image": tv_tensors.Image(torch.zeros(3, 4, 4).byte()), "mask": tv_tensors.Mask(mask)}
    for transform in (training(8, scale=(1, 1), flip=False), evaluation((8, 4))):
        out = transform(sample)["mask"]
        assert out.dtype == torch.int64
        assert out[:4, :4].eq(1).all() and out[4:].eq(255).all()


def test_plain_tensors_move_with_their_image():
    """A plain mask was passed on as it was: flipped apart in 10 of 20 draws."""
    codes = torch.arange(20 * 30).reshape(20, 30) % 251
    plain = {"image": codes.byte().expand(3, -1, -1), "mask": codes}
    flipped = 0
    for seed in range(20):
        torch.manual_seed(seed)
        out = training((20, 30), scale=(1, 1), color=False)(plain)
        assert torch.equal((denormalize(out["image"])[0] * 255).round().long(), out["mask"])
        flipped += not torch.equal(out["mask"], codes)
    assert 0 < flipped < 20
    out = transforms.instances(flip=True)(
        {"image": plain["image"], "panoptic_seg": codes, "segments_info": []}
    )
    assert torch.equal((out["image"][0] * 255).round().int(), out["panoptic_seg"])


@pytest.mark.parametrize(
    "change, exception, message",
    [
        ({"mask": np.zeros((4, 4))}, TypeError, "mask must be a tensor, got ndarray"),
        ({"mask": torch.zeros(4, 4)}, TypeError, "mask must hold integers, got torch.float32"),
        ({"mask": torch.full((4, 4), 300)}, ValueError, r"mask must hold 0\.\.255, got 300"),
        ({"mask": torch.zeros(1, 4, 4).byte()}, ValueError, r"mask must be \(H, W\), got \(1, 4"),
        ({"masks": torch.full((1, 4, 4), 255)}, ValueError, "masks must hold 0 and 1, got 255"),
        ({"boxes": torch.zeros(1, 4)}, TypeError, "boxes must be tv_tensors.BoundingBoxes"),
        ({"image": torch.zeros(4, 4)}, ValueError, r"image must be \(C, H, W\)"),
    ],
)
def test_parts_that_no_transform_could_move(change, exception, message):
    sample = {"image": tv_tensors.Image(torch.zeros(3, 4, 4).byte())} | change
    for transform in (training(4), evaluation(), evaluation(4), transforms.instances()):
        with pytest.raises(exception, match=message):
            transform(sample)
    with pytest.raises(TypeError, match="must be a dict"):
        training(4)(sample["image"])


# ------------------------------------------------------------------- nearest-exact


def test_shrunk_masks_agree_with_the_majority():
    """Coins shrunk by 8; torchvision's own rule for masks agrees to 0.765 (IoU)."""
    from segedu.data import photos

    pytest.importorskip("skimage")
    mask = photos.load("coins", "semantic")["mask"]
    mask = (mask == mask.max()).byte()[:296, :384]
    majority = mask.float().reshape(37, 8, 48, 8).mean((1, 3)) > 0.5

    def agreement(small):
        small = small.bool()
        return ((small & majority).sum() / (small | majority).sum()).item()

    image = tv_tensors.Image(torch.zeros(3, 296, 384).byte())
    sample = {"image": image, "mask": tv_tensors.Mask(mask)}
    ours = agreement(evaluation((37, 48))(sample)["mask"])
    corner = agreement(F.interpolate(mask[None, None].float(), (37, 48), mode="nearest")[0, 0])
    exact = agreement(F.interpolate(mask[None, None].float(), (37, 48), mode="nearest-exact")[0, 0])
    assert ours == exact > 0.95
    assert corner < ours - 0.1


# ------------------------------------------------------------------- other channels


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_images_of_other_channels(channels):
    torch.manual_seed(0)
    mean, std = [0.2] * channels, [0.5] * channels
    sample = coordinates(20, 30)
    sample["image"] = tv_tensors.Image(sample["image"][:1].repeat(channels, 1, 1))
    for transform in (training(64, mean=mean, std=std), evaluation(64, mean=mean, std=std)):
        out = transform(sample)
        assert out["image"].shape == (channels, 64, 64)
        assert out["image"][:, -1, -1].abs().max() < 0.3  # padded with the mean, then jittered
    varied = transforms.instances(crop=16, color=True, mean=mean)(sample)
    assert varied["image"].shape == (channels, 16, 16)
    with pytest.raises(ValueError, match=f"image has {channels} channels, but there are 3 means"):
        evaluation()(sample)
    with pytest.raises(ValueError, match=f"image has {channels} channels, but there are 3 means"):
        training(64)(sample)


def test_mean_and_std_must_pair():
    with pytest.raises(ValueError, match="mean and std"):
        evaluation(mean=[0.5], std=[0.2, 0.2])
    with pytest.raises(ValueError, match="mean and std"):
        evaluation(mean=[0.5], std=[0.0])


# ------------------------------------------------------------------- instances, panoptic


def test_crops_of_objects_make_a_batch():
    """Crop, scale and flip move boxes, masks and the panoptic map together."""
    sample = instances()
    ids = torch.zeros(40, 60, dtype=torch.int32)
    for number, mask in enumerate(sample["masks"], start=1):
        ids[mask] = number
    sample["panoptic_seg"] = tv_tensors.Mask(ids)
    sample["segments_info"] = [{"id": k, "category_id": k, "area": 0} for k in (1, 2, 3)]
    transform = transforms.instances(crop=(24, 32), scale=(0.5, 2.0), flip=True, color=True)
    counts = set()
    for seed in range(20):
        torch.manual_seed(seed)
        out = transform(sample)
        assert out["image"].shape == (3, 24, 32) and out["masks"].shape[1:] == (24, 32)
        assert out["image"].min() >= 0 and out["image"].max() <= 1
        kept = [int(label) - 6 for label in out["labels"]]
        assert [segment["id"] for segment in out["segments_info"]] == kept
        for number, mask, segment in zip(kept, out["masks"], out["segments_info"], strict=True):
            assert torch.equal(out["panoptic_seg"] == number, mask)
            assert segment["area"] == mask.sum() > 0
        counts.add(len(kept))
    assert {0, 1} < counts
    with pytest.raises(ValueError, match="min_sizes or crop, not both"):
        transforms.instances((20,), crop=10)
