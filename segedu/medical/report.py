"""An evaluation as one page that needs nothing else: tables, charts, the best and worst scans.

The page is HTML with its pictures inside; it loads nothing and names nobody, but for the names of
the files. Its texts are English and Chinese.
"""

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from segedu import viz
from segedu.files import write_text
from segedu.medical import slices
from segedu.medical.config import ProjectConfig
from segedu.medical.evaluate import read_scores
from segedu.medical.nifti import read_channels, read_nifti
from segedu.medical.preprocess import WINDOWS
from segedu.medical.scans import list_niftis
from segedu.medical.scores import MIN_PATIENTS, summarize, summarize_lesions
from segedu.medical.volume import PLANES, Volume
from segedu.page import heading, page, paragraphs, picture, table
from segedu.viz.grids import color_key

WARNING = "For learning and research. Not for clinical use. ｜ 仅供学习与研究，不得用于临床。"
HEADS = {
    "image": "scan ｜ 扫描",
    "class": "class ｜ 类别",
    "scans": "scans ｜ 例数",
    "patients": "patients ｜ 病人数",
    "dice": "Dice",
    "interval": "95 % interval ｜ 95% 区间",
    "iou": "IoU ｜ 交并比",
    "hd95": "HD95 [mm]",
    "assd": "ASSD [mm]",
    "true_volume_ml": "true volume [ml] ｜ 真实体积 [ml]",
    "volume_ml": "volume [ml] ｜ 体积 [ml]",
    "volume_error_ml": "volume error [ml] ｜ 体积误差 [ml]",
    "missed": "missed ｜ 漏检",
    "spurious": "spurious ｜ 误检",
    "lesions": "lesions ｜ 病灶",
    "hits": "found ｜ 检出",
    "sensitivity": "sensitivity ｜ 灵敏度",
    "false_positives": "false positives ｜ 假阳性",
    "false_positives_per_scan": "false positives per scan ｜ 每例假阳性",
    "volume_error_percent": "volume error [%] ｜ 体积误差 [%]",
    "about": "about ｜ 项目",
    "text": "value ｜ 内容",
    "spacing": "voxels ｜ 体素",
    "extent": "size ｜ 范围",
    "values": "values, low / middle / high ｜ 数值（低 / 中 / 高）",
}
LESIONS = (
    "Voxels that touch by faces, edges or corners are one lesion. A true lesion is found if one of "
    "its voxels is predicted; a predicted lesion without a true voxel is a false positive. The "
    "interval of the sensitivity (95 %, Clopper and Pearson) takes lesions as independent; those "
    "of one patient are not, so that it is rather too narrow. ｜ "
    "共面、共棱或共角的体素算同一个病灶。真实病灶只要有一个体素被预测到即算检出；"
    "预测出的病灶若不含任何真实体素，则为假阳性。灵敏度的 95% 区间（Clopper–Pearson）"
    "把各病灶视为相互独立；同一病人的病灶并非如此，因此区间偏窄。"
)
EACH = (
    "Each true lesion beside the predicted lesions that share a voxel with it: a volume of 0 and a "
    "dash for HD95 mean that it was missed; of a lesion that counts as found, little may be "
    "predicted. A predicted lesion that covers two true ones counts for both. Here HD95 is that of "
    "the one lesion. ｜ "
    "每个真实病灶与跟它有公共体素的预测病灶：体积为 0、HD95 为短横，表示漏检；"
    "算作检出的病灶，预测到的可能只是一小部分。"
    "一个预测病灶若覆盖两个真实病灶，则对两者都计入。这里的 HD95 只针对这一个病灶。"
)
MEASURES = (
    "Dice and IoU: overlap, 1 is perfect. HD95 and ASSD: distances between the surfaces, 0 is "
    "perfect. HD95 is the 95th percentile of the distances of both surfaces, pooled, measured "
    "between the centres of their voxels (other definitions give other numbers); of several "
    "lesions, a missed or a false one can make it as large as the way to the next. A scan in which "
    "truth or prediction lacks the class has no distance: it shows a dash, is left out of the "
    "means of HD95 and ASSD, and is counted as missed (in the truth only) or spurious (in the "
    "prediction only); its Dice of 0 is in the mean. A class in neither is not scored. Volume "
    "error: predicted minus true. ｜ "
    "Dice 与 IoU 表示重叠程度，1 为完全一致。HD95 与 ASSD 是两个表面之间的距离，0 为完全一致。"
    "HD95 取两个表面全部距离合并后的第 95 百分位数，在体素中心之间测量（定义不同，数值也不同）；"
    "有多个病灶时，漏检或误检一个，就可能使它达到与最近病灶的距离。"
    "真值或预测中缺少该类别的扫描没有距离：表中以短横表示，不计入 HD95 与 ASSD 的平均值，"
    "而计为漏检（仅真值中有）或误检（仅预测中有）；其 Dice 为 0，计入平均值。"
    "两者都没有的类别不评分。体积误差为预测减真实。"
)
INTERVAL = (
    "95 % interval of the mean Dice: patients drawn with replacement; below "
    f"{MIN_PATIENTS} patients none is given. ｜ "
    f"平均 Dice 的 95% 区间由对病人有放回抽样得到；病人少于 {MIN_PATIENTS} 位时不给出。"
)
SUBSETS = {
    "test": "test scans of the run, of patients whom the network never saw ｜ "
    "该次运行的测试扫描，网络从未见过这些病人",
    "val": "validation scans: the best epoch was chosen by them, so that their scores flatter ｜ "
    "验证扫描：最佳轮次按它们选出，因此分数偏高",
    "train": "training scans: the network learnt them, so that their scores say nothing of other "
    "patients ｜ 训练扫描：网络学过它们，因此分数不能说明对其他病人的效果",
    "new": "new scans, which took no part in the run ｜ 未参与该次运行的新扫描",
    "folds": "test scans of every fold of a cross-validation; each patient was judged by a network "
    "that never saw them ｜ 交叉验证各折的测试扫描；每位病人都由从未见过他的网络来评价",
    "masks": "two sets of masks, whoever made them ｜ 两组掩膜，不论出自何处",
}
CUT_SHORT = "Cut short: not all scans were scored. ｜ 评价中途停止，部分扫描未评分。"
UNLIKE = (
    "In brackets the range of the training. Do not trust the predictions on these scans without "
    "having looked at them. ｜ 方括号内为训练扫描的范围。这些扫描的预测未经查看不可信。"
)
PICTURES = (
    "The first picture of each pair: truth (lines) and prediction (dashes). The second: where they "
    "differ. R, L: the patient's "
    "right and left; A, P: front and back; S, I: head and feet. ｜ "
    "每对图中，第一幅是真值（实线）与预测（虚线），第二幅是两者的差别。R、L 为病人的右与左，"
    "A、P 为前与后，S、I 为头侧与足侧。"
)


