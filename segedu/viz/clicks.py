"""A promptable network that answers clicks: in the page, in Jupyter, and for whoever calls it.

`live_clicks` writes a figure for the book, as `segedu.viz.live` does; its script is
``live-clicks.js``. `Clicking` does the same with PyTorch, one click after the other.
"""

import io
import os
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import nn

from segedu.ops import center_clicks
from segedu.viz.explorers import LIVE
from segedu.viz.grids import bilingual, pictures
from segedu.viz.live_frame import (
    MAX_SIDE,
    LiveFigure,
    button,
    canvas,
    choices,
    controls,
    frame,
    help_text,
    panel,
    parts,
    picture_choices,
)
from segedu.viz.overlays import overlay_instances, to_array, to_image

COLOR = (214, 39, 150)  # of the mask; no class of the scenes has it
SIGNS = {1: (10, 120, 60), 0: (190, 20, 20)}  # of a click on the object, and beside it
ZOOM = 3  # pixels of a drawing for one of the picture
MAX_CLICKS = 20  # as interactive segmentation is judged; after them one has given up

_FIRST = "Click on an object in this picture ｜ 点击这幅图片里的一个物体"
_HELP = {
    "first": "Click on an object. ｜ 点击一个物体。",
    "minus": "Begin with + on an object: − only takes off from a mask. ｜ "
    "请先选 +，点在一个物体上：− 只能从掩膜中减去一部分。",
    "only-minus": "Only − so far: now choose +, and click on the object that you mean. ｜ "
    "到现在只有 −：请选 +，再点你想要的物体。",
    "nothing": "No object is under your first +: take it back. ｜ "
    "你的第一个 + 没有点中物体：请撤销。",
    "choose": "Which of the three do you mean? Or click again. ｜ "
    "三个掩膜中你指的是哪一个？也可以再点一次。",
    "more": "Something missing? Choose + and click there. Too much? Choose − and click there. ｜ "
    "漏掉了？选“+”，点漏掉的地方。多出了？选“−”，点多出的地方。",
    "full": "Twenty clicks are enough: take some back. ｜ 二十次点击已经足够：请撤销几次。",
}
_MASKS = [f"mask {number} ｜ 掩膜 {number}" for number in (1, 2, 3)]
_NUMBERS = {
    "estimate": "the network expects IoU ｜ 网络预计的 IoU",
    "iou": "IoU with the object ｜ 与物体的 IoU",
    "clicks": "clicks ｜ 点击次数",
}


class Turn(NamedTuple):
    """A click and the answer to it."""

    x: int
    y: int
    label: int  #: 1 on the object, 0 beside it
    masks: NDArray[np.bool_]  #: (K, H, W), three after the first click, then one
    ious: NDArray[np.float32]  #: (K,), what the network thinks of them
    logits: torch.Tensor  #: (K, S/4, S/4), of which one is the next mask prompt
    chosen: int  #: which mask is meant, at first the one that it thinks best


