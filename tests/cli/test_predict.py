"""``predict``: what it takes, what it writes, what it refuses."""

import json
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from segedu.cli import main
from segedu.data import transforms
from segedu.engine import load_checkpoint, save_checkpoint
from segedu.models import get_model
from segedu.ops import rle
from tests.engine.largest_tensor import LargestTensor

CLASSES = ["ground", "bush", "tree"]
COLORS = [[0, 0, 0], [0, 200, 0], [0, 0, 250]]


def checkpoint(folder, name="unet", *, num_classes=3, config=None, **settings):
    """A checkpoint as a training leaves it, of an untrained network."""
    torch.manual_seed(0)
    if name == "unet":
        settings = {"base_width": 2, "depth": 2} | settings
    model = get_model(name, num_classes, **settings)
    about = {"classes": CLASSES, "colors": COLORS} | (config or {})
    state = {"model": model.state_dict(), "network": model.built_as, "config": about, "history": []}
    save_checkpoint(folder / "best.pt", state)
    return model.eval()


def picture(folder, name, size=(30, 22), mode="RGB", **saving):
    """A file with a picture (width, height) whose colours depend on the place and the name."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    bands = [(x * 7 + y * 3 * k + 40 * k + len(name)) % 256 for k in range(1, 5)]
    array = np.stack(bands, axis=-1).astype(np.uint8)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array, "RGBA").convert(mode)
    image.save(folder / name, **saving)
    return np.asarray(image)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The working folder, with a checkpoint."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(*arguments, status=0):
    command = ["predict", *arguments, "--checkpoint", "best.pt", "--out", "out"]
    assert main(command) == status


def refused(capsys, *arguments):
    capsys.readouterr()
    predict(*arguments, status=2)
    text = capsys.readouterr().err
    assert text.startswith("segedu: error: ") and text.count("\n") == 1, text
    return text


def written(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def labels_of(model, array):
    sample = transforms.evaluation()({"image": torch.from_numpy(array.copy()).permute(2, 0, 1)})
    with torch.no_grad():
        return model(sample["image"][None])[0].argmax(0).numpy()


def test_a_file_becomes_an_overlay_and_a_mask_of_class_indices(work, capsys):
    model = checkpoint(work)
    array = picture(work, "street.png")
    predict("street.png")
    assert written(work / "out") == ["mask/street.png", "overlay/street.png"]
    with Image.open(work / "out" / "mask" / "street.png") as mask:
        assert mask.mode == "P" and mask.getpalette()[3:6] == COLORS[1]
        assert np.array_equal(np.asarray(mask), labels_of(model, array))
    with Image.open(work / "out" / "overlay" / "street.png") as drawn:
        assert (drawn.mode, drawn.size) == ("RGB", (30, 22))
    text = capsys.readouterr().out
    assert text.startswith("street: ") and "1 segmented" in text and "%" in text


def test_a_folder_keeps_its_names_and_its_folders(work, capsys):
    checkpoint(work)
    for name in ("in/a.png", "in/b/a.JPG", "in/b/c.bmp"):
        picture(work, name)
    (work / "in" / "notes.txt").write_text("x")
    (work / "in" / ".hidden.png").write_text("x")
    predict("in", "--save", "mask")
    assert written(work / "out") == ["mask/a.png", "mask/b/a.png", "mask/b/c.png"]
    assert "1 other files were left out" in capsys.readouterr().out


def test_linked_folders_are_entered_and_links_in_a_circle_are_not(work):
    checkpoint(work)
    picture(work, "elsewhere/a.png")
    (work / "in").mkdir()
    (work / "in" / "linked").symlink_to(work / "elsewhere")
    (work / "elsewhere" / "back").symlink_to(work / "in")
    predict("in", "--save", "mask")
    assert written(work / "out") == ["mask/linked/a.png"]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("1/images/a.png", "1/masks/b.png"),  # objects
        ("images/a.png", "masks/a.png"),  # folders
        ("VOC2012/JPEGImages/a.jpg", "VOC2012/SegmentationClass/a.png"),
        ("PNGImages/a.png", "PedMasks/a_mask.png"),
        ("leftImg8bit/val/b/a.png", "gtFine/val/b/a.png"),
        ("train/a.png", "trainannot/a.png"),
        ("val2017/a.jpg", "annotations/panoptic_val2017/a.png"),
    ],
)
def test_the_images_of_a_data_set_and_not_its_masks(image, label, work, capsys):
    checkpoint(work)
    for name in (image, label):
        picture(work, f"in/{name}")
    predict("in", "--save", "mask")
    assert written(work / "out") == [f"mask/{Path(image).with_suffix('.png')}"]
    assert "1 masks were left out" in capsys.readouterr().out
    folder = Path("in", label).parent
    predict(str(folder), "--save", "mask", "--force")  # named by itself, it is a folder of images
    assert (work / "out" / "mask" / Path(label).name).exists()
    Path("in", image).unlink()
    assert "in: only labels there, 1 pictures" in refused(capsys, "in")


def test_a_pattern(work):
    checkpoint(work)
    for name in ("in/a.png", "in/b/a.jpg", "in/b/c.png"):
        picture(work, name)
    predict("in/**/*.png", "--save", "mask")
    assert written(work / "out") == ["mask/a.png", "mask/b/c.png"]


def test_each_page_of_a_tiff(work):
    model = checkpoint(work)
    pages = [picture(work, "one.png"), picture(work, "other one.png")]
    first, second = (Image.fromarray(page) for page in pages)
    first.save(work / "pages.tif", save_all=True, append_images=[second])
    predict("pages.tif", "--save", "mask")
    assert written(work / "out") == ["mask/pages_page1.png", "mask/pages_page2.png"]
    for number, page in enumerate(pages, start=1):
        with Image.open(work / "out" / "mask" / f"pages_page{number}.png") as mask:
            assert np.array_equal(np.asarray(mask), labels_of(model, page))


def test_the_frames_of_a_video(work):
    av = pytest.importorskip("av")
    checkpoint(work)
    with av.open(str(work / "clip.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuvj420p"
        for level in (40, 120, 200):
            frame = av.VideoFrame.from_ndarray(np.full((24, 32, 3), level, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    predict("clip.avi", "--save", "overlay")
    names = [f"overlay/clip_frame{n:06d}.png" for n in (1, 2, 3)]
    assert written(work / "out") == names
    with Image.open(work / "out" / names[2]) as last:
        assert last.size == (32, 24)


def test_a_video_needs_the_extra(work, monkeypatch, capsys):
    checkpoint(work)
    (work / "clip.mp4").write_bytes(b"0")
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    assert "pip install 'segedu[video]'" in refused(capsys, "clip.mp4")


def test_nothing_is_overwritten_without_force(work, capsys):
    checkpoint(work)
    picture(work, "in/a.png")
    picture(work, "in/b.png")
    predict("in/b.png")
    before = {name: (work / "out" / name).read_bytes() for name in written(work / "out")}
    assert "b.png is there already: --force replaces it" in refused(capsys, "in")
    assert {n: (work / "out" / n).read_bytes() for n in written(work / "out")} == before
    predict("in", "--force")
    assert len(written(work / "out")) == 4


def test_a_size_that_no_picture_has_is_refused(work, capsys):
    checkpoint(work)
    picture(work, "a.png")
    text = refused(capsys, "a.png", "--image-size", "0", "64")
    assert "--image-size must be positive, got [0, 64]" in text


def test_unreadable_files_are_counted_and_change_the_exit_status(work, capsys):
    checkpoint(work)
    picture(work, "in/a.png")
    (work / "in" / "broken.png").write_bytes(b"no picture")
    predict("in", status=1)
    assert written(work / "out") == ["mask/a.png", "overlay/a.png"]
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and "1 of 2 files failed" in text and "broken.png" in text
    shutil.rmtree(work / "out")
    assert "not a readable image" in refused(capsys, "in/broken.png")


def test_windows_probabilities_and_the_whole_image_agree(work):
    """A network of single pixels sees the same in windows, in mirror images, or at once."""
    checkpoint(work, "unet", num_classes=3)
    array = picture(work, "a.png", (70, 50))
    predict("a.png", "--save", "probabilities")
    whole = np.load(work / "out" / "probabilities" / "a.npz")["probabilities"]
    assert whole.shape == (50, 70, 3) and whole.dtype == np.float16
    assert np.allclose(whole.astype(float).sum(-1), 1, atol=2e-3)
    predict("a.png", "--save", "probabilities", "mask", "--window", "32", "--tta", "--force")
    parts = np.load(work / "out" / "probabilities" / "a.npz")["probabilities"]
    assert parts.shape == whole.shape and not np.array_equal(parts, whole)
    mask = np.asarray(Image.open(work / "out" / "mask" / "a.png"))
    sorted_ = np.sort(parts.astype(float), axis=-1)
    clear = sorted_[..., -1] - sorted_[..., -2] > 1e-3  # half precision rounds
    assert np.array_equal(mask[clear], parts.argmax(-1)[clear]) and array.shape[:2] == mask.shape


def test_pictures_are_turned_as_the_camera_says(work):
    checkpoint(work)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture(work, "lying.jpg", exif=exif)
    predict("lying.jpg")
    for what in ("mask", "overlay"):
        with Image.open(work / "out" / what / "lying.png") as image:
            assert image.size == (22, 30)


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
def test_other_modes_reach_a_network_of_colours(work, mode):
    model = checkpoint(work)
    if mode == "I;16":
        deep = np.arange(22 * 30, dtype=np.uint16).reshape(22, 30) * 99
        Image.fromarray(deep).save(work / "a.png")
        array = np.repeat(np.rint(deep / 257).astype(np.uint8)[..., None], 3, axis=2)
    else:
        array = picture(work, "a.png", mode=mode)
        array = array[..., :3] if mode == "RGBA" else np.repeat(array[..., None], 3, axis=2)
    predict("a.png", "--save", "mask")
    with Image.open(work / "out" / "mask" / "a.png") as mask:
        assert np.mean(np.asarray(mask) == labels_of(model, array)) > 0.99


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (4, "RGBA")])
def test_the_checkpoint_says_how_many_channels(work, capsys, channels, mode):
    statistics = {"mean": [0.5] * channels, "std": [0.25] * channels}
    checkpoint(work, in_channels=channels, config=statistics)
    picture(work, "a.png", mode=mode)
    predict("a.png")
    assert len(written(work / "out")) == 2
    if channels == 4:
        picture(work, "b.png", mode="RGB")
        assert "has the 3 channels RGB, but channels=4" in refused(capsys, "b.png")


def test_the_size_of_the_training(work):
    """Trained on pictures that fit into 16 x 16: the mask has the picture's own size."""
    checkpoint(work, config={"image_size": [16, 16]})
    picture(work, "a.png", (64, 32))
    predict("a.png", "--save", "mask", "probabilities")
    with Image.open(work / "out" / "mask" / "a.png") as mask:
        assert mask.size == (64, 32)
    seen = work / "out" / "probabilities" / "a.npz"
    assert np.load(seen)["probabilities"].shape == (8, 16, 3)
    predict("a.png", "--save", "probabilities", "--image-size", "32", "32", "--force")
    assert np.load(seen)["probabilities"].shape == (16, 32, 3)


