"""Data sheet and model card: what only people know, and beside it what was measured.

The questions are a selection from Gebru et al. (2021), "Datasheets for datasets", and Mitchell et
al. (2019), "Model cards for model reporting". Headings are in English and Chinese; answers stand as
they were given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

DATA_QUESTIONS = {
    "purpose": "What the data are for ｜ 数据的用途",
    "origin": "Where the images come from ｜ 图像来源",
    "labels": "Who labelled, and by which rules ｜ 由谁标注、依据什么规则",
    "people": "People and private matters in the images ｜ 图像中的人物与隐私",
    "licence": "Licence ｜ 许可",
    "limits": "What the data must not be used for ｜ 数据不能用于何处",
}
MODEL_QUESTIONS = {
    "use": "What the model is for ｜ 模型的用途",
    "not_for": "What it must not be used for ｜ 模型不能用于何处",
    "risks": "What an error costs, and who bears it ｜ 出错的代价由谁承担",
    "oversight": "Who watches it, and when it is switched off ｜ 由谁监督、何时停用",
}


def data_sheet(answers: Mapping[str, str], examination: Mapping[str, Any]) -> str:
    """A data sheet in Markdown.

    Args:
        answers: to each of ``DATA_QUESTIONS``.
        examination: ``Examination.to_dict()``, or what `segedu check --json` wrote.

    Raises:
        ValueError: an answer is missing or empty.
    """
    parts = ["# Data sheet ｜ 数据说明书\n", *_answered(answers, DATA_QUESTIONS)]
    parts.append("## What the splits hold ｜ 各划分的内容\n")
    for split, count in examination["splits"].items():
        rows = [row for row in count["classes"] if row["images"]]
        total = max(1, sum(row["pixels"] for row in rows))
        parts.append(
            f"**{split}** — images ｜ 图像: {count['images']}, usable ｜ 可用: {count['usable']}, "
            f"void ｜ 无标注: {count['void']:.1%}\n"
        )
        parts.append(
            _table(
                ("class ｜ 类别", "images ｜ 图像", "pixels ｜ 像素"),
                [(row["name"], row["images"], f"{row['pixels'] / total:.2%}") for row in rows],
            )
        )
    parts.append("## Findings ｜ 检查结果\n")
    parts.append(f"verdict ｜ 结论: **{examination['verdict']}**\n")
    lines = [f"- {found['level']}: {found['message']}" for found in examination["findings"]]
    return "\n".join([*parts, *lines]).rstrip("\n") + "\n"


def model_card(
    answers: Mapping[str, str], result: Mapping[str, Any], scores: Mapping[str, Any] | None = None
) -> str:
    """A model card in Markdown.

    Args:
        answers: to each of ``MODEL_QUESTIONS``.
        result: an entry of what `segedu evaluate --results` collects.
        scores: what `segedu evaluate --out` wrote as ``scores.json``, for intervals.

    Raises:
        ValueError: an answer is missing or empty.
    """
    parts = ["# Model card ｜ 模型卡\n", *_answered(answers, MODEL_QUESTIONS)]
    training = result["training"]
    settings = ", ".join(f"{k}={v}" for k, v in training.get("settings", {}).items())
    network = f"{training['model']} ({settings})" if settings else training["model"]
    parts.append("## How it was made ｜ 训练方式\n")
    parts.append(
        _table(
            ("what ｜ 项目", "value ｜ 值"),
            [
                ("network ｜ 网络", network),
                ("parameters ｜ 参数量", f"{training['parameters']:,}"),
                ("training ｜ 训练", f"`{training['command']}`"),
                ("epoch ｜ 轮次", training["epoch"]),
                ("machine ｜ 机器", result["machine"]["device"]),
            ],
        )
    )
    parts.append("## How good it is ｜ 效果\n")
    parts.append(
        f"{result['dataset']}, {result['split']}: images ｜ 图像 {result['images']}; "
        f"`{result['command']}`\n"
    )
    ends = (scores or {}).get("intervals", {})
    averages = [
        (name, _number(value), _interval(ends.get(name)))
        for name, value in result.items()
        if isinstance(value, float) and name != "seconds"
    ]
    parts.append(_table(("score ｜ 指标", "value ｜ 值", "95 % interval ｜ 95% 区间"), averages))
    if result.get("iou"):
        rows = [(name, _number(value)) for name, value in result["iou"].items()]
        parts.append(_table(("class ｜ 类别", "IoU ｜ 交并比"), rows))
    return "\n".join(parts).rstrip("\n") + "\n"


def _answered(answers: Mapping[str, str], questions: Mapping[str, str]) -> list[str]:
    missing = [name for name in questions if not str(answers.get(name, "")).strip()]
    if missing:
        raise ValueError(
            f"a card needs an answer to each of {', '.join(questions)}; missing: "
            f"{', '.join(missing)}"
        )
    return [f"## {heading}\n\n{answers[name].strip()}\n" for name, heading in questions.items()]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    # A bar would end the cell.
    return "".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def _interval(ends: Sequence[float | None] | None) -> str:
    return "–" if not ends or None in ends else f"{_number(ends[0])} – {_number(ends[1])}"
