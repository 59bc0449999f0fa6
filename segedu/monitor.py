"""Does a network still see what it was made for? Pictures of today against recorded ones.

Of every picture some numbers are kept: what it looks like, what the network makes of it, what it
answers. The file of a network holds them for the pictures of a reference (`record`); later ones are
compared number by number with the two-sample test of Kolmogorov and Smirnov, and the p-values are
corrected for how many there are (Holm 1979). As Rabanser et al. 2019, "Failing loudly",
https://arxiv.org/abs/1810.11953, found, such tests of what the network makes of pictures notice
most changes. A test tells that pictures are others, not whether the network is wrong about them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segedu.engine.deployed import Deployed
from segedu.engine.export import OUTPUT, write_onnx
from segedu.files import write_text

#: Chance of a false alarm in a comparison, over all numbers together.
ALPHA = 0.01
#: Smallest distance of two distributions, in [0, 1], that counts: with many pictures a test finds
#: differences that nobody cares about.
DISTANCE = 0.2
#: Fewer pictures tell nothing.
MIN_PICTURES = 10
#: Values of a number that a reference keeps, evenly among the sorted ones.
KEPT = 200

Numbers = dict[str, list[float]]


class Row(NamedTuple):
    """One number of the pictures, then and now."""

    name: str
    reference: float
    """Median of the reference."""
    now: float
    """Median now."""
    distance: float
    """Of Kolmogorov and Smirnov, in [0, 1]."""
    p: float
    """Of the distance if nothing had changed, corrected."""
    drifted: bool


def numbers_of(network: Deployed, picture: Tensor) -> dict[str, float]:
    """The numbers of a picture uint8 (C,H,W).

    Returns:
        ``input: …``: brightness and contrast, mean and deviation of the values in [0, 1];
        sharpness, mean absolute difference of neighbours in a row; megapixels; aspect, width by
        height.
        Of a semantic network also ``logit: CLASS``, the mean logit, as a summary of what it sees;
        ``share: CLASS`` of the pixels, and ``output: confidence``, the mean largest probability.
        Of a detector ``count: CLASS`` and ``output: score``, the mean score, 0 without objects.

    Raises:
        ValueError: if the network cannot take the picture.
    """
    values = picture.as_subclass(Tensor).float() / 255
    _, height, width = values.shape
    across = values.diff(dim=2).abs().mean() if width > 1 else torch.zeros(())
    numbers = {
        "input: brightness": values.mean().item(),
        "input: contrast": values.std(correction=0).item(),
        "input: sharpness": across.item(),
        "input: megapixels": height * width / 1e6,
        "input: aspect": width / height,
    }
    seen, names = network.prepared(picture)[None], network.contract.classes
    if network.contract.task == "instance":
        (found,) = network.infer(seen)
        labels, scores = found["labels"].tolist(), found["scores"]
        counts = {f"count: {n}": labels.count(c) for c, n in enumerate(names) if c > 0}
        return numbers | counts | {"output: score": float(scores.mean()) if len(scores) else 0.0}
    logits = torch.from_numpy(network.run(seen)[OUTPUT])[0]
    if len(logits) == 1:  # the logit of class 1
        logits = torch.cat([torch.zeros_like(logits), logits])
    highest, labels = logits.softmax(0).max(0)
    shares = torch.bincount(labels.flatten(), minlength=len(names)) / labels.numel()
    for name, logit, share in zip(names, logits.mean((1, 2)), shares, strict=True):
        numbers[f"logit: {name}"] = logit.item()
        numbers[f"share: {name}"] = share.item()
    return numbers | {"output: confidence": highest.mean().item()}


def collect(network: Deployed, pictures: Iterable[Tensor]) -> Numbers:
    """The numbers of all pictures: name -> one value for each.

    Raises:
        ValueError: if there are fewer than `MIN_PICTURES`.
    """
    return _columns([numbers_of(network, picture) for picture in pictures])


def _columns(rows: Sequence[Mapping[str, float]]) -> Numbers:
    if len(rows) < MIN_PICTURES:
        raise ValueError(f"{MIN_PICTURES} pictures are needed at least, got {len(rows)}")
    return {name: [row[name] for row in rows] for name in rows[0]}


def append(file: str | Path, picture: str, numbers: Mapping[str, float]) -> None:
    """Add the numbers of one picture to a file, as a line of JSON; see `read_numbers`.

    Args:
        file: it is made if it is not there.
        picture: its name, or when it came.
        numbers: of `numbers_of`.

    Raises:
        OSError: if the file cannot be written to.
    """
    line = json.dumps({"picture": picture, "numbers": numbers}, ensure_ascii=False)
    with Path(file).open("a", encoding="utf-8") as lines:
        lines.write(f"{line}\n")


def read_numbers(file: str | Path) -> tuple[list[str], Numbers]:
    """What `append` wrote: the names of the pictures, and their numbers as of `collect`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a line is another, or there are fewer than `MIN_PICTURES`.
    """
    names: list[str] = []
    rows: list[dict[str, float]] = []
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file}: no such file")
    text = Path(file).read_text(encoding="utf-8")
    for place, line in enumerate(text.splitlines(), start=1):
        try:
            entry = json.loads(line)
            row = {name: float(value) for name, value in entry["numbers"].items()}
            names.append(str(entry["picture"]))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(f"{file}, line {place}: not the numbers of a picture") from None
        if rows and row.keys() != rows[0].keys():
            raise ValueError(f"{file}, line {place}: other numbers than before, of another network")
        rows.append(row)
    return names, _columns(rows)


def record(file: str | Path, pictures: Iterable[Tensor]) -> int:
    """Keep the numbers of pictures in an exported network, as what later ones are compared with.

    Args:
        file: of ``segedu export``; it is replaced by one that holds them.
        pictures: uint8 (C,H,W), of the kind that the network was judged on.

    Returns:
        How many pictures there were.

    Raises:
        ValueError: as `collect`.
    """
    network = Deployed(file)
    numbers = collect(network, pictures)
    kept = {name: _thinned(values) for name, values in numbers.items()}
    count = len(next(iter(numbers.values())))
    reference = {"pictures": count, "numbers": kept}
    write_onnx(file, Path(file).read_bytes(), {**network.about, "reference": reference})
    return count


def _thinned(values: Sequence[float]) -> list[float]:
    """At most `KEPT` of the sorted values, the ends among them, with six digits."""
    places = np.linspace(0, len(values) - 1, min(len(values), KEPT)).round().astype(int)
    return _rounded(np.sort(values)[places])


def _rounded(values: Iterable[float]) -> list[float]:
    """Six digits, then and now: one size of all pictures, such as 4 : 3, stays one number."""
    return [float(f"{value:.6g}") for value in values]


def compare(
    reference: Mapping[str, Sequence[float]], now: Mapping[str, Sequence[float]]
) -> list[Row]:
    """Every number then and now, the most changed first.

    Raises:
        ValueError: if the two do not hold the same numbers.
    """
    from scipy.stats import ks_2samp

    if reference.keys() != now.keys():
        raise ValueError(
            "the reference holds other numbers: "
            + ", ".join(sorted(reference.keys() ^ now.keys())[:5])
        )
    tests = {name: ks_2samp(_rounded(reference[name]), _rounded(now[name])) for name in reference}
    corrected = _holm({name: test.pvalue for name, test in tests.items()})
    rows = [
        Row(
            name,
            float(np.median(reference[name])),
            float(np.median(now[name])),
            float(test.statistic),
            corrected[name],
            bool(corrected[name] < ALPHA and test.statistic >= DISTANCE),
        )
        for name, test in tests.items()
    ]
    return sorted(rows, key=lambda row: (not row.drifted, -row.distance))


def _holm(p: Mapping[str, float]) -> dict[str, float]:
    """p-values such that the chance of one false alarm among all is as small as each says."""
    corrected, largest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=p.get)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[name]))
        corrected[name] = largest
    return corrected


def strangeness(
    reference: Mapping[str, Sequence[float]], now: Mapping[str, Sequence[float]]
) -> NDArray[np.float64]:
    """How far each picture lies outside of the reference: 0 if no number of it does.

    The largest, over the numbers, of the distance to the nearest recorded value beyond the ends, in
    units of the recorded values' range (of 1 if they are all the same).
    """
    worst = np.zeros(len(next(iter(now.values()))))
    for name, values in now.items():
        low, high = min(reference[name]), max(reference[name])
        outside = np.maximum(low - np.asarray(values), np.asarray(values) - high)
        worst = np.maximum(worst, outside / ((high - low) or 1.0))
    return worst


CHINESE = {
    "input": "输入",
    "output": "输出",
    "logit": "平均 logit",
    "share": "占比",
    "count": "个数",
    "brightness": "亮度",
    "contrast": "对比度",
    "sharpness": "锐度",
    "megapixels": "百万像素",
    "aspect": "宽高比",
    "confidence": "置信度",
    "score": "得分",
}
TITLE = "Drift report ｜ 漂移报告"
HEADS = {
    "about": "number ｜ 指标",
    "reference": "median of the reference ｜ 参考中位数",
    "now": "median now ｜ 当前中位数",
    "distance": "distance ｜ 距离",
    "p": "corrected p ｜ 校正后的 p 值",
    "drifted": "drifted ｜ 漂移",
    "image": "picture ｜ 图像",
    "strangeness": "strangeness ｜ 异常程度",
}
ABOUT = (
    "A number has drifted if its distribution lies at least {distance} away from the reference "
    "(the distance of Kolmogorov and Smirnov, from 0 to 1) and chance would hardly explain that "
    "(corrected p below {alpha}). That pictures have changed does not say that the network is "
    "wrong about them: label some of them and judge it again. ｜ "
    "某个指标的分布与参考的距离（柯尔莫哥洛夫–斯米尔诺夫距离，0 到 1）不小于 {distance}，"
    "且难以用偶然解释（校正后的 p 值小于 {alpha}）时，判为漂移。"
    "图像变了并不等于网络判断错误：请标注其中一部分，重新评价。"
)
STRANGE = (
    "How far a picture lies outside of all recorded ones in its strangest number, in ranges of the "
    "recorded values. ｜ 图像最反常的指标超出全部参考值多远，以参考值的范围为单位。"
)


def verdict(rows: Sequence[Row]) -> str:
    """One line: what has drifted."""
    drifted = [row.name for row in rows if row.drifted]
    if not drifted:
        return f"no drift in {len(rows)} numbers"
    more = f" and {len(drifted) - 5} more" if len(drifted) > 5 else ""
    return f"{len(drifted)} of {len(rows)} numbers have drifted: {', '.join(drifted[:5])}{more}"


def bilingual(name: str) -> str:
    """The name of a number, ``English ｜ 中文``; those of classes stay as they are."""
    kind, _, what = name.partition(": ")
    translated = CHINESE[what] if kind in ("input", "output") else what
    return f"{name} ｜ {CHINESE[kind]}：{translated}"


def write_report(
    path: str | Path,
    rows: Sequence[Row],
    reference: Mapping[str, Sequence[float]],
    now: Mapping[str, Sequence[float]],
    names: Sequence[str],
) -> None:
    """Write a page that needs nothing else: what has drifted, curves, the strangest pictures.

    Args:
        path: of the page.
        rows: of `compare`.
        reference, now: what was compared.
        names: of the pictures.
    """
    import matplotlib.pyplot as plt

    from segedu import page, viz

    charts = []
    with plt.rc_context():
        viz.use_style()
        for row in rows[:6]:
            groups = {"reference ｜ 参考": reference[row.name], "now ｜ 当前": now[row.name]}
            axes = viz.cumulative(groups, label=bilingual(row.name))
            charts.append(page.picture(axes.figure, bilingual(row.name)))
    odd = strangeness(reference, now)
    worst = [i for i in np.argsort(-odd)[:10] if odd[i] > 0]
    count = sum(row.drifted for row in rows)
    summary = (
        f"{count} of {len(rows)} numbers have drifted, in {len(names)} pictures. ｜ "
        f"{len(names)} 幅图像的 {len(rows)} 个指标中有 {count} 个发生漂移。"
    )
    listed = [
        {
            "about": bilingual(row.name),
            "reference": row.reference,
            "now": row.now,
            "distance": row.distance,
            "p": row.p if row.p >= 0.001 else "< 0.001",
            "drifted": "yes ｜ 是" if row.drifted else "–",
        }
        for row in rows
    ]
    parts = [
        page.paragraphs(summary),
        page.paragraphs(ABOUT.format(distance=DISTANCE, alpha=ALPHA)),
        page.table(listed, HEADS),
        page.heading("The most changed ｜ 变化最大的指标"),
        f"<div class='charts'>{''.join(charts)}</div>",
    ]
    if worst:
        strange = [{"image": names[i], "strangeness": float(odd[i])} for i in worst]
        parts.append(page.heading("The strangest pictures ｜ 最反常的图像"))
        parts += [page.paragraphs(STRANGE), page.table(strange, HEADS)]
    write_text(path, page.page(TITLE, parts))