def write_report(
    folder: str | Path,
    images: str | Path | None = None,
    *,
    failure: float = 0.5,
    intensity: str | None = None,
) -> Path:
    """Write ``report.html`` beside the scores of an evaluation.

    Args:
        folder: what `segedu.medical.evaluate.evaluate` or `score` left.
        images: the scans, in the layout of the Decathlon or as NIfTI files of a folder; without
            them the pictures show the masks alone.
        failure: a scan is listed as failed if a class has a Dice below this, or is in truth or
            prediction only.
        intensity: of the pictures, a word as in `ProjectConfig`, such as ``"lung"``; by default
            that of the evaluation.

    Returns:
        The page.

    Raises:
        FileNotFoundError: if scores, masks or images are missing.
        ValueError: if they are damaged or do not fit together, ``failure`` is not in 0..1, or
            ``intensity`` is no word of `ProjectConfig`.
    """
    if not 0 <= failure <= 1:
        raise ValueError(f"failure must be in 0..1, got {failure}")
    folder = Path(folder)
    config = ProjectConfig.load(folder / "config.json")
    shown = config if intensity is None else config.changed(intensity=intensity)
    cases, lesions, about = read_scores(folder)
    result = summarize(cases, patient=config.patient)
    classes = [
        {"class": c, **_with_interval(row, "dice")} for c, row in result["per_class"].items()
    ]
    failed = [case for case in cases if case["dice"] < failure or not math.isfinite(case["hd95"])]
    files = None if images is None else _images(Path(images))
    with plt.rc_context():
        viz.use_style()
        parts = [
            f"<p class='warning'>{WARNING}</p>",
            *_about(about, config),
            heading("Classes ｜ 各类别"),
            _table(classes, config.classes),
            paragraphs(MEASURES),
            paragraphs(INTERVAL),
            *(_lesions(lesions, config.classes) if lesions else ()),
            heading("Distributions ｜ 分布"),
            _chart(cases, config.classes),
            heading("Best, middle, worst scan ｜ 最好、居中、最差的扫描"),
            paragraphs(PICTURES),
            *(() if files is None else (paragraphs(_greys(shown.intensity[0])),)),
            _key(config.classes),
            *(_scan(name, text, folder, files, shown) for text, name in _exemplary(cases)),
            heading(f"Dice below {failure:g}, or missed ｜ Dice 低于 {failure:g} 或漏检的例子"),
            _table(failed, config.classes) if failed else "<p>none ｜ 无</p>",
            heading("All scans ｜ 全部扫描"),
            _table(cases, config.classes),
        ]
    return write_text(folder / "report.html", page("Segmentation report ｜ 分割报告", parts))


