"""Read and write NIfTI files, and refuse what cannot be trusted.

NIfTI indexes voxels ``[i, j, k]`` and uses RAS; ``Volume`` has the reversed order ``[k, j, i]`` (as
SimpleITK has) and LPS. Both ways nothing but the names of the axes changes: no voxel is moved. The
format is described in ``nifti1.h`` (Cox et al. 2004, https://nifti.nimh.nih.gov).
"""

import gzip
import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from segedu.files import atomic_write
from segedu.medical._files import import_extra, quiet
from segedu.medical.volume import Volume, VolumeError

MAX_BYTES = 1 << 32  # of the voxels in memory
DEFLATE_RATIO = 1032  # no gzip file is more than so many times smaller than its content
MAX_OFFSET = 1 << 26  # bytes of extensions between header and voxels
_GZIP = b"\x1f\x8b"  # the first bytes of a packed file
_LENGTHS = (348, 540)  # of the headers of NIfTI-1 and NIfTI-2
_UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI's code -> millimetres; 0 is "unknown"
_REVERSE = [2, 1, 0, 3]  # [i, j, k, 1] <-> [k, j, i, 1]


def is_nifti(path: str | Path) -> bool:
    """Whether a file is called ``.nii`` or ``.nii.gz``, in letters of any case."""
    return Path(path).name.lower().endswith((".nii", ".nii.gz"))


def read_nifti(path: str | Path) -> Volume:
    """Read a single ``.nii`` or ``.nii.gz`` file (NIfTI-1 or -2) with one 3-D image.

    The sform matrix counts, or the qform if there is no sform. Whether the file is packed, its
    first bytes say, not its ending: some programs unpack files and leave the ``.gz``.

    Returns:
        The stored type, or float32 if the file rescales its values.

    Raises:
        VolumeError: damaged or cut, dimensions that lie, more than one volume, colours or complex
            numbers, slope or values that are NaN or infinite, no orientation, a singular or
            sheared affine.
        FileNotFoundError: there is no such file.
        ImportError: nibabel is not installed.
    """
    return _read_file(path, several=False)[0]


def read_channels(path: str | Path) -> tuple[Volume, ...]:
    """Read a file that may hold several 3-D images of one grid, one behind the other along a fourth
    axis: the channels of a scan, as the Medical Segmentation Decathlon stores them.

    Returns:
        One volume for each channel, as ``read_nifti`` reads one.

    Raises:
        VolumeError, FileNotFoundError, ImportError: as ``read_nifti``.
    """
    return _read_file(path, several=True)


def _read_file(path: str | Path, several: bool) -> tuple[Volume, ...]:
    nibabel = import_extra("nibabel")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    if not is_nifti(path):
        raise VolumeError(f"{path.name} must be called .nii or .nii.gz")
    with quiet("nibabel.global"):
        try:
            return _read(nibabel, path, several)
        except VolumeError as error:
            raise VolumeError(f"{path.name}: {error}") from None
        except Exception as error:  # nibabel, gzip and zlib raise many kinds
            kind = type(error).__name__
        raise VolumeError(f"{path.name} is damaged or not a NIfTI file ({kind})")


def write_nifti(volume: Volume, path: str | Path) -> None:
    """Write ``.nii`` or ``.nii.gz``: complete or not at all, the same volume as the same bytes.

    Args:
        volume: bools become uint8, float16 becomes float32, other types are kept.
        path: replaced if it exists; its folder is made if need be.

    Raises:
        ValueError: another ending.
        ImportError: nibabel is not installed.
    """
    nibabel = import_extra("nibabel")
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"path must end in .nii or .nii.gz, got {path.name!r}")
    array = volume.array.transpose()
    array = array.astype({"?": "u1", "e": "f4"}.get(array.dtype.char, array.dtype), copy=False)
    affine = volume.affine("RAS")[:, _REVERSE]
    image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    with atomic_write(path) as file:
        if path.name.endswith(".gz"):
            # Without name and time, so that the bytes depend on the volume alone.
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
                image.to_stream(packed)
        else:
            image.to_stream(file)


