import json
import math
import shutil

import numpy as np
import pytest

from segedu.medical.__main__ import main
from segedu.medical.config import ProjectConfig
from segedu.medical.evaluate import evaluate, pool, read_scores, score
from segedu.medical.nifti import read_nifti, write_nifti
from segedu.medical.project import Predictor, train
from segedu.medical.scans import write_decathlon
from segedu.medical.volume import Volume

TINY = ProjectConfig(
    base_width=2, stages=2, patch=(4, 8, 8), epochs=1, patches=2, shares=(0.5, 0.25, 0.25)
)


def scan(seed):
    """A bright block in noise."""
    mask = np.zeros((6, 12, 10), np.uint8)
    mask[2:4, 3:8, 3:7] = 1
    noise = np.random.default_rng(seed).normal(50, 8, mask.shape)
    image = Volume((100 * mask + noise).astype(np.float32), (2.0, 1.0, 1.5))
    return image, image.with_array(mask)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Eight scans of four patients, and a run that was trained on one of these."""
    root = tmp_path_factory.mktemp("evaluate")
    cases = [(f"p{number // 2}_scan{number % 2}", *scan(number)) for number in range(8)]
    write_decathlon(root / "scans", cases, TINY.classes)
    train(root / "scans", root / "run", TINY, device="cpu")
    return root / "run", root / "scans"


def spoil(folder, name):
    """Give a scan a label that the project does not have."""
    path = folder / "labelsTr" / f"{name}.nii.gz"
    mask = read_nifti(path)
    write_nifti(mask.with_array(mask.array * 7), path)


def test_an_evaluation_says_what_it_judged(trained, tmp_path):
    run, scans = trained
    result = evaluate(run, scans, tmp_path / "test", device="cpu")
    cases, lesions, about = read_scores(tmp_path / "test")
    names = json.loads((run / "split.json").read_text())["test"]
    assert [case["image"] for case in cases] == names and lesions == []
    assert about == result["about"]
    wanted = {"subset": "test", "scans": 2, "scored": 2, "model": "nnunet", "intensity": ["mr"]}
    wanted |= {"training_scans": 2, "training_patients": 1, "spacing": [2.0, 1.0, 1.5]}
    assert wanted == {key: about[key] for key in wanted}
    assert "pooled" in about["hd95"] and about["date"]
    for folder in ("truth", "predictions"):
        files = sorted(path.name for path in (tmp_path / "test" / folder).iterdir())
        assert files == [f"{name}.nii.gz" for name in names]
    assert evaluate(run, scans, tmp_path / "train", subset="train")["about"]["subset"] == "train"


def test_a_bad_label_is_found_before_anything_is_predicted(trained, tmp_path, monkeypatch):
    run, scans = trained
    shutil.copytree(scans, tmp_path / "scans")
    spoil(tmp_path / "scans", json.loads((run / "split.json").read_text())["test"][-1])
    monkeypatch.setattr(Predictor, "segment", lambda *_: pytest.fail("predicted"))
    with pytest.raises(ValueError, match=r"holds the labels \[0, 7\]"):
        evaluate(run, tmp_path / "scans", tmp_path / "test", device="cpu")
    assert not (tmp_path / "test").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_was_scored_is_kept(trained, tmp_path, monkeypatch, error):
    run, scans = trained
    segment, seen = Predictor.segment, []

    def fails_at_the_second(self, image):
        seen.append(image)
        if len(seen) == 2:
            raise error
        return segment(self, image)

    monkeypatch.setattr(Predictor, "segment", fails_at_the_second)
    with pytest.raises(error):
        evaluate(run, scans, tmp_path / "test", device="cpu")
    cases, _, about = read_scores(tmp_path / "test")
    assert len({case["image"] for case in cases}) == about["scored"] == 1 and about["scans"] == 2


def test_new_scans_are_judged_and_strange_ones_named(trained, tmp_path, capsys):
    run, scans = trained
    with pytest.raises(ValueError, match="every scan of the folder is in the split"):
        evaluate(run, scans, tmp_path / "new", subset="new", device="cpu")
    image, truth = scan(20)
    coarse = truth.resample((2.0, 2.0, 3.0), labels=True)
    cases = [("q1", image, truth), ("q2", image.resample_to(coarse), coarse)]
    write_decathlon(tmp_path / "scans", cases, TINY.classes)
    result = evaluate(run, tmp_path / "scans", tmp_path / "new", subset="new", device="cpu")
    assert [case["image"] for case in result["cases"]] == ["q1", "q2"]
    assert result["about"]["unlike"].keys() == {"q2"}
    strange = tmp_path / "scans" / "imagesTr" / "q2.nii.gz"
    assert main(["predict", str(run), str(strange), str(tmp_path / "q2.nii.gz")]) == 0
    warning = capsys.readouterr().err
    assert warning.startswith("segedu.medical: warning: the scan is unlike those of the training")
    assert "spacing 2 x 2 x 3 mm [2 x 1 x 1.5" in warning and warning.count("\n") == 1
    write_decathlon(tmp_path / "more", [("p1_scan7", image, truth)], TINY.classes)
    with pytest.raises(ValueError, match="p1 took part in the run"):
        evaluate(run, tmp_path / "more", tmp_path / "more", subset="new", device="cpu")


def test_unknown_and_empty_subsets_are_refused(trained, tmp_path):
    run, scans = trained
    with pytest.raises(ValueError, match="subset must be one of .* got 'all'"):
        evaluate(run, scans, tmp_path, subset="all")
    shutil.copytree(run, tmp_path / "run")
    split = json.loads((run / "split.json").read_text()) | {"test": []}
    (tmp_path / "run" / "split.json").write_text(json.dumps(split))
    with pytest.raises(ValueError, match="the run has no test scans; choose val"):
        evaluate(tmp_path / "run", scans, tmp_path / "test")
    split["test"] = ["gone"]
    (tmp_path / "run" / "split.json").write_text(json.dumps(split))
    with pytest.raises(FileNotFoundError, match="that are not there: gone"):
        evaluate(tmp_path / "run", scans, tmp_path / "test")


def test_folds_are_pooled_so_that_every_patient_is_judged_once(trained, tmp_path):
    run, scans = trained
    folds = [tmp_path / f"fold{k}" for k in range(2)]
    names = ["p0_scan0", "p0_scan1"], ["p1_scan0", "p3_scan1"]
    for fold, tested in zip(folds, names, strict=True):
        shutil.copytree(run, fold)
        split = {"train": ["p2_scan0"], "val": ["p2_scan1"], "test": tested}
        (fold / "split.json").write_text(json.dumps(split))
        evaluate(fold, scans, fold / "test", subset="val", device="cpu")  # leaves other masks there
        evaluate(fold, scans, fold / "test", device="cpu")
    tests = [fold / "test" for fold in folds]
    assert main(["pool", str(tmp_path / "all"), *map(str, tests)]) == 0
    cases, _, about = read_scores(tmp_path / "all")
    assert cases == read_scores(tests[0])[0] + read_scores(tests[1])[0]
    assert (about["subset"], about["runs"], about["scored"]) == ("folds", 2, 4)
    with pytest.raises(ValueError, match="judges p0_scan0, which another evaluation has"):
        pool([tests[0], tests[0]], tmp_path / "twice")
    evaluate(folds[0], scans, tmp_path / "val", subset="val", device="cpu")
    with pytest.raises(ValueError, match="must be an evaluation of all test scans"):
        pool([tests[0], tmp_path / "val"], tmp_path / "mixed")
    other = ProjectConfig(classes=("background", "spleen"))
    other.save(tests[1] / "config.json")
    with pytest.raises(ValueError, match="judges other classes than"):
        pool(tests, tmp_path / "other")


@pytest.fixture
def masks(tmp_path):
    """Two folders: equal masks of ``a``, stored in two directions, and half of ``b``."""
    truth = scan(0)[1]
    half = truth.array.copy()
    half[3] = 0
    for name, found in (("a", truth.reorient("LIP")), ("b", truth.with_array(half))):
        write_nifti(truth, tmp_path / "truth" / f"{name}.nii.gz")
        write_nifti(found, tmp_path / "found" / f"{name}.nii.gz")
    return tmp_path / "truth", tmp_path / "found"


def test_two_folders_of_masks_are_compared(masks, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["score", *map(str, masks), str(out), "--classes", "background", "liver"]) == 0
    text = capsys.readouterr().out
    assert "a: Dice 1.000\nb: Dice 0.667\nliver: Dice 0.833 (no interval: 2 patients)" in text
    cases, _, about = read_scores(out)
    assert [case["dice"] for case in cases] == pytest.approx([1, 2 / 3])
    assert (
        about["subset"] == "masks" and ProjectConfig.load(out / "config.json").classes[1] == "liver"
    )
    assert main(["report", str(out)]) == 0
    one = score(masks[0] / "b.nii.gz", masks[1] / "b.nii.gz", tmp_path / "one", lesions=["label 1"])
    assert one["lesions"][1]["hits"] == 1 and one["mean_dice"] == pytest.approx(2 / 3)
    (masks[0] / "dataset.json").write_text('{"labels": {"background": 0, "spleen": 1}}')
    with pytest.warns(UserWarning, match="dataset.json"):
        score(*masks, tmp_path / "named")
    assert ProjectConfig.load(tmp_path / "named" / "config.json").classes[1] == "spleen"


def test_masks_that_do_not_fit_are_refused(masks, tmp_path):
    truth, found = masks
    with pytest.raises(ValueError, match="labels up to 1, but names of 1 classes"):
        score(truth, found, tmp_path / "out", classes=["background"])
    with pytest.raises(ValueError, match="does not say whose the scan 'a' is"):
        score(truth, found, tmp_path / "out", patient="[0-9]+")
    shutil.copy(found / "b.nii.gz", found / "c.nii.gz")
    with pytest.warns(UserWarning, match="1 predictions have no truth and are not scored: c"):
        score(truth, found, tmp_path / "extra")
    (found / "c.nii.gz").unlink()
    mask = read_nifti(found / "b.nii.gz")
    write_nifti(mask.with_array(mask.array * 0.5), found / "b.nii.gz")
    with pytest.raises(ValueError, match="b.nii.gz holds no labels"):
        score(truth, found, tmp_path / "out")
    write_nifti(mask.crop((0, 0, 0), (5, 12, 10)), found / "b.nii.gz")
    with pytest.raises(ValueError, match="b.nii.gz: prediction and truth lie on different grids"):
        score(truth, found, tmp_path / "out")
    (found / "b.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match="no prediction for 1 of 2 scans: b"):
        score(truth, found, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no .nii or .nii.gz in"):
        score(tmp_path / "nowhere", found, tmp_path / "out")
    empty = mask.with_array(np.zeros_like(mask.array))
    write_nifti(empty, tmp_path / "empty.nii.gz")
    with pytest.raises(ValueError, match="there is nothing to score"):
        score(tmp_path / "empty.nii.gz", tmp_path / "empty.nii.gz", tmp_path / "out")
    assert not (tmp_path / "out" / "scores.json").exists()


def test_scores_come_back_from_the_file(tmp_path):
    row = {"image": "a", "class": 1, "dice": 0.0, "hd95": None}
    (tmp_path / "scores.json").write_text(json.dumps({"cases": [row], "about": {"scans": 1}}))
    assert read_scores(tmp_path) == ([row | {"hd95": math.inf}], [], {"scans": 1})
    old = '{"cases": [], "about": {}, "lesions": {"scans": [{"hits": 1}]}}'
    for text in ("{}", '{"cases": 3}', '{"cases": [3]}', '{"cases": [], "lesions": 1}', old):
        (tmp_path / "scores.json").write_text(text)
        with pytest.raises(ValueError, match="holds no scores"):
            read_scores(tmp_path)
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(ValueError, match="scores.json: not a readable JSON file"):
        read_scores(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_scores(tmp_path / "elsewhere")