def _about(about: Mapping[str, Any], config: ProjectConfig) -> list[str]:
    """What was judged, by what network, and which scans it does not suit."""
    subset = about["subset"]
    rows = {
        "scans judged ｜ 评分的扫描": SUBSETS[subset],
        "scored ｜ 已评分": f"{about['scored']} / {about['scans']}",
        "date ｜ 日期": about["date"],
        "program ｜ 程序": f"segedu {about['segedu']}",
    }
    if "model" in about:
        rows |= _network(about, config)
    if "runs" in about:
        rows["runs ｜ 运行数"] = str(about["runs"])
    listed = [{"about": name, "text": text} for name, text in rows.items()]
    parts = [heading("What was judged ｜ 评价对象"), table(listed, HEADS)]
    if subset in ("train", "val"):
        parts.insert(0, f"<p class='warning'>{html.escape(SUBSETS[subset])}</p>")
    if about["scored"] < about["scans"]:
        parts.insert(0, f"<p class='warning'>{CUT_SHORT}</p>")
    if strange := about.get("unlike"):
        keys = ("spacing", "extent", "values")
        listed = [{"image": n} | {k: row.get(k) for k in keys} for n, row in strange.items()]
        title = "Scans unlike those of the training ｜ 与训练扫描不同的扫描"
        parts += [heading(title), paragraphs(UNLIKE), table(listed, HEADS)]
    return parts


def _network(about: Mapping[str, Any], config: ProjectConfig) -> dict[str, str]:
    """The network, its training and what it sees of a scan."""
    scans, patients = about["training_scans"], about["training_patients"]
    rows = {
        "network ｜ 网络": f"{about['model']}, {about['dimensions']}-D, {about['parameters']:,} "
        f"parameters ｜ {about['dimensions']} 维，{about['parameters']:,} 个参数",
        "trained on ｜ 训练日期": about["trained"] or "not recorded ｜ 未记录",
        "training set ｜ 训练集": f"{scans} scans of {patients} patients ｜ "
        f"{patients} 位病人的 {scans} 例扫描",
        "resampled to ｜ 重采样到": f"{_product(about['spacing'])} mm",
        "patch ｜ 图像块": f"{_product(about['patch'])} voxels ｜ 体素",
        "intensities ｜ 灰度": " ｜ ".join(
            "; ".join(_intensity(word)[language] for word in config.intensity)
            for language in (0, 1)
        ),
    }
    if config.channels > 1:
        rows["channels of a scan ｜ 每例扫描的通道数"] = str(config.channels)
    if config.largest:
        rows["largest piece alone ｜ 仅保留最大连通块"] = "; ".join(config.largest)
    return rows


