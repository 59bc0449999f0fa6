"""Drift: found where it was made, and not where nothing changed."""

import numpy as np
import pytest
import torch
from PIL import Image

from segedu.cli import main
from tests.cli.test_predict import CLASSES, checkpoint

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from segedu import monitor  # noqa: E402
from segedu.cli.monitor import read  # noqa: E402
from segedu.engine.deployed import Deployed  # noqa: E402


def clouds(folder, count, seed, *, size=(42, 56), gain=1.0, flip=False):
    """Files of coloured clouds, 4 : 3: a ratio that six digits do not hold."""
    draw = torch.Generator().manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        coarse = torch.randint(0, 256, (1, 3, 5, 7), generator=draw).float()
        fine = torch.nn.functional.interpolate(coarse, size, mode="bilinear")[0] * gain
        pixels = fine.to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(pixels[::-1].copy() if flip else pixels).save(folder / f"{number:03d}.png")
    return folder


def export(folder, pictures):
    """A network that keeps the numbers of so many pictures: ``n.onnx``, of those in ``then``."""
    checkpoint(folder, base_width=8)  # of 2 all pixels would have one class
    clouds(folder / "then", pictures, 0)
    command = ["export", "--checkpoint", str(folder / "best.pt"), "--out", str(folder / "n.onnx")]
    command += ["--size", "64", "96", "--reference", str(folder / "then")]
    assert main(command) == 0
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return export(tmp_path_factory.mktemp("monitor"), 60)


def watched(folder, pictures):
    """Exit status, and the page."""
    page = folder / "drift.html"
    status = main(["monitor", str(folder / "n.onnx"), str(pictures), "--out", str(page)])
    return status, page.read_text(encoding="utf-8")


def test_pictures_of_the_same_kind_have_not_drifted(folder, tmp_path, capsys):
    status, page = watched(folder, clouds(tmp_path / "now", 40, 1))
    assert status == 0 and "no drift in" in capsys.readouterr().out
    assert "0 of 12 numbers have drifted" in page and "个指标中有 0 个发生漂移" in page


@pytest.mark.parametrize(
    "change, name",
    [
        ({"gain": 0.5}, "input: brightness"),
        ({"size": (80, 112)}, "input: megapixels"),
        ({"size": (40, 80)}, "input: aspect"),
    ],
)
def test_what_was_changed_is_found(folder, tmp_path, capsys, change, name):
    status, page = watched(folder, clouds(tmp_path / "now", 40, 1, **change))
    out = capsys.readouterr().out
    assert status == 1 and "numbers have drifted" in out and name in out
    assert "http" not in page and "<img" in page and "yes ｜ 是" in page
    assert monitor.bilingual(name) in page
    assert ("The strangest pictures" in page) or "gain" in change


def test_other_classes_are_found(folder, tmp_path):
    """Inputs whose brightness is the same, and what the network sees in them is not."""
    network = Deployed(folder / "n.onnx")
    reference = network.contract.reference["numbers"]
    clouds(tmp_path / "now", 40, 1)
    pictures = []
    for file in sorted((tmp_path / "now").iterdir()):
        pixels = torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1)
        grey = pixels.float().mean(0, keepdim=True).expand(3, -1, -1)
        pictures.append(grey.to(torch.uint8).contiguous())
    rows = {row.name: row for row in monitor.compare(reference, monitor.collect(network, pictures))}
    assert not rows["input: brightness"].drifted and not rows["input: megapixels"].drifted
    assert any(row.drifted for name, row in rows.items() if name.startswith(("logit", "share")))


def test_the_numbers_are_those_of_the_picture(folder):
    network = Deployed(folder / "n.onnx")
    picture = torch.zeros(3, 20, 40, dtype=torch.uint8)
    picture[:, :, 20:] = 255
    found = monitor.numbers_of(network, picture)
    assert found["input: brightness"] == pytest.approx(0.5)
    assert found["input: contrast"] == pytest.approx(0.5)
    assert found["input: sharpness"] == pytest.approx(1 / 39)
    assert (found["input: megapixels"], found["input: aspect"]) == (0.0008, 2.0)
    labels = network(picture).labels
    assert len(np.unique(labels)) > 1  # else nothing is compared
    shares = [found[f"share: {name}"] for name in CLASSES]
    assert shares == pytest.approx((np.bincount(labels.ravel(), minlength=3) / 800).tolist())
    logits = network.run(picture.numpy()[None])["logits"][0]
    assert found["logit: tree"] == pytest.approx(float(logits[2].mean()), rel=1e-4)
    odds = np.exp(logits - logits.max(0))
    assert found["output: confidence"] == pytest.approx(float((1 / odds.sum(0)).mean()), rel=1e-5)


def test_false_alarms_are_as_rare_as_promised():
    """Twelve numbers of the same kind then and now, two hundred times."""
    draw = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        then, now = ({f"n{i}": draw.normal(size=60).tolist() for i in range(12)} for _ in "ab")
        alarms += any(row.drifted for row in monitor.compare(then, now))
    assert alarms <= 6  # 2 are promised; more than 6 are seen once in 200 such runs


def test_a_small_difference_that_is_sure_does_not_count():
    then = {"n": np.linspace(0, 1, 5000).tolist()}
    now = {"n": np.linspace(0.1, 1.1, 5000).tolist()}
    (row,) = monitor.compare(then, now)
    assert row.p < 1e-9 and row.distance == pytest.approx(0.1, abs=0.01) and not row.drifted


def test_names_in_both_languages():
    assert monitor.bilingual("input: aspect") == "input: aspect ｜ 输入：宽高比"
    assert monitor.bilingual("share: car") == "share: car ｜ 占比：car"
    assert monitor.bilingual("share: score") == "share: score ｜ 占比：score"  # a class


