"""Judging folders of masks, and what an evaluation leaves."""

import argparse
import csv
import json

import numpy as np
import pytest
from PIL import Image

from segedu.cli import evaluate, main
from segedu.data import open_dataset, transforms
from segedu.data.scenes import SceneConfig, SceneDataset
from segedu.engine import fit, make_loader
from segedu.losses import CrossEntropyLoss
from segedu.models import get_model
from segedu.report import Report
from segedu.tasks import Panoptic
from tests.cli.own_data import QUICK, narrow, write


@pytest.fixture
def folders(tmp_path):
    """Two images: one predicted rightly, of one the object, 4 of 16 pixels, was half missed."""
    truth = np.zeros((4, 4), np.uint8)
    truth[:2, :2] = 1
    half = truth.copy()
    half[0] = 0
    void = truth.copy()
    void[3, 3] = 255
    for folder, masks in (("pred", (truth, half)), ("truth", (void, truth))):
        (tmp_path / folder).mkdir()
        for name, mask in zip("ab", masks, strict=True):
            Image.fromarray(mask).save(tmp_path / folder / f"{name}.png")
    return tmp_path


def judge(folders, *more):
    where = ["--pred", str(folders / "pred"), "--truth", str(folders / "truth")]
    return ["evaluate", *where, "--classes", "ground", "thing", *more]


def test_two_folders_of_masks_are_judged_without_a_network(folders, capsys):
    out = folders / "scores"
    assert main(judge(folders, "--out", str(out))) == 0
    assert "thing" in capsys.readouterr().out
    scores = json.loads((out / "scores.json").read_text())
    thing = scores["classes"][1]
    assert thing["iou"] == pytest.approx(6 / 8) and thing["pixels"] == 8
    assert scores["confusion_matrix"] == [[23, 0], [2, 6]]
    # one image alone has IoU 1 or 1/2; drawn twice each, together 3/4: the ends of the interval
    assert (thing["iou_low"], thing["iou_high"]) == pytest.approx((0.5, 1.0))
    assert [row["image"] for row in scores["images"]] == ["a", "b"]
    assert scores["images"][0]["mean_iou"] == 1
    rows = list(csv.reader((out / "confusion_matrix.csv").open()))
    assert rows == [["truth", "ground", "thing"], ["ground", "23", "0"], ["thing", "2", "6"]]
    page = (out / "report.html").read_text(encoding="utf-8")
    worst = page.split("Worst images")[1]
    assert worst.index("b: mean_iou") < worst.index("a: mean_iou 1.000")
    assert "http" not in page


def test_the_boundary_is_judged_where_that_is_wanted(folders, capsys):
    """Half of 12 x 12 pixels is the object, predicted with one column too many."""
    for folder, columns in (("truth", 6), ("pred", 7)):
        mask = np.zeros((12, 12), np.uint8)
        mask[:, :columns] = 1
        for name in "ab":
            Image.fromarray(mask).save(folders / folder / f"{name}.png")
    out = folders / "scores"
    assert main(judge(folders, "--out", str(out), "--boundary", "0.06")) == 0  # one pixel
    scores = json.loads((out / "scores.json").read_text())
    # rings of 32 and 34 pixels share the left column and 6 pixels of the top and bottom rows
    assert scores["classes"][1]["boundary_iou"] == pytest.approx(22 / 44)
    assert scores["classes"][1]["iou"] == pytest.approx(72 / 84)
    assert "mean_boundary_iou" in scores["scalars"]
    assert "  boundary_iou  " in capsys.readouterr().out
    assert main(judge(folders, "--out", str(out))) == 0
    assert "mean_boundary_iou" not in json.loads((out / "scores.json").read_text())["scalars"]


def test_the_same_command_gives_the_same_files(folders):
    for name in ("one", "two"):
        assert main(judge(folders, "--out", str(folders / name), "--draws", "20")) == 0
    for file in ("scores.json", "classes.csv", "images.csv"):
        assert (folders / "one" / file).read_bytes() == (folders / "two" / file).read_bytes()


def test_a_prediction_without_a_class_is_refused(folders, capsys):
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(folders / "pred" / "a.png")
    assert main(judge(folders)) == 2
    assert "a.png: holds 0 and 255 alone" in capsys.readouterr().err


def test_sizes_must_agree(folders, capsys):
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(folders / "pred" / "a.png")
    assert main(judge(folders)) == 2
    assert "a.png: is 4 x 5 pixels, but its image" in capsys.readouterr().err


def test_a_folder_of_folders_is_not_one_of_masks(folders, capsys):
    """Such as that of a prediction, in which mask/ and overlay/ lie."""
    (folders / "both").mkdir()
    (folders / "pred").rename(folders / "both" / "mask")
    command = ["evaluate", "--pred", str(folders / "both"), "--truth", str(folders / "truth")]
    assert main([*command, "--classes", "a", "b"]) == 2
    text = capsys.readouterr().err
    assert text == f"segedu: error: {folders / 'both'}: holds no image, at most folders of them\n"


def test_masks_without_a_partner_are_counted(folders):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folders / "pred" / "c.png")
    with pytest.warns(UserWarning, match=r"1 left out \(c.png: no mask"):
        assert main(judge(folders)) == 0