class Clicking:
    """Clicks on one picture, each of which corrects the mask that the earlier ones gave.

    Args:
        network: a promptable one, such as ``get_model("sam_tiny", weights="scenes")``; put into
            eval mode.
        image: as `segedu.viz.overlay` takes it.

    Example:
        >>> from segedu.models import get_model
        >>> clicking = Clicking(get_model("sam_tiny"), np.zeros((96, 128, 3), np.uint8))
        >>> clicking.click(40, 50).masks.shape  # three, for one click may mean several things
        (3, 96, 128)
        >>> clicking.choose(2)
        >>> clicking.click(10, 10, label=0).masks.shape
        (1, 96, 128)
        >>> clicking.undo()
        >>> clicking.mask.shape, len(clicking.turns)
        ((96, 128), 1)
    """

    def __init__(self, network: nn.Module, image: Any) -> None:
        _check_promptable(network)
        self.network, self.image = network.eval(), to_image(image)
        pixels = torch.from_numpy(self.image.copy()).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            self.embedding = network.embed(pixels)
        self.turns: list[Turn] = []

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask that is meant, (H, W); nothing before the first click."""
        if not self.turns:
            return np.zeros(self.image.shape[:2], bool)
        return self.turns[-1].masks[self.turns[-1].chosen]

    @torch.no_grad()
    def click(self, x: int, y: int, label: int = 1) -> Turn:
        """Click on a pixel: 1 on the object, 0 beside it.

        Raises:
            ValueError: if the pixel lies outside the picture, or the label is another.
        """
        height, width = self.image.shape[:2]
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"x, y must be a pixel of {width} x {height}, got {x}, {y}")
        if label not in (0, 1):
            raise ValueError(f"label must be 1, on the object, or 0, beside it; got {label}")
        places = [*((turn.x, turn.y) for turn in self.turns), (x, y)]
        labels = [*(turn.label for turn in self.turns), label]
        prompts = {"points": torch.tensor([[places]]).float(), "labels": torch.tensor([[labels]])}
        if self.turns:
            last = self.turns[-1]
            prompts["masks"] = last.logits[last.chosen][None, None]
        size = (height, width)
        answer = self.network.segment(self.embedding, size, **prompts, multimask=not self.turns)
        logits, ious, low_res = (part[0, 0] for part in answer)
        masks = (logits > 0).numpy()
        self.turns.append(Turn(x, y, label, masks, ious.numpy(), low_res, int(ious.argmax())))
        return self.turns[-1]

    def choose(self, number: int) -> None:
        """Say which of the last answer's masks is meant, counted from 0.

        Raises:
            ValueError: if there is no such mask.
        """
        count = len(self.turns[-1].masks) if self.turns else 0
        if not 0 <= number < count:
            raise ValueError(f"number must be one of the {count} masks, got {number}")
        self.turns[-1] = self.turns[-1]._replace(chosen=number)

    def undo(self) -> None:
        """Take the last click back, if there is one."""
        self.turns = self.turns[:-1]

    def clear(self) -> None:
        """Take all clicks back."""
        self.turns = []

    def iou(self, masks: Any) -> float:
        """IoU of the mask with the object under the first click on one; NaN if there was none.

        Args:
            masks: bool (N, H, W), the objects of the picture; a later one is on top.
        """
        objects = _object_map("the picture", self.image, masks)
        wanted = next((objects[turn.y, turn.x] for turn in self.turns if turn.label), 0)
        if not wanted:
            return float("nan")
        truth = objects == wanted
        return (self.mask & truth).sum() / (self.mask | truth).sum()

    def draw(self) -> NDArray[np.uint8]:
        """The picture, enlarged, under the mask and the clicks."""
        return _drawn(self.image, self.mask, self.turns)

    def on(self, axes: Axes) -> None:
        """Let clicks on a figure ask: left on the object, right beside it.

        Needs an interactive backend of matplotlib: a window, or ``%matplotlib widget`` of ipympl.
        """

        def show() -> None:
            axes.clear()
            axes.imshow(self.draw(), extent=(0, self.image.shape[1], self.image.shape[0], 0))
            axes.set_axis_off()
            axes.figure.canvas.draw_idle()

        def clicked(event: Any) -> None:
            if event.inaxes is axes:
                self.click(int(event.xdata), int(event.ydata), label=int(event.button == 1))
                show()

        axes.figure.canvas.mpl_connect("button_press_event", clicked)
        show()

    def widget(self, masks: Any = None) -> Any:
        """Sliders for a cross, and buttons, of ipywidgets; needs a running kernel.

        Args:
            masks: as for `iou`, which is shown then.
        """
        import ipywidgets as w

        height, width = self.image.shape[:2]
        across, down = (
            w.IntSlider(value=side // 2, min=0, max=side - 1, description=name)
            for side, name in ((width, "x"), (height, "y"))
        )
        which = w.ToggleButtons(options=[], description="mask ｜ 掩膜")
        picture, text = w.Image(format="png"), w.Label()

        def show(_: Any = None) -> None:
            last = self.turns[-1:]
            drawn = _drawn(self.image, self.mask, self.turns, (across.value, down.value))
            picture.value = _png(drawn)
            own = f"{last[0].ious[last[0].chosen]:.2f}" if last else "–"
            shown = {"clicks": str(len(self.turns)), "estimate": own}
            if masks is not None:
                shown["iou"] = f"{self.iou(masks):.2f}"
            text.value = "; ".join(f"{_NUMBERS[key]}: {value}" for key, value in shown.items())

        def choose(change: Any) -> None:
            self.choose(change["new"])
            show()

        def do(action: Any, *given: Any) -> None:
            action(*given)
            turn = self.turns[-1] if self.turns else None
            which.unobserve(choose, "value")  # not the reader chooses now
            which.options = [(f"{n + 1}", n) for n in range(len(turn.masks))] if turn else []
            if turn:
                which.value = turn.chosen
            which.observe(choose, "value")
            show()

        buttons = {
            "on the object ｜ 物体上": lambda: do(self.click, across.value, down.value, 1),
            "beside it ｜ 物体外": lambda: do(self.click, across.value, down.value, 0),
            "take one back ｜ 撤销一次": lambda: do(self.undo),
            "clear ｜ 清空": lambda: do(self.clear),
        }
        row = []
        for name, action in buttons.items():
            row.append(w.Button(description=name, layout=w.Layout(width="auto")))
            row[-1].on_click(lambda _, action=action: action())
        for slider in (across, down):
            slider.observe(show, "value")
        which.observe(choose, "value")
        show()
        return w.VBox([picture, across, down, w.HBox(row), which, text])


def live_clicks(
    network: nn.Module, images: Mapping[str, Sequence[Any]], name: str = "one click ｜ 一次点击"
) -> Any:
    """Return a promptable network that answers the reader's clicks in the page.

    The still pictures are the answer to one click into the middle of the largest object, and the
    three masks that it may mean. With the
    environment variable ``SEGEDU_LIVE=1`` it is `Clicking.widget` on the first picture instead.

    Args:
        network: has weights of the package, as ``get_model("sam_tiny", weights="scenes")``.
        images: names, ``English ｜ 中文``, and of each an image as `segedu.viz.overlay` takes it,
            whose longer side is the network's ``image_size``, and the masks of its objects, bool
            (N, H, W), 1 to 255 of them, a later one on top.
        name: caption of the still answer, ``English ｜ 中文``.

    Raises:
        TypeError: if the network is not promptable.
        ValueError: if it lacks weights of the package, or images and objects do not fit.
    """
    _check(network, images)
    prepared = {
        key: (to_image(image), _object_map(key, image, masks))
        for key, (image, masks) in images.items()
    }
    image, objects = next(iter(prepared.values()))
    clicking = Clicking(network, image)
    if os.environ.get(LIVE, "0") not in ("", "0"):
        return clicking.widget(next(iter(images.values()))[1])
    largest = objects == np.bincount(objects[objects > 0]).argmax()
    ((x, y),) = center_clicks(torch.from_numpy(largest)[None]).int().tolist()
    clicking.click(x, y)
    (turn,) = clicking.turns
    masks = [overlay_instances(image, mask[None], [COLOR]) for mask in turn.masks]
    still = pictures([clicking.draw(), *masks], [name, *_MASKS], columns=2).html
    about = {"color": COLOR, "signs": [SIGNS[0], SIGNS[1]], "zoom": ZOOM, "limit": MAX_CLICKS}
    stage = "".join(
        (
            _panels(network, image.shape[:2]),
            controls(
                _signs(),
                picture_choices(images),
                button("undo", "take one back ｜ 撤销一次"),
                " ",
                button("reset", "clear ｜ 清空"),
            ),
            *(parts({"image": image, "objects": map_}) for image, map_ in prepared.values()),
        )
    )
    return LiveFigure(frame("clicks", about, still, stage), (name,))


def _check_promptable(network: nn.Module) -> None:
    if not (hasattr(network, "embed") and hasattr(network, "segment")):
        raise TypeError(
            f"network must be promptable, such as sam_tiny, got {type(network).__name__}"
        )


def _check(network: nn.Module, images: Mapping[str, Sequence[Any]]) -> None:
    _check_promptable(network)
    if getattr(network, "trained", None) is None:
        raise ValueError(
            'network has no weights of the package; use get_model("sam_tiny", weights="scenes")'
        )
    if not images:
        raise ValueError("images is empty: there is nothing to click on")
    for name, (image, _) in images.items():
        height, width = to_image(image).shape[:2]
        side = network.image_size
        if max(height, width) != side or side > MAX_SIDE:
            raise ValueError(
                f"the longer side of {name} must be the network's {side}, {MAX_SIDE} at most, got "
                f"{height} x {width}"
            )


def _object_map(name: str, image: Any, masks: Any) -> NDArray[np.uint8]:
    """Of each pixel its object's number, from 1, or 0; (H, W)."""
    size, stack = to_image(image).shape[:2], to_array(masks).astype(bool)
    if stack.ndim != 3 or stack.shape[1:] != size or not 1 <= len(stack) <= 255:
        raise ValueError(
            f"the masks of {name} must be (N, {size[0]}, {size[1]}) with 1 to 255 objects, got "
            f"{stack.shape}"
        )
    objects = np.zeros(size, np.uint8)
    for number, mask in enumerate(stack, start=1):
        objects[mask] = number
    if not objects.any():
        raise ValueError(f"the masks of {name} must not be empty: there is nothing to click on")
    return objects