def test_holms_correction_by_hand():
    """Multiplied by 3, 2 and 1, and never smaller than the one before."""
    found = monitor._holm({"a": 0.02, "b": 0.01, "c": 0.9})
    assert found == pytest.approx({"b": 0.03, "a": 0.04, "c": 0.9})
    assert monitor._holm({"a": 0.01, "b": 0.012})["b"] == pytest.approx(0.02)


def test_strangeness_is_the_distance_beyond_the_ends():
    reference = {"a": [0.0, 2.0], "b": [1.0, 1.0]}
    now = {"a": [1.0, 3.0, -4.0], "b": [1.0, 1.0, 1.5]}
    assert monitor.strangeness(reference, now).tolist() == [0, 0.5, 2]


def test_a_reference_keeps_few_values_and_the_rest_of_the_file(folder, tmp_path):
    network = Deployed(folder / "n.onnx")
    reference = network.contract.reference
    assert reference["pictures"] == 60 and len(reference["numbers"]) == 12
    assert all(values == sorted(values) for values in reference["numbers"].values())
    assert network.contract.classes == tuple(CLASSES)
    kept = monitor._thinned(np.arange(1000.0)[::-1])
    assert len(kept) == monitor.KEPT and (kept[0], kept[-1]) == (0, 999)


def test_objects_are_counted(tmp_path):
    narrow = {"base_width": 4, "channels": 8, "box_width": 8, "mask_width": 8}
    checkpoint(tmp_path, "mask_rcnn_tiny", config={"task": "instance"}, **narrow)
    file = tmp_path / "n.onnx"
    command = ["export", "--checkpoint", str(tmp_path / "best.pt"), "--out", str(file)]
    assert main([*command, "--size", "64", "96"]) == 0
    network = Deployed(file)
    picture = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    found, objects = monitor.numbers_of(network, picture), network(picture)
    assert objects.classes  # else nothing is counted
    for number, name in enumerate(CLASSES[1:], start=1):
        assert found[f"count: {name}"] == objects.classes.count(number)
    assert found["output: score"] == pytest.approx(np.mean(objects.scores))


def test_mistakes(folder, tmp_path, capsys):
    def refused(*arguments):
        capsys.readouterr()
        assert main([*map(str, arguments)]) == 2
        text = capsys.readouterr().err
        assert text.count("\n") == 1, text
        return text

    few, page = clouds(tmp_path / "few", 3, 0), tmp_path / "page.html"
    network = folder / "n.onnx"
    assert "10 pictures are needed at least, got 3" in refused(
        "monitor", network, few, "--out", page
    )
    assert "must end in .html" in refused("monitor", network, few, "--out", tmp_path / "page.txt")
    export = ["export", "--checkpoint", folder / "best.pt", "--size", "64", "96"]
    bare = tmp_path / "bare.onnx"
    nowhere = tmp_path / "nowhere"
    assert f"{nowhere}: no such file" in refused("monitor", network, nowhere, "--out", page)
    text = refused(*export, "--out", bare, "--reference", nowhere)
    assert f"{nowhere}: no such file" in text and not bare.exists()
    text = refused(*export, "--out", bare, "--reference", few)
    assert "--reference: 10 pictures are needed at least, got 3" in text and not bare.exists()
    assert main([*map(str, export), "--out", str(bare)]) == 0
    assert "holds no reference: write it by" in refused("monitor", bare, few, "--out", page)
    with pytest.raises(ValueError, match="holds other numbers: b"):
        monitor.compare({"a": [1.0]}, {"a": [1.0], "b": [1.0]})
    assert not page.exists()


def test_a_file_that_is_no_picture_is_left_out_and_said(folder, tmp_path, capsys):
    now = clouds(tmp_path / "now", 12, 1)
    (now / "broken.png").write_bytes(b"no picture")
    status, _ = watched(folder, now)
    assert status == 0 and "1 files left out" in capsys.readouterr().err


def test_numbers_in_a_file_are_compared_as_pictures_are(folder, tmp_path, capsys):
    network, now = Deployed(folder / "n.onnx"), clouds(tmp_path / "now", 12, 1, gain=0.5)
    status, page = watched(folder, now)
    said = capsys.readouterr().out.splitlines()[0]
    file = tmp_path / "today.jsonl"
    for place, picture in enumerate(read(str(now), 3, [])):
        monitor.append(file, f"noon {place}", monitor.numbers_of(network, picture))
    again, other = watched(folder, file)
    assert (status, said) == (again, capsys.readouterr().out.splitlines()[0]) and status == 1
    assert "noon 0" in other and "noon 0" not in page


@pytest.mark.parametrize(
    "line, reason",
    [
        ("no numbers", "line 11: not the numbers of a picture"),
        ('{"picture": "a"}', "line 11: not the numbers of a picture"),
        ('{"picture": "a", "numbers": {"a": "many"}}', "line 11: not the numbers of a picture"),
        ('{"picture": "a", "numbers": {"b": 1}}', "line 11: other numbers than before"),
        ("", "the reference holds other numbers: a"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(folder, tmp_path, capsys, line, reason):
    file = tmp_path / "today.jsonl"
    for place in range(10):
        monitor.append(file, str(place), {"a": float(place)})
    with file.open("a") as lines:
        lines.write(line and f"{line}\n")
    page = tmp_path / "drift.html"
    assert main(["monitor", str(folder / "n.onnx"), str(file), "--out", str(page)]) == 2
    text = capsys.readouterr().err
    assert reason in text and text.count("\n") == 1 and not page.exists()


def test_of_many_files_some_are_read_evenly(tmp_path):
    clouds(tmp_path, 10, 0)
    names = []
    assert len(list(read(str(tmp_path), 3, names, most=4))) == 4
    assert names == ["000", "003", "006", "009"]
