"""Reading image and label files, and finding them in folders: one set of rules for every loader.

* What Pillow reads is read, and ``.npy``; endings count without regard to case.
* Every file is turned as its EXIF entry says, images and labels alike, since viewers and
  annotation tools show it turned.
* Images of 16 bits are scaled by their bit depth to 8. Images of 32-bit numbers have no white that
  is known, and are refused.
* A file of several pages or frames is refused unless it is said which one is meant.
* What a loader finds and leaves out, it counts and reports (`report_skipped`).
"""

import struct
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torchvision import tv_tensors

ReadImage = Callable[[Path], tv_tensors.Image]
DEEP_WHITE = 65535  # white of an image of 16 bits
_ONE_PICTURE = ("MPO", "PSD")  # formats whose further frames are previews or layers of the first
# Formats that Pillow recognises without decoding them, or needs another program for.
_NO_PICTURES = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
_opening = threading.Lock()


class Skipped(NamedTuple):
    """Something that a loader found and left out, and why."""

    path: Path
    reason: str


def report_skipped(root: Path, skipped: Sequence[Skipped]) -> None:
    """Warn with the number of files that were left out and the first of them."""
    if skipped:
        shown = "; ".join(f"{entry.path.name}: {entry.reason}" for entry in skipped[:3])
        more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
        warnings.warn(f"{root}: {len(skipped)} left out ({shown}{more})", stacklevel=4)


@lru_cache
def image_suffixes() -> frozenset[str]:
    """The endings, in lower case, of the files that `read_image` reads."""
    Image.init()
    formats = Image.registered_extensions()
    readable = {end for end, name in formats.items() if name in Image.OPEN}
    return frozenset(end for end in readable if formats[end] not in _NO_PICTURES) | {".npy"}


def list_images(folder: Path, what: str, skipped: list[Skipped]) -> dict[str, Path]:
    """The image files of a folder by their stems (names without ending), sorted.

    Args:
        folder: where to look; not in the folders below.
        what: it should hold, for the error.
        skipped: to which every other file is added.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if two images have the same stem.
    """
    check_folder(folder, what)
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            continue
        if path.name.startswith("."):
            skipped.append(Skipped(path, "a hidden file"))
        elif path.suffix.lower() not in image_suffixes():
            skipped.append(Skipped(path, "not an image"))
        elif path.stem in found:
            raise ValueError(f"{path}: {found[path.stem].name} has the same name; keep one of them")
        else:
            found[path.stem] = path
    return found


def any_case(path: Path) -> Path:
    """``path``, or if there is no such file the one whose ending differs in case only."""
    for suffix in (path.suffix, path.suffix.lower(), path.suffix.upper()):
        if path.with_suffix(suffix).is_file():
            return path.with_suffix(suffix)
    return path


@contextmanager
def _opened(path: Path, max_pixels: int | None) -> Iterator[Image.Image]:
    """Open a file, its header alone, turning what goes wrong into one clear line."""
    limit = Image.MAX_IMAGE_PIXELS if max_pixels is None else max_pixels
    try:
        with _opening:  # Pillow's limit is global, and a warning up to twice its value
            kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = Image.open(path)
            finally:
                Image.MAX_IMAGE_PIXELS = kept
        with image:
            if limit is not None and image.width * image.height > limit:
                raise ValueError(
                    f"{path}: refused, the image is too large: {image.width} x {image.height} "
                    f"pixels, allowed are {limit}; if you trust the file, pass "
                    f"max_pixels={image.width * image.height}"
                )
            yield image
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (OSError, SyntaxError, struct.error) as error:
        raise ValueError(f"{path}: not a readable image ({error})") from None


def _pages(image: Image.Image) -> int:
    return 1 if image.format in _ONE_PICTURE else getattr(image, "n_frames", 1)


def count_pages(path: Path, *, max_pixels: int | None = None) -> int:
    """Number of pages of a TIFF or frames of an animation; 1 for a plain image."""
    if path.suffix.lower() == ".npy":
        return 1
    with _opened(path, max_pixels) as image:
        return _pages(image)