# --- pictures -----------------------------------------------------------------------------------


def _drawn(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    turns: Sequence[Turn],
    cross: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """A picture, enlarged, under its mask, the clicks, and where the next one would go."""
    shown = overlay_instances(image, mask[None], [COLOR])
    large = Image.fromarray(shown.repeat(ZOOM, 0).repeat(ZOOM, 1))
    pen = ImageDraw.Draw(large)
    for turn in turns:
        x, y = (ZOOM * (place + 0.5) for place in (turn.x, turn.y))
        pen.circle((x, y), 7, SIGNS[turn.label], (255, 255, 255), 2)
        pen.line((x - 4, y, x + 4, y), (255, 255, 255), 2)
        if turn.label:
            pen.line((x, y - 4, x, y + 4), (255, 255, 255), 2)
    if cross is not None:
        x, y = (ZOOM * (place + 0.5) for place in cross)
        for color, wide in (((0, 0, 0), 4), ((255, 255, 255), 2)):
            pen.line((x - 11, y, x + 11, y), color, wide)
            pen.line((x, y - 11, x, y + 11), color, wide)
    return np.asarray(large)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


# --- HTML ---------------------------------------------------------------------------------------


def _panels(network: nn.Module, size: tuple[int, int]) -> str:
    """The picture to click on, and beside it what a first click may mean, and the numbers."""
    keys = (
        "a picture to click on: arrow keys move a cross, enter clicks on the object, minus beside "
        "it, backspace takes a click back ｜ 可以点击的图片：方向键移动十字，回车键点在物体上，"
        "减号键点在物体外，退格键撤销一次点击"
    )
    asked = f'data-panel="picture" tabindex="0" role="application" aria-label="{escape(keys)}"'
    large = (ZOOM * size[0], ZOOM * size[1])
    shown = "".join(
        f'<div>{bilingual(text)} <b data-shows="{key}">–</b></div>'
        for key, text in _NUMBERS.items()
    )
    hidden = 'aria-hidden="true"'
    masks = "".join(
        f'<label><input type="radio" data-control="mask" value="{number}">'
        f"{canvas(size, hidden)}"
        f"<span>{bilingual(mask)} <b>–</b></span></label>"
        for number, mask in enumerate(_MASKS, start=1)
    )
    trained = network.trained
    return (
        f'<div class="segedu-live-panels">{panel(large, asked, _FIRST, help_text(_HELP, "first"))}'
        f'<figure data-network="{trained.file}" data-sha256="{trained.sha256}">'
        '<div role="radiogroup" class="segedu-live-masks" '
        f'aria-label="what one click may mean ｜ 一次点击可能的含义">{masks}</div>'
        f'<figcaption class="segedu-live-numbers" aria-live="polite">{shown}</figcaption>'
        "</figure></div>"
    )


def _signs() -> str:
    marks = {
        "on the object ｜ 点在物体上": '<i data-sign="1">+</i>',
        "beside it ｜ 点在物体外": '<i data-sign="0">−</i>',
    }
    return choices("sign", "what a click says ｜ 点击的含义", marks)
