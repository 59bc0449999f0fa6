"""Networks that learnt without labels and come with the package."""

import json

import pytest
import torch
from torch import Tensor

from benchmarks import labels_saved
from segedu.data import scenes
from segedu.models import trained, trained_weights
from segedu.models.mae import masked_loss, random_mask, to_patches
from segedu.models.pretrained import NETWORKS, SET, pretrained
from tests.book.conftest import ROOT


@pytest.fixture(scope="module")
def images() -> Tensor:
    """The first of the scenes that the record judges on."""
    _, unseen = scenes.splits(1, 16, labels_saved.SIZE, seed=labels_saved.SCENES_SEED)
    return torch.stack([sample["image"].as_subclass(Tensor) for sample in unseen])


@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_what_the_script_makes(name):
    about = trained_weights(name)[SET]
    record = json.loads((ROOT / "book/results/labels_saved.json").read_text(encoding="utf-8"))
    told = record["pretraining"][name]
    assert about.settings == labels_saved.SETTINGS[name]
    assert (
        about.command == told["command"] == f"python benchmarks/labels_saved.py --pretrain {name}"
    )
    assert about.scores and about.scores.items() <= told.items()
    assert about.size <= 610_000


@pytest.mark.parametrize("name", NETWORKS)
def test_they_give_maps_of_features(name, images):
    network = pretrained(name)
    assert not network.training
    with torch.no_grad():
        assert network.encoder(images[:2]).shape == (2, 64, 8, 8)


def test_the_mae_paints_better_than_one_colour(images):
    network = pretrained("mae")
    hidden = random_mask(len(images), 64, 0.75, torch.Generator().manual_seed(0))
    truth = to_patches(images, 8)
    with torch.no_grad():
        found = masked_loss(network(images, hidden), truth, hidden)
    colour = to_patches(images.mean((2, 3), keepdim=True).expand_as(images), 8)
    assert found < 0.6 * masked_loss(colour, truth, hidden)
    assert found == pytest.approx(trained_weights("mae")[SET].scores["error"], abs=0.1)


def test_the_dino_tells_scenes_apart_and_kept_its_teacher(images):
    network = pretrained("dino")
    with torch.no_grad():
        assert torch.equal(network.encoder(images), network.teacher(images))
        shares = ((network.teach(images) - network.center) / 0.04).softmax(1)
    assert (shares[:, None] - shares).abs().sum(2).mean() > 0.5


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="name must be one of mae, dino, got 'moco'"):
        pretrained("moco")


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / SET).mkdir()
    listed = trained.FOLDER / f"{SET}.json"
    (tmp_path / listed.name).write_bytes(listed.read_bytes())
    (tmp_path / SET / "mae.pt").write_bytes(b"something else")
    monkeypatch.setattr(trained, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"mae\.pt is not the file that belongs here"):
        pretrained("mae")
