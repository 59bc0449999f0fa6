"""Figures as a notebook stores them: charts as SVG with text, pictures as small PNG files.

Text that stays text can be split by language and set in the font and colours of a page. A palette
of 256 colours takes a third of true colour.
"""

import io

import matplotlib.pyplot as plt
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

_NEARLY_WHITE = 252
_LARGE = 180_000


def rasterize(figure: Figure, *, tight: bool) -> Image.Image:
    """Draw a figure as an RGB picture, with ``tight`` cut to what is drawn."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight" if tight else None)
    return Image.open(buffer).convert("RGB")


def palette_png(picture: Image.Image, colors: int = 256, *, dither: bool = False) -> bytes:
    """Encode an RGB picture as a palette PNG with so many colours, white staying white.

    ``dither`` keeps soft gradients soft, in files half as large again.
    """
    # The octree is ten times faster than Pillow's other methods and keeps small bright patches,
    # but it averages white away with its neighbours.
    reduced = picture.quantize(colors, method=Image.Quantize.FASTOCTREE)
    palette = [255 if value >= _NEARLY_WHITE else value for value in reduced.getpalette()]
    reduced.putpalette(palette)
    if dither:
        reduced = picture.quantize(palette=reduced, dither=Image.Dither.FLOYDSTEINBERG)
    buffer = io.BytesIO()
    reduced.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def is_chart(figure: Figure) -> bool:
    """Whether a figure is drawn with lines, areas and text alone, without pictures."""
    return not any(axes.images for axes in figure.axes)


def figure_svg(figure: Figure) -> str | None:
    """Encode a chart as SVG, the same bytes each time; None for a figure with pictures."""
    if not is_chart(figure):
        return None
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    return buffer.getvalue()


def figure_png(figure: Figure) -> bytes | None:
    """Encode a figure with pictures as a palette PNG, dithered unless that takes over 180 kB."""
    if is_chart(figure):
        return None
    picture = rasterize(figure, tight=True)
    data = palette_png(picture, dither=True)
    return data if len(data) <= _LARGE else palette_png(picture)


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
    for kind, encode in (("image/png", figure_png), ("image/svg+xml", figure_svg)):
        shell.display_formatter.formatters[kind].for_type(Figure, encode)
