"""What compressed pixels say of themselves, found out before a decoder may believe the header.

Decoders allocate what a stream claims, and some drop what is too much.
"""

import itertools
from typing import TYPE_CHECKING

import numpy as np

from segedu.medical.dicom.parsing import guarded, meta_uid
from segedu.medical.volume import VolumeError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

RLE = "1.2.840.10008.1.2.5"

_JPEG = [f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81)]  # JPEG-LS as well
_JPEG_12_BIT = _JPEG[1]
_PACKAGES = {  # decoders that the extra does not bring, by transfer syntax
    _JPEG_12_BIT: "pylibjpeg pylibjpeg-libjpeg",
}


def decodable_syntax(name: str, tags: "Dataset") -> "UID":
    """Transfer syntax of a file, if its pixels can be decoded.

    Raises:
        VolumeError: it is none, is not for images, or its decoder is not installed.
    """
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    syntax = UID(meta_uid(tags, name, "TransferSyntaxUID"))
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise VolumeError(f"{name} has no known transfer syntax")
    try:
        get_decoder(syntax)
    except NotImplementedError:
        raise VolumeError(f"{name}: {syntax.name} is not a way to store images") from None
    if syntax.is_encapsulated and not plugins(syntax, tags):
        package = _PACKAGES.get(syntax, "'segedu[medical]'")
        raise VolumeError(
            f"{name} is compressed with {syntax.name}, for which no decoder is installed: "
            f"pip install {package}"
        )
    return syntax


def plugins(syntax: "UID", tags: "Dataset") -> list[str]:
    """The decoders of pydicom that are installed for a compressed file, in the order to try."""
    from pydicom.pixels import get_decoder

    if syntax == RLE:  # the decoder in Rust ends the process when a stream is damaged
        return ["pydicom"]
    found = list(get_decoder(syntax).available_plugins)
    if syntax == _JPEG_12_BIT and tags.get("BitsStored") != 8:  # they know its 8 bits only
        found = [plugin for plugin in found if plugin not in ("pillow", "gdcm")]
    # GDCM is in C++, and trusts a stream more than the others do.
    return [plugin for plugin in found if plugin != "gdcm"] or found


def check_claim(
    name: str,
    data: bytes,
    syntax: "UID",
    shape: tuple[int, int],
    size: int,
    *,
    frame: int = 0,
    frames: int = 1,
) -> None:
    """Compare (rows, columns) and bytes per pixel of the header with the pixel data of a frame.

    Raises:
        VolumeError: they differ, or the data are damaged.
    """
    from pydicom.encaps import get_frame

    claim = f"{name} claims {shape} pixels of {size} bytes, but holds"
    if not syntax.is_encapsulated:
        expected = frames * shape[0] * shape[1] * size
        if len(data) not in (expected, expected + expected % 2):  # padded to an even number
            of_frames = "" if frames == 1 else f" for {frames} frames"
            raise VolumeError(f"{claim} {len(data)} bytes{of_frames}")
        return
    damaged = f"{name} is damaged: its compressed pixels cannot be parsed"
    stream = guarded(lambda: get_frame(data, frame, number_of_frames=frames), damaged)
    if syntax == RLE:
        lengths = guarded(lambda: _rle_lengths(stream), damaged)
        if lengths != [shape[0] * shape[1]] * size:
            raise VolumeError(f"{claim} {lengths} bytes")
        return
    if syntax in _JPEG and stream[:2] != b"\xff\xd8":  # GDCM prints a line of its own
        raise VolumeError(damaged)
    # Without the mark at the end of a JPEG-LS stream its decoder searches for it for minutes.
    if stream[:2] == b"\xff\xd8" and b"\xff\xd9" not in stream[-16:]:
        raise VolumeError(f"{name} is damaged: its compressed pixels are cut off")
    if (coded := _coded_shape(stream)) not in (None, shape):
        raise VolumeError(f"{claim} {coded} pixels")


def _coded_shape(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG or JPEG 2000 stream itself claims; None if it does not say."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 1024)  # start of codestream, then SIZ
    if start >= 0 and len(frame) >= start + 24:
        box = [int.from_bytes(frame[start + i : start + i + 4], "big") for i in (8, 12, 16, 20)]
        return box[1] - box[3], box[0] - box[2]
    place = 2  # JPEG, JPEG-LS: segments up to the start of frame
    while frame[:2] == b"\xff\xd8" and place + 9 <= len(frame) and frame[place] == 0xFF:
        marker, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4], "big")
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            sides = frame[place + 5 : place + 9]
            return int.from_bytes(sides[:2], "big"), int.from_bytes(sides[2:], "big")
        place += 2 + length
    return None


def _rle_lengths(frame: bytes) -> list[int]:
    """Number of bytes that each segment of an RLE frame decodes to (Part 5, G.3)."""
    count, *starts = np.frombuffer(frame[:64], "<u4").tolist()
    lengths = []
    for start, stop in itertools.pairwise([*starts[:count], len(frame)]):
        place, length = start, 0
        while place < stop - 1:  # a last byte alone is there to make the length even
            run = frame[place]
            if run < 128:  # so many bytes, and one, as they are
                length, place = length + run + 1, place + run + 2
            elif run > 128:  # one byte repeated
                length, place = length + 257 - run, place + 2
            else:
                place += 1
        lengths.append(length)
    return lengths
