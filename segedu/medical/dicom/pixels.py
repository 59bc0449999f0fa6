"""The pixels of one file, decoded and rescaled."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from segedu.medical._files import overheard
from segedu.medical.dicom.encoding import check_claim, decodable_syntax, plugins
from segedu.medical.dicom.header import Header, check_kind
from segedu.medical.dicom.parsing import guarded, read_tags
from segedu.medical.volume import VolumeError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_SIDE = 16384  # rows or columns


def check_image(header: Header) -> None:
    """Refuse images of a kind that is not read, before any pixel is.

    Raises:
        VolumeError: several frames, colours, odd numbers of bits, or tags that are missing or lie.
    """
    if "Rows" not in header.values:
        raise VolumeError(f"{header.name} lacks Rows, so it is not an image")
    if header.frame is None and header.optional("NumberOfFrames", 1) != 1:
        raise VolumeError(
            f"{header.name} is a multi-frame file that does not say where its frames lie: of these "
            "only enhanced CT, MR and PET are read"
        )
    check_kind(header)
    for keyword in ("Rows", "Columns"):
        if not 1 <= header.number(keyword) <= MAX_SIDE:
            raise VolumeError(f"{header.name}: {keyword} must be in 1..{MAX_SIDE}")
    if min(header.vector("PixelSpacing", 2)) <= 0:
        raise VolumeError(f"{header.name}: PixelSpacing must be positive")
    if header.number("SamplesPerPixel") != 1:
        raise VolumeError(
            f"{header.name} is in colour (SamplesPerPixel is not 1): a screenshot or a "
            "report, no slice"
        )
    if header.get("PhotometricInterpretation") != "MONOCHROME2":
        raise VolumeError(
            f"{header.name}: PhotometricInterpretation must be MONOCHROME2, as in all CT and "
            "MR; is it a radiograph or a screenshot?"
        )
    _check_numbers(header)


def _check_numbers(header: Header) -> None:
    """How a pixel is stored, and what it is multiplied by."""
    allocated, stored = header.number("BitsAllocated"), header.number("BitsStored")
    high = header.optional("HighBit", stored - 1)
    if allocated not in (8, 16) or not 1 <= stored <= allocated or high != stored - 1:
        raise VolumeError(
            f"{header.name}: only 8 or 16 bits per pixel, of which the low ones are used, are "
            f"read; it has {allocated:g}, of which {stored:g} up to bit {high:g} are used"
        )
    if header.number("PixelRepresentation") not in (0, 1):
        raise VolumeError(f"{header.name}: PixelRepresentation must be 0 or 1")
    if header.get("ModalityLUTSequence") is not None:
        raise VolumeError(f"{header.name}: a ModalityLUTSequence is not handled")
    if header.optional("RescaleSlope") == 0:
        raise VolumeError(f"{header.name}: RescaleSlope must not be 0")


def read_pixels(headers: Sequence[Header], *, keep_padding: bool) -> Iterator[np.ndarray]:
    """Rescaled pixels float32 (rows, columns) of images of one file that `check_image` accepts.

    Padding becomes NaN unless it is kept.

    Raises:
        VolumeError: the pixels are damaged, are not what the header says, or cannot be decoded.
    """
    tags = read_tags(headers[0].path, headers[0].name, pixels=True)
    for header in headers:
        stored = _stored_pixels(header, tags)
        values = _rescaled(header, stored)
        if not keep_padding:
            values[_padded(header, stored)] = np.nan
        yield values


def _rescaled(header: Header, stored: np.ndarray) -> np.ndarray:
    """float32 values of pixels as stored."""
    spare = 8 * stored.itemsize - int(header.number("BitsStored"))
    stored = (stored << spare) >> spare  # unused high bits may hold anything
    slope = header.optional("RescaleSlope", 1.0)
    intercept = header.optional("RescaleIntercept", 0.0)
    with np.errstate(over="ignore"):
        values = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    if not np.isfinite(values).all():
        raise VolumeError(f"{header.name}: its rescaled values are too large")
    return values


def _stored_pixels(header: Header, tags: "Dataset") -> np.ndarray:
    """Pixels as stored, (rows, columns) of (u)int8 or (u)int16."""
    shape = int(header.number("Rows")), int(header.number("Columns"))
    size = int(header.number("BitsAllocated")) // 8
    data = guarded(lambda: bytes(tags.PixelData), f"{header.name} holds no pixels")
    syntax = decodable_syntax(header.name, tags)
    frame, frames = header.frame or 0, int(header.optional("NumberOfFrames", 1))
    check_claim(header.name, data, syntax, shape, size, frame=frame, frames=frames)
    array = _decoded(header, tags, plugins(syntax, tags) if syntax.is_encapsulated else [""])
    if array.shape != shape:
        raise VolumeError(f"{header.name} claims {shape} pixels, but holds {array.shape}")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    kind = "i" if header.number("PixelRepresentation") else "u"
    if array.dtype != np.dtype(f"{kind}{size}"):
        raise VolumeError(f"{header.name}: pixels are {array.dtype}, not as the header says")
    return array


def _decoded(header: Header, tags: "Dataset", decoders: Sequence[str]) -> np.ndarray:
    """What the first of the decoders that succeeds makes of the pixels."""
    damaged = f"{header.name} is damaged: its pixels cannot be decoded"
    for decoder in decoders:
        decode = _with_gdcm if decoder == "gdcm" else _with_pydicom
        try:
            return guarded(lambda run=decode, name=decoder: run(tags, header.frame, name), damaged)
        except VolumeError as error:
            problem = error
    raise problem


def _with_pydicom(tags: "Dataset", frame: int | None, decoder: str) -> np.ndarray:
    from pydicom.pixels import pixel_array

    how = {"raw": True, "correct_unused_bits": False}
    return pixel_array(tags, index=frame, decoding_plugin=decoder, **how)


def _with_gdcm(tags: "Dataset", frame: int | None, decoder: str) -> np.ndarray:
    """GDCM fills up what is missing of a JPEG stream, and only prints that it did."""
    with overheard() as heard:
        array = _with_pydicom(tags, frame, decoder)
        heard.seek(0)
        complaints = [line for line in heard if b"extraneous bytes before marker 0xd9" not in line]
    if complaints:  # those before the mark of the end are no pixels, and allowed
        raise RuntimeError("the stream is damaged")
    return array


def _padded(header: Header, stored: np.ndarray) -> np.ndarray:
    """Where a CT was not measured: its pixels hold the padding value, up to the image's edge.

    With a range limit, values between the two count. Elsewhere such a value is a value: MR has true
    zeros that PixelPaddingValue names too.
    """
    from scipy.ndimage import label

    def limit(keyword: str) -> np.ndarray | None:
        value = header.optional(keyword)
        if value is None:
            return None
        bits = int(value) & (256**stored.itemsize - 1)  # some files get the sign wrong
        return np.array(bits, f"u{stored.itemsize}").view(stored.dtype)

    value, other = limit("PixelPaddingValue"), limit("PixelPaddingRangeLimit")
    if value is None or header.get("Modality") != "CT":
        return np.zeros(stored.shape, bool)
    low, high = sorted([value, value if other is None else other])
    alike, _ = label((low <= stored) & (stored <= high))
    edge = np.concatenate([alike[0], alike[-1], alike[:, 0], alike[:, -1]])
    return np.isin(alike, edge[edge > 0])
