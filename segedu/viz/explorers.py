"""Interactive figures that need no server, and sources of the package shown in a notebook.

`frames` turns up to twelve pictures into one piece of HTML with a slider. It works in the
built book, offline, in JupyterLab and in Colab; without scripts the first picture is shown. The
HTML has no ids and no script tag, so any number of explorers share a page and the same pictures
give the same bytes.
"""

import ast
import base64
import inspect
import io
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from PIL import Image

from segedu.viz.compact import figure_svg, has_text_to_split, palette_png, rasterize
from segedu.viz.grids import Pictures, bilingual, color_key
from segedu.viz.overlays import to_image

MAX_FRAMES = 12
MAX_BYTES = 150_000
MAX_CHART_BYTES = 300_000  # of SVG, which a page takes in compressed to a tenth
LIVE = "SEGEDU_LIVE"  # environment variable: live widgets rather than precomputed frames

Encoded = tuple[str, bytes]  # media type, data

_ON_INPUT = (
    "var root=this.closest('.segedu-frames'),n=+this.value;"
    "root.querySelectorAll('.segedu-frame').forEach(function(frame,i){"
    "frame.hidden=i!==n;"
    "if(i===n)this.setAttribute('aria-valuetext',frame.dataset.label)},this)"
)


@dataclass(frozen=True, repr=False)
class Explorer:
    """A finished explorer; a notebook shows its ``html``."""

    html: str
    title: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"Explorer({self.title!r})"


def _figure_of(picture: Any) -> Figure | None:
    """Return the figure that a picture is, or whose axes it is; None for an image array."""
    if isinstance(picture, np.ndarray) and picture.dtype == object:  # axes, from show_row
        picture = picture.flat[0]
    if not isinstance(picture, Artist):
        return None
    return picture if isinstance(picture, Figure) else picture.figure


def _render(picture: Any) -> Image.Image:
    """Return a figure (or axes, or an image array) as an RGB picture; figures are closed."""
    figure = _figure_of(picture)
    if figure is None:
        return Image.fromarray(to_image(picture))
    rendered = rasterize(figure, tight=False)
    plt.close(figure)
    return rendered


