"""An evaluation as one page that needs nothing else: tables, charts, the best and worst scans.

The page is HTML with its pictures inside; it loads nothing and names nobody, but for the names of
the files. Its texts are English and Chinese.
"""

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from segedu import viz
from segedu.files import write_text
from segedu.medical.config import ProjectConfig
from segedu.medical.evaluate import read_cases, summarize, summarize_lesions
from segedu.medical.nifti import read_nifti
from segedu.medical.preprocess import WINDOWS, window
from segedu.medical.scans import find_scans
from segedu.medical.volume import Volume
from segedu.page import heading, page, paragraphs, picture, table

WARNING = "For learning and research. Not for clinical use. ｜ 仅供学习与研究，不得用于临床。"
HEADS = {
    "image": "scan ｜ 扫描",
    "class": "class ｜ 类别",
    "scans": "scans ｜ 例数",
    "dice": "Dice",
    "interval": "95 % interval ｜ 95% 区间",
    "iou": "IoU ｜ 交并比",
    "hd95": "HD95 [mm]",
    "assd": "ASSD [mm]",
    "true_volume_ml": "true volume [ml] ｜ 真实体积 [ml]",
    "volume_ml": "volume [ml] ｜ 体积 [ml]",
    "volume_error_ml": "volume error [ml] ｜ 体积误差 [ml]",
    "missed": "missed ｜ 漏检",
    "lesions": "lesions ｜ 病灶",
    "hits": "found ｜ 检出",
    "sensitivity": "sensitivity ｜ 灵敏度",
    "false_positives": "false positives ｜ 假阳性",
    "false_positives_per_scan": "false positives per scan ｜ 每例假阳性",
    "hit_ml": "volumes found [ml] ｜ 检出者体积 [ml]",
    "missed_ml": "volumes not found [ml] ｜ 未检出者体积 [ml]",
}
LESIONS = (
    "Voxels that touch by faces, edges or corners are one lesion. A true lesion is found if one of "
    "its voxels is predicted; a predicted lesion without a true voxel is a false positive. ｜ "
    "共面、共棱或共角的体素算同一个病灶。真实病灶只要有一个体素被预测到即算检出；"
    "预测出的病灶若不含任何真实体素，则为假阳性。"
)
MEASURES = (
    "Dice and IoU: overlap, 1 is perfect. HD95 and ASSD: distance between the surfaces, 0 is "
    "perfect; a dash where one of them is missing. Volume error: predicted minus true. Interval of "
    "the mean Dice: patients drawn with replacement. ｜ "
    "Dice 与 IoU 表示重叠程度，1 为完全一致。HD95 与 ASSD 是两个表面之间的距离，0 为完全一致；"
    "缺少其中一个表面时以短横表示。体积误差为预测减真实。平均 Dice 的区间由对病人有放回抽样得到。"
)


def write_report(folder: str | Path, data: str | Path, *, failure: float = 0.5) -> Path:
    """Write ``report.html`` beside the scores of an evaluation.

    Args:
        folder: what `segedu.medical.evaluate.evaluate` left.
        data: the scans, in the layout of the Decathlon.
        failure: a scan is listed as failed if a class has a Dice below this, or is missed.

    Returns:
        The page.

    Raises:
        FileNotFoundError: if scores, predictions or scans are missing.
        ValueError: if they are damaged, or ``failure`` is not in 0..1.
    """
    if not 0 <= failure <= 1:
        raise ValueError(f"failure must be in 0..1, got {failure}")
    folder = Path(folder)
    config = ProjectConfig.load(folder / "config.json")
    cases, lesions = read_cases(folder)
    result = summarize(cases, patient=config.patient)
    classes = [{"class": c, **_with_interval(row)} for c, row in result["per_class"].items()]
    scored, mean = len({case["image"] for case in cases}), f"{result['mean_dice']:.3f}"
    failed = [case for case in cases if case["dice"] < failure or not math.isfinite(case["hd95"])]
    scans = {name: (image, label) for name, image, label in find_scans(data)}
    with plt.rc_context():
        viz.use_style()
        parts = [
            f"<p class='warning'>{WARNING}</p>",
            heading("Classes ｜ 各类别"),
            paragraphs(f"{scored} scans, mean Dice {mean} ｜ {scored} 例扫描，平均 Dice 为 {mean}"),
            _table(classes, config.classes),
            paragraphs(MEASURES),
            *(_lesions(lesions, config.classes) if lesions else ()),
            heading("Distributions ｜ 分布"),
            _chart(cases, config.classes),
            heading("Best, middle, worst scan ｜ 最好、居中、最差的扫描"),
            *(_scan(name, text, folder, scans, config) for text, name in _exemplary(cases)),
            heading(f"Dice below {failure:g}, or missed ｜ Dice 低于 {failure:g} 或漏检的例子"),
            _table(failed, config.classes) if failed else "<p>none ｜ 无</p>",
            heading("All scans ｜ 全部扫描"),
            _table(cases, config.classes),
        ]
    return write_text(folder / "report.html", page("Segmentation report ｜ 分割报告", parts))