def _intensity(word: str) -> tuple[str, str]:
    """What becomes of the values of a channel, in English and in Chinese."""
    if word not in WINDOWS:
        return "normalised for each scan", "逐例归一化"
    window = WINDOWS[word]
    return (f"{word}: {window.low:g} … {window.high:g} HU",) * 2


def _greys(word: str) -> str:
    """What is black and what is white in the pictures."""
    low, high = "the 1st percentile", "the 99th"
    lowest, highest = "第 1 百分位数", "第 99 百分位数"
    if word in WINDOWS:
        window = WINDOWS[word]
        low, high = f"{window.low:g} HU", f"{window.high:g} HU"
        lowest, highest = f" {low}", f" {high}"
    return f"Black is {low}, white {high}. ｜ 黑为{lowest}，白为{highest}。"


def _product(values: Sequence[float]) -> str:
    return " × ".join(f"{value:.4g}" for value in values)


def _with_interval(row: dict[str, Any], key: str) -> dict[str, Any]:
    """The two ends of an interval, if there is one, as one text behind its score."""
    with_ends = {}
    for name, value in row.items():
        if name not in (f"{key}_low", f"{key}_high"):
            with_ends[name] = value
        if name == key:
            low, high = row[f"{key}_low"], row[f"{key}_high"]
            there = low is not None and math.isfinite(low)
            with_ends["interval"] = f"{low:.3f} – {high:.3f}" if there else "–"
    return with_ends


def _table(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """Rows with the same keys; classes by name."""
    return table([row | {"class": names[row["class"]]} for row in rows], HEADS)


def _lesions(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """How many lesions were found, in all and scan by scan, and how much of each."""
    classes = [
        {"class": c, **_with_interval(row, "sensitivity")}
        for c, row in summarize_lesions(rows).items()
    ]
    scans = [{key: value for key, value in row.items() if key != "each"} for row in rows]
    each = [
        {"image": row["image"], "class": row["class"], **one} for row in rows for one in row["each"]
    ]
    parts = [heading("Lesions ｜ 病灶"), paragraphs(LESIONS)]
    parts += [_table(classes, names), _table(scans, names)]
    return [*parts, paragraphs(EACH), _table(each, names)] if each else parts


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


def _images(folder: Path) -> dict[str, Path]:
    """Images by name, of several channels the first; nnU-Net numbers the channel behind it."""
    inside = folder / "imagesTr"
    files = list_niftis(inside if inside.is_dir() else folder)
    return files | {name.removesuffix("_0000"): path for name, path in files.items()}


def _key(classes: Sequence[str]) -> str:
    """The colours of classes and errors."""
    colors = dict(zip(classes[1:], viz.instance_colors(len(classes) - 1), strict=True))
    return color_key(colors) + color_key(slices.ERRORS)


def _scan(
    name: str, text: str, folder: Path, files: Mapping[str, Path] | None, config: ProjectConfig
) -> str:
    """Contours and errors in three planes."""
    truth, found = (
        read_nifti(folder / part / f"{name}.nii.gz").reorient() for part in ("truth", "predictions")
    )
    grey = truth.with_array(np.zeros(truth.shape, np.float32))
    if files is not None:
        grey = slices.grey_values(_image(name, files, truth), config.intensity[0])
    lesions = [config.classes.index(lesion) for lesion in config.lesions]
    colors = [(0, 0, 0), *viz.instance_colors(len(config.classes) - 1)]
    pictures = []
    for plane in PLANES:
        index = slices.most_telling(plane, truth, found, lesions)
        shown = slices.cut(plane, index, grey, truth, found)
        for figure in (slices.contours(shown, colors), slices.errors(shown)):
            pictures.append(picture(figure, f"{name}: {shown.title}"))
    return f"<p>{html.escape(text)}</p><div class='charts'>{''.join(pictures)}</div>"


def _image(name: str, files: Mapping[str, Path], truth: Volume) -> Volume:
    """The image of a scan on the grid of its truth."""
    if name not in files:
        raise FileNotFoundError(f"the scan {name} of the evaluation is not among the images")
    image = read_channels(files[name])[0].reorient()
    if not image.same_grid(truth):
        raise ValueError(f"{files[name].name}: the image lies on another grid than its masks")
    return image
