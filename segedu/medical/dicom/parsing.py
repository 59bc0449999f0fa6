"""Parse one file with bounded memory, in silence, and with one kind of error."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segedu.medical._files import import_extra, quiet
from segedu.medical.dicom.header import DAMAGED, TAGS, Header, plain_uid
from segedu.medical.volume import VolumeError

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_FILE = 1 << 30  # bytes; one slice is a few megabytes at most
MAX_INFLATED = 64 << 20  # bytes that a deflated file may grow to

# Group and element that a file without preamble may begin with: the length of group 2 or 8, the
# version of the file, the character set, the type of the image, its class.
_FIRST_TAGS = tuple(
    group.to_bytes(2, "little") + element.to_bytes(2, "little")
    for group, element in ((2, 0), (2, 1), (2, 2), (8, 0), (8, 1), (8, 5), (8, 8), (8, 0x16))
)
_DEFLATED = "1.2.840.10008.1.2.1.99"
_DICOMDIR = "1.2.840.10008.1.3.10"


def read_header(path: Path, name: str) -> Header | None:
    """The wanted tags; None if the file is not DICOM, or is the index DICOMDIR.

    Raises:
        VolumeError: the file cannot be read, is too large, or is damaged.
        ImportError: pydicom is not installed.
    """
    import_extra("pydicom")
    try:
        with open(path, "rb") as file:
            start = file.read(132)
    except OSError as error:
        raise VolumeError(f"{name} cannot be read: {error.strerror}") from None
    if start[128:] != b"DICM":
        # Then stand the letters of its type (explicit) or a length below 256 (implicit).
        if start[:4] in _FIRST_TAGS and (start[4:6].isalpha() or start[5:8] == bytes(3)):
            raise VolumeError(
                f"{name} looks like DICOM without the 128 bytes and the letters DICM before it, as "
                "old programs wrote it; save it as a DICOM file of part 10 first"
            )
        return None
    tags = read_tags(path, name, pixels=False)
    if meta_uid(tags, name, "MediaStorageSOPClassUID") == _DICOMDIR:
        return None
    header = Header(path, name, _wanted_values(tags))
    if "Rows" not in header.values and not header.uid("SeriesInstanceUID"):
        raise VolumeError(f"{name} is damaged: it has neither SeriesInstanceUID nor Rows")
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        header.uid(keyword)  # refuses a damaged one now, before files are grouped by it
    return header


def read_tags(path: Path, name: str, *, pixels: bool) -> "Dataset":
    """Parse a file; ``file_meta`` and the original encoding are set.

    Raises:
        VolumeError: the file is too large, or damaged.
    """
    from pydicom import dcmread
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_dataset

    wanted = [tag_for_keyword(k) for k in (*TAGS, *(["PixelData"] if pixels else []))]
    if path.stat().st_size > MAX_FILE:
        raise VolumeError(f"{name} is larger than {MAX_FILE >> 20} MiB")

    def parse() -> "Dataset":
        with open(path, "rb") as file:
            file.seek(132)
            meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
            if meta.get("TransferSyntaxUID") != _DEFLATED:
                file.seek(0)
                return dcmread(file, specific_tags=wanted, stop_before_pixels=not pixels)
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


def _wanted_values(tags: "Dataset") -> dict[str, Any]:
    """Values by keyword; pydicom interprets the bytes of a tag only now, which may fail."""
    values = {}
    with quiet("pydicom"):
        for keyword in TAGS:
            try:
                value = tags.get(keyword)
            except Exception:  # of many kinds; matters only if the value is needed
                value = DAMAGED
            if value is not None and not (hasattr(value, "__len__") and len(value) == 0):
                values[keyword] = value
    return values


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
