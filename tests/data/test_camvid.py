import numpy as np
import pytest
from PIL import Image

from segedu.data.camvid import CLASSES, COLORS, CamVid, recorded_counts
from segedu.data.transforms import evaluation
from tests.real_data import REAL, needs

FOLDER = REAL / "camvid"
needs_real = needs("camvid")


@pytest.fixture
def root(tmp_path):
    """One small picture in SegNet's layout, with all values 0..11."""
    for folder in ("train", "trainannot"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "train" / "0001TP_1.png")
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(values).save(tmp_path / "trainannot" / "0001TP_1.png")
    line = "/SegNet/CamVid/train/0001TP_1.png /SegNet/CamVid/trainannot/0001TP_1.png\n"
    (tmp_path / "train.txt").write_text(line)
    return tmp_path


def test_unlabelled_becomes_ignored(root):
    data = CamVid(root)
    assert data[0]["mask"].flatten().tolist() == [*range(11), 255]
    assert data.num_classes == len(data.classes) == len(data.classes_zh) == len(data.colors) == 11


def test_relative_lists_work_too(root):
    (root / "val.txt").write_text("train/0001TP_1.png trainannot/0001TP_1.png\r\n\r\n")
    assert len(CamVid(root, "val")) == 1


@pytest.mark.parametrize("entry", ["/etc/passwd", "../train/0001TP_1.png", "/SegNet/CamVid/../x"])
def test_paths_out_of_the_data_set_are_refused(root, entry):
    (root / "val.txt").write_text(f"{entry} trainannot/0001TP_1.png\n")
    with pytest.raises(ValueError, match="val.txt: the path .* leads out"):
        CamVid(root, "val")


def test_errors_name_what_is_wrong(root):
    with pytest.raises(ValueError, match="split must be one of train, val, test; got 'trainval'"):
        CamVid(root, "trainval")
    with pytest.raises(FileNotFoundError, match="test.txt: no such file"):
        CamVid(root, "test")
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        CamVid(root / "nowhere")
    (root / "val.txt").write_text("only/one.png\n")
    with pytest.raises(ValueError, match="val.txt: expected two paths"):
        CamVid(root, "val")
    (root / "val.txt").write_text("train/none.png trainannot/0001TP_1.png\n")
    with pytest.raises(FileNotFoundError, match="none.png: no such file"):
        CamVid(root, "val")


def test_void_of_other_data_sets_is_refused(root):
    path = root / "trainannot" / "0001TP_1.png"
    Image.fromarray(np.full((3, 4), 255, dtype=np.uint8)).save(path)
    with pytest.raises(
        ValueError, match=r"0001TP_1.png: holds the value 255 .*allowed are 0\.\.11"
    ):
        CamVid(root)[0]


@needs_real
@pytest.mark.parametrize(
    ("version", "size"), [("CamVid", (360, 480)), ("CamVid_240x180", (180, 240))]
)
def test_real_files(version, size):
    counts = {split: len(CamVid(FOLDER / version, split)) for split in ("train", "val", "test")}
    full = {"train": 367, "val": 101, "test": 205}
    assert counts == (full if version.endswith("180") else {"train": 40, "val": 12, "test": 20})
    data = CamVid(FOLDER / version, "val")
    for index in (0, len(data) - 1):
        sample = data[index]
        assert sample["image"].shape == (3, *size)
        assert sample["mask"].shape == size
        assert set(sample["mask"].unique().tolist()) <= {*range(11), 255}


@needs_real
def test_colors_are_those_of_the_published_palette():
    palette = Image.open(FOLDER / "camvid11_palette.png").convert("RGB")
    assert np.array(palette).reshape(-1, 3)[: len(CLASSES)].tolist() == [list(c) for c in COLORS]


def test_recorded_counts_are_counts_of_the_same_images():
    recorded = recorded_counts()
    assert [*recorded["images"]] == [*recorded["sums"]] == ["plain", "weighted"]
    truths = []
    for name, counts in recorded["images"].items():
        right, in_truth, in_prediction = counts.unbind(1)
        assert counts.shape == (205, 3, len(CLASSES))
        assert ((right <= in_truth) & (right <= in_prediction)).all()
        assert (in_truth.sum(1) == in_prediction.sum(1)).all()  # every pixel is called something
        assert counts.sum(0).equal(recorded["sums"][name][0])
        truths += [in_truth.sum(0), *recorded["sums"][name][:, 1]]
    assert all(truth.equal(truths[0]) for truth in truths)


@needs_real
def test_recorded_counts_are_those_of_the_test_images():
    data = CamVid(FOLDER / "CamVid_240x180", "test", transforms=evaluation((90, 120)))
    for index in (0, len(data) - 1):
        pixels = np.bincount(data[index]["mask"].flatten(), minlength=256)[: len(CLASSES)]
        assert recorded_counts()["images"]["plain"][index, 1].tolist() == pixels.tolist()
