"""Parse one file with bounded memory, in silence, and with one kind of error."""

import io
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segedu.medical._files import quiet
from segedu.medical.dicom.header import DAMAGED, GROUPS, TAGS, plain_uid
from segedu.medical.volume import VolumeError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_FILE = 1 << 30  # bytes; one slice is a few megabytes at most
MAX_INFLATED = 64 << 20  # bytes that a deflated file may grow to

_DEFLATED = "1.2.840.10008.1.2.1.99"


def looks_like_dicom(path: Path, name: str) -> bool:
    """Whether a file has the letters DICM at byte 128, or begins as DICOM does behind them.

    Programs from before part 10 of the standard wrote it so, and some archives still hand it out.

    Raises:
        VolumeError: the file cannot be read.
    """
    from pydicom.values import converters

    try:
        with open(path, "rb") as file:
            start = file.read(132)
    except OSError as error:
        raise VolumeError(f"{name} cannot be read: {error.strerror}") from None
    if start[128:] == b"DICM":
        return True
    # Group 2 or 8, and then the letters of the type (explicit) or a length below 256 (implicit).
    explicit = start[4:6].decode("latin-1") in converters
    if start[:2] in (b"\0\2", b"\0\x08"):  # big-endian, which is always explicit
        return explicit
    return start[:2] in (b"\2\0", b"\x08\0") and (explicit or start[5:8] == bytes(3))


def series_uid(path: Path) -> str:
    """SeriesInstanceUID of a file that is damaged behind it; ``""`` if it cannot be told."""
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag

    last = Tag("SeriesInstanceUID")

    def parse() -> str:
        with open(path, "rb") as file:
            if _read_meta(file).get("TransferSyntaxUID") == _DEFLATED:
                return ""  # pydicom's own inflation has no limit
            file.seek(0)
            tags = read_partial(file, lambda tag, *_: tag > last, force=True, specific_tags=[last])
        return plain_uid(tags.get("SeriesInstanceUID"))

    try:
        return guarded(parse, "")
    except VolumeError:
        return ""


def read_tags(path: Path, name: str, *, pixels: bool) -> "Dataset":
    """Parse a file; ``file_meta`` and the original encoding are set.

    Raises:
        VolumeError: the file is too large, or damaged.
    """
    from pydicom import dcmread
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_dataset

    wanted = [tag_for_keyword(k) for k in (*TAGS, *(["PixelData"] if pixels else GROUPS))]
    if path.stat().st_size > MAX_FILE:
        raise VolumeError(f"{name} is larger than {MAX_FILE >> 20} MiB")

    def parse() -> "Dataset":
        with open(path, "rb") as file:
            meta = _read_meta(file)
            if meta.get("TransferSyntaxUID") != _DEFLATED:
                file.seek(0)
                tags = dcmread(
                    file, force=True, specific_tags=wanted, stop_before_pixels=not pixels
                )
                if "TransferSyntaxUID" not in tags.file_meta:  # a file from before part 10
                    tags.file_meta.TransferSyntaxUID = _plain_syntax(tags)
                return tags
            body = _inflate(file, name)  # pydicom's own inflation has no limit
            tags = read_dataset(body, False, True, specific_tags=wanted)
            tags.file_meta = meta
            tags.set_original_encoding(False, True)
            return tags

    return guarded(parse, f"{name} is damaged: its header cannot be parsed")


def guarded(action: Callable[[], Any], message: str) -> Any:
    """Run pydicom in silence and turn the many kinds of errors it raises into one.

    Its messages are dropped, and the errors not chained, because they quote the file.

    Raises:
        VolumeError: ``action`` raised anything.
    """
    with quiet("pydicom"):
        try:
            return action()
        except VolumeError:
            raise
        except Exception as error:
            kind = type(error).__name__
        raise VolumeError(f"{message} ({kind})")


def meta_uid(tags: "Dataset", name: str, keyword: str) -> str:
    """UID from the part before the data set; ``""`` if there is none."""
    message = f"{name} is damaged: its {keyword} cannot be read"
    return plain_uid(guarded(lambda: tags.file_meta.get(keyword), message))


def wanted_values(tags: "Dataset", keywords: Sequence[str]) -> dict[str, Any]:
    """Values by keyword; pydicom interprets the bytes of a tag only now, which may fail."""
    values = {}
    with quiet("pydicom"):
        for keyword in keywords:
            try:
                value = tags.get(keyword)
            except Exception:  # of many kinds; matters only if the value is needed
                value = DAMAGED
            if value is not None and not (hasattr(value, "__len__") and len(value) == 0):
                values[keyword] = value
    return values


def _read_meta(file: io.BufferedReader) -> "Dataset":
    """The part before the data set, group 2, behind which the file is left."""
    from pydicom.filereader import read_dataset

    file.seek(132 if file.read(132)[128:] == b"DICM" else 0)
    return read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)


def _plain_syntax(tags: "Dataset") -> str:
    """The uncompressed transfer syntax in which pydicom could parse a file that names none."""
    is_implicit, is_little_endian = tags.original_encoding
    if is_implicit:
        return "1.2.840.10008.1.2"
    return "1.2.840.10008.1.2.1" if is_little_endian else "1.2.840.10008.1.2.2"


def _inflate(file: io.BufferedReader, name: str) -> io.BytesIO:
    """Inflate the rest of a file, a piece at a time, up to ``MAX_INFLATED`` bytes."""
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    result = io.BytesIO()
    piece = file.read(1 << 16)
    while piece and not machine.eof:
        result.write(machine.decompress(piece, 1 << 20))
        if result.tell() > MAX_INFLATED:
            raise VolumeError(f"{name} inflates to more than {MAX_INFLATED >> 20} MiB")
        piece = machine.unconsumed_tail or file.read(1 << 16)
    result.seek(0)
    return result
