import json
import re
import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from segedu.medical.__main__ import main
from segedu.medical.config import OPTIMIZERS, SCHEDULES, ProjectConfig
from segedu.medical.evaluate import evaluate
from segedu.medical.fingerprint import Fingerprint
from segedu.medical.nifti import read_nifti, write_nifti
from segedu.medical.patches import IGNORE, Case, GridDataset
from segedu.medical.phantom import LUNGS, PhantomConfig, generate
from segedu.medical.project import (
    Predictor,
    build_model,
    build_optimizer,
    build_schedule,
    build_task,
    load_case,
    prepare,
    train,
)
from segedu.medical.scans import read_classes, write_decathlon
from segedu.medical.volume import Volume

TINY = ProjectConfig(
    base_width=4,
    stages=2,
    patch=(6, 12, 12),
    epochs=3,
    patches=8,
    batch_size=4,
    lr=1e-2,
    shares=(0.6, 0.2, 0.2),
)


def scan(seed: int, shape=(8, 16, 14)) -> tuple[Volume, Volume]:
    """A bright ball somewhere, and its mask."""
    rng = np.random.default_rng(seed)
    centre = [n / 2 + rng.uniform(-1, 1) for n in shape]
    away = sum(
        (g - c) ** 2 for g, c in zip(np.ogrid[tuple(map(slice, shape))], centre, strict=True)
    )
    mask = (away < 10).astype(np.uint8)
    values = (100 * mask + rng.normal(50, 8, shape)).astype(np.float32)
    image = Volume(values, (2.0, 1.0, 1.5), (10.0, -20.0, 30.0))
    return image, image.with_array(mask)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("scans")
    write_decathlon(root, [(f"p{i}-{i % 2}", *scan(i)) for i in range(6)], TINY.classes)
    return root


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """A training without interruption."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, train(data, out, TINY, device="cpu")


def test_a_run_holds_what_decided_it(run):
    out, history = run
    fitted = replace(TINY, channels=1, spacing=(2.0, 1.0, 1.5), intensity="mr")
    assert ProjectConfig.load(out / "config.json") == fitted
    assert Fingerprint.load(out / "fingerprint.json").scans == 3
    split = json.loads((out / "split.json").read_text())
    assert [len(split[k]) for k in ("train", "val", "test")] == [3, 1, 2]
    assert len(history) == 3 and history["loss"][-1] < history["loss"][0]
    assert len((out / "history.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("rank", "files"), [("0", {"config.json", "fingerprint.json", "split.json"}), ("1", set())]
)
def test_of_several_processes_the_first_writes(rank, files, data, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr("segedu.medical.project.fit", lambda *arguments, **settings: None)
    train(data, tmp_path, TINY, device="cpu")
    assert {path.name for path in tmp_path.iterdir()} == files


def test_nothing_is_written_before_every_process_has_looked(data, tmp_path, monkeypatch):
    """Else the slower one of two would meet a run that the faster one has just begun."""
    there = []
    monkeypatch.setattr(
        "segedu.engine.distributed.wait", lambda: there.append(list(tmp_path.iterdir()))
    )
    monkeypatch.setattr("segedu.medical.project.fit", lambda *arguments, **settings: None)
    train(data, tmp_path, TINY, device="cpu")
    assert there == [[]] and (tmp_path / "config.json").exists()


def test_resuming_after_a_crash_gives_the_same_bits(run, data, tmp_path):
    def crash(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "run", TINY, device="cpu", on_epoch=crash)
    history = train(data, tmp_path / "run", TINY, device="cpu", resume=True)
    assert history["loss"] == run[1]["loss"]
    again, straight = (
        Predictor(folder, "cpu").model.state_dict() for folder in (tmp_path / "run", run[0])
    )
    assert all(torch.equal(again[name], straight[name]) for name in straight)


def test_other_settings_and_other_scans_are_not_resumed(run, data, tmp_path):
    with pytest.raises(FileExistsError, match="holds a run"):
        train(data, run[0], TINY)
    with pytest.raises(ValueError, match=r"lr was 0\.01, is 1\.0 now"):
        train(data, run[0], replace(TINY, lr=1.0), resume=True)
    write_decathlon(tmp_path, [(f"q{i}", *scan(i)) for i in range(3)], TINY.classes)
    with pytest.raises(ValueError, match="another one"):
        train(tmp_path, run[0], TINY, resume=True)


@pytest.mark.parametrize("axes", ["SPL", "RAI", "LIP"])
def test_predictions_lie_on_the_grid_of_the_scan(run, axes):
    predictor = Predictor(run[0], "cpu")
    image, _ = scan(99)
    straight = predictor(image)
    turned = predictor(image.reorient(axes))
    assert turned.array.dtype == np.uint8
    assert turned.same_grid(image.reorient(axes))
    assert np.array_equal(turned.reorient().array, straight.array)


def test_resampled_predictions_come_back_to_the_grid(run, data, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    values = json.loads((run[0] / "config.json").read_text()) | {"spacing": [1.5, 1.5, 1.5]}
    (out / "config.json").write_text(json.dumps(values))
    for name in ("best.pt", "fingerprint.json"):
        shutil.copy(run[0] / name, out / name)
    image, _ = scan(98)
    assert prepare(image, ProjectConfig.load(out / "config.json")).shape == (11, 11, 14)
    assert Predictor(out, "cpu")(image).same_grid(image)


def test_a_scan_at_half_the_voxel_size_scores_as_well(run, data, tmp_path):
    """And one at twice: networks know voxels only, so scans are resampled to those they learnt."""
    train(data, tmp_path / "run", replace(TINY, epochs=24, augment=False), device="cpu")
    predictor = Predictor(tmp_path / "run", "cpu")
    image, truth = scan(97)

    def dice(spacing):
        finer = truth.resample(spacing, labels=True)
        with pytest.warns(UserWarning, match="unlike those of the training, .* spacing 1 x"):
            found = predictor(image.resample_to(finer))
        assert found.same_grid(finer)
        both = (found.array & finer.array).sum()
        return 2 * both / (found.array.sum() + finer.array.sum())

    assert dice((1.0, 0.5, 0.75)) > 0.8
    assert dice((1.0, 2.0, 1.5)) > 0.7


@pytest.mark.weekly  # draws eight thoraxes and trains a network; above, balls stand for them
def test_the_phantom_at_half_the_voxel_size_scores_as_well(tmp_path):
    """Without resampling its Dice falls from 0.97 to 0.27."""

    def draw(seed, factor=1.0):
        shape = tuple(round(n / factor) for n in (16, 36, 36))
        spacing = tuple(factor * s for s in (18.0, 10.4, 10.4))
        drawn = generate(seed, PhantomConfig(shape, spacing))
        return f"phantom_{seed}", drawn.image, drawn.lungs

    write_decathlon(tmp_path / "scans", map(draw, range(6)), LUNGS)
    write_decathlon(tmp_path / "same", [draw(20)], LUNGS)
    write_decathlon(tmp_path / "half", [draw(20, 0.5)], LUNGS)
    config = ProjectConfig(
        classes=LUNGS, base_width=8, stages=3, patch=(12, 24, 24), epochs=6, patches=24, lr=5e-3,
        augment=False,
    )  # fmt: skip
    train(tmp_path / "scans", tmp_path / "run", config, device="cpu")
    same, half = (
        evaluate(tmp_path / "run", tmp_path / size, tmp_path / f"{size}_scores", subset="new",
                 device="cpu")["mean_dice"]
        for size in ("same", "half")
    )  # fmt: skip
    assert same > 0.8 and half > same - 0.05


def test_scans_of_mixed_spacings_are_brought_to_the_median(tmp_path):
    cases = []
    for number, factor in enumerate((0.5, 1.0, 1.0, 1.0, 2.0)):
        image, truth = scan(number)
        finer = truth.resample(np.multiply(truth.spacing, factor), labels=True)
        cases.append((f"p{number}", image.resample_to(finer), finer))
    write_decathlon(tmp_path / "scans", cases, TINY.classes)
    started = []
    config = replace(TINY, shares=(0.9, 0.05, 0.05), epochs=1)
    train(
        tmp_path / "scans", tmp_path / "run", config, device="cpu",
        on_start=lambda *about: started.append(about),
    )  # fmt: skip
    (fitted, fingerprint) = started[0]
    assert fitted.spacing == (2.0, 1.0, 1.5) and fitted.intensity == ("mr",)
    assert fingerprint.spacing.low < fingerprint.spacing.high


class Threshold(torch.nn.Module):
    """Foreground is what is much brighter than the mean."""

    def forward(self, image):
        return torch.cat([2 - image, image], 1)


def test_what_is_one_piece_stays_one(run):
    predictor = Predictor(run[0], "cpu")
    predictor.model = Threshold()
    noise = scan(94)[0]
    noise = noise.with_array(np.random.default_rng(0).normal(80, 40, noise.shape))
    predictor.config = replace(predictor.config, largest=("foreground",))
    pieces = label(predictor.segment(noise).array, np.ones((3, 3, 3)))[1]
    predictor.config = replace(predictor.config, largest=())
    assert pieces == 1 < label(predictor.segment(noise).array, np.ones((3, 3, 3)))[1]


def test_a_bad_label_of_a_scan_for_testing_comes_to_light_first(data, tmp_path):
    shutil.copytree(data, tmp_path / "scans")
    train(data, tmp_path / "run", replace(TINY, epochs=1), device="cpu")
    name = json.loads((tmp_path / "run" / "split.json").read_text())["test"][-1]
    path = tmp_path / "scans" / "labelsTr" / f"{name}.nii.gz"
    mask = read_nifti(path)
    write_nifti(mask.with_array(mask.array * 5), path)
    with pytest.raises(ValueError, match=rf"{name}.nii.gz holds the labels \[0, 5\]"):
        train(tmp_path / "scans", tmp_path / "second", TINY, device="cpu")
    assert not (tmp_path / "second").exists()


def test_a_scan_smaller_than_the_patch_is_padded_as_in_training(run):
    predictor = Predictor(run[0], "cpu")
    small = scan(95)[0].crop((0, 0, 0), (4, 9, 12))
    seen = torch.from_numpy(prepare(small, predictor.config).array.copy()).float()[None]
    (patch,) = GridDataset([Case("p", seen, torch.zeros(4, 9, 12).byte())], TINY.patch)
    with torch.no_grad():
        logits = predictor.model(patch["image"][None])
    inside = (patch["mask"] != IGNORE).nonzero()
    (d, h, w), (e, i, x) = inside.amin(0).tolist(), (inside.amax(0) + 1).tolist()
    expected = logits.argmax(1)[0, d:e, h:i, w:x]
    assert np.array_equal(predictor.segment(small).array, expected.numpy())


def test_training_learns_the_ball(data, tmp_path):
    config = replace(TINY, epochs=24, augment=False)
    train(data, tmp_path / "run", config, device="cpu")
    image, truth = scan(97)
    found = Predictor(tmp_path / "run", "cpu")(image).array
    assert 2 * (found & truth.array).sum() / (found.sum() + truth.array.sum()) > 0.8


def hidden_in_one(seed: int) -> tuple[tuple[Volume, Volume], Volume]:
    """Two channels of which only the second shows the ball."""
    image, truth = scan(seed)
    blank = np.random.default_rng(seed).normal(50, 8, image.shape).astype(np.float32)
    return (image.with_array(blank), image), truth


def write_channels(folder, count: int) -> None:
    """Scans of two channels in the layout of nnU-Net."""
    (folder / "labelsTr").mkdir(parents=True)
    for number in range(count):
        channels, truth = hidden_in_one(number)
        for c, channel in enumerate(channels):
            write_nifti(channel, folder / "imagesTr" / f"p{number}-a_{c:04d}.nii.gz")
        write_nifti(truth, folder / "labelsTr" / f"p{number}-a.nii.gz")
    about = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "ball": 1}}
    (folder / "dataset.json").write_text(json.dumps(about))


def test_every_channel_of_a_scan_is_seen(tmp_path, capsys):
    """From the files of nnU-Net to the report."""
    scans, out = tmp_path / "scans", tmp_path / "run"
    write_channels(scans, 5)
    train(scans, out, replace(TINY, epochs=16, spacing=(2.0, 1.0, 2.0), augment=False))
    assert ProjectConfig.load(out / "config.json").channels == 2
    channels, truth = hidden_in_one(97)
    files = [tmp_path / f"new_{c:04d}.nii.gz" for c in (0, 1)]
    for channel, file in zip(channels, files, strict=True):
        write_nifti(channel, file)
    labels = tmp_path / "labels.nii.gz"
    assert main(["predict", str(out), *map(str, files), str(labels)]) == 0
    found = read_nifti(labels).array
    assert 2 * (found & truth.array).sum() / (found.sum() + truth.array.sum()) > 0.7
    assert main(["predict", str(out), str(files[1]), str(labels)]) == 2
    assert "the scan has 1 channels, the network was trained on 2" in capsys.readouterr().err
    result = evaluate(out, scans, tmp_path / "scores", device="cpu")
    assert result["about"]["channels"] == 2 and result["about"]["unlike"] == {}
    assert main(["report", str(tmp_path / "scores"), str(scans)]) == 0
    assert "channels of a scan" in (tmp_path / "scores" / "report.html").read_text("utf-8")


def test_slices_have_the_channels_of_their_scan(tmp_path):
    write_channels(tmp_path / "scans", 3)
    config = replace(TINY, patch=(1, 12, 12), patches=4, epochs=1)
    train(tmp_path / "scans", tmp_path / "run", config, device="cpu")
    channels, truth = hidden_in_one(97)
    assert Predictor(tmp_path / "run", "cpu")(channels).same_grid(truth)


def test_a_film_is_not_taken_for_channels(tmp_path):
    write_channels(tmp_path / "scans", 4)
    (tmp_path / "scans" / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match="the scans have 2 channels, but dataset.json names 1"):
        train(tmp_path / "scans", tmp_path / "run", TINY)
    assert not (tmp_path / "run").exists()


def test_slices_train_a_2d_network(data, tmp_path):
    config = replace(TINY, patch=(1, 12, 12), epochs=1, model="unet3d")
    assert config.dimensions == 2
    train(data, tmp_path / "run", config, device="cpu")
    image, _ = scan(96)
    assert Predictor(tmp_path / "run", "cpu")(image).same_grid(image)


def test_no_name_of_a_patient_leaves_with_the_checkpoint(run):
    split = json.loads((run[0] / "split.json").read_text())
    for name in sum(split.values(), []):
        assert name.encode() not in (run[0] / "best.pt").read_bytes()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_and_schedule_makes_a_step(optimizer, schedule):
    config = replace(TINY, optimizer=optimizer, schedule=schedule, lr=0.1, epochs=2)
    model = build_model(config)
    built = build_optimizer(model, config)
    rule = build_schedule(built, config, steps=5)
    target = torch.randint(2, (1, 8, 8, 8))
    batch = {"image": torch.randn(1, 1, 8, 8, 8), "mask": target}
    build_task(config).loss(model, batch).backward()
    built.step()
    for _ in range(10):
        if rule is not None:
            rule.step(1.0) if schedule == "plateau" else rule.step()
    now = built.param_groups[0]["lr"]
    assert now == 0.1 if schedule == "constant" else now < 0.1


def test_labels_must_fit_the_scan_and_the_classes(tmp_path):
    image, mask = scan(0)
    write_nifti(image, tmp_path / "image.nii.gz")
    write_nifti(mask.crop((0, 0, 0), (4, 16, 14)), tmp_path / "short.nii.gz")
    write_nifti(mask.with_array(mask.array * 5), tmp_path / "five.nii.gz")
    with pytest.raises(ValueError, match="different grids"):
        load_case("a", [tmp_path / "image.nii.gz"], tmp_path / "short.nii.gz", TINY)
    with pytest.raises(ValueError, match=r"labels \[0, 5\], the project has 2 classes"):
        load_case("a", [tmp_path / "image.nii.gz"], tmp_path / "five.nii.gz", TINY)


def test_scans_of_one_patient_are_not_split(tmp_path):
    cases = [(f"LUNG1-00{number}", *scan(number)) for number in range(4)]
    write_decathlon(tmp_path / "scans", cases, TINY.classes)
    message = "4 scans belong to 1 patients .LUNG1., since the name up to its first number"
    with pytest.raises(ValueError, match=message + ".* Set patient to a pattern"):
        train(tmp_path / "scans", tmp_path / "run", TINY, device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_folder_without_scans_and_a_scan_without_labels_are_named(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="no imagesTr"):
        train(tmp_path, tmp_path / "run", TINY)
    write_decathlon(tmp_path, [("a", *scan(0))], TINY.classes)
    (tmp_path / "labelsTr" / "a.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match="imagesTr/a.nii.gz has no labelsTr/a.nii.gz"):
        train(tmp_path, tmp_path / "run", TINY)
    assert read_nifti(tmp_path / "imagesTr" / "a.nii.gz").shape == (8, 16, 14)


def test_nodules_of_wanted_diameters_are_drawn(tmp_path):
    shape = ["--shape", "12", "24", "24", "--spacing", "22", "15.5", "15.5"]
    wanted = ["--labels", "nodules", "--nodules", "60", "50"]
    assert main(["phantom", str(tmp_path), "--number", "1", *shape, *wanted]) == 0
    labels = read_nifti(tmp_path / "labelsTr" / "phantom_000.nii.gz").array
    assert set(np.unique(labels)) == {0, 1}
    assert read_classes(tmp_path) == ("background", "nodule ｜ 结节")


def test_the_commands_draw_train_resume_and_predict(tmp_path, capsys):
    scans, run, labels = tmp_path / "scans", tmp_path / "run", tmp_path / "labels.nii.gz"
    shape = ["--shape", "6", "24", "24", "--spacing", "45", "15.5", "15.5"]
    assert main(["phantom", str(scans), "--number", "3", *shape]) == 0
    assert len(list((scans / "imagesTr").iterdir())) == 3
    how = ["base_width=2", "stages=2", "patch=(4,16,16)", "epochs=1", "patches=2", "intensity=lung"]
    how += ["shares=(0.4,0.3,0.3)", "lesions=('left lung ｜ 左肺',)"]
    setting = [part for text in how for part in ("--set", text)]
    setting += ["--tensorboard", str(tmp_path / "curves")]
    assert main(["train", str(scans), "--out", str(run), *setting]) == 0
    assert list((tmp_path / "curves").glob("events*"))
    out = capsys.readouterr().out
    assert "a patient is the name up to its first number" in out
    assert "train: 1 scans of 1 patients: phantom_00" in out
    assert "resampled to 45 x 15.5 x 15.5 mm, the median; intensity: lung\n" in out
    assert "1 epochs of 1 steps; the first tells how long they take\nepoch 1: loss" in out
    resume = ["train", str(scans), "--out", str(run), "--resume"]
    assert main(resume) == 2
    assert "has all its 1 epochs: ask for more than 1" in capsys.readouterr().err
    assert main([*resume, "--set", "epochs=2"]) == 0
    assert "epoch 2: loss" in capsys.readouterr().out
    assert ProjectConfig.load(run / "config.json").epochs == 2
    assert len((run / "history.jsonl").read_text().splitlines()) == 2
    assert main([*resume, "--set", "lr=0.5"]) == 2
    assert "lr was 0.002, is 0.5 now" in capsys.readouterr().err
    scan_path = scans / "imagesTr" / "phantom_000.nii.gz"
    assert main(["predict", str(run), str(scan_path), str(labels)]) == 0
    assert "right lung ｜ 右肺: " in capsys.readouterr().out
    assert read_nifti(labels).same_grid(read_nifti(scan_path))
    scores, results = tmp_path / "scores", tmp_path / "results.json"
    kept = ["--results", str(results), "--entry", "lungs"]
    assert main(["evaluate", str(run), str(scans), str(scores), *kept]) == 0
    out = capsys.readouterr().out
    entry = json.loads(results.read_text(encoding="utf-8"))["lungs"]
    assert entry["command"].startswith("python -m segedu.medical evaluate ")
    assert entry["training"]["command"].startswith("python -m segedu.medical train ")
    assert len(entry["training"]["losses"]) == 2 and entry["training"]["epochs"] == 2
    assert [row["class"] for row in entry["classes"]] == ["right lung ｜ 右肺", "left lung ｜ 左肺"]
    assert "right lung ｜ 右肺: Dice " in out
    assert re.search(r"left lung ｜ 左肺: \d of \d lesions found, ", out)
    written = json.loads((scores / "scores.json").read_text(encoding="utf-8"))["lesions"]
    assert written["classes"][0]["class"] == "left lung ｜ 左肺" and len(written["scans"]) == 1
    assert main(["report", str(scores), str(scans)]) == 0
    assert "Segmentation report" in (scores / "report.html").read_text(encoding="utf-8")
    (run / "best.pt").write_bytes(b"no checkpoint" * 20)
    assert main(["predict", str(run), str(scan_path), str(labels)]) == 2
    assert "best.pt is damaged" in capsys.readouterr().err
    for mistake in (["--set", "colour=1"], ["--set", "lr"]):
        with pytest.raises(SystemExit) if mistake[1] == "lr" else nullcontext():
            assert main(["train", str(scans), "--out", str(tmp_path / "new"), *mistake]) == 2
    assert "colour" in capsys.readouterr().err and not (tmp_path / "new").exists()
