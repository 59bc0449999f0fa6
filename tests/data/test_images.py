"""How files are read: each kind that was once read wrongly, with its right value."""

import numpy as np
import pytest
from PIL import ExifTags, Image

from segedu.data.images import (
    Skipped,
    any_case,
    count_pages,
    exif_orientation,
    image_suffixes,
    list_images,
    open_image,
    read_colors,
    read_image,
    read_values,
    report_skipped,
)


def save(path, array, dtype=np.uint8, **settings):
    Image.fromarray(np.asarray(array, dtype=dtype)).save(path, **settings)
    return path


def save_pages(path, *pages):
    first, *rest = (Image.fromarray(np.asarray(page, dtype=np.uint8)) for page in pages)
    first.save(path, save_all=True, append_images=rest)
    return path


def turned(path, orientation, size=(3, 2)):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture = Image.new("L", size)
    picture.putpixel((0, 0), 255)
    picture.save(path, exif=exif)
    return path


# images


def test_gray_photograph_becomes_three_channels(tmp_path):
    image = read_image(save(tmp_path / "a.png", [[10, 20, 30]]))
    assert image.shape == (3, 1, 3)
    assert image[2].tolist() == [[10, 20, 30]]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_ramp_keeps_its_mean(tmp_path, suffix):
    ramp = np.linspace(0, 65535, 256).round().reshape(16, 16)
    image = read_image(save(tmp_path / f"ramp.{suffix}", ramp, np.uint16))
    assert image.float().mean() == 127.5  # it was 254: everything above 255 had become white
    assert image[0].flatten().tolist() == list(range(256))


def test_12_bit_camera(tmp_path):
    path = save(tmp_path / "a.png", [[0, 2048, 4095, 60000]], np.uint16)
    assert read_image(path, white=4095)[0].tolist() == [[0, 128, 255, 255]]


def test_32_bit_images_are_refused(tmp_path):
    for dtype in (np.float32, np.int32):
        path = save(tmp_path / "a.tif", [[0, 1]], dtype)
        with pytest.raises(ValueError, match="a.tif: holds 32-bit numbers.*8 or 16 bits"):
            read_image(path)


def test_channels(tmp_path):
    colour = save(tmp_path / "rgb.png", [[[255, 0, 0], [0, 255, 0]]])
    assert read_image(colour, channels=1).tolist() == [[[76, 150]]]  # luma of red and green
    alpha = save(tmp_path / "rgba.png", [[[1, 2, 3, 4]]])
    assert read_image(alpha).flatten().tolist() == [1, 2, 3]
    assert read_image(alpha, channels=4).flatten().tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="rgb.png: has the 3 channels RGB, but channels=4"):
        read_image(colour, channels=4)
    pages = save_pages(tmp_path / "five.tif", *([[k, 10 * k]] for k in range(5)))
    assert read_image(pages, channels=5)[:, 0, 1].tolist() == [0, 10, 20, 30, 40]


def test_arrays(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(12, dtype=np.uint8).reshape(2, 1, 6))
    assert read_image(path, channels=6)[:, 1, 0].tolist() == list(range(6, 12))
    with pytest.raises(ValueError, match="a.npy: has 6 channels, but channels=3"):
        read_image(path)
    np.save(path, np.array([[0, 65535]], dtype=np.uint16))
    assert read_image(path)[2].tolist() == [[0, 255]]
    np.save(path, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="uint8 or uint16, got .* float64"):
        read_image(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="a.npy: not a readable array"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["tif", "gif"])
def test_pages_are_asked_for(tmp_path, suffix):
    path = save_pages(tmp_path / f"stack.{suffix}", [[0, 0]], [[7, 9]], [[3, 4]])
    assert count_pages(path) == 3
    for read in (read_image, read_values):
        with pytest.raises(ValueError, match=r"holds 3 pages; say which one \(page=0\.\.2\)"):
            read(path)
    assert read_image(path, page=1)[0].tolist() == [[7, 9]]
    with pytest.raises(ValueError, match="not a page 3"):
        read_image(path, page=3)


@pytest.mark.parametrize(
    "orientation, corner", [(1, (0, 0)), (3, (1, 2)), (6, (0, 1)), (8, (2, 0))]
)
def test_files_are_turned_as_viewers_show_them(tmp_path, orientation, corner):
    """Images and labels by one rule, or they part."""
    path = turned(tmp_path / "a.png", orientation)
    assert exif_orientation(path) == orientation
    image, values = read_image(path)[0].numpy(), read_values(path)
    assert np.array_equal(image, values)
    assert tuple(np.argwhere(values == 255)[0]) == corner


def test_broken_files_are_named(tmp_path):
    whole = save(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (50, 50)))
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:-900])
    (tmp_path / "text.png").write_text("this is no image")
    for name in ("cut.png", "text.png"):
        with pytest.raises(ValueError, match=f"{name}: not a readable image"):
            read_image(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="absent.png: no such file"):
        read_image(tmp_path / "absent.png")


