import json
import re
import shutil

import numpy as np
import pytest

from segedu.medical.config import ProjectConfig
from segedu.medical.evaluate import score
from segedu.medical.nifti import read_nifti, write_nifti
from segedu.medical.report import CUT_SHORT, SUBSETS, WARNING, write_report
from segedu.medical.scans import write_decathlon
from segedu.medical.volume import Volume

CLASSES = ("background", "lung <left> ｜ 左肺", "nodule ｜ 结节")
RUN = {
    "subset": "test",
    "model": "nnunet",
    "dimensions": 3,
    "parameters": 12345,
    "trained": "2026-01-02",
    "training_scans": 7,
    "training_patients": 6,
    "spacing": [5.0, 2.0, 2.0],
    "patch": [8, 16, 16],
    "unlike": {"case_1": {"spacing": "5 x 1 x 1 mm [5 x 2 x 2 mm – 5 x 2 x 2 mm]"}},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three scans: a good one, a middling one, and one whose nodule was missed; and their page."""
    root = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    scans = []
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
        write_nifti(found, root / "found" / f"{name}.nii.gz")
    write_decathlon(root / "scans", scans, CLASSES)
    folder = root / "test"
    score(root / "scans" / "labelsTr", root / "found", folder, lesions=CLASSES[2:])
    config = ProjectConfig.load(folder / "config.json").changed(intensity="lung")
    config.save(folder / "config.json")
    change(folder, about=RUN)
    return folder, root / "scans", write_report(folder, root / "scans")


@pytest.fixture
def evaluation(whole, tmp_path):
    """The same to change, without the page."""
    folder, data, page = whole
    shutil.copytree(folder, tmp_path / "test", ignore=shutil.ignore_patterns(page.name))
    shutil.copytree(data, tmp_path / "scans")
    return tmp_path / "test", tmp_path / "scans"


def change(folder, *, about=(), drop=(), cases=lambda case: True):
    """Other scores of the same scans; what is ``about`` may be left out by ``...``."""
    path = folder / "scores.json"
    scores = json.loads(path.read_text(encoding="utf-8"))
    scores["about"] = {k: v for k, v in (scores["about"] | dict(about)).items() if v is not ...}
    scores["cases"] = list(filter(cases, scores["cases"]))
    path.write_text(json.dumps({k: v for k, v in scores.items() if k not in drop}))


def first_only(case):
    """Leaves one scan to draw instead of three, for what does not depend on their number."""
    return case["image"] == "case_0"


def test_the_page_is_whole_and_alone(whole):
    page = whole[-1]
    text = page.read_text(encoding="utf-8")
    assert WARNING in text and "http" not in text and "<script" not in text
    sources = re.findall(r"src='([^']*)'", text)
    # four charts; for each of three scans three planes, with contours and with errors
    assert len(sources) == 22 and all(s.startswith("data:image/png;base64,") for s in sources)
    assert "lung &lt;left&gt; ｜ 左肺" in text and "<left>" not in text
    assert "best ｜ 最好: case_0, Dice 1.000" in text and "worst ｜ 最差: case_2" in text
    assert text.count("<table>") == 8
    failures = text.split("Dice below 0.5, or missed")[1].split("All scans")[0]
    assert "case_2" in failures and "case_0" not in failures and "–" in failures
    assert str(page.parent) not in text


def test_the_page_says_what_it_judged(whole):
    about = whole[-1].read_text(encoding="utf-8").split("What was judged")[1].split("<h2>")[0]
    for said in (
        SUBSETS["test"], "3 / 3", "nnunet, 3-D, 12,345 parameters", "2026-01-02",
        "7 scans of 6 patients", "5 × 2 × 2 mm", "8 × 16 × 16 voxels", "lung: -1350 … 150 HU",
    ):  # fmt: skip
        assert said in about, said
    text = whole[-1].read_text(encoding="utf-8")
    strange = text.split("Scans unlike those of the training")[1].split("<h2>")[0]
    assert "case_1" in strange and "5 x 1 x 1 mm [5 x 2 x 2 mm" in strange
    assert "95th percentile of the distances of both surfaces, pooled" in text


def test_few_patients_get_no_interval_and_missed_scans_are_told(whole):
    text = whole[-1].read_text(encoding="utf-8").split(">Classes<")[1]
    _, lung, nodule = text.split("</table>")[0].split("<tr>")[1:]
    cells = [re.findall(r"'number'>([^<]*)<", row) for row in (lung, nodule)]
    assert [row[:2] + row[3:4] for row in cells] == [["3", "3", "–"]] * 2  # of three patients
    assert [row[-2:] for row in cells] == [["0", "0"], ["1", "0"]]  # missed, spurious


def test_planes_are_named_and_numbered(whole):
    titles = re.findall(r"alt='case_2: ([^']*)'", whole[-1].read_text(encoding="utf-8"))
    assert [title.split(",")[0] for title in titles[::2]] == ["axial", "coronal", "sagittal"]
    assert titles[0].startswith("axial, slice 3 of 6 from the feet ｜ 横断面，自足侧起第 3 层")


@pytest.mark.browser
def test_nothing_is_cut_off(whole, browser):
    """No table at 1280 pixels; on a phone tables scroll by themselves and the page does not."""
    hidden = "all => all.map(e => e.scrollWidth - e.clientWidth)"
    for theme in ("light", "dark"):
        page = browser.new_page(color_scheme=theme, viewport={"width": 1280, "height": 900})
        page.goto(whole[-1].as_uri())
        assert set(page.locator(".wide").evaluate_all(hidden)) == {0}
        page.set_viewport_size({"width": 390, "height": 900})
        assert page.locator("html").evaluate_all(hidden) == [0]
        narrow = page.locator("img").evaluate_all("all => all.map(e => e.clientWidth)")
        assert min(narrow) > 300
        page.close()


def test_scans_of_the_training_and_a_cut_are_warned_of(evaluation):
    folder, data = evaluation
    about = {"subset": "train", "scored": 3, "scans": 5, "unlike": {}}
    change(folder, about=about, cases=first_only)
    text = write_report(folder, data).read_text(encoding="utf-8")
    assert f"<p class='warning'>{SUBSETS['train']}</p>" in text
    assert f"<p class='warning'>{CUT_SHORT}</p>" in text and "3 / 5" in text
    assert "unlike those of the training" not in text


def test_lesions_are_counted_where_there_are_some(whole, evaluation):
    text = whole[-1].read_text(encoding="utf-8")
    table = text.split("病灶</span></h2>")[1].split("</table>")[0]
    # of three nodules two are found; none is predicted where there is none
    numbers = re.findall(r"'number'>([^<]+)<", table)
    assert numbers == ["3", "3", "2", "0.667", "0.094 – 0.992", "0.000"]
    each = text.split("只针对这一个病灶")[1].split("</table>")[0]
    rows = [re.findall(r"'number'>([^<]+)<", row) for row in each.split("<tr>")[2:]]
    assert len(rows) == 3 and [row[-2:] for row in rows].count(["-100.000", "–"]) == 1
    folder, data = evaluation
    change(folder, drop=["lesions"], cases=first_only)
    assert "病灶</span></h2>" not in write_report(folder, data).read_text(encoding="utf-8")


def test_the_same_evaluation_gives_the_same_page(whole, evaluation):
    assert write_report(*evaluation).read_bytes() == whole[-1].read_bytes()


def test_masks_are_shown_without_images(evaluation):
    folder, _ = evaluation
    change(
        folder,
        about={"subset": "masks", "model": ...},
        cases=first_only,
    )
    text = write_report(folder).read_text(encoding="utf-8")
    assert text.count("<img") == 4 + 6 and "none ｜ 无" in text  # one scan, best and worst at once
    assert SUBSETS["masks"] in text and "nnunet" not in text


def test_the_pictures_have_the_window_that_was_asked_for(evaluation):
    folder, data = evaluation
    change(folder, cases=first_only)
    text = write_report(folder, data).read_text(encoding="utf-8")
    assert "Black is -1350 HU, white 150 HU." in text
    text = write_report(folder, data, intensity="soft_tissue").read_text(encoding="utf-8")
    assert "Black is -125 HU, white 225 HU." in text
    assert "lung: -1350 … 150 HU" in text and "soft_tissue" not in text  # what the network saw
    text = write_report(folder, data, intensity="mr").read_text(encoding="utf-8")
    assert "Black is the 1st percentile, white the 99th." in text
    with pytest.raises(ValueError, match="intensity must be"):
        write_report(folder, data, intensity="lungs")


def test_what_is_missing_is_named(evaluation):
    folder, data = evaluation
    with pytest.raises(ValueError, match="failure must be in 0..1, got 2"):
        write_report(folder, data, failure=2)
    image = data / "imagesTr" / "case_0.nii.gz"
    write_nifti(read_nifti(image).crop((0, 0, 0), (5, 24, 20)), image)
    with pytest.raises(ValueError, match="case_0.nii.gz: the image lies on another grid"):
        write_report(folder, data)
    image.unlink()
    with pytest.raises(FileNotFoundError, match="case_0 of the evaluation is not among the images"):
        write_report(folder, data)
    assert not (folder / "report.html").exists()
