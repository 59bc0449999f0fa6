"""The pixels of one file, decoded and rescaled."""

import numpy as np

from segedu.medical.dicom.encoding import RLE, check_claim, decodable_syntax
from segedu.medical.dicom.header import Header
from segedu.medical.dicom.parsing import guarded, read_tags
from segedu.medical.volume import VolumeError

MAX_SIDE = 16384  # rows or columns


def check_image(header: Header) -> None:
    """Refuse images of a kind that is not read, before any pixel is.

    Raises:
        VolumeError: several frames, colours, odd numbers of bits, or tags that are missing or lie.
    """
    if "Rows" not in header.values:
        raise VolumeError(f"{header.name} lacks Rows, so it is not an image")
    if header.optional("NumberOfFrames", 1) != 1:
        raise VolumeError(
            f"{header.name} is a multi-frame file: only series of single frames are read"
        )
    for keyword in ("Rows", "Columns"):
        if not 1 <= header.number(keyword) <= MAX_SIDE:
            raise VolumeError(f"{header.name}: {keyword} must be in 1..{MAX_SIDE}")
    if min(header.vector("PixelSpacing", 2)) <= 0:
        raise VolumeError(f"{header.name}: PixelSpacing must be positive")
    if header.get("PhotometricInterpretation") != "MONOCHROME2":
        raise VolumeError(f"{header.name}: PhotometricInterpretation must be MONOCHROME2")
    if header.number("SamplesPerPixel") != 1:
        raise VolumeError(f"{header.name}: SamplesPerPixel must be 1")
    _check_numbers(header)


def _check_numbers(header: Header) -> None:
    """How a pixel is stored, and what it is multiplied by."""
    allocated, stored = header.number("BitsAllocated"), header.number("BitsStored")
    high = header.optional("HighBit", stored - 1)
    if allocated not in (8, 16) or not 1 <= stored <= allocated or high != stored - 1:
        raise VolumeError(
            f"{header.name}: only 8 or 16 bits per pixel, of which the low ones are used, are read"
        )
    if header.number("PixelRepresentation") not in (0, 1):
        raise VolumeError(f"{header.name}: PixelRepresentation must be 0 or 1")
    if header.get("ModalityLUTSequence") is not None:
        raise VolumeError(f"{header.name}: a ModalityLUTSequence is not handled")
    if header.optional("RescaleSlope") == 0:
        raise VolumeError(f"{header.name}: RescaleSlope must not be 0")


def read_pixels(header: Header) -> np.ndarray:
    """Rescaled pixels float32 (rows, columns) of a file that `check_image` accepts; NaN if padded.

    Raises:
        VolumeError: the pixels are damaged, are not what the header says, or cannot be decoded.
    """
    stored = _stored_pixels(header)
    pad = _padded(header, stored)
    spare = 8 * stored.itemsize - int(header.number("BitsStored"))
    stored = (stored << spare) >> spare  # unused high bits may hold anything
    slope = header.optional("RescaleSlope", 1.0)
    intercept = header.optional("RescaleIntercept", 0.0)
    with np.errstate(over="ignore"):
        values = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    if not np.isfinite(values).all():
        raise VolumeError(f"{header.name}: its rescaled values are too large")
    values[pad] = np.nan
    return values


def _stored_pixels(header: Header) -> np.ndarray:
    """Pixels as stored, (rows, columns) of (u)int8 or (u)int16."""
    from pydicom.pixels import pixel_array

    tags = read_tags(header.path, header.name, pixels=True)
    shape = int(header.number("Rows")), int(header.number("Columns"))
    size = int(header.number("BitsAllocated")) // 8
    data = guarded(lambda: bytes(tags.PixelData), f"{header.name} holds no pixels")
    syntax = decodable_syntax(header.name, tags)
    check_claim(header.name, data, syntax, shape, size)
    # Of the decoders of RLE the one in Rust ends the process when a stream is damaged.
    plugin = "pydicom" if syntax == RLE else ""
    array = guarded(
        lambda: pixel_array(tags, raw=True, correct_unused_bits=False, decoding_plugin=plugin),
        f"{header.name} is damaged: its pixels cannot be decoded",
    )
    if array.shape != shape:
        raise VolumeError(f"{header.name} claims {shape} pixels, but holds {array.shape}")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    kind = "i" if header.number("PixelRepresentation") else "u"
    if array.dtype != np.dtype(f"{kind}{size}"):
        raise VolumeError(f"{header.name}: pixels are {array.dtype}, not as the header says")
    return array


def _padded(header: Header, stored: np.ndarray) -> np.ndarray:
    """Where pixels hold the padding value or, with a range limit, lie between the two."""

    def limit(keyword: str) -> np.ndarray | None:
        value = header.optional(keyword)
        if value is None:
            return None
        bits = int(value) & (256**stored.itemsize - 1)  # some files get the sign wrong
        return np.array(bits, f"u{stored.itemsize}").view(stored.dtype)

    value, other = limit("PixelPaddingValue"), limit("PixelPaddingRangeLimit")
    if value is None:
        return np.zeros(stored.shape, bool)
    low, high = sorted([value, value if other is None else other])
    return (low <= stored) & (stored <= high)
