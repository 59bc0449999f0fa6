"""The command line: a whole round on a tiny data set, and what it says to mistakes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from segedu.cli import COMMANDS, datasets, main
from segedu.cli.options import assignment
from segedu.data import LAYOUTS, camvid
from segedu.data.layouts import SCENE_SPLITS
from segedu.engine import fit
from segedu.losses import CrossEntropyLoss
from segedu.models import get_model

TINY = ["--model", "unet", "--set", "base_width=2", "--set", "depth=2", "--crop", "16", "16"]


def write_camvid(root: Path) -> None:
    """Six images whose brightness is the class, in the layout of CamVid."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 1), ("test", 1)):
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
        for i in range(count):
            labels = draw.integers(0, 11, (4, 5)).repeat(6, 0).repeat(6, 1).astype(np.uint8)
            Image.fromarray((labels * 20)[..., None].repeat(3, 2)).save(root / split / f"{i}.png")
            Image.fromarray(labels).save(root / f"{split}annot" / f"{i}.png")
        lines = [f"/SegNet/CamVid/{split}/{i}.png /SegNet/CamVid/{split}annot/{i}.png"] * count
        (root / f"{split}.txt").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A folder with a data set and a training of two epochs."""
    folder = tmp_path_factory.mktemp("cli")
    write_camvid(folder / "camvid")
    options = ["--layout", "camvid", "--data", str(folder / "camvid"), "--batch-size", "2", *TINY]
    assert main(["train", *options, "--epochs", "2", "--out", str(folder / "run")]) == 0
    return folder


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")


def error_of(capsys, *arguments: str) -> str:
    """The one line that a wrong command prints."""
    assert main(arguments) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("segedu: error: ") and captured.count("\n") == 1, captured
    return captured


def test_train_leaves_what_it_says(run):
    assert {p.name for p in (run / "run").iterdir()} == {
        *("best.pt", "last.pt", "history.jsonl", "config.json", "curves.svg", "examples.png")
    }
    records = [json.loads(line) for line in (run / "run" / "history.jsonl").open()]
    assert [record["epoch"] for record in records] == [1, 2]
    config = torch.load(run / "run" / "last.pt", weights_only=True)["config"]
    assert config["settings"] == {"base_width": 2, "depth": 2}
    assert config["classes"] == list(camvid.CLASSES) and config["crop"] == (16, 16)
    assert config["command"].startswith("python -m segedu train --layout camvid")


def test_resume_goes_on_and_a_new_start_is_refused(run, tmp_path, capsys):
    options = ["--layout", "camvid", "--data", str(run / "camvid"), "--batch-size", "2", *TINY]
    options += ["--out", str(tmp_path)]
    assert main(["train", *options, "--epochs", "1"]) == 0
    assert "already holds a training" in error_of(capsys, "train", *options, "--epochs", "2")
    assert main(["train", *options, "--epochs", "2", "--resume"]) == 0
    out = capsys.readouterr().out
    assert "2/2" in out and "1/2" not in out


def test_more_options_of_train(run, tmp_path):
    options = ["--layout", "camvid", "--data", str(run / "camvid"), "--batch-size", "2"]
    options += ["--model", "unet_plus_plus", "--set", "base_width=2", "--set", "depth=2"]
    options += [
        "--set",
        "deep_supervision=true",
        "--aux-weights",
        "0.5",
        "0.5",
        "--loss",
        "ce+dice",
    ]
    options += ["--crop", "16", "16", "--epochs", "2", "--warmup", "1", "--clip-norm", "1"]
    options += ["--accumulate", "2", "--ema-decay", "0.9", "--patience", "3"]
    assert main(["train", *options, "--out", str(tmp_path / "x")]) == 0


def test_evaluate_keeps_results_beside_others(run, tmp_path, capsys):
    results = tmp_path / "results" / "camvid.json"
    for split in ("val", "test"):
        command = ["evaluate", "--checkpoint", str(run / "run" / "best.pt"), "--split", split]
        assert main([*command, "--results", str(results)]) == 0
    found = json.loads(results.read_text())
    assert list(found) == ["unet/test", "unet/val"]
    entry = found["unet/test"]
    assert (entry["images"], entry["split"], entry["size"]) == (1, "test", [24, 30])
    assert entry["dataset"] == "camvid" and entry["training"]["epochs"] == 2
    assert list(entry["iou"]) == list(camvid.CLASSES)
    present = [iou for iou in entry["iou"].values() if iou is not None]
    assert entry["mean_iou"] == pytest.approx(sum(present) / len(present))
    assert entry["training"]["command"].startswith("python -m segedu train")
    line = f"{entry['mean_iou']:8.4f} .* mean_iou\n"
    assert re.search(line, capsys.readouterr().out)


def test_a_portable_path_is_expanded_but_kept(run, monkeypatch, tmp_path):
    monkeypatch.setenv("SEGEDU_TEST_ROOT", str(run))
    options = ["--layout", "camvid", "--data", "$SEGEDU_TEST_ROOT/camvid", "--epochs", "1", *TINY]
    assert main(["train", *options, "--out", str(tmp_path)]) == 0
    config = torch.load(tmp_path / "last.pt", weights_only=True)["config"]
    assert config["data"] == "$SEGEDU_TEST_ROOT/camvid"
    assert str(run) not in config["command"]


def test_interrupt(run, monkeypatch, tmp_path, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("segedu.engine.fit", interrupted)
    options = ["--layout", "camvid", "--data", str(run / "camvid"), *TINY, "--out", str(tmp_path)]
    assert main(["train", *options]) == 130
    assert "--resume goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train --layout camvid --out {tmp}/x", "--data is missing"),
        ("train --layout camvid --data {tmp}/no --out {tmp}/x", "{tmp}/no: no such folder"),
        ("train --layout voc --data {run}/camvid --out {tmp}/x", "no such"),
        ("train --layout camvid --data {run}/camvid --out {tmp}/x --model unett", "did you mean"),
        ("train --layout camvid --data {run}/camvid --out {tmp}/x --set widht=3", "--set: .*widht"),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --set base_width=abc",
            "--set: unet with base_width=abc: base_width must be a whole number, such as 64, got",
        ),
        (
            "train --layout scenes --out {tmp}/x --model maskformer_tiny --set num_queries=-3",
            "--set: maskformer_tiny with num_queries=-3: ",
        ),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --set num_classes=3",
            "--set: num_classes follows from the classes of the data",
        ),
        (
            "train --layout scenes --out {tmp}/x --model mask_rcnn_tiny --task semantic",
            "--model: mask_rcnn_tiny is for instance segmentation: --task instance",
        ),
        (
            "train --layout scenes --out {tmp}/x --model unet3d",
            "--model: unet3d is for volume segmentation, but this command trains semantic, inst",
        ),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --task instance",
            "layout camvid is for semantic; got the task 'instance'",
        ),
        (
            "train --layout scenes --out {tmp}/x --model mask_rcnn_tiny --loss dice",
            "--loss is for --task semantic; got --task instance",
        ),
        (
            "train --layout scenes --out {tmp}/x --model yolact_tiny --val-split 0.2 --channels 1",
            "scenes are painted in 3 channels, not read from files: channels, white and",
        ),
        ("train --layout nothing --data {run} --out {tmp}/x", "layout must be one of folders,"),
        ("train --data {run}/camvid --out {tmp}/x", "{run}/camvid/images: no such folder"),
        (
            "train --layout camvid --data {run}/camvid --classes a b --out {tmp}/x",
            "layout camvid has no option 'classes'",
        ),
        ("train --layout camvid --data {run}/camvid --out {tmp}/x --loss l1", "--loss must be one"),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --loss focal:gama=1",
            "--loss: focal has no setting 'gama'; its settings are gamma, ",
        ),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --loss dice "
            "--class-weights enet",
            "--class-weights: dice takes none; ce, ohem",
        ),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --class-weights median",
            "--class-weights must be one of",
        ),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --optimizer adamax",
            "--optimizer must be one of adamw, adam, sgd; got 'adamax'",
        ),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --schedule cosine:flor=1",
            "--schedule: cosine:flor=1 has no setting 'flor'",
        ),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --schedule constant "
            "--warmup 3",
            "--warmup: the schedule constant has none",
        ),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --init {tmp}/no.pt",
            "--init: no file at {tmp}/no.pt",
        ),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --init {run}/camvid/val.txt",
            "--init: .*val.txt is neither a checkpoint nor a file of weights",
        ),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --freeze backbone",
            "--freeze: no parameter starts with 'backbone'; there are ",
        ),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x "
            "--backbone-weights ResNet50.GOOD",
            "--backbone-weights: ResNet50.GOOD is neither a file nor weights of torchvision",
        ),
        ("check --data {tmp}/no --classes a b", "{tmp}/no"),
        ("check --layout scenes --picture {tmp}/x.jpg", "must end in .png"),
        ("evaluate", "give either --checkpoint, or --pred and --truth"),
        ("evaluate --pred {run}/camvid/valannot", "--truth is missing"),
        (
            "evaluate --pred {run}/camvid/valannot --truth {run}/camvid/valannot",
            "classes is missing",
        ),
        (
            "evaluate --pred {run}/camvid/valannot --truth {tmp}/no --classes a b",
            "{tmp}/no: no such folder",
        ),
        ("train --layout camvid --data {run}/camvid --out {tmp}/x --epochs 0", "epochs must be"),
        ("train --layout camvid --data {run}/camvid --out {tmp}/x --batch-size 0", "batch_size"),
        ("train --layout camvid --data {run}/camvid --out {tmp}/x --scale 2 1", "scale must be"),
        ("train --layout camvid --data {run}/camvid --out {tmp}/x --seed -1", "seed must be in"),
        (
            "train --layout camvid --data {run}/camvid --out {tmp}/x --device cuda:99",
            "CUDA devices",
        ),
        ("train --layout camvid --data {run}/camvid --out {tmp}/x --device gpu", "device"),
        ("train --layout camvid --data {run}/camvid --out {run}/camvid/val.txt/x", "val.txt"),
        ("predict {image} --checkpoint {tmp}/no.pt --out {tmp}/o", "no checkpoint at"),
        ("predict {image} --checkpoint {tmp} --out {tmp}/o", "{tmp} is a folder: .* best.pt"),
        ("predict {image} --checkpoint {run}/camvid/val.txt --out {tmp}/o", "too short|damaged"),
        ("evaluate --checkpoint {best} --split dev", "split must be one of"),
        ("evaluate --checkpoint {best} --layout scenes", "the model knows the classes"),
        ("evaluate --checkpoint {best} --results {run}/camvid/val.txt", "not a readable JSON"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setitem(SCENE_SPLITS, "train", 4)  # painted, if they are looked at
    places = {
        "tmp": tmp_path,
        "run": run,
        "best": run / "run" / "best.pt",
        "image": run / "camvid" / "val" / "0.png",
    }
    command = arguments.format(**places).split()
    if command[0] == "train" and not {"--model", "--set"} & {*command}:
        command += ["--set", "base_width=2"]  # the default has 31 million parameters
    found = error_of(capsys, *command)
    assert re.search(message.format(**places), found), found
    assert not list(tmp_path.glob("**/.segedu-tmp-*"))


def test_a_checkpoint_of_fit_needs_a_known_network_and_the_names_of_its_classes(tmp_path, capsys):
    """`predict` takes what ``fit`` wrote, or says what it lacks and how to give it."""
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    Image.new("RGB", (16, 16)).save(photo)
    loader = DataLoader([{"image": torch.rand(3, 16, 16), "mask": torch.zeros(16, 16).long()}])
    tiny = {"base_width": 2, "depth": 2}
    own = torch.nn.Conv2d(3, 2, 1)
    named = {"classes": ["ground", "thing"], "colors": [[0, 0, 0], [255, 0, 0]]}
    for network, config, message in (
        (own, named, "does not say which network .* build it as for the training"),
        (get_model("unet", 2, **tiny), None, "classes and colors: give them .* fit"),
        (get_model("unet", 2, **tiny), named, None),
    ):
        fit(network, loader, CrossEntropyLoss(), epochs=1, checkpoint_dir=tmp_path, config=config)
        command = ["predict", str(photo), "--checkpoint", str(tmp_path / "best.pt")]
        command += ["--out", str(out)]
        if message:
            assert re.search(message, error_of(capsys, *command))
            assert not out.exists()
        else:
            assert main(command) == 0
            assert "ground" in capsys.readouterr().out and out.exists()


def test_a_checkpoint_needs_no_file_of_its_first_weights(run, tmp_path, capsys):
    narrow = ["--model", "fcn_resnet50", "--set", "base_width=4", "--set", "layers=(1,1,1,1)"]
    pretrained = get_model("fcn_resnet50", 3, base_width=4, layers=(1, 1, 1, 1)).backbone
    weights = tmp_path / "resnet.pth"
    torch.save(pretrained.state_dict(), weights)
    options = ["--layout", "camvid", "--data", str(run / "camvid"), "--batch-size", "2", *narrow]
    options += ["--crop", "16", "16", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(["train", *options, "--set", f"weights={weights}"]) == 0
    weights.unlink()
    command = ["evaluate", "--checkpoint", str(tmp_path / "run" / "best.pt")]
    assert main(command) == 0


def test_resume_takes_what_may_change_and_names_what_may_not(run, tmp_path, capsys):
    options = ["--layout", "camvid", "--data", str(run / "camvid"), "--batch-size", "2", *TINY]
    options = ["train", *options, "--out", str(tmp_path), "--epochs"]
    assert main([*options, "1"]) == 0
    for changed, message in (
        (["--lr", "0.5"], r"lr was 0\.001, is 0\.5 now"),
        (["--set", "base_width=3"], "settings was .*'base_width': 2.*'base_width': 3"),
        (["--loss", "dice"], "loss was 'ce', is 'dice' now"),
        (["--crop", "24", "24"], r"crop was \(16, 16\), is \(24, 24\) now"),
    ):
        assert re.search(message, error_of(capsys, *options, "2", "--resume", *changed))
    assert "has all its 1 epochs" in error_of(capsys, *options, "1", "--resume")
    assert main([*options, "2", "--resume", "--workers", "1", "--device", "cpu"]) == 0
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2


def test_networks_with_several_outputs_train_without_a_word(run, tmp_path):
    options = ["--layout", "camvid", "--data", str(run / "camvid"), "--batch-size", "2"]
    options += ["--model", "bisenet_v2", "--set", "base_width=16", "--set", "head_width=8"]
    options += ["--crop", "32", "32", "--epochs", "1"]
    assert main(["train", *options, "--out", str(tmp_path / "run")]) == 0


def test_a_bad_label_is_one_line_from_a_worker_process(run, tmp_path, capsys):
    write_camvid(tmp_path / "camvid")
    bad = tmp_path / "camvid" / "trainannot" / "3.png"
    Image.fromarray(np.full((24, 30), 77, np.uint8)).save(bad)
    options = ["--layout", "camvid", "--data", str(tmp_path / "camvid"), "--batch-size", "2", *TINY]
    text = error_of(capsys, "train", *options, "--out", str(tmp_path / "run"), "--workers", "1")
    assert "3.png: holds the value 77" in text and len(text) < 250


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=3", 3),
        ("a=0.5", 0.5),
        ("a=true", True),
        ("a=None", None),
        ("a=x", "x"),
        ("a=1,2", (1, 2)),
    ],
)
def test_values_of_set(text, value):
    assert assignment(text) == ("a", value)


@pytest.mark.parametrize("text", ["a", "=3", "a b=3"])
def test_set_needs_a_name_and_a_value(text, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--layout", "scenes", "--out", "x", "--set", text])
    assert stop.value.code == 2
    assert "expected NAME=VALUE" in capsys.readouterr().err


COMMAND_NAMES = [command.__name__.rpartition(".")[2] for command in COMMANDS]


@pytest.mark.parametrize("command", [[], *([name] for name in COMMAND_NAMES)])
def test_help_fits_a_screen_and_has_examples(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 40 and max(map(len, text.splitlines())) <= 106
    assert text.count("  python -m segedu ") >= (2 if command else 0)


def test_help_all_shows_the_rest(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help-all"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--ema-decay" in text and datasets.LAYOUTS["objects"] in text


def test_the_layouts_of_the_help_are_those_that_exist():
    assert list(LAYOUTS) == list(datasets.LAYOUTS)


def test_training_alone_runs_in_several_processes(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun does
    assert main(["evaluate", "--checkpoint", "best.pt"]) == 2
    assert "start this without torchrun" in capsys.readouterr().err


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    assert "fcn8s_vgg16" in capsys.readouterr().out


def test_help_does_not_wait_for_torch():
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, "-X", "importtime", "-m", "segedu", "train", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported and "torch" not in imported
