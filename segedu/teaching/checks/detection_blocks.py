"""Checks of the exercises of *From pixels to boxes: the parts of a detector*."""

from collections.abc import Sequence

import torch
from torch import Tensor

from segedu.ops import batched_nms, nms
from segedu.teaching.checking import (
    NOTHING,
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(1, wrong=[4 / 28, 4 / 12, 4, 0.2])
def iou_of_two_boxes(answer):
    """IoU of two boxes that share four cells."""
    near = {
        4 / 28: "the union counts the shared part twice: subtract it once ｜ "
        "并集把共有部分算了两次：要减去一次",
        4: "that is the shared area: divide by the union ｜ 那是共有的面积：应除以并集",
        0.17: "right to two digits: write the fraction ｜ 两位小数是对的：请写成分数",
    }
    expect_number(answer, 1 / 6, tolerance=6e-4, near=near)


DECODED = (2.0, 0.0, 18.0, 8.0)


@exercise(2, wrong=[[10, 4, 16, 8], [6, -4, 14, 12], [-2, 0, 14, 8], [2, 16, 18, 24], [2, 0, 18]])
def decoded_box(answer):
    """The box of an anchor and its offsets."""
    found = expect_numbers(answer, 4)

    def is_near(box: Sequence[float]) -> bool:
        return all(abs(a - b) <= 0.05 for a, b in zip(found, box, strict=True))

    known = {
        (10, 4, 16, 8): "those are centre and size: turn them into edges ｜ "
        "那是中心与宽高：应换算成四条边",
        (6, -4, 14, 12): "the size must change, too ｜ 宽高也要改变",
        (-2, 0, 14, 8): "start from the centre of the anchor, not from its corner ｜ "
        "应从锚框的中心出发，不是从它的角",
        (2, 16, 18, 24): "y counts downwards: a negative offset moves up ｜ "
        "y 是向下数的：负的偏移量使框上移",
    }
    for wrong, message in known.items():
        expect(not is_near(wrong), message)
    for name, value, right in zip(
        ("left ｜ 左", "top ｜ 上", "right ｜ 右", "bottom ｜ 下"), found, DECODED, strict=True
    ):
        english, chinese = name.split(" ｜ ")
        expect(abs(value - right) <= 0.05, f"{english} is wrong ｜ {chinese}边的坐标不对")


def _by_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> list[int]:
    return batched_nms(boxes, scores, labels, threshold).tolist()


def _class_after_class(*case) -> list[int]:
    return sorted(_by_class(*case), key=lambda i: (case[2][i], -case[1][i]))


def _positions_in_class(boxes, scores, labels, threshold) -> list[int]:
    of_class = [labels == label for label in labels.unique()]
    return [i for m in of_class for i in nms(boxes[m], scores[m], threshold).tolist()]


@exercise(
    3,
    wrong=[
        lambda boxes, scores, labels, threshold: nms(boxes, scores, threshold).tolist(),
        _class_after_class,
        _positions_in_class,
        lambda *case: sorted(_by_class(*case)),
        lambda *case: None,
    ],
)
def nms_of_each_class(answer):
    """Indices that NMS within each class keeps, best first."""
    boxes = torch.tensor(
        [[0, 0, 4, 4], [0, 1, 4, 5], [0, 0, 4, 4], [8, 0, 12, 4], [8, 1, 12, 5], [8, 0, 12, 5]]
    ).float()
    scores = torch.tensor([0.5, 0.8, 0.6, 0.85, 0.9, 0.3])
    generator = drawn(0)
    more = torch.randint(0, 3, (6,), generator=generator).tolist()
    other = torch.rand(6, generator=generator)
    cases = ([1, 1, 2, 2, 1, 2], scores), ([0] * 6, scores), ([7, 3, 3, 7, 3, 7], scores)
    for labels, scores in (*cases, (more, other)):
        case = (boxes, scores, torch.tensor(labels), 0.5)
        found, right = answer(*case), _by_class(*case)
        expect(found is not None, NOTHING)
        found = [int(i) for i in found]
        plain = nms(boxes, scores, 0.5).tolist()
        if plain != right:
            expect(
                found != plain,
                "boxes of another class must not be removed ｜ 不应去掉别的类别的框",
            )
        positions = _positions_in_class(boxes, scores, torch.tensor(labels), 0.5)
        expect(
            sorted(positions) == sorted(right) or sorted(found) != sorted(positions),
            "these are positions within a class: look the indices up ｜ "
            "这些是类别内部的位置：要换回原来的下标",
        )
        expect(
            sorted(found) != sorted(right) or found == right,
            "the indices are right, the order is not: best score first ｜ "
            "下标对了，次序不对：应按得分从高到低",
        )
        expect(
            found == right,
            f"for the labels {labels} the result is {found}, wanted is {right} ｜ "
            f"类别为 {labels} 时得到 {found}，应为 {right}",
        )


def best_possible(width: float, height: float, sides: Sequence[float]) -> float:
    """Largest IoU of an object with anchors of these sides and the same centre."""
    values = []
    for a in sides:
        for r in (0.5, 1.0, 2.0):
            w, h = a / r**0.5, a * r**0.5
            shared = min(width, w) * min(height, h)
            values.append(shared / (width * height + w * h - shared))
    return max(values)


def _squares_only(width, height, sides):
    shared = [min(width, a) * min(height, a) for a in sides]
    return max(s / (width * height + a * a - s) for s, a in zip(shared, sides, strict=True))


@exercise(
    4,
    wrong=[
        _squares_only,
        lambda width, height, sides: best_possible(width, height, sides[:1]),
        lambda width, height, sides: best_possible(width, height, sides) / 2,
        lambda width, height, sides: None,
    ],
)
def best_anchor(answer):
    """Largest IoU of an object with an anchor in its middle."""
    cases = [(6, 6, [16]), (10, 20, [16]), (40, 12, [16, 32, 64]), (3, 50, [8, 16]), (30, 30, [32])]
    sides = torch.randint(2, 60, (4, 2), generator=drawn(0)).tolist()
    cases += [(w, h, [8, 16, 32]) for w, h in sides]
    expect_function(answer, best_possible, cases[:1])
    for case in cases:
        found, right = float(answer(*case)), best_possible(*case)
        expect(
            abs(found - right) <= 1e-6,
            f"answer{case} gives {found:.3f}, wanted is {right:.3f} ｜ "
            f"answer{case} 得到 {found:.3f}，应为 {right:.3f}",
        )