def open_image(
    path: Path, *, page: int | None = None, max_pixels: int | None = None
) -> Image.Image:
    """Open and decode an image file, turned as its EXIF entry says.

    Args:
        path: of the file.
        page: which page or frame, from 0; needed where there are several.
        max_pixels: largest width times height that is decoded; Pillow's limit of about 89 million
            if not given. A small file may unpack to gigabytes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a whole image, is too large, or has several pages and none or one
            that does not exist was asked for.
    """
    with _opened(path, max_pixels) as image:
        count = _pages(image)
        if (page is None and count > 1) or not 0 <= (page or 0) < count:
            asked = "" if page is None else f", not a page {page}"
            raise ValueError(
                f"{path}: holds {count} pages{asked}; say which one (page=0..{count - 1}), "
                "or save each page as a file"
            )
        if page:
            image.seek(page)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return image


def read_image(
    path: Path,
    *,
    channels: int = 3,
    white: int = DEEP_WHITE,
    page: int | None = None,
    max_pixels: int | None = None,
) -> tv_tensors.Image:
    """Return an image file as uint8 (C, H, W).

    Args:
        path: of the file. An ``.npy`` file holds (H, W) or (H, W, C), uint8 or uint16.
        channels: C. For 1, colours become grey; for 3, grey is repeated and transparency dropped.
            Any other number must be the file's own: 2 (grey and alpha), 4 (RGBA, CMYK), the pages
            of a TIFF with one grey page per channel, or the last axis of an array.
        white: the value of a 16-bit image that becomes 255, in 1..65535; what is brighter does,
            too. Give 4095 for cameras of 12 bits.
        page: of a file with several, see `open_image`.
        max_pixels: see `open_image`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a whole image, is too large, has several pages, holds 32-bit
            numbers, or has other channels; if ``white`` is out of its range.
    """
    if not 1 <= white <= DEEP_WHITE:
        raise ValueError(f"white must be in 1..{DEEP_WHITE}, got {white}")
    if path.suffix.lower() == ".npy":
        pixels = _read_array(path, channels, white)
    elif _is_page_per_channel(path, channels, page, max_pixels):
        planes = [open_image(path, page=k, max_pixels=max_pixels) for k in range(channels)]
        planes = [_to_8_bits(path, plane, white) for plane in planes]
        if any(len(plane.getbands()) > 1 for plane in planes):
            raise ValueError(f"{path}: each of its {channels} pages must be grey to be a channel")
        pixels = np.stack([np.asarray(plane) for plane in planes], axis=-1)
    else:
        image = open_image(path, page=page, max_pixels=max_pixels)
        image = _with_channels(path, _to_8_bits(path, image, white), channels)
        pixels = np.array(image).reshape(image.height, image.width, channels)
    return tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())


def _is_page_per_channel(
    path: Path, channels: int, page: int | None, max_pixels: int | None
) -> bool:
    if channels in (1, 3) or page is not None:
        return False
    return count_pages(path, max_pixels=max_pixels) == channels


def _to_8_bits(path: Path, image: Image.Image, white: int) -> Image.Image:
    deep = image.mode.startswith("I;16")
    # Older Pillow opens grey PNG and PGM files of 16 bits as "I".
    if deep or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return Image.fromarray(_scale(np.asarray(image), white))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"{path}: holds 32-bit numbers (Pillow mode {image.mode!r}), of which nobody knows "
            "what is white; save it with 8 or 16 bits"
        )
    return image


