"""Checks of the exercises of *Where next*."""

import contextlib
import re

import torch

from segedu.data.catalogue import data_sets
from segedu.teaching.checking import (
    WrongAnswerError,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
)

FIELDS, TASKS = ("general", "driving", "medical"), ("semantic", "instance", "panoptic")


def _number(seed: int, below: int) -> int:
    return int(torch.randint(below, (), generator=drawn(seed)))


BIBLIOGRAPHY = """@inproceedings{one2017net,
  author    = {One, Ann},
  title     = {A Challenge of 2012},
  pages     = {2009--2018},
  year      = {2017}
}
@book{two1999book,
  year = {1999},
  title = {In the Year 2000}
}
"""


def _may(licence):
    if not licence.startswith("CC"):
        raise ValueError(licence)
    return "NC" not in licence, "BY" in licence, "SA" in licence


@exercise(
    1,
    wrong=[
        lambda licence: ("NC" in licence, "BY" in licence, "SA" in licence),
        lambda licence: (licence == "CC0", "BY" in licence, "SA" in licence),
        lambda licence: ("NC" not in licence, True, "SA" in licence),
        lambda licence: ("NC" not in licence, "BY" in licence, "SA" in licence),
    ],
)
def may(answer):
    """What a licence of Creative Commons allows and asks; other names are refused."""
    forms = ("CC BY", "CC BY-NC-SA", "CC BY-SA", "CC BY-NC")
    names = ["CC0", *(f"{form} {1 + _number(seed, 4)}.0" for seed, form in enumerate(forms))]
    expect_function(answer, _may, [(name,) for name in names])
    for name in ("not found", "SA-1B Research License"):
        with contextlib.suppress(ValueError):
            found = answer(name)
            raise WrongAnswerError(
                f"{name!r} is no licence of Creative Commons: raise a ValueError, got {found} ｜ "
                f"{name!r} 不是知识共享许可证：应抛出 ValueError，得到的是 {found}"
            )


@exercise(2, wrong=[0.6, 0.2, -0.8, 0.9])
def rank_correlation(answer):
    """Spearman's correlation of five ranks."""
    near = {
        0.2: "add the squares of the differences: they are 0, 1, 1, 1, 1 ｜ "
        "要加的是名次之差的平方：0、1、1、1、1",
        -0.8: "the ranks by mIoU begin with the lowest ｜ 按 mIoU 排名次时从最低的开始",
    }
    expect_number(answer, 0.8, tolerance=0.001, near=near)


def _years(text):
    return [int(year) for year in re.findall(r"^ *year *= *\{(\d{4})\}", text, re.M)]


@exercise(
    3,
    wrong=[
        lambda text: [int(year) for year in re.findall(r"\d{4}", text)],
        lambda text: sorted(_years(text)),
        lambda text: [2017],
    ],
)
def years(answer):
    """The years of a small bibliography."""
    other = BIBLIOGRAPHY.replace("1999", str(2018 + _number(4, 9)))
    expect_function(answer, _years, [(BIBLIOGRAPHY,), (other.replace("2000", "1950"),)])


def _fitting(sets, field, task, uses):
    return [s.name for s in sets if s.field == field and task in s.tasks and s.use in uses]


@exercise(
    4,
    wrong=[
        lambda sets, field, task, to_sell: _fitting(sets, field, task, {"free"}),
        lambda sets, field, task, to_sell: [s.name for s in sets if s.field == field],
        lambda sets, field, task, to_sell: _fitting(
            sets, field, task, {"free", "mixed", "unknown"} | {"non-commercial"} - {to_sell}
        ),
        lambda sets, field, task, to_sell: (
            _fitting(sets, field, task, {"free", "mixed"}) if to_sell else []
        ),
        lambda sets, field, task, to_sell: None,
    ],
)
def fitting(answer):
    """Names of data sets of a field, for a task, under terms."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    anything = {"free", "non-commercial", "mixed", "unknown"}
    for field, task, to_sell in (
        ("medical", "semantic", False),
        ("medical", "semantic", True),
        ("industry", "semantic", True),
        ("general", "instance", True),
        ("driving", "panoptic", False),
        *((FIELDS[_number(k, 3)], TASKS[_number(9 + k, 3)], k > 7) for k in range(5, 9)),
    ):
        names = answer(data_sets(), field, task, to_sell)
        expect(
            isinstance(names, list | tuple | set) and all(isinstance(n, str) for n in names),
            "return a list of names ｜ 应返回名称的列表",
        )
        wanted = set(_fitting(data_sets(), field, task, {"free"} if to_sell else anything))
        where = f"field {field}, task {task}, to_sell {to_sell}"
        for wrong, english, chinese in (
            (wanted - set(names), "missing", "缺少"),
            (set(names) - wanted, "does not fit", "不符合"),
        ):
            listed = ", ".join(sorted(wrong))
            expect(not wrong, f"{where}: {english}: {listed} ｜ {where}：{chinese}：{listed}")


@exercise(5, wrong=[900, 810, 818, 820])
def masks(answer):
    """Different masks in 20 hours when every tenth is drawn twice."""
    near = {
        900: "the second drawings take time, too ｜ 重画也要时间",
        810: "a tenth of the masks is drawn again, not a tenth of all drawings ｜ "
        "重画的是掩膜的十分之一，不是全部画次的十分之一",
        818: "only whole tenths are drawn again: 819 masks need 81 ｜ "
        "只重画整十份：819 个掩膜需要重画 81 个",
    }
    expect_number(answer, 819, near=near)
