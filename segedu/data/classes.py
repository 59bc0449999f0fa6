"""The classes of people's own data: names with the numbers or colours that masks hold.

One class per line or per string, in one of these forms; the form must be the same in a whole list:

    car                        masks hold its place in the list: 0, 1, 2, ...
    car=26                     masks hold this number
    car 0 0 142                masks hold this colour; also car,0,0,142 and 0 0 142 car

Several lines with one name and different numbers or colours are one class. Pixels of a class named
``ignore`` or ``void`` are not trained. A first line ``name,r,g,b`` is a heading. Of a YAML file, as
YOLO data sets have it, the ``names`` are read.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from segedu.data.pairs import IGNORE_INDEX, read_lines
from segedu.data.segments import BACKGROUND, Category
from segedu.data.voc import colormap

IGNORED = ("ignore", "void")
MASKS = ("index", "color", "binary")
_RGB = r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})"
_NAME_RGB = re.compile(rf"(.+?)[\s,=]+{_RGB}")
_RGB_NAME = re.compile(rf"{_RGB}[\s,]+(.+)")
_NAME_VALUE = re.compile(r"(.+?)\s*=\s*(\d+)")

Color = tuple[int, int, int]


class ClassTable(NamedTuple):
    """Classes and how masks hold them."""

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    """For display; those of the masks where these hold colours."""
    label_of: dict[int, int]
    """Number in a mask, or R + 256 G + 65536 B, -> label, 255 for what is ignored."""


def class_names(classes: str | Path | Sequence[str]) -> list[str]:
    """The entries of a list of classes, the lines of a file, or the ``names`` of a YAML file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the list or file is empty, or a YAML file has no ``names``.
        ModuleNotFoundError: if PyYAML is not installed and a YAML file is given.
    """
    if isinstance(classes, str | Path):
        path = Path(classes)
        if path.suffix.lower() in (".yaml", ".yml"):
            classes = _yaml_names(path)
        else:
            classes = read_lines(path, "one class per line")
    entries = [str(entry).strip() for entry in classes]
    if entries and re.fullmatch(r"name\s*,\s*r\s*,\s*g\s*,\s*b", entries[0], re.IGNORECASE):
        entries = entries[1:]
    if not entries or not all(entries):
        raise ValueError(f"classes must be one or more names, got {classes!r}")
    return entries


def _yaml_names(path: Path) -> list[str]:
    """What stands under ``names`` in the ``data.yaml`` of a YOLO data set: a list, or 0: name."""
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path}: reading YAML needs PyYAML (pip install pyyaml); or give one class per line"
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; it should hold names of classes")
    try:
        names = yaml.safe_load(path.read_text(encoding="utf-8"))["names"]
        if isinstance(names, dict):
            names = [names[number] for number in range(len(names))]
        return [str(name) for name in names]
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise ValueError(
            f"{path}: must have names, a list or a mapping of 0, 1, ... to the classes"
        ) from None


def class_table(classes: str | Path | Sequence[str] | None, masks: str = "index") -> ClassTable:
    """Read a list of classes.

    Args:
        classes: entries in one of the forms above, or a file of them.
        masks: what mask files hold: ``index`` numbers, and 255 is ignored if no class has it;
            ``color`` colours; ``binary`` 0 and one of 1 or 255, for two classes, by default
            ``background`` and ``object``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for another ``masks``, a missing or doubled number, colour or name, or a number
            that is out of range.
    """
    if masks not in MASKS:
        raise ValueError(f"masks must be one of {', '.join(MASKS)}; got {masks!r}")
    if masks == "binary":
        names = class_names(("background", "object") if classes is None else classes)
        if len(names) != 2:
            raise ValueError(f"binary masks have 2 classes, got {len(names)}: {', '.join(names)}")
        return ClassTable(tuple(names), tuple(colormap(2)), {0: 0, 1: 1, 255: 1})
    if classes is None:
        raise ValueError("classes is missing: give the names, or a file with one per line")
    rows = _rows(class_names(classes), masks)
    names = tuple(dict.fromkeys(name for name, _ in rows if name.lower() not in IGNORED))
    if len(names) > IGNORE_INDEX:
        raise ValueError(f"there may be at most {IGNORE_INDEX} classes, got {len(names)}")
    label_of: dict[int, int] = {}
    for name, value in rows:
        if value in label_of:
            shown = _color(value) if masks == "color" else value
            raise ValueError(f"classes: two of them have {shown}; the second is {name!r}")
        label_of[value] = IGNORE_INDEX if name.lower() in IGNORED else names.index(name)
    if masks == "color":
        first = {label: _color(value) for value, label in reversed(label_of.items())}
        return ClassTable(names, tuple(first[k] for k in range(len(names))), label_of)
    return ClassTable(names, tuple(colormap(len(names))), {255: IGNORE_INDEX} | label_of)


def object_categories(
    names: Sequence[str], names_zh: Sequence[str] | None = None
) -> list[Category]:
    """The background, which is stuff, and things of these names in the colours of the VOC palette.

    Args:
        names: of the things.
        names_zh: their Chinese names; the same if not given.
    """
    _, *colors = colormap(len(names) + 1)
    rows = zip(names, names_zh or names, colors, strict=True)
    return [Category(*BACKGROUND, isthing=False), *(Category(*row, isthing=True) for row in rows)]


def _rows(entries: Sequence[str], masks: str) -> list[tuple[str, int]]:
    """Name and number, or packed colour, of each entry."""
    if masks == "color":
        return [_colored(entry) for entry in entries]
    valued = [_NAME_VALUE.fullmatch(entry) for entry in entries]
    if all(valued):
        rows = [(match[1], int(match[2])) for match in valued]
    elif any(valued):
        raise ValueError(
            f"classes: either all or none have a number (name=3); {entries[valued.index(None)]!r} "
            "has none"
        )
    else:
        # Colours may stand in the file of a data set whose masks hold indices.
        rows = [(_plain(entry), place) for place, entry in enumerate(entries)]
        if len({name for name, _ in rows}) < len(rows):
            raise ValueError(f"classes: a name occurs twice in {', '.join(n for n, _ in rows)}")
    if max(value for _, value in rows) > 65535:
        raise ValueError("classes: the numbers of masks are at most 65535")
    return rows


def _plain(entry: str) -> str:
    match = _NAME_RGB.fullmatch(entry)
    if match:
        return match[1]
    match = _RGB_NAME.fullmatch(entry)
    return match[4] if match else entry


def _colored(entry: str) -> tuple[str, int]:
    if match := _NAME_RGB.fullmatch(entry):
        name, *rgb = match.groups()
    elif match := _RGB_NAME.fullmatch(entry):
        *rgb, name = match.groups()
    else:
        raise ValueError(f"classes: {entry!r} has no colour; write name r g b, such as car 0 0 142")
    red, green, blue = map(int, rgb)
    if max(red, green, blue) > 255:
        raise ValueError(f"classes: the colour of {entry!r} must be three numbers in 0..255")
    return name, red + 256 * green + 65536 * blue


def _color(packed: int) -> Color:
    return packed % 256, packed // 256 % 256, packed // 65536