def test_size_limit_is_pillows_and_can_be_raised(tmp_path, monkeypatch):
    path = save(tmp_path / "large.png", np.full((50, 60), 9))
    for limit in (2999, 500):  # Pillow itself warns up to twice its limit, then raises
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ValueError, match="large.png: refused, .* pass max_pixels=3000"):
            read_image(path)
    assert read_image(path, max_pixels=3000).sum() == 3 * 9 * 3000
    assert Image.MAX_IMAGE_PIXELS == 500
    monkeypatch.undo()
    with pytest.raises(ValueError, match="allowed are 2999"):
        read_image(path, max_pixels=2999)


def test_size_limit_can_be_raised_for_a_page_per_channel(tmp_path, monkeypatch):
    path, pages = tmp_path / "pages.tif", [Image.new("L", (60, 50), k) for k in range(4)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2999)
    with pytest.raises(ValueError, match="pages.tif: refused, .* pass max_pixels=3000"):
        read_image(path, channels=4)
    assert read_image(path, channels=4, max_pixels=3000)[:, 0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("white", [0, -1, 65536])
def test_a_white_that_no_pixel_can_have_is_refused(tmp_path, white):
    path = save(tmp_path / "a.png", np.full((2, 2), 9))
    with pytest.raises(ValueError, match=rf"white must be in 1\.\.65535, got {white}"):
        read_image(path, white=white)


# labels


def test_palette_file_is_read_as_indices(tmp_path):
    image = Image.frombytes("P", (2, 2), bytes([0, 1, 2, 255]))
    image.putpalette([7, 7, 7, 200, 0, 0, 0, 200, 0] + [9] * (3 * 253))
    image.save(tmp_path / "a.png")
    assert read_values(tmp_path / "a.png").tolist() == [[0, 1], [2, 255]]
    assert read_colors(tmp_path / "a.png")[0].tolist() == [7 + 7 * 256 + 7 * 65536, 200]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_numbers_of_every_depth(tmp_path, dtype):
    top = min(np.iinfo(dtype).max, 70000)
    numbers = np.array([[0, 1], [200, top]], dtype=dtype)
    for suffix in ("png", "tif", "npy"):
        if suffix == "npy":
            np.save(tmp_path / "a.npy", numbers)
        elif (suffix, dtype) != ("png", np.int32):  # PNG has no 32 bits
            save(tmp_path / f"a.{suffix}", numbers, dtype)
        else:
            continue
        read = read_values(tmp_path / f"a.{suffix}")
        assert read.dtype == np.int32
        np.testing.assert_array_equal(read, numbers)


def test_bilevel_and_gray_files_saved_as_colour(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bits.png")
    assert read_values(tmp_path / "bits.png").tolist() == [[1, 0]]
    save(tmp_path / "rgb.png", [[[5, 5, 5], [255, 255, 255]]])
    assert read_values(tmp_path / "rgb.png").tolist() == [[5, 255]]


def test_colors_and_fractions_are_no_labels(tmp_path):
    save(tmp_path / "rgb.png", [[[5, 5, 6]]])
    save(tmp_path / "float.tif", [[0.5]], np.float32)
    for name in ("rgb.png", "float.tif"):
        with pytest.raises(ValueError, match=f"{name}: a label file must hold one number per pix"):
            read_values(tmp_path / name)
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    with pytest.raises(ValueError, match="a.npy: a label file must hold integers"):
        read_values(tmp_path / "a.npy")
    save(tmp_path / "gray.png", [[5]])
    with pytest.raises(ValueError, match="gray.png: must be an RGB image"):
        read_colors(tmp_path / "gray.png")


# folders


def test_every_file_is_listed_or_counted(tmp_path):
    for name in ("a.PNG", "b.jpeg", "2.JPEG", "c.tiff"):
        save(tmp_path / name, np.zeros((2, 2)))
    for name in ("notes.txt", ".DS_Store", "scan.pdf"):
        (tmp_path / name).write_text("")
    skipped = []
    assert list(list_images(tmp_path, "images", skipped)) == ["2", "a", "b", "c"]
    assert {(entry.path.name, entry.reason) for entry in skipped} == {
        *(("notes.txt", "not an image"), (".DS_Store", "a hidden file")),
        ("scan.pdf", "not an image"),
    }
    with pytest.warns(UserWarning, match=r"3 left out \(.DS_Store: a hidden file; "):
        report_skipped(tmp_path, skipped)
    save(tmp_path / "a.bmp", np.zeros((2, 2)))
    with pytest.raises(ValueError, match="a.bmp: a.PNG has the same name"):
        list_images(tmp_path, "images", [])


def test_nothing_left_out_is_no_warning(recwarn, tmp_path):
    report_skipped(tmp_path, [])
    assert not recwarn


def test_endings_in_any_case(tmp_path):
    path = save(tmp_path / "a.PNG", [[1]])
    assert any_case(tmp_path / "a.png") == path
    assert any_case(path) == path
    assert any_case(tmp_path / "b.png") == tmp_path / "b.png"
    assert {".png", ".jpg", ".tif", ".bmp", ".webp", ".npy"} <= image_suffixes()
    assert Skipped(path, "why").reason == "why"
    assert open_image(path).size == (1, 1)