def test_a_network_that_is_not_finite(work, capsys):
    checkpoint(work)
    state = load_checkpoint(work / "best.pt")
    next(iter(state["model"].values())).fill_(float("nan"))
    save_checkpoint(work / "best.pt", state)
    picture(work, "a.png")
    assert "not finite" in refused(capsys, "a.png", "--save", "mask", "probabilities")
    assert written(work / "out") == []


def test_a_large_image_in_bounded_memory(work):
    """With windows no tensor is larger than the decoded picture, however large that is."""
    checkpoint(work)
    peaks = []
    for height in (600, 1800):
        Image.new("RGB", (500, height), (90, 120, 30)).save(work / "tall.png")
        tracemalloc.start()
        with LargestTensor() as largest:
            predict("tall.png", "--window", "128", "--force")
        peaks.append(tracemalloc.get_traced_memory()[1])  # of NumPy
        tracemalloc.stop()
        assert largest.bytes <= 3 * 500 * height
        with Image.open(work / "out" / "mask" / "tall.png") as mask:
            assert mask.size == (500, height)
    grown = (peaks[1] - peaks[0]) / (1200 * 500)
    assert grown < 16, f"{grown:.1f} bytes for a pixel more"


def test_instances_become_coco_json(work):
    checkpoint(work, "mask_rcnn_tiny", config={"task": "instance"})
    picture(work, "in/b/a.png", (64, 48))
    predict("in", "--min-score", "0")
    names = ["instance.json", "mask/b/a.png", "overlay/b/a.png"]
    assert written(work / "out") == names
    found = json.loads((work / "out" / "instance.json").read_text())
    assert found["images"] == [{"id": 1, "file_name": "b/a.png", "height": 48, "width": 64}]
    assert [c["name"] for c in found["categories"]] == CLASSES[1:]
    for entry in found["annotations"]:
        mask = rle.decode(entry["segmentation"])
        assert mask.shape == (48, 64) and mask.sum() == entry["area"]
        assert entry["category_id"] in (1, 2) and 0 <= entry["score"] <= 1


