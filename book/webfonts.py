"""Makes the Latin fonts of the pages, `book/static/fonts/*.woff2`, from two Debian packages.

    python book/webfonts.py FOLDER

FOLDER holds the TrueType files of the packages fonts-inter-variable and fonts-jetbrains-mono
(`apt-get download`, then `dpkg -x`), at any depth. Needs fonttools and brotli. The same input gives
the same bytes. The families get names of their own, so that they never mix with what is installed.
The Chinese font of machines without one is cut at each build (book/ext/self_contained.py).
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

OUTPUT = Path(__file__).with_name("static") / "fonts"
RANGES = (
    (0x0020, 0x007F),  # ASCII
    (0x00A0, 0x0180),  # Latin-1, Latin Extended-A
    (0x0391, 0x03CA),  # Greek
    (0x2010, 0x2028),  # dashes, quotation marks, dots
    (0x2070, 0x208F),  # superscripts and subscripts
    (0x2190, 0x219A),  # arrows
    (0x2200, 0x2270),  # mathematical operators
    (0x2500, 0x2580),  # lines of drawn boxes
)
OTHERS = (0x02C6, 0x02DC, 0x2030, 0x2032, 0x2033, 0x20AC, 0x2122, 0x2713, 0x2717)
KEPT_FEATURES = ["kern", "mark", "mkmk", "ccmp", "locl", "tnum", "case"]  # no ligatures in code

# Name of the file, source, family, range of weights (None: a font of one weight).
FONTS = (
    ("BookSans.woff2", "Inter-roman.var.ttf", "Book Sans", (400, 700)),
    ("BookSans-Italic.woff2", "Inter-italic.var.ttf", "Book Sans", (400, 700)),
    ("BookMono.woff2", "JetBrainsMono-Regular.ttf", "Book Mono", None),
    ("BookMono-Bold.woff2", "JetBrainsMono-Bold.ttf", "Book Mono", None),
)


def make(source: Path, family: str, weights: tuple[int, int] | None) -> TTFont:
    """The characters and weights of the book out of the font file `source`."""
    font = TTFont(source, recalcTimestamp=False)
    if weights:
        limits = {axis.axisTag: axis.defaultValue for axis in font["fvar"].axes}
        font = instancer.instantiateVariableFont(font, limits | {"wght": weights})
    options = Options(layout_features=KEPT_FEATURES, name_IDs=[0, 1, 2, 4, 6, 13, 14])
    options.hinting = False
    subsetter = Subsetter(options)
    subsetter.populate(unicodes={*OTHERS, *(c for bounds in RANGES for c in range(*bounds))})
    subsetter.subset(font)
    for record in font["name"].names:
        if record.nameID in (1, 4, 6):
            record.string = family if record.nameID != 6 else family.replace(" ", "")
    font.flavor = "woff2"
    return font


def main() -> None:
    """Command line."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    OUTPUT.mkdir(exist_ok=True)
    for name, original, family, weights in FONTS:
        found = sorted(Path(sys.argv[1]).rglob(original))
        if not found:
            sys.exit(f"{original} is not below {sys.argv[1]}: see the head of {__file__}")
        make(found[0], family, weights).save(OUTPUT / name)
        print(f"{name}: {(OUTPUT / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
