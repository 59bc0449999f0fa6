"""Networks in a chart that the reader filters: by kind, and by the most that each cost may be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from segedu.viz.grids import bilingual

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 480, 340, 46, 44, 12, 14
Place = tuple[float, float]
# Of a name beside its dot: how far to the right, and down; its anchor; the part left of that.
SIDES = ((8, 4, "start", 0), (-8, 4, "end", 1), (0, -9, "middle", 0.5), (0, 17, "middle", 0.5))
BLUE, GREY = "#3b7dd8", "#8a8a8a"
# On every input: hides other kinds, fades what is over a limit, and finds the front again.
_ON_INPUT = (
    """
var root=this,q=function(s){return root.querySelectorAll(s)},limits={};
q('[data-limit]').forEach(function(input){
 var values=JSON.parse(input.dataset.values),text=values[+input.value];
 limits[input.dataset.limit]=+text;input.setAttribute('aria-valuetext',text);
 input.nextElementSibling.textContent=text});
var kind=q('select')[0].value,left=[];
q('[data-panel]').forEach(function(panel){panel.hidden=panel.dataset.panel!==kind});
q('[data-kind]').forEach(function(dot){
 var d=dot.dataset,fits=Object.keys(limits).every(function(k){return +d[k]<=limits[k]});
 dot.style.opacity=fits?1:0.2;dot.dataset.fits=fits?1:'';
 if(fits&&d.kind===kind)left.push(dot)});
q('[data-kind]').forEach(function(dot){
 var front=dot.dataset.fits&&!left.some(function(o){var a=o.dataset,b=dot.dataset;
  return +a.x<=+b.x&&+a.score>=+b.score&&(+a.x<+b.x||+a.score>+b.score)});
 dot.querySelector('circle').setAttribute('fill',front?'BLUE':'GREY');
 dot.querySelector('text').style.visibility=front?'visible':'hidden'});
q('[data-count]').forEach(function(place){place.textContent=left.length});
q('[data-best]').forEach(function(place){place.textContent=left.length?left.reduce(function(a,b){
 return +b.dataset.score>+a.dataset.score?b:a}).dataset.name:'–'});