@pytest.mark.parametrize(
    "config",
    [{"task": "panoptic", "isthing": [False, True, True]}, {}],
    ids=["of the command line", "of fit, which was told of names and colours alone"],
)
def test_panoptic_maps_are_those_of_coco(config, work):
    checkpoint(work, "panoptic_fpn_tiny", things=(1, 2), config=config)
    picture(work, "a.png", (64, 48))
    predict("a.png")
    found = json.loads((work / "out" / "panoptic.json").read_text())
    assert [c["isthing"] for c in found["categories"]] == [0, 1, 1]
    (entry,) = found["annotations"]
    with Image.open(work / "out" / "mask" / entry["file_name"]) as image:
        red, green, blue = np.moveaxis(np.asarray(image, dtype=np.int64), -1, 0)
    ids = red + 256 * green + 65536 * blue
    areas = {s["id"]: s["area"] for s in entry["segments_info"]}
    assert areas == {i: int((ids == i).sum()) for i in np.unique(ids).tolist() if i}


def test_what_is_for_semantic_networks_only(work, capsys):
    checkpoint(work, "mask_rcnn_tiny", config={"task": "instance"})
    picture(work, "a.png")
    for more in (["--window", "16"], ["--tta"], ["--save", "probabilities"]):
        assert "is for semantic segmentation" in refused(capsys, "a.png", *more)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.png"], "no.png: no such file"),
        (["empty"], "no image or video there"),
        (["*.xyz"], "no image or video there"),
        (["twice"], "would have the names"),
        (["a.png", "--window", "0"], "window must be positive"),
        (["a.png", "--tta", "--scales", "0"], "scales must be positive"),
        (["a.png", "--max-pixels", "99"], "too large: 30 x 22 pixels, allowed are 99"),
    ],
)
def test_mistakes(work, capsys, arguments, message):
    checkpoint(work)
    picture(work, "a.png")
    (work / "empty").mkdir()
    picture(work, "twice/a.png")
    picture(work, "twice/a.jpg")
    assert message in refused(capsys, *arguments)
    assert not (work / "out").exists()
