"""A network drawn from itself: stages as boxes, a row for each resolution, arrows for the data."""

import re
from collections import Counter
from dataclasses import dataclass
from html import escape

from torch import nn

from segedu.viz.stages import GLOBAL, Stage, find_stages
from segedu.viz.tables import Table, table

BOX, GAP, LANE, ROW = 38, 22, 50, 30  # height of a box; spaces between boxes, lanes, rows
LEFT = 74  # room for the names of the rows
COLORS = {
    "downsampled ｜ 下采样": "#0072B2",
    "same size ｜ 尺寸不变": "#8A8A8A",
    "upsampled ｜ 上采样": "#009E73",
}
NOTE = (
    "Box: name and number of channels. Row: resolution, as a fraction of the input's.{} ｜ "
    "方框：名称与通道数。行：分辨率与输入之比。{}"
)
DASHED = " Dashed: {}.", "虚线：{}。"
ENDS = {"input": "input ｜ 输入", "output": "output ｜ 输出"}


@dataclass(frozen=True, repr=False)
class Architecture:
    """A finished drawing; a notebook shows its ``svg`` with a legend."""

    svg: str
    name: str
    stages: tuple[Stage, ...]
    dashed: tuple[str, str]  # what the dashed lines mean, in English and in Chinese

    def _repr_html_(self) -> str:
        legend = "".join(
            f'<span style="white-space:nowrap;margin-right:1.2em">'
            '<svg aria-hidden="true" width="14" height="14" style="vertical-align:-0.15em">'
            f'<rect x="1" y="1" width="12" height="12" {_paint(color)}/></svg> '
            f"<span>{text}</span></span>"
            for text, color in COLORS.items()
            if _paint(color) in self.svg
        )
        lines = [text.format(escape(what)) for text, what in zip(DASHED, self.dashed, strict=True)]
        note = NOTE.format(*(lines if "stroke-dasharray" in self.svg else ("", "")))
        return (
            '<div class="segedu-architecture">'
            f'<div style="overflow-x:auto" tabindex="0">{self.svg}</div>'
            f'<div style="font-size:0.9em">{legend}</div>'
            f'<div style="font-size:0.9em">{note}</div></div>'
        )

    def __repr__(self) -> str:
        return f"Architecture({self.name!r}, {sum(s.kind == 'stage' for s in self.stages)} stages)"


def architecture(
    model: nn.Module,
    size: int | tuple[int, int],
    *,
    in_channels: int = 3,
    name: str = "",
    dashed: str = "skip connection ｜ 跳跃连接",
) -> Architecture:
    """Draw the stages of a network, their resolutions and channels, and how the maps flow.

    The drawing is inline SVG without ids that takes its ink from the page; the same network gives
    the same bytes. Small modules in a row that keep the resolution are one box.

    Args:
        model: maps images (N, C, H, W) to logits; it is run on shapes alone and stays as it is.
        size: (H, W) or one number for a square image.
        in_channels: C.
        name: of the network; its class if not given.
        dashed: what passes along the dashed lines, which lead past other stages,
            ``English ｜ 中文``.

    Raises:
        ValueError: if the size is wrong, ``dashed`` is not in two languages, or no map of logits
            comes out.
    """
    english, separator, chinese = dashed.partition(" ｜ ")
    if not separator:
        raise ValueError(f"dashed must read 'English ｜ 中文', got {dashed!r}")
    stages = find_stages(model, size, in_channels)
    name = name or type(model).__name__
    return Architecture(_Drawing(stages).svg(name), name, tuple(stages), (english, chinese))


def shapes(model: nn.Module, size: int | tuple[int, int], *, in_channels: int = 3) -> Table:
    """Return the table of the shapes of a network: what `architecture` draws, in numbers.

    Args:
        model: maps images (N, C, H, W) or volumes (N, C, D, H, W) to logits.
        size: (H, W), (D, H, W), or one number for a square image.
        in_channels: C.

    Raises:
        ValueError: if the size is wrong, or no map of logits comes out.
    """
    rows = [
        [
            stage.name or ENDS[stage.kind],
            " × ".join(map(str, stage.shape)),
            _scale(stage),
            stage.parameters if stage.kind == "stage" else None,
        ]
        for stage in find_stages(model, size, in_channels)
        if stage.kind != "join"
    ]
    sides = "D × H × W" if rows[0][1].count("×") == 3 else "H × W"
    head = ["stage ｜ 阶段", f"output C × {sides} ｜ 输出 C × {sides}", "resolution ｜ 分辨率"]
    return table(rows, [*head, "parameters ｜ 参数量"])


