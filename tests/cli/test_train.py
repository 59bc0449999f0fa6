"""Training on people's own data, of every task."""

import json
import re
import subprocess
import sys

import pytest
import torch

from segedu.cli import datasets, main, networks, run_folder
from segedu.data.layouts import SCENE_SPLITS
from segedu.engine import load_checkpoint
from segedu.models import get_model
from tests.cli.own_data import QUICK, TINY_SEMANTIC, narrow, write
from tests.engine.test_resume import ENVIRONMENT, ROOT


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")


@pytest.fixture
def own(tmp_path):
    return write(tmp_path / "mydata")


def own_options(root, out):
    options = ["--data", str(root), "--classes", "background", "thing", "--val-split", "0.25"]
    return ["train", *options, *QUICK, "--out", str(out)]


def test_a_newcomer_trains_judges_and_predicts_with_one_command_each(own, tmp_path, capsys):
    """On own folders, from masks to scores and a picture, without a line of code."""
    out = tmp_path / "run"
    assert main([*own_options(own, out), *TINY_SEMANTIC]) == 0
    text = capsys.readouterr().out
    assert "6 training and 2 validation images, 2 classes; semantic" in text
    assert "val_mean_iou" in text and "1/1" in text and "best epoch 1" in text
    best = str(out / "best.pt")
    assert main(["evaluate", "--checkpoint", best, "--draws", "10", "--out", f"{out}/scores"]) == 0
    scores = json.loads((out / "scores" / "scores.json").read_text())
    assert [row["class"] for row in scores["classes"]] == ["background", "thing"]
    assert len(scores["images"]) == 2  # those of the validation set, and no others


def test_the_folder_holds_what_repeats_it(own, tmp_path):
    out = tmp_path / "run"
    assert main([*own_options(own, out), *TINY_SEMANTIC]) == 0
    config = json.loads((out / "config.json").read_text())
    assert config["command"].startswith("python -m segedu train --data")
    assert config["data_options"] == {"classes": ["background", "thing"], "val_split": 0.25}
    assert set(config["versions"]) >= {"python", "torch", "torchvision", "numpy"}
    assert "git" in config and config["machine"]["device"]
    assert all(re.fullmatch("[0-9a-f]{64}", config["fingerprint"][s]) for s in ("train", "val"))
    assert (out / "curves.svg").read_text().lstrip().startswith("<?xml")
    again = load_checkpoint(out / "last.pt")
    assert again["config"]["classes"] == ["background", "thing"]


def test_a_fingerprint_changes_with_the_files(own):
    def found():
        said = {"classes": ["background", "thing"], "val_split": 0.25}
        data = datasets.open_split("folders", str(own), "train", "semantic", said)
        return run_folder.fingerprint(data), data.label_paths[0][0]

    first, mask = found()
    assert mask.parent.name == "masks"
    assert found()[0] == first
    mask.write_bytes(mask.read_bytes() + b" ")
    assert found()[0] != first


def test_pictures_take_a_small_share_of_the_time(monkeypatch):
    """Epochs of 3 seconds, drawings of 2: the next begins after 18 seconds without one."""
    clock, drawn = [0.0], []
    monkeypatch.setattr(run_folder.time, "perf_counter", lambda: clock[0])

    def draw():
        drawn.append(clock[0])
        clock[0] += 2

    pictures = run_folder.Sparing(draw, share=0.1)
    for _ in range(8):
        clock[0] += 3
        pictures()
    assert drawn == [3, 23]
    pictures.finish()
    pictures.finish()
    assert drawn == [3, 23, 28]


def test_git_is_named_where_there_is_one(tmp_path):
    assert run_folder.git_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "a").write_text("a")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "-qm", "a"], check=True)
    commit = run_folder.git_commit(tmp_path)
    assert re.fullmatch("[0-9a-f]{40,64}", commit)
    (tmp_path / "a").write_text("b")
    assert run_folder.git_commit(tmp_path) == commit + "+"


