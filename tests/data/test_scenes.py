"""Scenes: determinism, maps that agree, knobs that do what they say, dataset contracts."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms import v2

from segedu.data.scenes import CLASSES, VOID, Scene, SceneConfig, SceneDataset, generate, splits
from segedu.data.scenes import dataset as scenes_dataset
from segedu.data.transforms import training

SMALL = SceneConfig(size=64)
KNOBS = ("boundary_blur", "scale_range", "occlusion", "imbalance", "fine_detail", "clutter")
TASKS = ("semantic", "instance", "panoptic")
unit = st.floats(0, 1)
configs = st.builds(
    SceneConfig,
    size=st.one_of(st.integers(32, 96), st.tuples(st.integers(32, 80), st.integers(32, 120))),
    kind=st.sampled_from(["street", "park", "mixed"]),
    **dict.fromkeys((*KNOBS, "noise", "light"), unit),
    void_border=st.integers(0, 2),
)


def scenes(count: int = 12, **knobs):
    config = dataclasses.replace(SMALL, **knobs)
    return [generate(seed, config) for seed in range(count)]


# ------------------------------------------------------------------------------- classes


def test_classes_are_numbered_stuff_first():
    assert [c.id for c in CLASSES] == list(range(len(CLASSES)))
    kinds = [c.isthing for c in CLASSES]
    assert kinds == sorted(kinds) and len(CLASSES) >= 11
    assert len({c.name for c in CLASSES}) == len({c.name_zh for c in CLASSES}) == len(CLASSES)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    from skimage.color import rgb2lab

    return rgb2lab(np.clip(rgb, 0, 1))


@pytest.mark.parametrize("vision", ["normal", "protanopia", "deuteranopia"])
def test_class_colours_stay_apart(vision):
    # full dichromacy: Machado, Oliveira and Fernandes 2009, table 1, on linear RGB
    matrix = {
        "normal": np.eye(3),
        "protanopia": np.array(
            [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
             [-0.003882, -0.048116, 1.051998]]
        ),
        "deuteranopia": np.array(
            [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
             [-0.011820, 0.042940, 0.968881]]
        ),
    }[vision]  # fmt: skip
    srgb = np.array([c.color for c in CLASSES]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ matrix.T, 0, 1)
    seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = to_lab(seen)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    distance[np.diag_indices(len(CLASSES))] = np.inf
    assert distance.min() > 15  # 2.3 is a just noticeable difference


# --------------------------------------------------------------------------- determinism


def test_same_seed_same_bytes_whatever_came_before():
    first = generate(5, SMALL)
    generate(6, SceneConfig(size=96, kind="park"))
    again = generate(5, SMALL)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.panoptic.tobytes() == again.panoptic.tobytes()
    assert first.segments_info == again.segments_info


def test_seeds_and_knobs_change_the_picture():
    base = generate(5, SMALL)
    assert not np.array_equal(base.image, generate(6, SMALL).image)
    for name in (*KNOBS, "noise", "light"):
        low, high = (
            generate(5, dataclasses.replace(SMALL, **{name: value})).image.astype(float)
            for value in (0.0, 1.0)
        )
        assert np.abs(low - high).mean() > 0.5, name


def test_the_size_changes_only_the_sampling():
    small, large = (generate(3, SceneConfig(size=size, noise=0)) for size in (64, 192))
    middle = large.semantic[1::3, 1::3]
    assert (middle == small.semantic).mean() > 0.97
    coarse = large.image.reshape(64, 3, 64, 3, 3).mean((1, 3))
    assert np.abs(coarse - small.image).mean() < 12


def test_golden_scene():
    # coarse on purpose: a change of the generator shows, a rounding of another version does not
    scene = generate(11, SceneConfig(size=96, kind="street"))
    shares = np.bincount(scene.semantic.ravel(), minlength=12) / scene.semantic.size
    expected = [0.252, 0.136, 0.189, 0.12, 0.055, 0.0, 0.023, 0.032, 0.16, 0.015, 0.016, 0.002]
    assert np.allclose(shares, expected, atol=0.004), shares.round(3).tolist()
    brightness = scene.image.reshape(3, 32, 3, 32, 3).mean((1, 3, 4))
    expected = [[191, 195, 189], [125, 137, 115], [147, 96, 94]]
    assert np.allclose(brightness, expected, atol=2), brightness.round().tolist()


# -------------------------------------------------------------------------------- masks


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**63 - 1), config=configs)
def test_all_maps_agree_in_every_pixel(seed, config):
    scene = generate(seed, config)
    height, width = config.shape
    assert scene.image.shape == (height, width, 3) and scene.image.dtype == np.uint8
    assert scene.semantic.shape == (height, width) and scene.semantic.dtype == np.uint8
    assert scene.panoptic.shape == (height, width) and scene.panoptic.dtype == np.int32
    void = scene.semantic == VOID
    assert np.array_equal(void, scene.panoptic == 0)
    if config.void_border == 0:
        assert not void.any()
    ids, areas = np.unique(scene.panoptic[~void], return_counts=True)
    assert ids.tolist() == [s["id"] for s in scene.segments_info]
    assert areas.tolist() == [s["area"] for s in scene.segments_info]
    for segment in scene.segments_info:
        inside = scene.panoptic == segment["id"]
        assert (scene.semantic[inside] == segment["category_id"]).all()
        assert segment["isthing"] == CLASSES[segment["category_id"]].isthing
    stuff = [s["category_id"] for s in scene.segments_info if not s["isthing"]]
    assert len(stuff) == len(set(stuff))
    things = [s for s in scene.segments_info if s["isthing"]]
    instances = scene.instances
    assert instances.masks.shape == (len(things), height, width)
    assert instances.masks.dtype == bool
    assert instances.boxes.shape == (len(things), 4) and instances.boxes.dtype == np.float32
    assert instances.labels.dtype == np.int64 and len(instances.kinds) == len(things)
    for thing, mask, box, label in zip(
        things, instances.masks, instances.boxes, instances.labels, strict=True
    ):
        assert np.array_equal(mask, scene.panoptic == thing["id"])
        assert label == thing["category_id"]
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_void_lies_only_along_boundaries():
    plain, marked = (generate(2, dataclasses.replace(SMALL, void_border=b)) for b in (0, 1))
    void = marked.semantic == VOID
    assert np.array_equal(plain.semantic[~void], marked.semantic[~void])
    across = plain.panoptic[:, 1:] != plain.panoptic[:, :-1]
    down = plain.panoptic[1:] != plain.panoptic[:-1]
    expected = np.zeros_like(void)
    expected[:, 1:] |= across
    expected[:, :-1] |= across
    expected[1:] |= down
    expected[:-1] |= down
    assert np.array_equal(void, expected)


def test_every_class_occurs():
    seen = set()
    for scene in scenes(24, imbalance=0.0):
        seen |= set(np.unique(scene.semantic).tolist())
    assert seen == {c.id for c in CLASSES}


# -------------------------------------------------------------------------------- knobs


def boundary_gradient(scene) -> float:
    edge = scene.panoptic[:, 1:] != scene.panoptic[:, :-1]
    return np.abs(np.diff(scene.image.astype(float), axis=1)).mean(-1)[edge].mean()


def share(batch, category: int) -> float:
    return np.mean([(scene.semantic == category).mean() for scene in batch])


def falls(values: list[float]) -> bool:
    return all(a > b for a, b in zip(values[:-1], values[1:], strict=True))


def test_blur_lowers_the_gradient_at_boundaries_and_keeps_the_masks():
    batches = [scenes(6, boundary_blur=v, noise=0.0) for v in (0.0, 0.5, 1.0)]
    assert falls([np.mean([boundary_gradient(s) for s in batch]) for batch in batches])
    for sharp, soft in zip(batches[0], batches[2], strict=True):
        assert np.array_equal(sharp.panoptic, soft.panoptic)


def test_scale_range_spreads_the_sizes():
    def spread(value: float) -> float:
        heights = [
            np.diff(s.instances.boxes[s.instances.labels == 9][:, [1, 3]]).ravel()
            for s in scenes(24, scale_range=value, kind="park", imbalance=0.0, occlusion=0.0)
        ]
        return np.std(np.log(np.concatenate(heights)))

    assert falls([spread(v) for v in (1.0, 0.5, 0.0)])


def test_occlusion_makes_boxes_overlap():
    def overlap(value: float) -> float:
        shares = []
        for scene in scenes(16, occlusion=value, imbalance=0.0):
            boxes = scene.instances.boxes
            low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
            high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
            inter = np.clip(high - low, 0, None).prod(-1)
            np.fill_diagonal(inter, 0)
            area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
            shares.append((inter.max(1) / area).mean())
        return np.mean(shares)

    assert falls([overlap(v) for v in (1.0, 0.5, 0.0)])


def test_imbalance_starves_the_rare_classes_only():
    batches = [scenes(24, imbalance=v) for v in (0.0, 0.5, 1.0)]
    for rare in (9, 10, 11):
        assert falls([share(batch, rare) for batch in batches])
    assert share(batches[2], 10) < 0.3 * share(batches[0], 10)
    assert share(batches[2], 7) > 0.9 * share(batches[0], 7)


def test_clutter_adds_things_and_texture():
    batches = [scenes(8, clutter=v, noise=0.0, kind="street") for v in (1.0, 0.5, 0.0)]
    assert falls([np.mean([len(s.instances.labels) for s in batch]) for batch in batches])

    def roughness(scene) -> np.ndarray:
        road = (scene.semantic[:, 1:] == 2) & (scene.semantic[:, :-1] == 2)
        return np.abs(np.diff(scene.image.astype(float), axis=1)).mean(-1)[road]

    # the median looks past lane marks and kerbs
    assert falls([np.median(np.concatenate([roughness(s) for s in batch])) for batch in batches])


def test_fine_detail_adds_thin_structures():
    def thin(value: float) -> float:
        shares = []
        for scene in scenes(12, fine_detail=value, imbalance=0.0):
            left = scene.panoptic[:, 1:-1] != scene.panoptic[:, :-2]
            right = scene.panoptic[:, 1:-1] != scene.panoptic[:, 2:]
            shares.append((left & right).mean())  # one pixel wide
        return np.mean(shares)

    assert falls([thin(v) for v in (1.0, 0.5, 0.0)])


def test_noise_and_light():
    def deviation(value: float) -> float:
        clean, noisy = (generate(3, dataclasses.replace(SMALL, noise=v)) for v in (0.0, value))
        return np.std(noisy.image.astype(float) - clean.image)

    assert falls([deviation(v) for v in (1.0, 0.5, 0.1)])
    assert 10 < deviation(1.0) < 16
    light = [np.mean([s.image.mean() for s in scenes(4, light=v)]) for v in (1.0, 0.5, 0.0)]
    assert falls(light)


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 16}, "size"),
        ({"size": (64,)}, "size"),
        ({"size": (64, 64.5)}, "size"),
        ({"kind": "forest"}, "kind"),
        ({"occlusion": 1.5}, "occlusion"),
        ({"noise": -0.1}, "noise"),
        ({"clutter": float("nan")}, "clutter"),
        ({"void_border": -1}, "void_border"),
    ],
)
def test_wrong_settings_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        SceneConfig(**settings)


def test_a_thing_can_be_left_out():
    config = SceneConfig(size=96, noise=0.0)
    whole = generate(3, config)
    for segment in [s for s in whole.segments_info if s["isthing"]]:
        mask = whole.panoptic == segment["id"]
        without = generate(3, config, without=segment["id"])
        assert len(without.segments_info) >= len(whole.segments_info) - 1
        np.testing.assert_array_equal(without.semantic[~mask], whole.semantic[~mask])
        changed = (without.image != whole.image).any(-1)
        assert changed[mask].mean() > 0.9
        assert changed[~mask].mean() < 0.25  # its shadow, and edges that were mixed with it
    for wrong in (1, 999):
        with pytest.raises(ValueError, match=f"without must be the id of a thing, got {wrong}"):
            generate(3, config, without=wrong)


def test_wrong_seeds():
    with pytest.raises(ValueError, match="seed"):
        generate(-1, SMALL)
    with pytest.raises(TypeError, match="seed"):
        generate(1.5, SMALL)


@pytest.mark.parametrize(
    "arguments",
    [{"num_images": 0}, {"seed": -1}, {"task": "depth"}, {"cache_bytes": -1}],
)
def test_wrong_dataset_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        SceneDataset(**{"num_images": 2, "config": SMALL, **arguments})


def test_index_out_of_range_ends_a_loop():
    dataset = SceneDataset(2, SceneConfig(size=32))
    assert len(list(dataset)) == 2
    for index in (2, -1):
        with pytest.raises(IndexError):
            dataset[index]


# ----------------------------------------------------------------------------- dataset


def test_scene_does_not_depend_on_the_length_but_on_the_seed():
    short, long, other = (SceneDataset(n, SMALL, seed) for n, seed in ((2, 7), (9, 7), (2, 8)))
    assert torch.equal(short[1]["image"], long[1]["image"])
    assert not torch.equal(short[1]["image"], other[1]["image"])


def test_semantic_sample():
    sample = SceneDataset(1, SMALL)[0]
    assert list(sample) == ["image", "mask"]
    assert isinstance(sample["image"], tv_tensors.Image) and sample["image"].dtype == torch.uint8
    assert isinstance(sample["mask"], tv_tensors.Mask) and sample["mask"].dtype == torch.uint8
    assert sample["image"].shape == (3, 64, 64) and sample["mask"].shape == (64, 64)


def test_instance_sample():
    dataset = SceneDataset(1, SMALL, task="instance")
    sample, scene = dataset[0], dataset.scene(0)
    assert isinstance(sample["boxes"], tv_tensors.BoundingBoxes)
    assert sample["boxes"].format.value == "XYXY" and sample["boxes"].canvas_size == (64, 64)
    assert sample["boxes"].dtype == torch.float32 and sample["labels"].dtype == torch.int64
    assert isinstance(sample["masks"], tv_tensors.Mask) and sample["masks"].dtype == torch.bool
    assert np.array_equal(sample["masks"], scene.instances.masks)
    assert len(sample["boxes"]) == len(sample["masks"]) == len(sample["labels"]) > 0
    assert dataset.classes == ("background", "tree", "car", "person", "sign", "animal")
    assert len(dataset.classes_zh) == len(dataset.colors) == dataset.num_classes == 6
    names = [dataset.classes[label] for label in sample["labels"]]
    assert names == [CLASSES[label].name for label in scene.instances.labels]


def test_panoptic_sample():
    dataset = SceneDataset(1, SMALL, task="panoptic")
    sample = dataset[0]
    assert isinstance(sample["panoptic_seg"], tv_tensors.Mask)
    assert sample["panoptic_seg"].dtype == torch.int32
    assert sample["segments_info"] == dataset.scene(0).segments_info


def test_classes_to_learn_are_renumbered_and_others_void():
    names = ("road", "car", "tree")
    plain, few = (
        {task: SceneDataset(1, SMALL, task=task, classes=kept) for task in TASKS}
        for kept in (None, names)
    )
    assert few["semantic"].classes == names and few["semantic"].num_classes == 3
    assert few["semantic"].colors == tuple(CLASSES[i].color for i in (2, 8, 7))
    mask = plain["semantic"][0]["mask"]
    expected = torch.full_like(mask, VOID)
    for new, old in enumerate((2, 8, 7)):
        expected[mask == old] = new
    assert torch.equal(few["semantic"][0]["mask"], expected)
    everything, sample = plain["instance"][0], few["instance"][0]
    assert few["instance"].classes == ("background", "car", "tree")
    kept = everything["labels"] <= 2  # tree and car, the other way round
    assert torch.equal(sample["labels"], 3 - everything["labels"][kept])
    assert torch.equal(sample["masks"], everything["masks"][kept])
    assert torch.equal(sample["boxes"], everything["boxes"][kept])
    panoptic = few["panoptic"][0]
    ids = torch.unique(panoptic["panoptic_seg"]).tolist()
    assert ids == [0, *(segment["id"] for segment in panoptic["segments_info"])]
    for segment in panoptic["segments_info"]:
        inside = panoptic["panoptic_seg"] == segment["id"]
        assert (expected[inside] == segment["category_id"]).all()
        assert inside.sum() == segment["area"]


@pytest.mark.parametrize("names", [(), ("road", "road"), ("road", "moon")])
def test_wrong_classes(names):
    with pytest.raises(ValueError, match="classes"):
        SceneDataset(1, SMALL, classes=names)


def test_objects_need_a_class_that_is_a_thing():
    with pytest.raises(ValueError, match=r"classes .*'tree'.*got .*'road'"):
        SceneDataset(1, SMALL, task="instance", classes=("sky", "road"))


@pytest.mark.parametrize("task", TASKS)
def test_transforms_move_all_parts_together(task):
    plain = SceneDataset(1, SMALL, task=task)[0]
    transform = v2.Compose([v2.RandomHorizontalFlip(1.0), v2.ToDtype({tv_tensors.Image:
                            torch.float32, "others": None}, scale=True)])  # fmt: skip
    flipped = SceneDataset(1, SMALL, task=task, transforms=transform)[0]
    assert flipped["image"].dtype == torch.float32 and flipped["image"].max() <= 1
    for key in {"mask", "masks", "panoptic_seg"} & set(plain):
        assert torch.equal(flipped[key], plain[key].flip(-1))
    if task == "instance":
        boxes = plain["boxes"].as_subclass(torch.Tensor)
        mirrored = torch.stack([64 - boxes[:, 2], boxes[:, 1], 64 - boxes[:, 0], boxes[:, 3]], 1)
        assert torch.equal(flipped["boxes"].as_subclass(torch.Tensor), mirrored)


@pytest.mark.parametrize("cache_bytes", [0, 512 * 2**20])
def test_samples_can_be_changed_without_harm(cache_bytes):
    dataset = SceneDataset(1, SMALL, task="panoptic", cache_bytes=cache_bytes)
    first = dataset[0]
    image, info = first["image"].clone(), [dict(s) for s in first["segments_info"]]
    first["image"].zero_()
    first["segments_info"][0]["area"] = -1
    again = dataset[0]
    assert torch.equal(again["image"], image) and again["segments_info"] == info


@pytest.fixture
def drawn(monkeypatch) -> list[int]:
    """The seeds of the scenes that data sets draw."""
    seeds = []

    def counted(seed: int, config: SceneConfig) -> Scene:
        seeds.append(seed)
        return generate(seed, config)

    monkeypatch.setattr(scenes_dataset, "generate", counted)
    return seeds


def test_cache_is_bounded(drawn):
    one = 64 * 64 * 4  # image and mask
    dataset = SceneDataset(3, SMALL, cache_bytes=2 * one + 1)
    images = [dataset[i]["image"] for i in range(3)]
    assert len(drawn) == 3
    assert all(torch.equal(dataset[i]["image"], images[i]) for i in range(3))
    assert len(drawn) == 4  # two of the three were kept


def test_a_scene_in_the_cache_is_not_drawn_again(drawn):
    for cache_bytes, draws in ((512 * 2**20, 2), (0, 6)):
        dataset = SceneDataset(2, SMALL, cache_bytes=cache_bytes)
        images = [dataset[i]["image"] for _ in range(3) for i in range(2)]
        assert len(drawn) == draws
        assert torch.equal(images[4], images[0]) and torch.equal(images[5], images[1])
        drawn.clear()


def test_colour_says_something_about_the_class_but_not_all():
    def pixels(seeds: range) -> tuple[np.ndarray, np.ndarray]:
        batch = [generate(seed, SMALL) for seed in seeds]
        colors = np.concatenate([s.image.reshape(-1, 3) for s in batch]).astype(float)
        return colors, np.concatenate([s.semantic.ravel() for s in batch])

    colors, labels = pixels(range(16))
    means = np.stack([colors[labels == c.id].mean(0) for c in CLASSES])  # (C, 3)
    colors, labels = pixels(range(100, 108))
    nearest = np.linalg.norm(colors[:, None] - means, axis=-1).argmin(1)
    ious = [((nearest == k) & (labels == k)).sum() / ((nearest == k) | (labels == k)).sum()
            for k in range(len(CLASSES))]  # fmt: skip
    assert 0.2 < np.mean(ious) < 0.45
    assert 0.45 < (nearest == labels).mean() < 0.7


def test_splits_share_no_scene_and_are_ready_for_a_network():
    sets = [*splits(3, 3, 32, seed=4, clutter=0.0), *splits(3, 3, 32, seed=5, clutter=0.0)]
    images = [sample["image"] for data in sets for sample in data]
    assert images[0].dtype == torch.float32 and images[0].min() < 0  # normalised
    different = {image.numpy().tobytes() for image in images}
    assert len(different) == 12
    assert torch.equal(splits(3, 1, 32, seed=4, clutter=0.0)[0][2]["image"], images[2])


def test_splits_augment_the_training_scenes_alone():
    train_set, val_set = splits(2, 2, (48, 32), transforms=training(40), classes=["sky", "car"])
    assert train_set[0]["image"].shape == (3, 40, 40)
    assert val_set[0]["image"].shape == (3, 48, 32)
    assert train_set.classes == val_set.classes == ("sky", "car")


def test_splits_of_objects_are_images_in_0_to_1():
    sample = splits(2, 2, 48, task="instance")[1][0]
    assert sample["image"].min() >= 0 and sample["image"].max() <= 1


def test_labels_are_bilingual():
    assert SceneDataset(1, classes=["car", "sky"]).labels == ("car ｜ 汽车", "sky ｜ 天空")