def _scale(stage: Stage) -> str:
    return "global ｜ 全局" if stage.level == GLOBAL else f"1/{2**stage.level}"


@dataclass(eq=False)
class _Box:
    """Where a stage stands: centre, and the lane within its row."""

    stage: Stage
    label: str
    x: float = 0.0
    y: float = 0.0
    lane: int = 0

    @property
    def half(self) -> float:
        """Half its width."""
        if self.stage.kind == "join":
            return 11 if len(self.label) == 1 else 5 + 3.1 * len(self.label)
        return 42 if self.stage.kind in ENDS else max(22, 6 + 3.35 * len(self.label))

    @property
    def tall(self) -> float:
        """Half its height."""
        return (22 if self.stage.kind == "join" else BOX) / 2


class _Drawing:
    """Boxes stand from left to right as the network runs, as far left as their inputs allow."""

    def __init__(self, stages: list[Stage]) -> None:
        self.boxes = [
            _Box(stage, label) for stage, label in zip(stages, _labels(stages), strict=True)
        ]
        for number in range(len(stages)):
            self._place(number)
        self.skips = _skips(stages)
        self.levels = sorted({stage.level for stage in stages})
        self._stack()

    # ------------------------------------------------------------------------- layout

    def _place(self, number: int) -> None:
        box, earlier = self.boxes[number], self.boxes[:number]
        sources = [self.boxes[source] for source in box.stage.sources]
        row = [other for other in earlier if other.stage.level == box.stage.level]
        # below or above its input a box may begin before that ends: the arrow is vertical
        others = [source for source in sources if source not in row]
        overlap = min(18, box.half, *(source.half for source in others))
        space = 2 * GAP if len({source.stage.level for source in others}) > 1 else -overlap
        ends = [s.x + s.half + (GAP if s in row else space) for s in sources]
        if box.stage.kind == "output":
            ends = [max(other.x + other.half for other in earlier) + GAP]
        box.x = max(ends, default=LEFT) + box.half
        if any(self._touch(other, box) for other in row):
            # taken: to the right of all inputs there is room for a curve to a free lane
            box.x = max(s.x + s.half for s in sources) + GAP + box.half
            while any(other.lane == box.lane and self._touch(other, box) for other in row):
                box.lane += 1

    def _touch(self, one: _Box, other: _Box) -> bool:
        return abs(one.x - other.x) < one.half + other.half + GAP - 1

    def _stack(self) -> None:
        """Give each row the height that its lanes and the arcs above it need."""
        self.row_y: dict[int, float] = {}
        y = 8.0
        for level in self.levels:
            row = [box for box in self.boxes if box.stage.level == level]
            arcs = [(a, b) for a, b in self._edges() if a in row and self._is_arc(a, b)]
            y += max((self._rise(a, b) for a, b in arcs), default=0)
            self.row_y[level] = y + BOX / 2
            for box in row:
                box.y = y + BOX / 2 + box.lane * LANE
            y += BOX + LANE * max(box.lane for box in row) + ROW
        self.height = y - ROW + 8
        self.width = max(box.x + box.half for box in self.boxes) + 8

    def _edges(self) -> list[tuple[_Box, _Box]]:
        return [(self.boxes[s], box) for box in self.boxes for s in box.stage.sources]

    def _between(self, a: _Box, b: _Box) -> list[_Box]:
        """Boxes of the row and lane of ``a`` that stand between ``a`` and ``b``."""
        same = (
            box for box in self.boxes if box.stage.level == a.stage.level and box.lane == a.lane
        )
        return [box for box in same if a.x < box.x < b.x and box is not b]

    def _is_arc(self, a: _Box, b: _Box) -> bool:
        same = a.stage.level == b.stage.level and a.lane == b.lane
        return same and bool(self._between(a, b))

    def _rise(self, a: _Box, b: _Box) -> float:
        return 8 + 14 * min(len(self._between(a, b)), 4)

    # ------------------------------------------------------------------------ drawing

    def svg(self, name: str) -> str:
        count = sum(box.stage.kind == "stage" for box in self.boxes)
        title = f"{name}: {count} stages ｜ {name}：{count} 个阶段"
        parts = [f"<title>{escape(title)}</title>"]
        for level in self.levels:
            parts.append(self._row(level))
        for number, b in enumerate(self.boxes):
            for s in b.stage.sources:
                parts.append(self._arrow(self.boxes[s], b, skip=(s, number) in self.skips))
        parts += [self._box(box) for box in self.boxes]
        width, height = round(self.width), round(self.height)
        # as wide as the page, but never too small to read: then it scrolls
        style = f"width:100%;min-width:{round(0.65 * width)}px;max-width:{width}px;height:auto"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}" style="{style}" '
            f'fill="currentColor" font-size="11">{"".join(parts)}</svg>'
        )

    def _row(self, level: int) -> str:
        y = self.row_y[level]
        stage = next(box.stage for box in self.boxes if box.stage.level == level)
        sides = "×".join(map(str, stage.shape[1:]))
        if level == GLOBAL:
            return _text(4, y + 4, sides, 'font-weight="bold"')
        label = _text(4, y - 3, _scale(stage), 'font-weight="bold" font-size="12"')
        return label + _text(4, y + 12, sides, 'opacity="0.75"')

    def _arrow(self, a: _Box, b: _Box, skip: bool) -> str:
        style = ' stroke-dasharray="4 3"' if skip else ""
        line, (x, y), (dx, dy) = self._route(a, b)
        side = (-dy, dx)
        head = [
            (x - 6 * dx + 3.2 * side[0], y - 6 * dy + 3.2 * side[1]),
            (x - 6 * dx - 3.2 * side[0], y - 6 * dy - 3.2 * side[1]),
        ]
        points = " ".join(f"{_n(px)},{_n(py)}" for px, py in [(x, y), *head])
        return (
            f'<path d="{line}" fill="none" stroke="currentColor" stroke-width="1.2"{style} '
            f'opacity="0.8"/><polygon points="{points}" opacity="0.8"/>'
        )

    def _route(self, a: _Box, b: _Box) -> tuple[str, tuple[float, float], tuple[int, int]]:
        """The path from ``a`` to ``b``, where it ends and in which direction."""
        start, end = (a.x + a.half, a.y), (b.x - b.half, b.y)
        if self._is_arc(a, b):
            top = a.y - BOX / 2 - self._rise(a, b)
            x0, x1 = a.x + a.half / 2, b.x - b.half / 2
            y0, y1 = a.y - a.tall, b.y - b.tall
            return _path("M", x0, y0, "C", x0, top, x1, top, x1, y1), (x1, y1), (0, 1)
        if a.y == b.y:
            return _path("M", *start, "L", *end), end, (1, 0)
        up = -1 if b.y < a.y else 1
        left, right = max(a.x - a.half, b.x - b.half), min(a.x + a.half, b.x + b.half)
        if right - left >= 8 and self._is_free((left + right) / 2, a, b):
            x, y = (left + right) / 2, b.y - up * b.tall
            return _path("M", x, a.y + up * a.tall, "L", x, y), (x, y), (0, up)
        before = [c for c in self.boxes if c.y == b.y and c.x < b.x]
        if a.stage.level == b.stage.level and not any(c.x > start[0] for c in before):
            return self._curve(start, end), end, (1, 0)
        # along the row of a, then down or up into b; or first to the row of b, then along it
        x, y = b.x, b.y - up * b.tall
        if not self._between(a, b) and self._is_free(x, a, b) and x > start[0]:
            bend = min(12, x - start[0])
            line = _path("M", *start, "L", x - bend, a.y, "Q", x, a.y, x, a.y + up * 12, "L", x, y)
            return line, (x, y), (0, up)
        x = a.x + a.half / 2
        if self._is_free(x, a, b) and not any(c.x + c.half > x - 4 for c in before):
            line = _path("M", x, a.y + up * a.tall, "L", x, b.y - up * 12, "Q", x, b.y, x + 12, b.y)
            return line + _path(" L", *end), end, (1, 0)
        return self._curve(start, end), end, (1, 0)

    def _is_free(self, x: float, a: _Box, b: _Box) -> bool:
        """Whether no box stands in the way of a vertical line at ``x`` from ``a`` to ``b``."""
        low, high = sorted((a.y, b.y))
        others = (box for box in self.boxes if box is not a and box is not b)
        return not any(low < c.y < high and abs(c.x - x) < c.half + 4 for c in others)

    def _curve(self, start: tuple[float, float], end: tuple[float, float]) -> str:
        pull = max(14.0, min(60.0, (end[0] - start[0]) / 2))
        return _path("M", *start, "C", start[0] + pull, start[1], end[0] - pull, end[1], *end)

    def _box(self, box: _Box) -> str:
        stage, x, y = box.stage, box.x - box.half, box.y - box.tall
        middle = 'text-anchor="middle"'
        if stage.kind == "join":
            frame = (
                f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(2 * box.half)}" height="22" rx="11" '
                'fill="none" stroke="currentColor"/>'
            )
            return frame + _text(box.x, box.y + 4, box.label, f'{middle} font-size="12"')
        fill = "none" if stage.kind in ENDS else self._color(stage)
        frame = (
            f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(2 * box.half)}" height="{BOX}" rx="5" '
            f"{_paint(fill)}/>"
        )
        font = "" if stage.kind in ENDS else 'font-family="monospace" '
        channels = _text(
            box.x, box.y + 14, str(stage.shape[0]), f'{middle} font-weight="bold" font-size="13"'
        )
        return frame + _text(box.x, box.y - 4, box.label, font + middle) + channels

    def _color(self, stage: Stage) -> str:
        down, same, up = COLORS.values()
        levels = [self.boxes[source].stage.level for source in stage.sources]
        if max(levels) > stage.level:
            return up
        return down if max(levels) < stage.level else same


