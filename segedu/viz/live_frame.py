"""What all networks that run in the page share: the frame, the button, and how they look before.

The frame holds a still picture, and hidden beside it a stage with all that the script ``live.js``
of the book needs when the button is pressed. The HTML has no ids and no script, and the same
arguments give the same bytes.
"""

import base64
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segedu.viz.grids import bilingual

MAX_SIDE = 256  # pixels; an answer must come while a finger moves, on a phone, too


class Range(NamedTuple):
    """A slider: its name, lowest and highest value, step, and the value that changes nothing."""

    name: str
    low: float
    high: float
    step: float
    start: float


_SAYS = {
    "elsewhere": "In the built book a button here runs the network. ｜ "
    "在构建好的书里，这里有一个按钮，可以运行网络。",
    "waiting": "On your device alone; 15 MB, loaded once. ｜ "
    "只在你的设备上计算；15 MB，只加载一次。",
    "loading": "Loading 15 MB … ｜ 正在加载 15 MB……",
    "starting": "Starting the network … ｜ 正在启动网络……",
    "missing": "A file of the network is not on this server; the picture stays as it is. ｜ "
    "服务器上没有网络的文件，图片保持原样。",
    "damaged": "A file of the network is damaged; the picture stays as it is. ｜ "
    "网络的文件已损坏，图片保持原样。",
    "disk": "A page opened from disk may not run a network: type python -m http.server in the "
    "folder of the site, and open http://localhost:8000. ｜ 从磁盘打开的网页不能运行网络："
    "请在网站所在的文件夹里输入 python -m http.server，再打开 http://localhost:8000。",
    "unable": "This browser is too old for it: it has no WebAssembly with SIMD. ｜ "
    "浏览器太旧，没有 WebAssembly SIMD，无法运行。",
}


@dataclass(frozen=True, repr=False)
class LiveFigure:
    """A finished figure; a notebook shows its ``html``."""

    html: str
    names: tuple[str, ...]

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"LiveFigure({', '.join(map(repr, self.names))})"


def frame(kind: str, about: Any, still: str, stage: str) -> str:
    """A finished figure.

    Args:
        kind: what runs in it: ``brush`` for the script ``live-brush.js``.
        about: what the script must know, for JSON.
        still: HTML of what stands there where no script is. Where one is, the stage shows its
            pictures until it runs: one for each canvas, in their order.
        stage: HTML of what takes its place.
    """
    return (
        f'<div class="segedu-live" data-kind="{kind}" data-about="{escape(json.dumps(about))}">'
        f'<div class="segedu-live-still">{still}</div>'
        f'<div class="segedu-live-stage" hidden>{stage}{_time()}</div>{_start()}</div>'
    )


def canvas(size: tuple[int, int], attributes: str) -> str:
    """A panel to draw on, as high and wide as a picture, so that its room is known before."""
    height, width = size
    return f'<canvas width="{width}" height="{height}" {attributes}></canvas>'


def panel(size: tuple[int, int], attributes: str, hint: str, below: str) -> str:
    """The picture to work on, what to do first, which the script takes away, and what is below."""
    hint = f'<span class="segedu-live-hint" hidden>{bilingual(hint)}</span>'
    return f'<figure class="segedu-live-picture">{canvas(size, attributes)}{hint}{below}</figure>'


def controls(*rows: str) -> str:
    """What changes the answers, below the panels."""
    return f'<div class="segedu-live-controls">{"".join(rows)}</div>'


def choices(control: str, group: str, names: Mapping[str, str]) -> str:
    """Radio buttons in a row, the first one chosen; of each its name and what stands before it."""
    chips = "".join(
        f'<label><input type="radio" data-control="{control}" value="{number}"'
        f"{' checked' if number == 0 else ''}>{before}<span>{bilingual(name)}</span></label>"
        for number, (name, before) in enumerate(names.items())
    )
    return f'<div role="radiogroup" aria-label="{group}">{chips}</div>'


def picture_choices(names: Iterable[str]) -> str:
    """Radio buttons for pictures, where there are several."""
    named = dict.fromkeys(names, "")
    return choices("picture", "picture ｜ 图片", named) if len(named) > 1 else ""


def parts(pixels: Mapping[str, NDArray[np.uint8]]) -> str:
    """The exact pixels of a picture and all that belongs to it, hidden."""
    images = "".join(
        f'<img alt="" data-part="{part}" src="{data_uri(values)}">'
        for part, values in pixels.items()
    )
    return f"<div hidden data-picture>{images}</div>"


def slider(name: str, about: Range) -> str:
    """A slider with its name before it and its value behind it."""
    return (
        f'<label class="segedu-live-slider"><span>{bilingual(about.name)}</span>'
        f'<input type="range" data-control="{name}" min="{about.low}" max="{about.high}" '
        f'step="{about.step}" value="{about.start}"><output>{signed(about.start)}</output></label>'
    )


def signed(value: float) -> str:
    """A number as it is printed, with a minus and no hyphen."""
    return f"{value}".replace("-", "−")


def button(control: str, name: str) -> str:
    """A button that the script knows by ``control``."""
    return f'<button type="button" data-control="{control}">{bilingual(name)}</button>'


def check(control: str, name: str) -> str:
    """A box to tick, ticked at first."""
    return (
        f'<label class="segedu-live-check"><input type="checkbox" data-control="{control}" '
        f"checked><span>{bilingual(name)}</span></label>"
    )


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """An image as a data URI that keeps every pixel."""
    file, picture = io.BytesIO(), Image.fromarray(pixels)
    if pixels.ndim == 2:
        kind = "png"
        picture.save(file, "PNG", optimize=True)
    else:
        kind = "webp"
        picture.save(file, "WEBP", lossless=True, quality=100, method=6)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def help_text(texts: Mapping[str, str], shown: str) -> str:
    """The caption of the picture that is worked on: what to do, of which one text is shown."""
    return f'<figcaption class="segedu-live-help">{said("help", texts, shown)}</figcaption>'


def said(name: str, texts: Mapping[str, str], shown: str) -> str:
    """Texts of which one is shown; the script shows another one by its key."""
    return "".join(
        f'<span data-{name}="{key}"{"" if key == shown else " hidden"}>{bilingual(text)}</span>'
        for key, text in texts.items()
    )


def _start() -> str:
    """The button, which the script shows, and all that can be said about it."""
    progress = '<progress max="15" value="0" aria-label="loaded ｜ 已加载" hidden></progress>'
    texts = said("says", _SAYS, "elsewhere")
    return (
        '<div class="segedu-live-start" style="text-align:center;margin-top:0.8em">'
        '<button type="button" data-control="start" hidden>'
        f"{bilingual('▶ Run the network here ｜ ▶ 在这里运行网络')}</button> "
        f'{progress} <span role="status">{texts}</span></div>'
    )


def _time() -> str:
    """How long an answer takes, which the script fills in."""
    return (
        '<div class="segedu-live-time" aria-live="polite">'
        '<span class="lang-en" lang="en">one answer takes <b>–</b> ms</span> '
        '<span class="lang-zh" lang="zh-CN">一次回答用时 <b>–</b> 毫秒</span></div>'
    )