def test_a_network_that_takes_colours_only_refuses_grey_before_all_images_are_read(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("segedu.data.channel_statistics", lambda dataset: pytest.fail("read"))
    own = write(tmp_path / "data", channels=1)
    command = [*own_options(own, tmp_path / "run"), *narrow("yolact_tiny"), "--channels", "1"]
    assert main([*command, "--task", "instance"]) == 2
    text = capsys.readouterr().err
    assert "error: --channels: yolact_tiny takes images of 3 channels only, got 1\n" in text


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_rgba_images_bring_their_statistics(channels, tmp_path):
    own, out = write(tmp_path / "data", channels=channels), tmp_path / "run"
    command = [*own_options(own, out), *TINY_SEMANTIC, "--channels", str(channels)]
    assert main(command) == 0
    state = load_checkpoint(out / "best.pt")
    assert state["network"]["in_channels"] == len(state["config"]["mean"]) == channels
    assert 0.2 < state["config"]["mean"][0] < 0.6
    assert main(["evaluate", "--checkpoint", str(out / "best.pt"), "--draws", "0"]) == 0


def test_binary_masks_and_a_file_of_classes(tmp_path, capsys):
    own, out = write(tmp_path / "data", value=255), tmp_path / "run"
    names = tmp_path / "classes.txt"
    names.write_text("ground\nthing\n")
    command = own_options(own, out)
    command[command.index("background") : command.index("thing") + 1] = [str(names)]
    assert main([*command, *TINY_SEMANTIC]) == 2  # 255 would be ignored
    assert "say so (--masks binary)" in capsys.readouterr().err
    assert main([*command, *TINY_SEMANTIC, "--masks", "binary"]) == 0
    names.unlink()  # the checkpoint holds the names
    assert main(["evaluate", "--checkpoint", str(out / "best.pt"), "--draws", "0"]) == 0


def test_losses_weights_optimizers_and_schedules(own, tmp_path):
    command = [*own_options(own, tmp_path / "run"), *TINY_SEMANTIC]
    how = "--loss focal:gamma=1+0.5*dice --class-weights median_frequency --optimizer sgd"
    how += " --schedule cosine:floor=0.1 --warmup 1 --no-flip --no-color --window 16"
    assert main([*command, *how.split()]) == 0
    config = load_checkpoint(tmp_path / "run" / "last.pt")["config"]
    assert config["window"] == 16 and config["flip"] is False


def test_batches_are_finished_beside_the_network(own, tmp_path, capsys):
    """Without mirror and colours the two halves of the augmentation are the whole one."""
    for place in ("loader", "device"):
        command = [*own_options(own, tmp_path / place), *TINY_SEMANTIC, "--augment-on", place]
        assert main([*command, "--no-flip", "--no-color"]) == 0
    one, other = (load_checkpoint(tmp_path / p / "last.pt")["model"] for p in ("loader", "device"))
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name])
    with_colours = [*own_options(own, tmp_path / "run"), *TINY_SEMANTIC, "--augment-on", "device"]
    assert main(with_colours) == 0
    varied = load_checkpoint(tmp_path / "run" / "last.pt")["model"]
    assert any(not torch.equal(value, one[name]) for name, value in varied.items())
    capsys.readouterr()
    objects = ["--task", "instance", "--out", str(tmp_path / "objects"), "--augment-on", "device"]
    assert main(["train", "--layout", "scenes", *objects]) == 2
    assert "--augment-on device is for --task semantic" in capsys.readouterr().err