def _labels(stages: list[Stage]) -> list[str]:
    """The last name of each stage with the numbers after it: levels.2.1 of branch.levels.2.1.

    Two modules with the same last name get the name before it as well.
    """
    short: dict[str, str] = {}
    for name in {stage.name for stage in stages if stage.kind == "stage"}:
        found = re.search(r"[^.]*[^\W\d][^.]*(\.\d\w*)*$", name)
        short[name] = found.group() if found else name
    shared = {label for label, count in Counter(short.values()).items() if count > 1}
    for name, label in short.items():
        if label in shared:
            before = name.removesuffix(label).rstrip(".").rpartition(".")[2]
            short[name] = f"{before}.{label}".lstrip(".")
    times = [f" ×{stage.layers}" if stage.layers > 1 else "" for stage in stages]
    names = [ENDS.get(stage.kind) or short.get(stage.name, stage.name) for stage in stages]
    return [name + count for name, count in zip(names, times, strict=True)]


def _skips(stages: list[Stage]) -> set[tuple[int, int]]:
    """Edges that lead past stages which another way to the same end goes through."""
    depth, before = [0] * len(stages), [set() for _ in stages]
    skips = set()
    for number, stage in enumerate(stages):
        if not stage.sources:
            continue
        depth[number] = 1 + max(depth[s] for s in stage.sources)
        before[number] = set(stage.sources).union(*(before[s] for s in stage.sources))
        for s in stage.sources:
            on_the_way = any(s in before[other] for other in stage.sources)
            if on_the_way or depth[s] + 2 < depth[number]:
                skips.add((s, number))
    return skips


def _paint(fill: str) -> str:
    return f'fill="{fill}" fill-opacity="0.28" stroke="currentColor" stroke-opacity="0.7"'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{_n(x)}" y="{_n(y)}" {style}>{escape(text)}</text>'


def _path(*parts: str | float) -> str:
    return " ".join(part if isinstance(part, str) else _n(part) for part in parts)


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")