def _charts(figures: Sequence[Figure]) -> tuple[list[Encoded], tuple[int, int]]:
    """Return figures as SVG, whose text stays text, and their size; figures are closed."""
    sizes = {tuple((96 * figure.get_size_inches()).round().astype(int)) for figure in figures}
    encoded = []
    for figure in figures:
        encoded.append(("image/svg+xml", figure_svg(figure, tight=False).encode()))
        plt.close(figure)
    _check_bytes(sum(len(data) for _, data in encoded) * 4 // 3, MAX_CHART_BYTES)
    return encoded, _only(sizes)


def _pictures(images: Sequence[Any]) -> tuple[list[Encoded], tuple[int, int]]:
    """Return images and figures of images as compressed pictures, and their size."""
    pictures = [_render(image) for image in images]
    size = _only({picture.size for picture in pictures})
    return _encode(pictures), size


def _only(sizes: set[tuple[int, int]]) -> tuple[int, int]:
    if len(sizes) > 1:
        raise ValueError(f"all pictures must have the same size, got {sorted(sizes)}")
    width, height = next(iter(sizes))
    return int(width), int(height)


def _check_bytes(size: int, limit: int) -> None:
    if size > limit:
        raise ValueError(
            f"the frames take {size // 1000} kB, the limit is {limit // 1000} kB: "
            "use fewer, smaller or plainer frames (images rather than figures)"
        )


def _encode(pictures: Sequence[Image.Image]) -> list[Encoded]:
    """Return media type and bytes of each picture, all of them within the limit.

    Palette PNG (best for line drawings) or WebP (photographs), whichever is smaller.
    """
    drawings = [("image/png", palette_png(picture, 64)) for picture in pictures]
    for quality in (82, 65, 50, 35):
        encoded = []
        for picture, drawing in zip(pictures, drawings, strict=True):
            webp = io.BytesIO()
            picture.save(webp, "WEBP", quality=quality)
            photograph = ("image/webp", webp.getvalue())
            encoded.append(min(drawing, photograph, key=lambda kind: len(kind[1])))
        size = sum(len(data) for _, data in encoded) * 4 // 3  # in base64
        if size <= MAX_BYTES:
            break
    _check_bytes(size, MAX_BYTES)
    return encoded


def _bodies(images: Sequence[Any], names: Sequence[str]) -> list[str]:
    """Return the HTML of each frame's picture, called by its name.

    Raises:
        ValueError: if the sizes of the pictures differ or they take too much.
    """
    if all(isinstance(image, Pictures) for image in images):
        _check_bytes(sum(len(image.html) for image in images), MAX_BYTES)
        return [image.html for image in images]
    figures = [_figure_of(image) for image in images]
    charts = all(figures) and any(map(has_text_to_split, figures))
    encoded, (width, height) = _charts(figures) if charts else _pictures(images)
    enlarged = 1 if charts else max(1, 480 // width)
    style = f"display:block;width:{width * enlarged}px;max-width:100%;height:auto;margin:0 auto"
    if enlarged > 1:
        style += ";image-rendering:pixelated"
    return [
        f'<img class="dark-light" style="{style}" width="{width * enlarged}" '
        f'height="{height * enlarged}" alt="{escape(name)}" '
        f'src="data:{kind};base64,{base64.b64encode(data).decode()}">'
        for name, (kind, data) in zip(names, encoded, strict=True)
    ]


def frames(
    images: Sequence[Any],
    labels: Sequence[str],
    title: str,
    caption: str = "",
    *,
    start: int = 0,
    legend: Mapping[str, tuple[int, int, int]] | None = None,
) -> Explorer:
    """Return a slider over precomputed pictures.

    Args:
        images: 2 to 12 pictures of the same size: matplotlib figures (or their axes; the figures
            are closed) or images as `segedu.viz.overlay` takes and returns them, or rows of
            images from `segedu.viz.pictures`. Small images are shown enlarged. Charts, and figures
            with a label in two languages, are stored as SVG: the book sets them in the language
            and colours of the page.
        labels: what distinguishes each picture, such as ``"threshold 0.3 ｜ 阈值 0.3"``.
        title: what the slider changes, ``English ｜ 中文``.
        caption: a sentence below, ``English ｜ 中文``.
        start: the picture shown first.
        legend: names, ``English ｜ 中文``, and their colours (R, G, B), 0..255.

    Raises:
        ValueError: if the numbers of pictures and labels differ, there are too few or too many
            pictures, their sizes differ, or they take more than 150 kB (charts: 300 kB).
    """
    if not 2 <= len(images) <= MAX_FRAMES:
        raise ValueError(f"images must hold 2 to {MAX_FRAMES} pictures, got {len(images)}")
    if len(labels) != len(images):
        raise ValueError(f"labels must name every picture, got {len(labels)} for {len(images)}")
    if not 0 <= start < len(images):
        raise ValueError(f"start must lie in 0..{len(images) - 1}, got {start}")
    bodies = _bodies(images, [f"{title}: {label}" for label in labels])
    parts = [
        f'<div class="segedu-frame" data-label="{escape(label)}"'
        f"{'' if number == start else ' hidden'}>{body}"
        f'<div style="text-align:center">{bilingual(label)}</div></div>'
        for number, (label, body) in enumerate(zip(labels, bodies, strict=True))
    ]
    slider = (
        '<label style="display:flex;flex-wrap:wrap;justify-content:center;align-items:center;'
        f'gap:0 0.8em"><span>{bilingual(title)}</span>'
        f'<input type="range" min="0" max="{len(images) - 1}" step="1" value="{start}" '
        f'style="width:min(100%,20em)" aria-valuetext="{escape(labels[start])}" '
        f'oninput="{_ON_INPUT}"></label>'
    )
    if caption:
        slider += f'<div style="text-align:center;font-size:0.9em">{bilingual(caption)}</div>'
    slider += color_key(legend) if legend else ""
    return Explorer(f'<div class="segedu-frames">{"".join(parts)}{slider}</div>', title)


def explore(
    draw: Callable[[Any], Any],
    values: Sequence[Any],
    title: str,
    caption: str = "",
    *,
    label: Callable[[Any], str] = str,
) -> Any:
    """Return a slider over ``draw(value)``.

    By default up to twelve values, evenly spaced, are drawn beforehand (`frames`), so that
    the notebook stores a figure which moves without a kernel. With the environment variable
    ``SEGEDU_LIVE=1`` it is an ipywidgets slider over all values, which needs a running kernel and
    must not be stored.

    Args:
        draw: returns a figure, axes or an image for one value.
        values: the values in order.
        title: what the slider changes, ``English ｜ 中文``.
        caption: a sentence below, ``English ｜ 中文``.
        label: text of a value.
    """
    if os.environ.get(LIVE, "0") in ("", "0"):
        picks = np.linspace(0, len(values) - 1, min(len(values), MAX_FRAMES)).round().astype(int)
        chosen = [values[pick] for pick in picks]
        return frames([draw(value) for value in chosen], list(map(label, chosen)), title, caption)

    import ipywidgets
    from IPython.display import display

    slider = ipywidgets.SelectionSlider(
        options=[(label(value), value) for value in values],
        description=title,
        continuous_update=False,
        style={"description_width": "initial"},
    )
    return ipywidgets.interactive(lambda value: display(_render(draw(value))), value=slider)


@dataclass(frozen=True, repr=False)
class Source:
    """The source of an object; a notebook shows its ``markdown`` as highlighted code."""

    name: str
    markdown: str

    def _repr_markdown_(self) -> str:
        return self.markdown

    def __repr__(self) -> str:
        return f"Source({self.name!r})"


def _without_docstrings(code: str) -> str:
    lines = code.splitlines()
    for node in ast.walk(ast.parse(code)):
        is_scope = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if is_scope and ast.get_docstring(node) is not None and len(node.body) > 1:
            first, last = node.body[0].lineno - 1, node.body[0].end_lineno
            if last < len(lines) and not lines[last]:
                last += 1  # the empty line after it
            lines[first:last] = [None] * (last - first)
    return "\n".join(line for line in lines if line is not None)


def _between(code: str, first: str, last: str) -> str:
    """The lines from the first that begins with ``first`` to the next that begins with ``last``."""
    lines = code.splitlines()
    start = _find(lines, first, 0)
    return textwrap.dedent("\n".join(lines[start : _find(lines, last, start) + 1]))


def _find(lines: Sequence[str], beginning: str, start: int) -> int:
    for number in range(start, len(lines)):
        if lines[number].strip().startswith(beginning):
            return number
    raise ValueError(
        f"part: no line begins with {beginning!r}" + (" after the first" * (start > 0))
    )


def source(*objects: Any, docstrings: bool = True, part: tuple[str, str] | None = None) -> Source:
    """Show the source of functions or classes of the package in a notebook.

    The code comes from the installed package, so a chapter holds no second copy of it.

    Args:
        objects: functions, classes or methods, of one module.
        docstrings: whether the docstrings are shown too.
        part: show of each object only the lines from one that begins with the first text to the
            next that begins with the second, indentation left out; a long function is read in
            pieces.

    Raises:
        TypeError: if an object has no Python source, such as a number or a built-in.
        ValueError: if no objects are given, they live in several modules, or no line begins as
            ``part`` says.
    """
    modules = {inspect.getmodule(thing) for thing in objects}
    if len(modules) != 1:
        raise ValueError(f"objects must come from one module, got {len(modules)} modules")
    pieces = [textwrap.dedent(inspect.getsource(thing)).strip() for thing in objects]
    if not docstrings:
        pieces = [_without_docstrings(piece) for piece in pieces]
    if part is not None:
        pieces = [_between(piece, *part) for piece in pieces]
    code = "\n\n\n".join(pieces)
    (module,) = modules
    path = module.__name__.replace(".", "/")
    path += "/__init__.py" if Path(inspect.getfile(module)).stem == "__init__" else ".py"
    names = ", ".join(f"`{thing.__qualname__}`" for thing in objects)
    fence = "````" if "```" in code else "```"
    text = f"`{path}` · {names}\n\n{fence}python\n{code}\n{fence}\n"
    return Source(f"{module.__name__}: {names.replace('`', '')}", text)