def test_a_network_that_fit_trained_is_judged_and_called_by_its_name(tmp_path):
    own = write(tmp_path / "data", 4)
    data = open_dataset(
        "folders", own, "all", classes=["ground", "thing"], transforms=transforms.evaluation()
    )
    config = {"classes": list(data.classes), "colors": [list(color) for color in data.colors]}
    fit(
        get_model("unet", 2, base_width=2, depth=2),
        make_loader(data, 2),
        CrossEntropyLoss(),
        epochs=1,
        checkpoint_dir=tmp_path,
        config=config,
    )
    results = tmp_path / "results.json"
    told = ["--data", str(own), "--classes", "ground", "thing", "--split", "all"]
    told += ["--results", str(results)]
    assert main(["evaluate", "--checkpoint", str(tmp_path / "last.pt"), *told]) == 0
    assert json.loads(results.read_text())["unet/all"]["images"] == 4
    command = ["evaluate", "--checkpoint", str(tmp_path / "last.pt"), *told, "--boundary", "0.05"]
    assert main(command) == 0
    entry = json.loads(results.read_text())["unet/all"]
    scores = entry["boundary_iou"]
    assert list(scores) == ["ground", "thing"]
    assert entry["mean_boundary_iou"] == pytest.approx(sum(scores.values()) / 2)


def test_a_panoptic_network_that_fit_trained_is_judged(tmp_path):
    """The checkpoint names classes and colours alone: what is a thing says the network."""
    own = write(tmp_path / "data", 2)
    data = open_dataset("folders", own, "all", task="panoptic", transforms=transforms.instances())
    things = [c for c, isthing in data.isthing.items() if isthing]
    task = Panoptic(data.isthing)
    fit(
        get_model("embedding_tiny", data.num_classes, things=things),
        make_loader(data, 2, collate_fn=task.collate),
        task=task,
        epochs=1,
        checkpoint_dir=tmp_path,
        config={"classes": list(data.classes), "colors": [list(color) for color in data.colors]},
    )
    told = ["--data", str(own), "--split", "all", "--draws", "0", "--out", str(tmp_path / "scores")]
    assert main(["evaluate", "--checkpoint", str(tmp_path / "last.pt"), *told]) == 0
    assert "pq_things" in json.loads((tmp_path / "scores" / "scores.json").read_text())["scalars"]


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """A checkpoint of a network for objects that learnt from own folders, 24 x 32 pixels."""
    root = tmp_path_factory.mktemp("objects")
    own = write(root / "data", 4)
    command = ["train", "--data", str(own), "--val-split", "2", *QUICK, "--crop", "32", "32"]
    model = [*narrow("panoptic_deeplab_tiny"), "--task", "instance"]
    assert main([*command, *model, "--cache", "--out", str(root / "run")]) == 0
    return root / "run" / "last.pt"


@pytest.mark.parametrize(
    ("options", "images", "size"),
    [
        ([], 2, [24, 32]),
        (["--center-crop", "16", "20"], 2, [16, 20]),
        (["--tiles", "16", "16"], 8, [12, 16]),
        (["--image-size", "48", "48"], 2, [48, 48]),
        (["--image-size", "48", "48", "--center-crop", "40", "48", "--tiles", "20", "48"], 4, None),
    ],
)
def test_parts_of_images_are_judged(options, images, size, objects, tmp_path):
    results = tmp_path / "results.json"
    told = ["--results", str(results), "--entry", "x", "--draws", "2", "--out", str(tmp_path / "o")]
    assert main(["evaluate", "--checkpoint", str(objects), *options, *told]) == 0
    entry = json.loads(results.read_text())["x"]
    assert entry["images"] == images and entry["size"] == (size or [20, 48])
    assert entry["training"]["losses"] and "AP50" in entry and entry["APl"] is None
    names = [row["image"] for row in csv.DictReader((tmp_path / "o" / "images.csv").open())]
    assert len(set(names)) == images


def test_objects_out_of_the_judged_part_are_not_missed():
    whole = [dict(SceneDataset(1, SceneConfig(64), seed=3, task="instance")[0])]
    seen = whole[0]["masks"][:, 24:40, 24:40].flatten(1).any(1)
    assert not seen.all()  # else nothing is tried
    options = argparse.Namespace(center_crop=(16, 16), tiles=None)
    (sample,) = evaluate._in_view(whole, options, {})
    assert len(sample["labels"]) == seen.sum() and sample["masks"].flatten(1).any(1).all()


def test_objects_are_judged_as_a_panoptic_map(objects, tmp_path, capsys):
    results = tmp_path / "results.json"
    told = ["--results", str(results), "--draws", "0"]
    assert main(["evaluate", "--checkpoint", str(objects), "--task", "panoptic", *told]) == 0
    assert "pq_things" in json.loads(results.read_text())["panoptic_deeplab_tiny/val"]
    assert main(["evaluate", "--checkpoint", str(objects), "--task", "semantic"]) == 2
    assert "--task: a network for instance segmentation" in capsys.readouterr().err
    assert main(["evaluate", "--checkpoint", str(objects), "--boundary", "0.02"]) == 2
    assert "--boundary is for semantic networks" in capsys.readouterr().err


def test_settings_without_weights_change_after_the_training(objects, capsys):
    command = ["evaluate", "--checkpoint", str(objects), "--draws", "0"]
    assert main([*command, "--set", "center_threshold=0.9"]) == 0
    assert main([*command, "--set", "no_such=1"]) == 2
    assert "--set no_such: " in capsys.readouterr().err
    assert main([*command, "--set", "head_width=3"]) == 2
    assert "--set head_width: " in capsys.readouterr().err


def test_all_classes_without_a_score_are_named(capsys):
    """A metric of objects may leave them out, or give them none; the background has no objects."""
    scores = {"AP": 0.5, "per_class": {1: {"AP": 0.5}, 3: {"AP": float("nan")}}}
    evaluate._print(Report(scores, ["background", "car", "bus", "tram"]))
    assert "absent: bus, tram\n" in capsys.readouterr().out