def _with_interval(row: dict[str, Any]) -> dict[str, Any]:
    """The two ends of the interval as one text, behind the Dice."""
    ends = f"{row['dice_low']:.3f} – {row['dice_high']:.3f}"
    others = {k: v for k, v in row.items() if k not in ("scans", "dice", "dice_low", "dice_high")}
    return {"scans": row["scans"], "dice": row["dice"], "interval": ends, **others}


def _table(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """Rows with the same keys; classes by name."""
    return table([row | {"class": names[row["class"]]} for row in rows], HEADS)


def _lesions(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """How many lesions were found, in all and scan by scan."""
    classes = [{"class": c, **row} for c, row in summarize_lesions(rows).items()]
    parts = [heading("Lesions ｜ 病灶"), paragraphs(LESIONS)]
    return [*parts, _table(classes, names), _table(rows, names)]


def _chart(cases: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """Histogram and boxes of Dice, cumulative HD95, and volumes against the truth."""

    def by_class(key: str) -> dict[str, list[float]]:
        groups: dict[str, list[float]] = {}
        for case in cases:
            groups.setdefault(names[case["class"]], []).append(case[key])
        return {name: values for name, values in groups.items() if np.isfinite(values).any()}

    volumes = [[case[key] for case in cases] for key in ("true_volume_ml", "volume_ml")]
    labels = (HEADS["true_volume_ml"], HEADS["volume_ml"])
    axes = [_axes() for _ in range(3)]
    viz.distribution([case["dice"] for case in cases], label="Dice", ax=axes[0])
    viz.box_plot(by_class("dice"), label="Dice", ax=axes[1])
    viz.scatter(*volumes, labels=labels, ax=axes[2]).axline((0, 0), slope=1, color="0.6", lw=1)
    titles = [
        "Histogram of Dice ｜ Dice 的直方图",
        "Dice by class ｜ 各类别的 Dice",
        "Predicted against true volume ｜ 预测体积与真实体积",
    ]
    if distances := by_class("hd95"):
        axes.append(_axes())
        viz.cumulative(distances, label=HEADS["hd95"], ax=axes[3]).legend(loc="lower right")
        titles.append("Share of scans below an HD95 ｜ HD95 不超过某值的比例")
    pictures = [picture(a.figure, title) for a, title in zip(axes, titles, strict=True)]
    return f"<div class='charts'>{''.join(pictures)}</div>"


def _axes() -> Axes:
    return plt.subplots(figsize=(4.6, 3.3), layout="constrained")[1]


def _exemplary(cases: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The scans with the highest, the middle and the lowest mean Dice, each once."""
    dice: dict[str, list[float]] = {}
    for case in cases:
        dice.setdefault(case["image"], []).append(case["dice"])
    order = sorted(dice, key=lambda name: -np.mean(dice[name]))
    places = {0: "best ｜ 最好", len(order) // 2: "middle ｜ 居中", len(order) - 1: "worst ｜ 最差"}
    return [
        (f"{text}: {order[i]}, Dice {np.mean(dice[order[i]]):.3f}", order[i])
        for i, text in sorted(places.items())
    ]


def _scan(
    name: str,
    text: str,
    folder: Path,
    scans: dict[str, tuple[Path, Path]],
    config: ProjectConfig,
) -> str:
    """The axial slice with most lesions, or else most foreground: image, truth, prediction."""
    if name not in scans:
        raise FileNotFoundError(f"the scan {name} of the evaluation is not among the data")
    image, truth = (read_nifti(path).reorient() for path in scans[name])
    found = read_nifti(folder / "predictions" / f"{name}.nii.gz").reorient()
    lesions = [config.classes.index(lesion) for lesion in config.lesions]
    both = np.stack([truth.array, found.array])  # (2, D, H, W)
    wanted = [np.isin(both, lesions).sum((0, 2, 3)), (both > 0).sum((0, 2, 3))]  # 2 of (D,)
    index = max(range(truth.shape[0]), key=lambda k: (wanted[0][k], wanted[1][k]))
    grey, aspect = _shown(image, config.intensity).view("axial", index)
    colors = [(0, 0, 0), *viz.instance_colors(len(config.classes) - 1)]
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.9), layout="constrained")
    titles = ("image ｜ 图像", "truth ｜ 真值", "prediction ｜ 预测")
    panels = [viz.overlay(grey, np.zeros(grey.shape, np.uint8), colors, hide=[0])]
    for labels in (truth, found):
        mask = labels.view("axial", index)[0].astype(np.uint8)
        panels.append(viz.overlay(grey, mask, colors, hide=[0]))
    for axis, title, panel in zip(axes, titles, panels, strict=True):
        axis.imshow(panel, aspect=aspect)
        axis.set_title(title)
        axis.set_axis_off()
    viz.legend(config.classes[1:], colors[1:], ax=axes[0])
    return f"<p>{html.escape(text)}</p>{picture(figure, text)}"


def _shown(image: Volume, intensity: str) -> Volume:
    """Grey values in 0..1: the window of a CT, else between the 1st and the 99th percentile."""
    if intensity in WINDOWS:
        return window(image, intensity)
    low, high = np.percentile(image.array, (1, 99))
    return image.with_array(np.clip((image.array - low) / max(high - low, 1e-6), 0, 1))