""".replace("BLUE", BLUE)
    .replace("GREY", GREY)
    .replace("\n", "")
)


class Option(NamedTuple):
    """One thing that can be chosen."""

    name: str
    kind: str  #: a key of ``kinds``
    score: float  #: the larger the better
    costs: Mapping[str, float]  #: key of ``costs`` -> value; the first is the horizontal axis


@dataclass(frozen=True, repr=False)
class Choice:
    """A finished chart with its controls, see `choice`; a notebook shows its ``html``."""

    html: str
    count: int

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"Choice({self.count} options)"


def front(options: Sequence[Option], cost: str) -> list[Option]:
    """Those that no other one beats: as cheap and as good, and better in one of the two."""
    return [
        one
        for one in options
        if not any(
            other.costs[cost] <= one.costs[cost]
            and other.score >= one.score
            and (other.costs[cost], other.score) != (one.costs[cost], one.score)
            for other in options
        )
    ]


def choice(
    options: Sequence[Option], kinds: Mapping[str, tuple[str, str]], costs: Mapping[str, str]
) -> Choice:
    """Return a chart of options, score against cost, with a filter for the kind and each cost.

    What no other option beats is blue and named; what costs too much is faint. Without scripts the
    first kind is shown unfiltered.

    Args:
        options: what can be chosen.
        kinds: key -> its name and the name of its score, each ``English ｜ 中文``.
        costs: key of lower-case letters -> its name with its unit, ``English ｜ 中文``; the first
            one is drawn.

    Raises:
        ValueError: there is no option of some kind, one has an unknown kind, lacks a cost or has
            one that is not positive.
    """
    for option in options:
        if option.kind not in kinds:
            raise ValueError(f"kind of {option.name} must be in {list(kinds)}, got {option.kind!r}")
        if not all(option.costs.get(cost, 0) > 0 for cost in costs):
            raise ValueError(f"{option.name} must have positive {list(costs)}, got {option.costs}")
    if empty := [kind for kind in kinds if kind not in {option.kind for option in options}]:
        raise ValueError(f"options must hold one of every kind, got none of {empty}")
    parts = [_kind_select(kinds), *(_limit(options, cost, name) for cost, name in costs.items())]
    style = "display:flex;flex-wrap:wrap;gap:0.3em 1.5em;justify-content:center"
    first, panels = next(iter(kinds)), []
    for kind, names in kinds.items():
        own = [option for option in options if option.kind == kind]
        hidden = "" if kind == first else " hidden"
        panels.append(f'<div data-panel="{escape(kind)}"{hidden}>{_chart(own, names, costs)}</div>')
    html = (
        f'<div class="segedu-frames segedu-choice" oninput="{escape(_ON_INPUT)}">'
        f'<div style="{style}">{"".join(parts)}</div>{"".join(panels)}'
        f"{_result([option for option in options if option.kind == first])}</div>"
    )
    return Choice(html, len(options))


def _kind_select(kinds: Mapping[str, tuple[str, str]]) -> str:
    entries = "".join(
        f'<option value="{escape(kind)}">{escape(name)}</option>'
        for kind, (name, _) in kinds.items()
    )
    return f"<label>{bilingual('task ｜ 任务')} <select>{entries}</select></label>"


def _limit(options: Sequence[Option], cost: str, name: str) -> str:
    """A slider over the round numbers up to the first that all options keep."""
    values = _round_numbers([option.costs[cost] for option in options])
    last = len(values) - 1
    listed = "[" + ",".join(values) + "]"
    return (
        f"<label>{bilingual(name)} ≤ "
        f'<input type="range" min="0" max="{last}" step="1" value="{last}" data-limit="{cost}" '
        f'data-values="{listed}" aria-valuetext="{values[-1]}" '
        f'style="width:9em;vertical-align:middle"> <output>{values[-1]}</output></label>'
    )


def _round_numbers(values: Sequence[float]) -> list[str]:
    """1, 1.5, 2, 3, 5, 7, 10 and so on, so far that all values lie between them."""
    steps = [m * 10.0**e for e in range(-3, 10) for m in (1, 1.5, 2, 3, 5, 7)]
    start = max(n for n, step in enumerate(steps) if step <= min(values))
    end = min(n for n, step in enumerate(steps) if step >= max(values))
    return [f"{step:g}" for step in steps[start : end + 1]]


def _chart(options: Sequence[Option], names: tuple[str, str], costs: Mapping[str, str]) -> str:
    cost, label = next(iter(costs.items()))
    xs, ys = [option.costs[cost] for option in options], [option.score for option in options]
    low, high = math.log(min(xs) / 1.25), math.log(max(xs) * 1.6)
    bottom, top = 0.1 * math.floor(10 * min(ys) - 0.3), 0.1 * math.ceil(10 * max(ys) + 0.3)

    def x(value: float) -> float:
        return LEFT + (math.log(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - BOTTOM - TOP)

    drawn = []
    for step in range(round(10 * bottom), round(10 * top) + 1):
        height = y(step / 10)
        drawn.append(f'<path d="M{LEFT} {height:.1f}H{WIDTH - RIGHT}" stroke-opacity="0.15"/>')
        drawn.append(_text(LEFT - 6, height + 4, f"{step / 10:.1f}", "end"))
    ticks = [v for v in map(float, _round_numbers(xs)) if low < math.log(v) < high]
    for value in ticks[:: 1 + len(ticks) // 7]:
        drawn.append(_text(x(value), HEIGHT - BOTTOM + 18, f"{value:g}", "middle"))
    drawn.append(_text((LEFT + WIDTH) / 2, HEIGHT - 6, label, "middle"))
    best = {option.name for option in front(options, cost)}
    places = [(x(option.costs[cost]), y(option.score)) for option in options]
    labels = _labels([option.name for option in options], places)
    for option, place, text in zip(options, places, labels, strict=True):
        drawn.append(_dot(option, cost, place, text, option.name in best))
    return (
        f'<div style="text-align:center">{bilingual(names[1])} ↑</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(names[0])}" '
        'style="display:block;width:100%;max-width:36em;margin:0 auto;font-size:13px" '
        f'fill="currentColor"><g stroke="currentColor">{"".join(drawn)}</g></svg>'
    )


def _text(x: float, y: float, content: str, anchor: str, style: str = "") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" stroke="none"'
        f"{style}>{escape(content)}</text>"
    )


def _labels(names: Sequence[str], places: Sequence[Place]) -> list[tuple[float, float, str]]:
    """Where each name stands beside its dot (x, y, anchor), over as few others as possible."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y in places]
    found = []
    for name, (x, y) in zip(names, places, strict=True):
        wide = 7 * len(name)
        tried = []
        for left, down, anchor, before in SIDES:
            start = x + left - wide * before
            box = (start, y + down - 11, start + wide, y + down + 2)
            outside = (start < LEFT) + (start + wide > WIDTH)
            hits = sum(
                box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
                for other in taken
            )
            tried.append((hits + 9 * outside, len(tried), box, (x + left, y + down, anchor)))
        _, _, box, place = min(tried)
        taken.append(box)
        found.append(place)
    return found


def _dot(
    option: Option, cost: str, place: Place, label: tuple[float, float, str], is_best: bool
) -> str:
    data = "".join(f' data-{key}="{value:g}"' for key, value in option.costs.items())
    shown, color = ("visible", BLUE) if is_best else ("hidden", GREY)
    name = _text(*label[:2], option.name, label[2], f' style="visibility:{shown}"')
    return (
        f'<g data-kind="{escape(option.kind)}" data-name="{escape(option.name)}" '
        f'data-x="{option.costs[cost]:g}" data-score="{option.score:.4f}"{data} stroke="none">'
        f"<title>{escape(option.name)}: {option.score:.2f}; {option.costs[cost]:.3g}</title>"
        f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="5" fill="{color}"/>'
        f"{name}</g>"
    )


def _result(options: Sequence[Option]) -> str:
    """A line that a screen reader reads aloud when it changes."""
    best = max(options, key=lambda option: option.score)
    count = f"<b data-count>{len(options)}</b>"
    name = f"<b data-best>{escape(best.name)}</b>"
    return (
        '<div style="text-align:center" aria-live="polite">'
        f"{bilingual('within the limits: ｜ 满足限制：')} {count} · "
        f"{bilingual('best score: ｜ 得分最高：')} {name}</div>"
    )
