import json
import re
import shutil

import numpy as np
import pytest

from segedu.medical.config import ProjectConfig
from segedu.medical.evaluate import compare, compare_lesions
from segedu.medical.nifti import write_nifti
from segedu.medical.report import WARNING, write_report
from segedu.medical.scans import write_decathlon
from segedu.medical.volume import Volume
from segedu.report import Report

CLASSES = ("background", "lung <left> ｜ 左肺", "nodule ｜ 结节")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three scans: a good one, a middling one, and one whose nodule was missed; and their page."""
    tmp_path = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    scans, cases, lesions = [], [], []
    folder, data = tmp_path / "test", tmp_path / "scans"
    (folder / "predictions").mkdir(parents=True)
    for shift, name in enumerate(("case_0", "case_1", "case_2")):
        truth = np.zeros((6, 24, 20), np.uint8)
        truth[1:5, 4:16, 4:16] = 1
        truth[2, 8:11, 8:11] = 2
        found = np.roll(truth, 2 * shift, axis=1)
        if shift == 2:
            found[found == 2] = 1
        image = (truth * 500.0 - 900 + rng.normal(0, 30, truth.shape)).astype(np.float32)
        image, truth, found = (Volume(a, (5.0, 2.0, 2.0)) for a in (image, truth, found))
        scans.append((name, image, truth))
        write_nifti(found, folder / "predictions" / f"{name}.nii.gz")
        cases += compare(name, found, truth, 3)
        lesions += compare_lesions(name, found, truth, [2])
    write_decathlon(data, scans, CLASSES)
    scores = json.loads(Report({"cases": cases}, CLASSES).to_json())
    (folder / "scores.json").write_text(json.dumps(scores | {"lesions": {"scans": lesions}}))
    config = ProjectConfig(classes=CLASSES, lesions=CLASSES[2:], intensity="lung")
    config.save(folder / "config.json")
    return folder, data, write_report(folder, data)


@pytest.fixture
def evaluation(whole, tmp_path):
    """The same to change, without the page."""
    folder, data, page = whole
    shutil.copytree(folder, tmp_path / "test", ignore=shutil.ignore_patterns(page.name))
    shutil.copytree(data, tmp_path / "scans")
    return tmp_path / "test", tmp_path / "scans"


def test_the_page_is_whole_and_alone(whole):
    page = whole[-1]
    text = page.read_text(encoding="utf-8")
    assert WARNING in text and "http" not in text and "<script" not in text
    sources = re.findall(r"src='([^']*)'", text)
    assert len(sources) == 7 and all(s.startswith("data:image/png;base64,") for s in sources)
    assert "lung &lt;left&gt; ｜ 左肺" in text and "<left>" not in text
    assert "best ｜ 最好: case_0, Dice 1.000" in text and "worst ｜ 最差: case_2" in text
    assert text.count("<table>") == 5
    failures = text.split("Dice below 0.5, or missed")[1].split("All scans")[0]
    assert "case_2" in failures and "case_0" not in failures and "–" in failures
    assert str(page.parent) not in text


def test_lesions_are_counted_where_there_are_some(whole, evaluation):
    text = whole[-1].read_text(encoding="utf-8")
    table = text.split("病灶</span></h2>")[1].split("</table>")[0]
    # of three nodules two are found; none is predicted where there is none
    assert re.findall(r"'number'>([\d.]+)<", table) == ["3", "3", "2", "0.667", "0.000"]
    folder, data = evaluation
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    del scores["lesions"]
    (folder / "scores.json").write_text(json.dumps(scores))
    assert "病灶</span></h2>" not in write_report(folder, data).read_text(encoding="utf-8")


def test_the_same_evaluation_gives_the_same_page(whole, evaluation):
    assert write_report(*evaluation).read_bytes() == whole[-1].read_bytes()


def test_one_scan_is_best_and_worst_at_once(evaluation):
    folder, data = evaluation
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    scores["cases"] = [case for case in scores["cases"] if case["image"] == "case_0"]
    (folder / "scores.json").write_text(json.dumps(scores))
    text = write_report(folder, data).read_text(encoding="utf-8")
    assert text.count("<img") == 5 and "none ｜ 无" in text


def test_what_is_missing_is_named(evaluation):
    folder, data = evaluation
    with pytest.raises(ValueError, match="failure must be in 0..1, got 2"):
        write_report(folder, data, failure=2)
    (data / "imagesTr" / "case_0.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match="case_0 of the evaluation is not among the data"):
        write_report(folder, data)
    assert not (folder / "report.html").exists()
