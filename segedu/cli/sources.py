"""What ``predict`` is given: a file, a folder, a pattern, pages, frames of a video."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})
_MAGIC = frozenset("*?[")
#: Names of folders that hold labels in the layouts of `segedu.data`, without regard to case.
LABEL_FOLDERS = frozenset(
    ("annotations", "label", "labels", "mask", "masks")
    + ("segmentationclass", "segmentationobject", "pedmasks", "gtfine", "gtcoarse")
    + ("trainannot", "valannot", "testannot")
)


class Found(NamedTuple):
    """The files that an input names."""

    files: dict[str, Path]
    """Of each file its path from the input's folder, without its ending, and where it is."""
    left_out: int = 0
    """How many other files the input named."""
    labels: int = 0
    """How many pictures it named that are labels, by the name of their folder."""


class Picture(NamedTuple):
    """One picture to segment: a file, or a page or frame of one."""

    name: str
    """As `Found.files` has it, with the page or frame."""
    file_name: str
    """The same with the file's ending."""
    read: Callable[[], Tensor]
    """Returns it as uint8 (C,H,W)."""


def find_files(text: str) -> Found:
    """The files that a path or a pattern names.

    Args:
        text: a file; a folder, of which images and videos count, in the folders below as well, but
            not in those called as `LABEL_FOLDERS`; or a pattern such as ``photos/**/*.jpg``, which
            means every file that it fits.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if two files would have the same results.
    """
    root, paths, left_out, labels = Path(text), [Path(text)], 0, 0
    if root.is_dir():
        visible = sorted(_visible(root))
        shown = [path for path in visible if _is_picture(path)]
        paths = [path for path in shown if not _is_label(path.relative_to(root))]
        left_out, labels = len(visible) - len(shown), len(shown) - len(paths)
    elif not root.exists() and _MAGIC & set(text):
        paths = map(Path, sorted(glob.glob(text, recursive=True)))
        paths = [path for path in paths if path.is_file()]
        parts = Path(text).parts
        fixed = next(i for i, part in enumerate(parts) if _MAGIC & set(part))
        root = Path(*parts[:fixed])
    else:
        root = root.parent
    if not paths and labels:
        raise FileNotFoundError(
            f"{text}: only labels there, {labels} pictures in folders called as folders of masks "
            "are; to segment them, name such a folder itself"
        )
    if not paths:
        others = f", only {left_out} other files" if left_out else ""
        raise FileNotFoundError(f"{text}: no image or video there{others}")
    files: dict[str, Path] = {}
    for path in paths:
        name = path.relative_to(root).with_suffix("").as_posix()
        if name in files:
            raise ValueError(
                f"{path}: its results would have the names of those of {files[name].name}; "
                "rename one of them"
            )
        files[name] = path
    return Found(files, left_out, labels)


def pictures(name: str, path: Path, channels: int, max_pixels: int) -> Iterator[Picture]:
    """The pictures of a file, one after the other.

    Args:
        name: of the file, as in `Found`.
        path: the file.
        channels, max_pixels: see ``segedu.data.images.read_image``.

    Raises:
        ValueError, FileNotFoundError: if the file cannot be read.
        ImportError: if it is a video, and the extra ``video`` is not installed.
    """
    from segedu.data.images import count_pages, read_image

    settings = {"channels": channels, "max_pixels": max_pixels}

    def picture(part: str, read: Callable[[], Tensor]) -> Picture:
        return Picture(name + part, name + part + path.suffix, read)

    if path.suffix.lower() in VIDEO_SUFFIXES:
        for number, frame in enumerate(read_video(path), start=1):
            yield picture(f"_frame{number:06d}", lambda frame=frame: frame)
        return
    pages = count_pages(path, max_pixels=max_pixels)
    if pages == 1 or (channels not in (1, 3) and pages == channels):
        yield picture("", lambda: read_image(path, **settings))
        return
    for page in range(pages):
        number = f"{page + 1:0{len(str(pages))}d}"
        yield picture(f"_page{number}", lambda page=page: read_image(path, page=page, **settings))


def read_video(path: Path) -> Iterator[Tensor]:
    """The frames of a video, uint8 (3,H,W), decoded one by one.

    Raises:
        FileNotFoundError, ValueError: if there is none, or it cannot be decoded.
        ImportError: if the extra ``video`` is not installed.
    """
    import torch

    try:
        import av
    except ImportError as error:
        raise ImportError(
            f"{path}: reading videos needs the package av: pip install 'segedu[video]'"
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                pixels = frame.to_ndarray(format="rgb24")  # (H,W,3)
                turns = round(getattr(frame, "rotation", 0) / 90) % 4  # as the camera says
                turned = torch.from_numpy(pixels).rot90(turns)
                yield turned.permute(2, 0, 1).contiguous()
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"{path}: not a readable video ({error})") from None


def _visible(root: Path) -> Iterator[Path]:
    """The files below a folder and below what is linked into it, but for hidden ones."""
    known = set()
    for folder, below, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in known:  # a link that leads back
            below.clear()
            continue
        known.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (Path(folder, name) for name in names if not name.startswith("."))


def _is_label(path: Path) -> bool:
    """Whether a path below the folder that was named leads through a folder of labels."""
    return any(part.lower() in LABEL_FOLDERS for part in path.parts[:-1])


def _is_picture(path: Path) -> bool:
    from segedu.data.images import image_suffixes

    return path.suffix.lower() in image_suffixes() | VIDEO_SUFFIXES
