import numpy as np
import pytest
from PIL import ExifTags, Image

from segedu.data import pairs


def save(path, array, mode=None):
    Image.fromarray(np.asarray(array, dtype=np.uint8), mode).save(path)
    return path


def dataset(folder, labels, image_size=(4, 5), **settings):
    image = save(folder / "image.png", np.zeros((*image_size, 3)))
    label = save(folder / "label.png", labels)
    names = [("a", "甲", (0, 0, 0)), ("b", "乙", (9, 9, 9))]
    return pairs.PairDataset(
        [(image, label)], {0: 0, 1: 1, 255: 255}, *zip(*names, strict=True), **settings
    )


def test_dataset_of_pairs(tmp_path):
    data = dataset(tmp_path, np.eye(4, 5), transforms=lambda sample: {**sample, "seen": True})
    assert len(data) == 1
    assert (data.num_classes, data.classes, data.classes_zh) == (2, ("a", "b"), ("甲", "乙"))
    assert data.labels == ("a ｜ 甲", "b ｜ 乙")
    sample = data[0]
    assert sample["image"].shape == (3, 4, 5)
    assert sample["mask"].tolist() == np.eye(4, 5).tolist()
    assert sample["seen"]


def test_unknown_label_names_file_value_and_allowed(tmp_path):
    labels = np.zeros((4, 5))
    labels[0, 0], labels[1, 1] = 2, 77
    with pytest.raises(ValueError, match=r"label.png: holds the value 2 and 1 others.*0\.\.1, 255"):
        dataset(tmp_path, labels)[0]


def test_black_and_white_mask_is_recognised(tmp_path):
    labels = np.zeros((4, 5))
    labels[:2] = 255
    with pytest.raises(ValueError, match="label.png: holds 0 and 255 alone.*write 1"):
        dataset(tmp_path, labels)[0]
    labels[2, 2] = 1  # a class is there: 255 is a void border
    dataset(tmp_path, labels)[0]


def test_size_mismatch_names_both(tmp_path):
    with pytest.raises(ValueError, match=r"label.png: is 5 x 4 pixels, but its image.*is 6 x 4"):
        dataset(tmp_path, np.zeros((4, 5)), image_size=(4, 6))[0]


def test_missing_files_are_found_at_once(tmp_path):
    present = save(tmp_path / "a.png", [[0]])
    with pytest.raises(FileNotFoundError, match=r"b.png: no such file \(1 of 2 files"):
        pairs.PairDataset([(present, tmp_path / "b.png")], {0: 0}, ["a"], ["甲"], [(0, 0, 0)])


def test_255_may_be_a_class(tmp_path):
    """Black and white masks: the rule of the ignored 255 asks where 255 is mapped to."""
    labels = np.zeros((4, 5))
    labels[:3] = 255
    image, label = save(tmp_path / "a.png", labels), save(tmp_path / "b.png", labels)
    names = [("cell", "细胞", (0, 0, 0)), ("wall", "壁", (9, 9, 9))]
    data = pairs.PairDataset([(image, label)], {0: 0, 255: 1}, *zip(*names, strict=True))
    assert data[0]["mask"].sum() == 15


@pytest.mark.parametrize("objects", [1, 0])
def test_split_of_0_and_255_is_refused_as_a_whole(tmp_path, objects):
    """Each file has a share of 255 that a void border may have; together they show no class."""
    files = []
    for number in range(3):
        labels = np.zeros((10, 10))
        labels[0, : number * 5] = 255
        files.append(
            (
                save(tmp_path / f"{number}.jpg", np.zeros((10, 10, 3))),
                save(tmp_path / f"{number}.png", labels),
            )
        )
    if objects:
        labels[5, 5] = 1
        save(files[-1][1], labels)
    names = [("a", "甲", (0, 0, 0)), ("b", "乙", (9, 9, 9))]
    data = pairs.PairDataset(files, {0: 0, 1: 1, 255: 255}, *zip(*names, strict=True))
    if objects:
        assert [sample["mask"].sum().item() for sample in data] == [0, 5 * 255, 10 * 255 + 1]
    else:
        with pytest.raises(ValueError, match="3 label files hold 0 and 255 alone.*binary"):
            data[0]


def test_ending_in_another_case_is_the_same_file(tmp_path):
    image, label = (
        save(tmp_path / "a.JPG", np.zeros((4, 5, 3))),
        save(tmp_path / "a.PNG", np.eye(4, 5)),
    )
    names = [("a", "甲", (0, 0, 0)), ("b", "乙", (9, 9, 9))]
    data = pairs.PairDataset(
        [(tmp_path / "a.jpg", tmp_path / "a.png")], {0: 0, 1: 1}, *zip(*names, strict=True)
    )
    assert data.pairs == [(image, label)] and data[0]["mask"].sum() == 4


def test_jpeg_labels_are_named_as_such(tmp_path):
    image, label = (
        save(tmp_path / "a.png", np.zeros((4, 5, 3))),
        save(tmp_path / "m.jpg", np.full((4, 5), 60)),
    )
    data = pairs.PairDataset([(image, label)], {0: 0, 1: 1}, ["a"], ["甲"], [(0, 0, 0)])
    with pytest.raises(ValueError, match="m.jpg: holds the value 60.*must be saved as PNG"):
        data[0]


def test_exif_is_named_where_it_parts_image_and_labels(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image = tmp_path / "photo.jpg"
    Image.new("RGB", (6, 4)).save(image, exif=exif)
    for size, turned in (((4, 6), False), ((6, 4), True)):
        label = save(tmp_path / "label.png", np.zeros(size))
        data = pairs.PairDataset([(image, label)], {0: 0}, ["a"], ["甲"], [(0, 0, 0)])
        if turned:
            assert data[0]["image"].shape == (3, 6, 4)
        else:
            with pytest.raises(ValueError, match="is 6 x 4 .* is 4 x 6 .*EXIF.*turn the labels"):
                data[0]
    save(tmp_path / "label.png", np.zeros((5, 5)))
    with pytest.raises(ValueError, match="is 4 x 6$"):  # EXIF is not to blame
        data[0]
