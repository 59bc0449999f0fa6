"""Every layout trains on real images: a few of each set, for one epoch, with tiny networks."""

import shutil

import pytest
from PIL import Image

from segedu.cli import main
from segedu.data import camvid, voc
from segedu.files import read_json, write_json
from tests.cli.own_data import narrow
from tests.real_data import REAL

pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="needs SEGEDU_DATA")

UNET = ["--set", "base_width=2", "--set", "depth=2"]
SMALL = ["--image-size", "64", "64", "--crop", "48", "48", "--batch-size", "2", "--epochs", "1"]


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")


def trains(out, layout, root, *options, pictures=""):
    """Train, judge and predict without an error; the last two need no more than the checkpoint."""
    command = ["train", "--layout", layout, "--data", str(root), *SMALL, "--out", str(out)]
    assert main([*command, *options]) == 0
    checkpoint = ["--checkpoint", str(out / "best.pt")]
    assert main(["evaluate", *checkpoint, "--draws", "2"]) == 0
    if pictures:
        assert (
            main(["predict", str(root / pictures), *checkpoint, "--out", str(out / "found")]) == 0
        )
        sizes = {name: file.size for name, file in shown(out / "found" / "mask")}
        assert sizes and sizes == {name: file.size for name, file in shown(out / "found/overlay")}


def shown(folder):
    for file in sorted(folder.rglob("*.png")):
        with Image.open(file) as image:
            yield file.relative_to(folder), image


def few(source, target, count=4):
    """The first images of a folder, in another folder."""
    target.mkdir(parents=True)
    for file in sorted(source.iterdir())[:count]:
        copy = shutil.copytree if file.is_dir() else shutil.copy
        copy(file, target / file.name)


def coco_subset(root):
    """Four images of COCO, with their text files."""
    for part, ending in (("images", ".jpg"), ("labels", ".txt")):
        (root / part).mkdir(parents=True)
        labels = sorted((REAL / "coco128_seg" / "labels" / "train2017").glob("*.txt"))[:4]
        for label in labels:
            file = REAL / "coco128_seg" / part / "train2017" / f"{label.stem}{ending}"
            shutil.copy(file, root / part / file.name)
    return root


def test_camvid_as_folders(tmp_path):
    frames = REAL / "camvid" / "CamVid_240x180"
    few(frames / "train", tmp_path / "data" / "images")
    few(frames / "trainannot", tmp_path / "data" / "masks")
    classes = [*(f"{name}={i}" for i, name in enumerate(camvid.CLASSES)), "void=11"]
    options = ["--classes", *classes, "--val-split", "0.25", *UNET]
    trains(tmp_path / "run", "folders", tmp_path / "data", *options)


def test_voc_with_own_names(tmp_path):
    names = ["ground", *(f"thing {i}" for i in range(1, 21))]
    trains(tmp_path / "run", "voc", REAL / "voc_layout", "--classes", *names, *UNET)


def test_isbi_as_black_and_white_masks(tmp_path):
    source = REAL / "isbi2012_em" / "membrane" / "train"
    few(source / "image", tmp_path / "data" / "image")
    few(source / "label", tmp_path / "data" / "label")
    options = ["--image-folder", "image", "--mask-folder", "label", "--masks", "binary"]
    options += ["--classes", "membrane", "cell", "--channels", "1", "--val-split", "0.25"]
    trains(tmp_path / "run", "folders", tmp_path / "data", *options, *UNET, pictures="image")


@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("mask_rcnn_tiny", "instance"),
        ("panoptic_deeplab_tiny", "panoptic"),
        ("unet", "semantic"),
    ],
)
def test_nuclei_as_one_png_per_object(model, task, tmp_path):
    few(REAL / "dsb2018_nuclei" / "stage1_train", tmp_path / "data" / "stage1")
    options = ["--task", task, "--val-split", "0.25"]
    own = ["--model", model, *UNET] if model == "unet" else narrow(model)
    pictures = "stage1/*/images/*.png"  # RGBA
    trains(tmp_path / "run", "objects", tmp_path / "data", *options, *own, pictures=pictures)


