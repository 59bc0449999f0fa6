"""Weights that come with the package: found, whole, and as good as they are said to be."""

import json

import pytest
import torch

from benchmarks import weights
from segedu.data import open_dataset, transforms
from segedu.data.views import Part
from segedu.engine import evaluate, fit, make_loader
from segedu.files import read_json
from segedu.models import get_model, list_models, pretrained, trained, trained_weights
from segedu.tasks import Instance, Panoptic, Promptable, Semantic
from tests.book.conftest import ROOT

KEPT = [(which, name) for name in list_models() for which in trained_weights(name)]
QUICK = [
    one if one[1].startswith(("unet", "mask")) else pytest.param(*one, marks=pytest.mark.weekly)
    for one in KEPT
]  # of the others the chapters show how good they are
OBJECTS = [name for which, name in KEPT if list_models()[name].task != "semantic"]
MB = 1_000_000
CLASSES = ["background", "tree", "car"]
NARROW = {"base_width": 4, "channels": 8, "box_width": 8, "mask_width": 8}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A package with the weights of one network; returns that network."""
    monkeypatch.setattr(trained, "FOLDER", tmp_path)
    (tmp_path / "scenes.json").write_text("{}")
    torch.manual_seed(0)
    network = get_model("mask_rcnn_tiny", 3, **NARROW, min_size=64, anchor_sizes=[4, 8, 16, 32, 64])
    state = {
        "model": weights.halved(network.state_dict()),
        "network": network.built_as,
        "config": {"classes": CLASSES, "isthing": [False, True, True]},
    }
    weights.pack("mask_rcnn_tiny", state, {"training": {"command": "train"}, "AP": 0.25, "APl": 0})
    return network


def test_weights_bring_their_classes_and_settings(kept):
    found = get_model("mask_rcnn_tiny", weights="scenes")
    assert found.num_classes == 3 and found.settings.min_size == 64
    assert found.settings.anchor_sizes == (4, 8, 16, 32, 64)
    for (name, got), wanted in zip(
        found.state_dict().items(), kept.state_dict().values(), strict=True
    ):
        assert got.dtype == wanted.dtype
        torch.testing.assert_close(got, wanted, atol=1e-6, rtol=2**-11, msg=name)
    about = trained_weights("mask_rcnn_tiny")["scenes"]
    assert about.classes == tuple(CLASSES) and about.isthing == (False, True, True)
    assert about.scores == {"AP": 0.25} and about.command == "train"


def test_what_was_built_is_built_again_without_the_file(kept):
    found = get_model("mask_rcnn_tiny", weights="scenes", box_score_thresh=0.3)
    assert found.settings.box_score_thresh == 0.3
    assert "weights" not in found.built_as
    get_model(**found.built_as).load_state_dict(found.state_dict())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ((("enet", 4), {}), "weights: enet comes with none, unlike mask_rcnn_tiny; got 'scenes'"),
        ((("mask_rcnn_tiny",), {"weights": "scene"}), "mask_rcnn_tiny comes with scenes; got 'sce"),
        ((("mask_rcnn_tiny", 4), {}), "left out or 3 .* know background, tree, car; got 4"),
        ((("mask_rcnn_tiny",), {"base_width": 8}), "'scenes' of mask_rcnn_tiny does not fit"),
        ((("mask_rcnn_tiny",), {"mask_layers": 3}), "mask_head.2.* is missing .and 1 more"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(kept, call, said):
    args, settings = call
    with pytest.raises(ValueError, match=said) as error:
        get_model(*args, **{"weights": "scenes"} | settings)
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_refused(kept, tmp_path):
    file = tmp_path / "scenes" / "mask_rcnn_tiny.pt"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=r"mask_rcnn_tiny\.pt is not the file that belongs here"):
        get_model("mask_rcnn_tiny", weights="scenes")


def test_numbers_that_half_precision_cannot_hold_are_not_packed():
    with pytest.raises(ValueError, match="half precision"):
        weights.halved({"a": torch.tensor([1e6])})


def test_the_files_are_small_and_listed():
    files = trained.FOLDER.glob("*/*.pt")
    sizes = {(file.parent.name, file.stem): file.stat().st_size for file in files}
    listed = {which: read_json(trained.FOLDER / f"{which}.json") for which in trained.sets()}
    assert sizes == {
        (which, name): entry["size"] for which in listed for name, entry in listed[which].items()
    }
    assert sizes.keys() == {*KEPT, *((pretrained.SET, name) for name in pretrained.NETWORKS)}
    # These run in pages of the book, and a reader's browser loads them.
    live = ("unet", "sam_tiny")
    in_pages = [size for (_, name), size in sizes.items() if name in live]
    others = [size for (_, name), size in sizes.items() if name not in live]
    assert all(size <= 1.2 * MB for size in in_pages)
    assert all(size <= 2.5 * MB for size in others) and sum(others) <= 12 * MB


@pytest.mark.parametrize(("which", "name"), KEPT)
def test_the_list_says_what_the_record_says(which, name):
    [entry] = [
        entry
        for entry, recipe in weights.NETWORKS.items()
        if (recipe.weights, recipe.model or entry) == (which, name)
    ]
    record = json.loads((ROOT / weights.FILE).read_text(encoding="utf-8"))[entry]
    about = trained_weights(name)[which]
    assert about.file == f"{which}/{name}"
    assert about.command == record["training"]["command"]
    assert about.scores and about.scores.items() <= record.items()
    assert record["images"] == (192 if which == "phantoms" else 128)
    assert record["split"] == "test"


def held_out(name, count, split="test", which="scenes", folder=None):
    """The first scenes of a split, the task of the network, and what the scores are called.

    Of a network of phantoms it is their slices, which are drawn into the folder.
    """
    about = trained_weights(name)[which]
    kind = list_models()[name].task
    task = {
        "semantic": lambda: Semantic(num_classes=about.num_classes),
        "instance": Instance,
        "panoptic": lambda: Panoptic(dict(enumerate(about.isthing))),
        "promptable": Promptable,
    }[kind]()
    layout_task = kind if kind in ("semantic", "panoptic") else "instance"
    shown = transforms.instances()
    if kind == "semantic":
        shown = transforms.evaluation(mean=about.mean, std=about.std)
    if which == "phantoms":
        weights.draw_lungs(folder, {split: weights.PATIENTS[split][: -(-count // 12)]})
        dataset = open_dataset("folders", folder, split, classes=about.classes, transforms=shown)
    else:
        dataset = open_dataset("scenes", "", split, task=layout_task, transforms=shown)
    assert list(dataset.classes) == list(about.classes)
    return make_loader(Part(dataset, range(count)), 1, collate_fn=task.collate), task, about


@pytest.mark.slow  # it judges each on 32 scenes
@pytest.mark.parametrize(("which", "name"), QUICK)
def test_weights_are_as_good_as_they_are_said_to_be(which, name, tmp_path):
    """On a quarter of the scenes of the record; a few differ from all by a few hundredths."""
    loader, task, about = held_out(name, 32, which=which, folder=tmp_path)
    scores = evaluate(get_model(name, weights=which), loader, task=task)
    monitor = "AP50" if task.monitor == "AP" else task.monitor
    assert scores[monitor] == pytest.approx(about.scores[monitor], abs=0.08)


@pytest.mark.parametrize("name", OBJECTS[:1])
def test_training_goes_on_where_it_ended(name):
    """Against the same network from nothing, on scenes that neither has seen."""
    loader, task, _ = held_out(name, 4, "val")
    losses = {}
    for begun in ("weights", "nothing"):
        network = get_model(name, weights="scenes")
        if begun == "nothing":
            torch.manual_seed(0)
            network = get_model(**network.built_as)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
        history = fit(network, loader, task=task, epochs=1, optimizer=optimizer, seed=0)
        losses[begun] = history["loss"][0]
    assert losses["weights"] < 0.5 * losses["nothing"]
