"""Read damaged files and count what happens: ``python -m tests.medical.fuzz dicom 5000``.

Every file must be read or be refused with ``VolumeError``, within five seconds each and 512 MiB in
all, and no error may hold the patient's name that is in the file. Prints one line of JSON; the exit
status is 1 if anything else happened.
"""

import collections
import gzip
import io
import json
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from segedu.medical import VolumeError, read_nifti, read_series
from tests.medical.dicom_files import (
    JPEG_LOSSLESS,
    SENTINELS,
    dicom_tags,
    enhanced_dicom,
    lossless_jpeg,
    write_dicom,
)

SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "JPEG Lossless": JPEG_LOSSLESS,
}
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)


def dicom_bases(folder: Path) -> list[bytes]:
    """One small valid file for each transfer syntax, and one with several frames."""
    import pydicom

    pixels = np.random.default_rng(0).integers(0, 4096, (64, 80)).astype(np.int16)
    bases = []
    for name, syntax in SYNTAXES.items():
        path = folder / f"{name}.dcm"
        write_dicom(path, dicom_tags((0, 0, 0), pixels.shape), pixels)
        if syntax == JPEG_LOSSLESS:
            lossless_jpeg(path, syntax)
        dataset = pydicom.dcmread(path)
        if dataset.file_meta.TransferSyntaxUID != syntax:
            if pydicom.uid.UID(syntax).is_compressed and name != "deflated":
                dataset.compress(syntax, generate_instance_uid=False)
            dataset.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(path, dataset)
        bases.append(path.read_bytes())
    enhanced_dicom(folder / "frames.dcm", pixels.reshape(4, 16, 80), [(0, 0, z) for z in range(4)])
    return [*bases, (folder / "frames.dcm").read_bytes()]


def nifti_bases() -> list[bytes]:
    """Small valid files: NIfTI-1 and -2, whole numbers and real ones."""
    import nibabel

    array = np.random.default_rng(0).integers(0, 100, (9, 8, 7))
    return [
        kind(array.astype(dtype), np.diag([2.0, 1.5, 3.0, 1.0]), dtype=dtype).to_bytes()
        for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image)
        for dtype in (np.int16, np.float32)
    ]


def mutate(data: bytes, rng: random.Random, header: int) -> bytes:
    """One to three changes: mostly in the first ``header`` bytes, where they hurt most."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(min(header, len(data)) if rng.random() < 0.8 else len(data))
        length = rng.choice((1, 1, 2, 4, 8, 16, 64))
        piece = slice(place, place + length)
        kind = rng.randrange(7)
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[piece] = rng.randbytes(len(data[piece]))
        elif kind == 2:
            size = rng.choice((2, 4))
            number = rng.choice(NUMBERS) & (256**size - 1)
            data[place : place + size] = number.to_bytes(size, rng.choice(("little", "big")))
        elif kind == 3:
            del data[piece]
        elif kind == 4:
            data[place:place] = rng.randbytes(length)
        elif kind == 5:
            data[place:place] = data[piece] * rng.choice((1, 2, 100))
        else:
            del data[max(place, 1) :]
        if not data:
            return b"\0"
    return bytes(data)


def deflate_bomb(base: bytes, megabytes: int) -> bytes:
    """A deflated file that grows a thousandfold."""
    start = 132 + 12 + int.from_bytes(base[140:144], "little")
    body = zlib.decompress(base[start:], -zlib.MAX_WBITS)
    machine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body += struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, megabytes << 20)
    parts = [base[:start], machine.compress(body)]
    parts += [machine.compress(bytes(1 << 20)) for _ in range(megabytes)]
    return b"".join([*parts, machine.flush()])


def dicom_cases(count: int, rng: random.Random, folder: Path) -> Iterator[bytes]:
    bases = dicom_bases(folder)
    yield from bases
    yield deflate_bomb(bases[list(SYNTAXES).index("deflated")], 1024 if count >= 5000 else 128)
    codestream = bytearray(bases[list(SYNTAXES).index("JPEG 2000")])
    place = codestream.index(b"\xff\x4f\xff\x51")
    struct.pack_into(">IIII", codestream, place + 8, 60000, 60000, 0, 0)
    yield bytes(codestream)
    for _ in range(count):
        base = rng.choice(bases)
        yield mutate(base, rng, header=len(base) - 10000 if len(base) > 10500 else 1200)


def nifti_cases(count: int, rng: random.Random) -> Iterator[bytes]:
    bases = nifti_bases()
    yield from bases
    for _ in range(count):
        data = mutate(rng.choice(bases), rng, header=560)
        if rng.random() < 0.5:
            data = gzip.compress(data, mtime=0)
            data = mutate(data, rng, header=len(data)) if rng.random() < 0.2 else data
        yield data


def run(read: Callable[[], object], cases: Iterator[bytes], place: Callable[[bytes], Path]) -> dict:
    """Read every case and count."""
    counts, wrong, slowest, leaks = collections.Counter(), [], 0.0, 0
    for data in cases:
        path = place(data)
        path.write_bytes(data)
        start = time.perf_counter()
        try:
            read(path)
            counts["read"] += 1
        except VolumeError:
            counts["refused"] += 1
            leaks += any(s in traceback.format_exc() for s in SENTINELS)
        except Exception:
            wrong.append(traceback.format_exc())
        slowest = max(slowest, time.perf_counter() - start)
        path.unlink()
    return {
        "files": sum(counts.values()) + len(wrong),
        **counts,
        "other_errors": len(wrong),
        "names_leaked": leaks,
        "slowest_s": round(slowest, 3),
        "peak_MiB": peak_memory(),
        "examples": wrong[:3],
    }


def peak_memory() -> int:
    """Largest resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the parent process, too, as it was at the start
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 << 20)  # macOS counts bytes


def main(kind: str, count: int, seed: int = 0) -> int:
    rng = random.Random(seed)
    output = sys.stderr = io.StringIO()  # libraries must not print names either
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "case").mkdir()
        if kind == "dicom":
            cases = dicom_cases(count, rng, root)
            result = run(
                lambda path: read_series(path.parent), cases, lambda _: root / "case" / "a"
            )
        else:
            result = run(
                read_nifti,
                nifti_cases(count, rng),
                lambda data: root / ("a.nii.gz" if data[:2] == b"\x1f\x8b" else "a.nii"),
            )
    result["names_leaked"] += sum(s in output.getvalue() for s in SENTINELS)
    print(json.dumps(result))
    good = not result["other_errors"] and not result["names_leaked"]
    return 0 if good and result["slowest_s"] < 5 and result["peak_MiB"] < 512 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), *map(int, sys.argv[3:4])))