def test_coco_as_coco(tmp_path):
    source, root = REAL / "coco128_seg", tmp_path / "data"
    few(source / "images" / "train2017", root / "train2017", 8)
    content = read_json(source / "annotations_derived" / "instances_train2017_from_yolo.json")
    kept = [i for i in content["images"] if (root / "train2017" / i["file_name"]).exists()]
    assert len(kept) == 8
    ids = {image["id"] for image in kept}
    found = [entry for entry in content["annotations"] if entry["image_id"] in ids]
    write_json(root / "few.json", content | {"images": kept, "annotations": found})
    options = ["--images", "train2017", "--annotations", "few.json", "--val-split", "0.5"]
    options += ["--val-every-image", "2", *narrow("mask_rcnn_tiny")]
    pictures = "train2017/0000000000[37]*.jpg"
    trains(tmp_path / "run", "coco", root, *options, pictures=pictures)


def test_coco_panoptic(tmp_path):
    options = ["--images", "input_images", "--annotations", "panoptic_examples.json"]
    options += ["--segments", "panoptic_examples", "--val-split", "2"]
    options += [*narrow("panoptic_deeplab_tiny"), "--batch-size", "1"]
    root = REAL / "coco_panoptic_sample" / "sample_data"
    trains(tmp_path / "run", "coco-panoptic", root, *options, pictures="input_images")


def test_cityscapes(tmp_path):
    root = REAL / "cityscapes_layout_from_camvid"
    trains(tmp_path / "run", "cityscapes", root, *UNET, pictures="leftImg8bit/val")


@pytest.mark.parametrize(
    ("model", "task"), [("yolact_tiny", "instance"), ("panoptic_fpn_tiny", "panoptic")]
)
def test_coco_as_yolo_text(model, task, tmp_path):
    names = [f"class {i}" for i in range(80)]
    options = [*narrow(model), "--task", task, "--classes", *names, "--val-split", "0.25"]
    trains(tmp_path / "run", "yolo", coco_subset(tmp_path / "data"), *options)


def test_labelme(tmp_path):
    source = REAL / "voc_layout" / "labelme_raw"
    folder = next(file.parent for file in source.rglob("*.json"))
    names = ["bottle", "bus", "car", "chair", "person", "sofa"]
    options = [*narrow("mask_rcnn_tiny"), "--classes", *names, "--val-split", "0.3"]
    trains(tmp_path / "run", "labelme", folder, *options)


def test_masks_of_a_network_against_the_truth(tmp_path):
    """Real predictions in the colours of VOC: the IoU that was measured elsewhere."""
    pairs = REAL / "voc_colour_pairs"
    for kind, folder in (("pred", "pred"), ("target", "truth")):
        (tmp_path / folder).mkdir()
        for file in pairs.glob(f"*_{kind}.png"):
            shutil.copy(file, tmp_path / folder / f"{file.name.split('_')[0]}.png")
    colors = voc.colormap(21)
    rows = [f"{n} {r} {g} {b}" for n, (r, g, b) in zip(voc.CLASSES, colors, strict=True)]
    command = ["evaluate", "--pred", str(tmp_path / "pred"), "--truth", str(tmp_path / "truth")]
    command += ["--masks", "color", "--classes", *rows, "void 224 224 192", "--draws", "2"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    found = read_json(tmp_path / "out" / "scores.json")
    expected = read_json(pairs / "expected_miou.json")
    assert found["scalars"]["pixel_accuracy"] == pytest.approx(expected["pixel_acc"], abs=1e-9)
    for label, iou in expected["iou"].items():
        assert found["classes"][int(label)]["iou"] == pytest.approx(iou, abs=1e-9)