def _scale(values: NDArray[Any], white: int) -> NDArray[np.uint8]:
    """Numbers 0..white to 0..255, rounded."""
    values = np.minimum(values.astype(np.int64), white)
    return ((values * 255 + white // 2) // white).astype(np.uint8)


def _with_channels(path: Path, image: Image.Image, channels: int) -> Image.Image:
    if channels in (1, 3):
        try:
            return image.convert("L" if channels == 1 else "RGB")
        except ValueError as error:  # no conversion from LAB, for example
            raise ValueError(f"{path}: {error}") from None
    if channels == 4 and (image.mode == "PA" or "transparency" in image.info):
        image = image.convert("RGBA")
    bands = image.getbands()
    if len(bands) != channels:
        raise ValueError(
            f"{path}: has the {len(bands)} channels {''.join(bands)}, but channels={channels}"
        )
    return image


def _load_array(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a readable array ({error})") from None


def _read_array(path: Path, channels: int, white: int) -> NDArray[np.uint8]:
    array = _load_array(path)
    if array.ndim not in (2, 3) or array.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{path}: must hold (H, W) or (H, W, C) of uint8 or uint16, "
            f"got {array.shape} of {array.dtype}"
        )
    pixels = array.reshape(*array.shape[:2], -1)
    if pixels.dtype == np.uint16:
        pixels = _scale(pixels, white)
    if pixels.shape[2] == 1 and channels == 3:
        pixels = np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] != channels:
        raise ValueError(f"{path}: has {pixels.shape[2]} channels, but channels={channels}")
    return pixels


def read_values(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """Return the numbers (H, W) that stand in a label file of up to 16 bits.

    A palette PNG holds class indices and a table of colours; the indices are what counts, and
    converting such a file to RGB or grey destroys them. A colour file whose three channels agree in
    every pixel is a grey one. An ``.npy`` file holds integers (H, W).

    Args:
        path: of the file.
        size: height and width of the image that it belongs to. So many pixels are decoded even if
            they are more than Pillow's limit, since the image was.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file holds colours or fractions instead.
    """
    if path.suffix.lower() == ".npy":
        return _read_label_array(path)
    image = open_image(path, max_pixels=_enough_for(size))
    if image.mode in ("RGB", "RGBA", "LA"):
        bands = [np.asarray(image.getchannel(band)) for band in image.getbands() if band != "A"]
        if all(np.array_equal(bands[0], band) for band in bands[1:]):
            return bands[0].astype(np.int32)
    if image.mode not in ("P", "L", "1") and not image.mode.startswith("I"):
        raise ValueError(
            f"{path}: a label file must hold one number per pixel (Pillow mode 'P', 'L' or "
            f"'I;16'), this one has mode {image.mode!r}; was a coloured picture of the labels "
            "saved? Then list the colours of the classes, and read it by colour"
        )
    return np.asarray(image).astype(np.int32)


def _enough_for(size: tuple[int, int] | None) -> int | None:
    limit = Image.MAX_IMAGE_PIXELS
    return None if size is None or limit is None else max(limit, size[0] * size[1])


def _read_label_array(path: Path) -> NDArray[np.int32]:
    array = _load_array(path)
    if array.ndim != 2 or not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise ValueError(
            f"{path}: a label file must hold integers (H, W), got {array.shape} of {array.dtype}"
        )
    return array.astype(np.int32)


def read_colors(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """Return the colours of a file as numbers R + 256 G + 65536 B, int32 (H, W).

    Args:
        path: of the file.
        size: see :func:`read_values`.

    Raises:
        ValueError: if the file is neither RGB nor a palette of colours.
    """
    image = open_image(path, max_pixels=_enough_for(size))
    if image.mode not in ("RGB", "RGBA", "P"):
        raise ValueError(
            f"{path}: must be an RGB image, whose colours are labels; got mode {image.mode!r}"
        )
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB"), dtype=np.int32), -1, 0)
    return red + 256 * green + 65536 * blue


def exif_orientation(path: Path) -> int:
    """The EXIF orientation of a file: 1 is upright, 3 upside down, 5 to 8 lie on a side."""
    if path.suffix.lower() == ".npy":
        return 1
    with _opened(path, max_pixels=sys.maxsize) as image:
        return image.getexif().get(ExifTags.Base.Orientation, 1)


def check_size(
    where: str | Path, size: tuple[int, int], image_path: Path, image_size: tuple[int, int]
) -> None:
    """Raise ValueError unless the labels from ``where`` are as large as their image.

    Sizes are (height, width).

    Where the EXIF entry of the image explains the difference, the message says so.
    """
    if size == image_size:
        return
    (height, width), (image_height, image_width) = size, image_size
    message = (
        f"{where}: is {width} x {height} pixels, "
        f"but its image {image_path.name} is {image_width} x {image_height}"
    )
    if size == image_size[::-1] and exif_orientation(image_path) >= 5:
        message += (
            " when it is turned as its EXIF entry says, and the labels belong to the pixels as "
            "they are stored; turn the labels, too, or remove the entry"
        )
    raise ValueError(message)


def check_folder(folder: Path, what: str) -> None:
    """Raise FileNotFoundError unless ``folder`` exists; ``what`` says what it should hold."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; it should hold {what}")


def check_files(paths: Sequence[Path]) -> None:
    """Raise FileNotFoundError if one of ``paths`` is missing."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{missing[0]}: no such file ({len(missing)} of {len(paths)} files are missing)"
        )