def test_images_that_lie_decoded_give_the_same_training(own, tmp_path, capsys):
    command = [*own_options(own, tmp_path / "plain"), *TINY_SEMANTIC]
    assert main(command) == 0
    kept = ["--decoded", str(tmp_path / "kept")]
    assert main([*command, "--out", str(tmp_path / "kept_run"), *kept]) == 0
    one, other = (load_checkpoint(tmp_path / p / "last.pt") for p in ("plain", "kept_run"))
    assert all(torch.equal(value, other["model"][key]) for key, value in one["model"].items())
    [file] = (tmp_path / "kept").iterdir()
    assert file.name.startswith("decoded-")
    assert main([*command, "--out", str(tmp_path / "both"), *kept, "--cache"]) == 2
    assert "--cache and --decoded keep the same images" in capsys.readouterr().err


def test_weights_load_but_for_heads_that_differ(own, tmp_path, capsys):
    weights = tmp_path / "weights.pth"
    torch.save(get_model("unet", 7, base_width=2, depth=2).state_dict(), weights)
    out = tmp_path / "run"
    assert main([*own_options(own, out), *TINY_SEMANTIC, "--init", str(weights)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"\d+ of \d+ tensors loaded; 2 of another shape \(", text)


def test_what_loads_is_what_was_saved():
    first, second = (get_model("unet", classes, base_width=2, depth=2) for classes in (7, 3))
    before = second.state_dict()
    kept = {k for k, v in first.state_dict().items() if v.shape == before[k].shape}
    assert 0 < len(kept) < len(before)


def test_nothing_loads_from_another_network(own, tmp_path, capsys):
    weights = tmp_path / "weights.pth"
    torch.save({"nowhere.weight": torch.zeros(2, 2)}, weights)
    command = [*own_options(own, tmp_path / "run"), *TINY_SEMANTIC, "--init", str(weights)]
    assert main(command) == 2
    assert (
        "holds no tensor of this network; its first is 'nowhere.weight'" in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


def test_frozen_parameters_do_not_move(own, tmp_path):
    torch.manual_seed(0)
    weights = tmp_path / "weights.pth"
    begun = get_model("unet", 2, base_width=2, depth=2)
    torch.save(begun.state_dict(), weights)
    prefix = next(iter(begun.state_dict())).split(".")[0]
    command = [*own_options(own, tmp_path / "run"), *TINY_SEMANTIC, "--init", str(weights)]
    assert main([*command, "--freeze", prefix]) == 0
    trained = load_checkpoint(tmp_path / "run" / "best.pt")["model"]
    moved = {n for n, p in begun.named_parameters() if not torch.equal(trained[n], p)}
    assert moved and not any(name.startswith(prefix) for name in moved)


def test_backbone_weights_of_a_file(own, tmp_path):
    narrow = {"base_width": 4, "layers": (1, 1, 1, 1)}
    weights, out = tmp_path / "resnet.pth", tmp_path / "run"
    torch.save(get_model("fcn_resnet50", 2, **narrow).backbone.state_dict(), weights)
    settings = ["--set", "base_width=4", "--set", "layers=(1,1,1,1)", "--crop", "32", "32"]
    command = [*own_options(own, out), "--model", "fcn_resnet50", *settings]
    assert main([*command, "--backbone-weights", str(weights)]) == 0
    weights.unlink()
    assert main(["evaluate", "--checkpoint", str(out / "best.pt"), "--draws", "0"]) == 0


@pytest.mark.parametrize(
    ("model", "task", "score"),
    [
        ("mask_rcnn_tiny", "instance", "AP"),
        ("panoptic_deeplab_tiny", "panoptic", "pq"),
        ("embedding_tiny", "instance", "AP"),
        ("sam_tiny", "promptable", "mean_iou"),
    ],
)
def test_objects_of_own_folders(model, task, score, own, tmp_path, capsys):
    """Maps that number objects; the panoptic networks are trained for objects alone, too.

    A promptable one learns to find each from a click.
    """
    out = tmp_path / "run"
    command = ["train", "--data", str(own), "--val-split", "0.25", *QUICK, "--out", str(out)]
    assert main([*command, *narrow(model), "--task", task, "--crop", "32", "32"]) == 0
    assert f"val_{score}" in capsys.readouterr().out
    assert (out / "examples.png").is_file()
    best = str(out / "best.pt")
    assert main(["evaluate", "--checkpoint", best, "--draws", "3", "--out", f"{out}/s"]) == 0
    text = (out / "s" / "report.html").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") >= 2 and "http" not in text
    assert (out / "s" / "classes.csv").exists() == (task != "promptable")  # which knows none
    assert main(["evaluate", "--checkpoint", best, "--tta"]) == 2


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_scenes_of_things_and_stuff_need_no_files(task, tmp_path, monkeypatch):
    """The things are those of the task, and either way the network is judged by both."""
    for split, count in (("train", 4), ("val", 2)):
        monkeypatch.setitem(SCENE_SPLITS, split, count)
    command = ["train", "--layout", "scenes", *narrow("panoptic_deeplab_tiny"), "--task", task]
    assert main([*command, *QUICK, "--crop", "32", "32", "--out", str(tmp_path)]) == 0
    config = load_checkpoint(tmp_path / "best.pt")["config"]
    things = {"tree", "car", "person", "sign", "animal"}
    assert config["isthing"] == [name in things for name in config["classes"]]
    for judge in ("panoptic", "instance"):
        options = ["--task", judge, "--draws", "2"]
        assert main(["evaluate", "--checkpoint", str(tmp_path / "best.pt"), *options]) == 0


@pytest.mark.parametrize(
    ("model", "task", "found"),
    [
        ("", None, ("unet", "semantic")),
        ("", "instance", ("mask_rcnn_resnet50_fpn", "instance")),
        ("mask2former_tiny", None, ("mask2former_tiny", "panoptic")),
        ("mask2former_tiny", "instance", ("mask2former_tiny", "instance")),
        ("sam_tiny", None, ("sam_tiny", "promptable")),
        ("", "promptable", ("sam_vit_base", "promptable")),
    ],
)
def test_network_and_task_follow_from_each_other(model, task, found):
    assert networks.choose(model, task) == found


@pytest.mark.slow  # starts a process that has to import torch, and forks
def test_two_processes_share_a_training_of_objects(own, tmp_path):
    """One writes; the scores of both together are those that one process finds afterwards."""
    out, results = tmp_path / "run", tmp_path / "results.json"
    command = [*own_options(own, out), "--crop", "32", "32", "--device", "cpu"]
    command += ["--model", "embedding_tiny", "--task", "panoptic", "--batch-size", "6"]
    command += ["--epochs", "8", "--lr", "0.01"]  # until it finds the background
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.two_processes", *command],
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("best epoch") == 1
    records = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == list(range(1, 9))
    judge = ["evaluate", "--checkpoint", str(out / "last.pt"), "--draws", "0"]
    assert main([*judge, "--results", str(results), "--entry", "x"]) == 0
    entry = json.loads(results.read_text())["x"]
    assert entry["images"] == 2 and entry["pq"] > 0
    for key in ("pq", "sq", "rq"):
        assert entry[key] == pytest.approx(records[-1][f"val_{key}"], abs=1e-6)


def test_the_curves_of_few_epochs_have_no_fractions_of_epochs(tmp_path):
    records = [{"epoch": n, "loss": 1 / n, "val_mean_iou": 0.3} for n in (1, 2)]
    for shown in (records[:1], records):
        run_folder.draw_curves(tmp_path, shown, "val_mean_iou")
        svg = (tmp_path / "curves.svg").read_text()
        axes = re.findall('id="matplotlib.axis_[13]">.*?id="matplotlib.axis_', svg, re.DOTALL)
        assert len(axes) == 2
        for axis in axes:
            ticks = re.findall(r"<text[^>]*>([^<]*)</text>", axis)
            assert ticks[:-1] == [str(record["epoch"]) for record in shown] and "epoch" in ticks[-1]