def _read(nibabel: ModuleType, path: Path, several: bool) -> tuple[Volume, ...]:
    with open(path, "rb") as file:
        is_packed = file.read(2) == _GZIP
    with (gzip.open if is_packed else open)(path, "rb") as file:
        data = file.read(_LENGTHS[-1])
        kind = _kind(nibabel, data)
        header = kind.header_class(data[: kind.header_class.sizeof_hdr], check=False)
        _check_values(header)
        most = path.stat().st_size * (DEFLATE_RATIO if is_packed else 1)
        end = _end_of_voxels(header, most, several)
        # One byte more than needed: reaches the end, where gzip compares its checksum.
        data += file.read(max(end - len(data) + 1, 0))
    if len(data) != end:
        held = "more" if len(data) > end else len(data)
        raise VolumeError(f"its header claims {end} bytes, but the file has {held}")
    image = kind.from_bytes(data)
    array = np.asarray(image.dataobj)  # applies slope and intercept
    if (image.dataobj.slope, image.dataobj.inter) != (1, 0):
        array = array.astype(np.float32)
    array = array.reshape(*array.shape[:3], -1).transpose()  # (channels, D, H, W)
    array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise VolumeError(
            "it holds NaN or infinite values; numpy.nan_to_num gives them a number of your choice"
        )
    affine = _affine(image.header)[:, _REVERSE]
    return tuple(Volume.from_affine(channel, affine, "RAS") for channel in array)


def _kind(nibabel: ModuleType, data: bytes) -> type:
    """Class of the image by the length of its header, which is its first number."""
    first = {int.from_bytes(data[:4], order) for order in ("little", "big")}
    for kind, length, magic in (
        (nibabel.Nifti1Image, _LENGTHS[0], data[344:346]),
        (nibabel.Nifti2Image, _LENGTHS[1], data[4:6]),
    ):
        if length in first and len(data) >= length and magic == b"n+":
            return kind
    raise VolumeError("it is not a single-file NIfTI image")


def _check_values(header: Mapping) -> None:
    """Refuse types that are no plain numbers, and rescaling that is none."""
    if header.get_data_dtype().kind not in "uif" or header.get_data_dtype().itemsize > 8:
        raise VolumeError("its voxels are not plain numbers, but colours or complex numbers")
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope != 0 and not (math.isfinite(slope) and math.isfinite(intercept)):  # 0: no rescaling
        raise VolumeError("its slope and intercept must be finite")


def _end_of_voxels(header: Mapping, most: int, several: bool) -> int:
    """Length of the unpacked file that the header claims, if ``most`` bytes can hold it."""
    shape = tuple(map(int, header.get_data_shape()))
    if len(shape) < 3 or min(shape) < 1 or any(n != 1 for n in shape[4 if several else 3 :]):
        wanted = "3-D images of one grid" if several else "one 3-D image"
        raise VolumeError(
            f"it must hold {wanted}, got shape {shape}; nibabel.four_to_three splits series"
        )
    offset = float(header["vox_offset"])
    if not _LENGTHS[0] <= offset <= MAX_OFFSET:
        raise VolumeError("its voxels do not start after the header")
    end = int(offset) + math.prod(shape) * header.get_data_dtype().itemsize
    if end > most:
        raise VolumeError(f"its header claims {end} bytes, more than the file can hold")
    if end > MAX_BYTES:
        raise VolumeError(f"it holds more than {MAX_BYTES >> 30} GiB of voxels")
    return end


def _affine(header: Mapping) -> np.ndarray:
    """(4, 4) matrix from [i, j, k, 1] to RAS millimetres."""
    if int(header["sform_code"]) > 0:
        affine = header.get_sform()
    elif int(header["qform_code"]) > 0:
        affine = header.get_qform()
    else:
        raise VolumeError(
            "it says nothing of its orientation (sform and qform codes are 0); if you know it, set "
            "it with nibabel: image.set_sform(affine, 1)"
        )
    unit = int(header["xyzt_units"]) & 7
    if unit not in _UNITS:
        raise VolumeError("its unit of length is unknown")
    return np.diag([_UNITS[unit]] * 3 + [1.0]) @ affine
