"""Checks of the exercises of *Mask R-CNN: from the image to the masks*."""

from collections.abc import Sequence

import torch

from segedu.teaching.checking import (
    NOTHING,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(1, wrong=[5456, 3 * 64**2, 15, 3 * 256**2])
def anchors_of_an_image(answer):
    """Anchors of an image of 256 x 256 on five levels, three at each place."""
    near = {
        5456: "those are the places: each has three anchors ｜ 那是位置的个数：每个位置有三个锚框",
        12288: "that is the finest level alone: add the other four ｜ "
        "那只是最细的一层：还要加上另外四层",
    }
    expect_number(answer, 16368, near=near)


@exercise(2, wrong=[[3, 2, 5], [8, 4, 64], [8, 8, 32], [4, 8, 32], [8, 4]])
def levels_of_boxes(answer):
    """Strides of the levels that three boxes are read from."""
    found = expect_numbers(answer, 3)
    known = {
        (3, 2, 5): "those are the levels k: the strides are wanted ｜ 那是层号 k：要的是步幅",
        (8, 4, 64): "results above 5 become 5 ｜ 大于 5 的结果取 5",
        (8, 8, 32): "the brackets round down: 2.5 becomes 2 ｜ 方括号是向下取整：2.5 取 2",
    }
    for wrong, message in known.items():
        expect(found != wrong, message)
    for number, (stride, right) in enumerate(zip(found, (8, 4, 32), strict=True), start=1):
        expect(
            stride == right,
            f"the stride of box {number} is not {stride:g} ｜ "
            f"第 {number} 个框的步幅不是 {stride:g}",
        )


def precisions(hits: list[int]) -> list[float]:
    """Precision after each entry of a list of detections; an object counts once."""
    objects, result = set(), []
    for entries, number in enumerate(hits, start=1):
        if number >= 0:
            objects.add(number)
        result.append(len(objects) / entries)
    return result


def _doubles(hits):
    return [sum(n >= 0 for n in hits[:i]) / i for i in range(1, len(hits) + 1)]


def _with_none(hits):
    return [len(set(hits[:i])) / i for i in range(1, len(hits) + 1)]


def _recalls(hits):
    objects = len({n for n in hits if n >= 0})
    return [i * p / objects for i, p in enumerate(precisions(hits), start=1)]


@exercise(
    3,
    wrong=[
        _doubles,
        _with_none,
        _recalls,
        lambda hits: precisions(hits)[-1],
        lambda hits: [n >= 0 for n in hits],
        lambda hits: None,
    ],
)
def precision_along_the_list(answer):
    """Precision after each entry, where an object counts once."""
    drawn_hits = torch.randint(-1, 4, (12,), generator=drawn(0)).tolist()
    expect(
        callable(answer),
        f"a function is wanted, got {type(answer).__name__} ｜ "
        f"需要一个函数，得到的是 {type(answer).__name__}",
    )
    for hits in ([2, 1, -1, 1, 0], [0, 0, -1, 1], [-1, 3, 3, -1, 5], [0, 0, -1, -1, *drawn_hits]):
        found = answer(list(hits))
        expect(found is not None, NOTHING)
        found = expect_numbers(found, len(hits))
        messages = {
            _doubles: "an object counts once: a later hit of it is not right ｜ "
            "每个物体只算一次：之后再击中它不算正确",
            _with_none: "−1 is no object: do not count it ｜ −1 不是物体，不应计入",
            _recalls: "that is the recall: divide by the entries so far ｜ "
            "那是召回率：应除以已经看过的项数",
        }
        right = precisions(hits)
        for wrong, message in messages.items():
            expect(not _close(found, wrong(hits)) or _close(found, right), message)
        expect(
            _close(found, right),
            f"wrong for the hits {hits} ｜ 对击中列表 {hits} 的结果不对",
        )


def _close(found: Sequence[float], wanted: Sequence[float]) -> bool:
    return all(abs(a - b) < 1e-6 for a, b in zip(found, wanted, strict=True))


def cell(box, x: float, y: float) -> tuple[int, int]:
    """Row and column of the mask's cell in which a point of the image lies."""
    left, top, right, bottom = box
    return int((y - top) / (bottom - top) * 28), int((x - left) / (right - left) * 28)


def _rounded(box, x, y):
    left, top, right, bottom = box
    return round((y - top) / (bottom - top) * 28), round((x - left) / (right - left) * 28)


@exercise(
    4,
    wrong=[
        lambda box, x, y: cell(box, x, y)[::-1],
        lambda box, x, y: (int(y * 28 / (box[3] - box[1])), int(x * 28 / (box[2] - box[0]))),
        lambda box, x, y: (int(y - box[1]), int(x - box[0])),
        lambda box, x, y: _rounded(box, x, y),
        lambda *case: None,
    ],
)
def cell_of_a_point(answer):
    """Where a point of the image lies in the mask of a box."""
    corners = torch.randint(0, 40, (4, 2), generator=drawn(0)).tolist()
    cases = [([10, 20, 66, 76], 11, 31), ([0, 0, 14, 56], 13.2, 3.1)]
    for left, top in corners:
        cases.append(([left, top, left + 35, top + 21], left + 30.2, top + 4.6))
    for box, x, y in cases if callable(answer) else ():
        found = answer(box, x, y)
        expect(
            found is None or tuple(found) != cell(box, x, y)[::-1] or found == found[::-1],
            "row and column are exchanged ｜ 行与列颠倒了",
        )
        expect(
            found is None or tuple(found) != _rounded(box, x, y) or tuple(found) == cell(box, x, y),
            "round down, not to the nearest number ｜ 应向下取整，不是四舍五入",
        )
    expect_function(answer, cell, cases)
