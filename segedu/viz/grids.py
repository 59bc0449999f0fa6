"""Rows of pictures as HTML: captions that wrap, panels that stay large on a phone."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from PIL import Image

from segedu.languages import halves
from segedu.viz.compact import palette_png
from segedu.viz.overlays import to_image

MIN_PANEL = 200  # pixels
ENLARGE_BELOW = 240  # images narrower than this keep their pixels sharp

# A click gives a panel the whole row, another one takes it back.
_ON_CLICK = (
    "var s=this.closest('figure').style;s.gridColumn=s.gridColumn?'':'1 / -1';"
    "this.style.cursor=s.gridColumn?'zoom-out':'zoom-in'"
)


@dataclass(frozen=True, repr=False)
class Pictures:
    """Finished pictures; a notebook shows their ``html``."""

    html: str
    count: int

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"Pictures({self.count})"


def bilingual(text: str) -> str:
    """HTML of ``English ｜ 中文``, each half marked with its language."""
    split = halves(escape(text.strip()))
    if split is None:
        return escape(text.strip())
    return (
        f'<span class="lang-en" lang="en">{split["en"]}</span> '
        f'<span class="lang-zh" lang="zh-CN">{split["zh"]}</span>'
    )


def pictures(
    images: Sequence[Any],
    captions: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    legend: Mapping[str, tuple[int, int, int]] | None = None,
) -> Pictures:
    """Return images side by side, each with its caption; a click enlarges one.

    Args:
        images: images as ``segedu.viz.overlay`` takes and returns them.
        captions: one text per image, ``English ｜ 中文``.
        columns: the most images in a row, where there is room: a panel has at least 200 pixels.
            Two rows for four images, else three images in a row, if not given.
        legend: names, ``English ｜ 中文``, and their colours (R, G, B), 0..255.

    Raises:
        ValueError: if there are no images, or the captions do not name every image.
    """
    if not len(images):
        raise ValueError("images is empty: there is nothing to show")
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"captions must name every image, got {len(captions)} for {len(images)}")
    columns = columns or (2 if len(images) == 4 else 3)
    names = captions or [""] * len(images)
    panels = "".join(_panel(to_image(i), name) for i, name in zip(images, names, strict=True))
    # As many columns as asked for, fewer where they would become narrow.
    width = f"max({MIN_PANEL}px,calc((100% - {columns - 1}em) / {columns}))"
    tracks = f"repeat(auto-fill,minmax(min(100%,{width}),1fr))"
    style = f"display:grid;gap:0.8em 1em;grid-template-columns:{tracks}"
    key = color_key(legend) if legend else ""
    html = f'<div class="segedu-pictures"><div style="{style}">{panels}</div>{key}</div>'
    return Pictures(html, len(images))


def _panel(image: Any, caption: str) -> str:
    height, width = image.shape[:2]
    data = base64.b64encode(palette_png(Image.fromarray(image), dither=True)).decode()
    sharp = ";image-rendering:pixelated" if width < ENLARGE_BELOW else ""
    text = f'<figcaption style="text-align:center">{bilingual(caption)}</figcaption>'
    return (
        '<figure style="margin:0"><button type="button" title="larger, smaller ｜ 放大、缩小" '
        'style="all:unset;display:block;width:100%;cursor:zoom-in" '
        f'onclick="{_ON_CLICK}"><img class="dark-light" alt="{escape(caption) or "picture ｜ 图"}" '
        f'width="{width}" height="{height}" style="display:block;width:100%;height:auto{sharp}" '
        f'src="data:image/png;base64,{data}"></button>{text if caption else ""}</figure>'
    )


def color_key(colors: Mapping[str, tuple[int, int, int]]) -> str:
    """HTML of one line of coloured boxes, each with its name, ``English ｜ 中文``."""
    box = "display:inline-block;width:0.9em;height:0.9em;border:1px solid #666;background:rgb"
    entries = "".join(
        f'<span style="white-space:nowrap"><span style="{box}{tuple(map(int, color))}"></span> '
        f"{bilingual(name)}</span>"
        for name, color in colors.items()
    )
    style = "display:flex;flex-wrap:wrap;justify-content:center;gap:0.2em 1.2em;margin-top:0.6em"
    return f'<div style="{style}">{entries}</div>'
