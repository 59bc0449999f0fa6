import pytest

from segedu.data.classes import class_names, class_table

RED = 255
BLUE = 255 * 65536


def test_places_in_the_list():
    table = class_table(["sky", "car"])
    assert table.names == ("sky", "car") and table.colors == ((0, 0, 0), (128, 0, 0))
    assert table.label_of == {0: 0, 1: 1, 255: 255}


def test_numbers():
    table = class_table(["road=7", "car = 26", "car=27", "void=0", "cell=255"])
    assert table.names == ("road", "car", "cell")
    assert table.label_of == {7: 0, 26: 1, 27: 1, 0: 255, 255: 2}


@pytest.mark.parametrize("form", ["car 255 0 0", "car,255,0,0", "255 0 0 car", "255,0,0\tcar"])
def test_colours(form):
    table = class_table([form, "sky 0 0 255", "Ignore 9 9 9"], "color")
    assert table.names == ("car", "sky") and table.colors == ((255, 0, 0), (0, 0, 255))
    assert table.label_of == {RED: 0, BLUE: 1, 9 + 9 * 256 + 9 * 65536: 255}


def test_binary():
    assert class_table(None, "binary").label_of == {0: 0, 1: 1, 255: 1}
    assert class_table(None, "binary").names == ("background", "object")
    with pytest.raises(ValueError, match="2 classes, got 3: a, b, c"):
        class_table(["a", "b", "c"], "binary")


def test_file(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("name,r,g,b\nsky,0,0,255\n\ncar,255,0,0\n", encoding="utf-8")
    assert class_table(path, "color").names == ("sky", "car")
    # a file with colours also names the classes of masks that hold indices
    assert class_table(path).names == ("sky", "car")
    path.write_text("")
    with pytest.raises(ValueError, match="classes.csv: is empty"):
        class_table(path)
    with pytest.raises(FileNotFoundError, match="absent.txt"):
        class_table(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    "classes, masks, message",
    [
        (None, "index", "classes is missing"),
        ([], "index", "one or more names"),
        (["a", "b=1"], "index", "either all or none .*'a' has none"),
        (["a=1", "b=1"], "index", "two of them have 1; the second is 'b'"),
        (["a", "a"], "index", "a name occurs twice"),
        (["a=65536"], "index", "at most 65535"),
        (["a"], "color", "'a' has no colour"),
        (["a 0 0 256"], "color", r"three numbers in 0\.\.255"),
        (["a 0 0 1", "b 0 0 1"], "color", r"two of them have \(0, 0, 1\)"),
        (["a"], "colour", "masks must be one of index, color, binary; got 'colour'"),
        ([f"c{k}" for k in range(256)], "index", "at most 255 classes, got 256"),
    ],
)
def test_errors(classes, masks, message):
    with pytest.raises(ValueError, match=message):
        class_table(classes, masks)


def test_yaml(tmp_path):
    pytest.importorskip("yaml")
    path = tmp_path / "data.yaml"
    path.write_text("path: ../x\ntrain: images/train\nnames: [cat, dog]\n")
    assert class_names(path) == ["cat", "dog"]
    path.write_text("names:\n  1: dog\n  0: cat\n")
    assert class_names(path) == ["cat", "dog"]
    for content in ("nc: 2\n", "names:\n  1: dog\n", "[1, 2\n"):
        path.write_text(content)
        with pytest.raises(ValueError, match="data.yaml: must have names"):
            class_names(path)
