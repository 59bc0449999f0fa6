"""Figures as a notebook stores them: charts as SVG with text, pictures as small PNG files.

Text that stays text can be split by language and set in the font and colours of a page. A palette
of 256 colours takes a third of true colour.
"""

import base64
import io
import re

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from segedu.languages import BAR

_NEARLY_WHITE = 252
_LARGE = 180_000
_PNG = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")


def rasterize(figure: Figure, *, tight: bool) -> Image.Image:
    """Draw a figure as an RGB picture, with ``tight`` cut to what is drawn."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight" if tight else None)
    return Image.open(buffer).convert("RGB")


def palette_png(picture: Image.Image, colors: int = 256, *, dither: bool = False) -> bytes:
    """Encode an RGB picture as a palette PNG with so many colours, white staying white.

    A picture that has no more colours keeps each of them. ``dither`` keeps the soft gradients of
    others soft, in files half as large again.
    """
    reduced = _exact(picture) if picture.getcolors(colors) else _reduced(picture, colors, dither)
    buffer = io.BytesIO()
    reduced.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _exact(picture: Image.Image) -> Image.Image:
    """A picture of at most 256 colours with these as its palette."""
    pixels = np.asarray(picture)  # (H, W, 3)
    values, numbers = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True)
    exact = Image.fromarray(numbers.reshape(pixels.shape[:2]).astype(np.uint8), "P")
    exact.putpalette(values.tobytes())
    return exact


def _reduced(picture: Image.Image, colors: int, dither: bool) -> Image.Image:
    # The octree is ten times faster than Pillow's other methods and keeps small bright patches,
    # but it averages white away with its neighbours.
    reduced = picture.quantize(colors, method=Image.Quantize.FASTOCTREE)
    palette = [255 if value >= _NEARLY_WHITE else value for value in reduced.getpalette()]
    reduced.putpalette(palette)
    if dither:
        reduced = picture.quantize(palette=reduced, dither=Image.Dither.FLOYDSTEINBERG)
    return reduced


def has_text_to_split(figure: Figure) -> bool:
    """Whether a figure must keep its text: it has no pictures, or a label in two languages."""
    pictures = any(axes.images for axes in figure.axes)
    return not pictures or any(BAR in text.get_text() for text in figure.findobj(Text))


def chart_svg(figure: Figure) -> str | None:
    """Encode a chart as SVG; None for a figure of pictures alone."""
    return figure_svg(figure, tight=True) if has_text_to_split(figure) else None


def figure_svg(figure: Figure, *, tight: bool) -> str:
    """Encode a figure as SVG, the same bytes each time, with ``tight`` cut to what is drawn."""
    box = "tight" if tight else None
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", bbox_inches=box, metadata={"Date": None})
    return _PNG.sub(_smaller, buffer.getvalue())


def figure_png(figure: Figure) -> bytes | None:
    """Encode a figure of pictures as a palette PNG, dithered unless that takes over 180 kB."""
    if has_text_to_split(figure):
        return None
    return _figure_quality(rasterize(figure, tight=True))


def _figure_quality(picture: Image.Image) -> bytes:
    data = palette_png(picture, dither=True)
    return data if len(data) <= _LARGE else palette_png(picture)


def _smaller(match: re.Match[str]) -> str:
    """An opaque picture inside an SVG as palette PNG."""
    picture = Image.open(io.BytesIO(base64.b64decode(match[1])))
    if picture.convert("RGBA").getextrema()[3][0] < 255:
        return match[0]
    data = _figure_quality(picture.convert("RGB"))
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def store_figures_small() -> None:
    """Make the running notebook, if there is one, store charts as SVG, pictures as palette PNG."""
    try:
        from IPython import get_ipython
    except ImportError:  # a plain Python without notebooks
        return
    shell = get_ipython()
    if shell is None:
        return
    plt.switch_backend(plt.get_backend())  # the inline backend sets its own formatter: go second
    for kind, encode in (("image/png", figure_png), ("image/svg+xml", chart_svg)):
        shell.display_formatter.formatters[kind].for_type(Figure, encode)
