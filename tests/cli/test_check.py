"""`check` examines a data set and says by its exit status whether it is sound."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from segedu.cli import main
from tests.cli.own_data import write


def command(root, *more):
    picture = str(root.parent / "samples.png")
    return [
        "check",
        "--data",
        str(root),
        "--classes",
        "ground",
        "thing",
        "--picture",
        picture,
        *more,
    ]


def test_a_sound_data_set(tmp_path, capsys):
    own = write(tmp_path / "data", 6)
    assert main(command(own, "--json", str(tmp_path / "found.json"), "--strict")) == 0
    text = capsys.readouterr().out
    assert (
        "6 of 6 samples can be used, 32 x 24 pixels, no class (void) in 0.0% of the pixels" in text
    )
    assert "18.23%  thing" in text and "verdict: ok" in text
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["splits"]["all"]["classes"][1] == {
        "name": "thing",
        "images": 6,
        "objects": 0,
        "pixels": 6 * 140,
    }
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.width > 400


def test_many_classes_that_do_not_occur_take_one_line(tmp_path, capsys):
    own, names = write(tmp_path / "data", 2), [f"c{number}" for number in range(40)]
    start = ["check", "--data", str(own), "--picture", str(tmp_path / "x.png"), "--classes", *names]
    main(start)
    text = capsys.readouterr().out
    assert "absent: c2, c3, c4, c5, c6, c7, c8, c9, ... (38 classes)\n" in text
    assert len(text.splitlines()) < 10
    main([*start[:5], "--task", "instance"])
    text = capsys.readouterr().out
    assert "background" not in text and "100.00%  object" in text  # of which there are no objects


@pytest.mark.parametrize(("strict", "status"), [((), 0), (("--strict",), 1)])
def test_warnings_count_when_asked_to(strict, status, tmp_path, capsys):
    own = write(tmp_path / "data", 6)
    shutil.copy(own / "images" / "0.png", own / "images" / "without_a_mask.png")
    with pytest.warns(UserWarning, match="1 left out"):
        assert main(command(own, *strict)) == status
    assert "verdict: warnings" in capsys.readouterr().out


def test_one_black_and_white_mask_among_others_is_named_with_its_cure(tmp_path, capsys):
    own = write(tmp_path / "data", 6)
    file = own / "masks" / "3.png"
    Image.fromarray(np.asarray(Image.open(file)) * 255).save(file)  # 18 % of it are 255
    assert main(command(own)) == 0
    out = capsys.readouterr().out
    assert "verdict: warnings" in out and "3.png" in out and "255 is void (no class" in out
    assert "--masks binary" in out


def test_a_warning_of_a_library_is_one_line_and_a_picture_is_made_when_asked(tmp_path, monkeypatch):
    own = write(tmp_path / "data", 3)
    (own / "masks" / "1.png").unlink()
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "segedu", "check", "--data", str(own), "--classes", "ground"]
    done = subprocess.run([*command, "thing"], check=True, capture_output=True, text=True)
    told = done.stderr
    assert told.startswith("segedu: warning: ") and told.count("\n") == 1, told
    assert "1 left out (1.png: no mask)" in told
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_errors_end_with_1_and_name_the_file(tmp_path, capsys):
    own = write(tmp_path / "data", 6)
    Image.fromarray(np.full((24, 32), 9, np.uint8)).save(own / "masks" / "3.png")
    assert main(command(own)) == 1
    out = capsys.readouterr().out
    assert "error: all: 1 of 6 samples cannot be used" in out and "3.png: holds the value 9" in out
    assert "verdict: errors" in out


def test_what_cannot_be_examined_ends_with_2_and_names_the_option(tmp_path, capsys):
    own = write(tmp_path / "data", 6)
    assert main(command(own, "--split", "train")) == 2
    error = capsys.readouterr().err
    assert "--val-split" in error and "val_split" not in error
