import numpy as np
import pytest
from PIL import Image

from segedu.data import pairs


def save(path, array, mode=None):
    Image.fromarray(np.asarray(array, dtype=np.uint8), mode).save(path)
    return path


def test_palette_file_is_read_as_indices(tmp_path):
    image = Image.frombytes("P", (2, 2), bytes([0, 1, 2, 255]))
    image.putpalette([7, 7, 7, 200, 0, 0, 0, 200, 0] + [9] * (3 * 253))
    image.save(tmp_path / "a.png")
    assert pairs.read_values(tmp_path / "a.png").tolist() == [[0, 1], [2, 255]]


def test_gray_and_bilevel_files_are_read(tmp_path):
    save(tmp_path / "gray.png", [[3, 4]])
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bits.png")
    assert pairs.read_values(tmp_path / "gray.png").tolist() == [[3, 4]]
    assert pairs.read_values(tmp_path / "bits.png").tolist() == [[1, 0]]


def test_colored_and_16_bit_labels_are_refused(tmp_path):
    save(tmp_path / "rgb.png", np.zeros((2, 2, 3)))
    Image.fromarray(np.zeros((2, 2), dtype=np.uint16)).save(tmp_path / "deep.png")
    for name in ("rgb.png", "deep.png"):
        with pytest.raises(ValueError, match=rf"{name}: a label file must hold one class index"):
            pairs.read_values(tmp_path / name)


def test_gray_photograph_becomes_three_channels(tmp_path):
    image = pairs.read_image(save(tmp_path / "a.png", [[10, 20, 30]]))
    assert image.shape == (3, 1, 3)
    assert image[2].tolist() == [[10, 20, 30]]


def test_broken_files_are_named(tmp_path):
    whole = save(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (50, 50)))
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:-900])
    (tmp_path / "text.png").write_text("this is no image")
    for name in ("cut.png", "text.png"):
        with pytest.raises(ValueError, match=f"{name}: not a readable image"):
            pairs.read_image(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="absent.png: no such file"):
        pairs.read_image(tmp_path / "absent.png")


@pytest.mark.parametrize("limit", [2000, 500])  # Pillow warns up to twice its limit, then raises
def test_decompression_bomb_is_refused(tmp_path, monkeypatch, limit):
    path = save(tmp_path / "bomb.png", np.zeros((50, 60)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ValueError, match=r"bomb.png: refused, the image is too large"):
        pairs.read_image(path)


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
