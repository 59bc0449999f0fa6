"""Checks of the exercises of *Average precision*."""

import numpy as np
import torch

from segedu.metrics import AveragePrecision
from segedu.teaching.checking import drawn, exercise, expect, expect_number, expect_tensor


def _square(row, column, height=4, width=4):
    mask = np.zeros((12, 12), dtype=bool)
    mask[row : row + height, column : column + width] = True
    return mask


TRUTH = np.stack([_square(1, 1), _square(1, 7), _square(7, 1), _square(7, 7)])
_NO_CORNERS = _square(7, 1)
_NO_CORNERS[7, 1] = _NO_CORNERS[10, 4] = False
FOUND = np.stack(
    [
        _square(1, 1),
        _square(5, 10, 2, 2),
        _square(0, 6, 5, 5),
        _square(1, 1, 3, 4),
        _NO_CORNERS,
        _square(9, 7, 3, 4),
    ]
)
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.3])


def _paper(scores):
    """What AP's program says of the six detections on paper."""
    metric = AveragePrecision()
    found = {"masks": FOUND, "labels": np.zeros(6, dtype=int), "scores": scores}
    metric.update([found], [{"masks": TRUTH, "labels": np.zeros(4, dtype=int)}])
    return metric.compute()


@exercise(1, wrong=[0.6875, 69 / 101, 0.75, 0.6, (26 + 25 + 25 * 0.75) / 100, 1.0])
def list_by_hand(answer):
    """AP of right, right, wrong, right, wrong, with four objects."""
    near = {
        0.6875: "that is the area under the staircase; take its height at 101 points ｜ "
        "那是阶梯下的准确面积；要在 101 个点上取值",
        0.75: "that is the recall of the whole list ｜ 那是整份清单的召回率",
        0.6: "that is the precision of the whole list ｜ 那是整份清单的精确率",
        (51 + 25 * 2 / 3) / 101: "at recall 3/4 the precision is 3/4: take the best from there on "
        "｜ 召回率 3/4 处的精确率是 3/4：要取从那里往后最高的",
        (26 + 50 * 0.75) / 101: "up to recall 1/2 the best precision is 1 ｜ "
        "召回率到 1/2 为止，最高的精确率是 1",
    }
    expect_number(answer, (51 + 25 * 3 / 4) / 101, tolerance=6e-4, near=near)


@exercise(2, wrong=[0.401, 0.571, 0.34, 0.5])
def worse_copy_first(answer):
    """AP of the paper when the poorer copy of A stands first."""
    scores = SCORES.copy()
    scores[3] = 0.95
    right = _paper(scores)
    near = {
        _paper(SCORES)["AP"]: "that is the AP before: change the score of detection 4 ｜ "
        "那是改动前的 AP：要改检测结果 4 的得分",
        right["AP50"]: "that is AP50; take the mean over ten IoU thresholds ｜ "
        "那是 AP50；要对十个 IoU 阈值取平均",
    }
    expect_number(answer, right["AP"], tolerance=6e-4, near=near)


@exercise(
    3,
    wrong=[
        [True] * 8,
        [False] * 200 + [True] * 6,
        [True] * 6 + [False] * 20,
        [True] * 5 + [False] * 200,
        [True] * 9 + [False] * 300,
        [],
        0.752,
    ],
)
def hardly_anything_right(answer):
    """A list for eight objects with AP >= 0.75 of which fewer than 5 % are right."""
    flags = np.asarray(answer)
    expect(
        flags.ndim == 1 and len(flags) > 0 and np.isin(flags, [0, 1]).all(),
        "a list of True and False is wanted ｜ 需要由 True 与 False 组成的列表",
    )
    hits = flags.astype(int).cumsum()
    expect(
        hits[-1] <= 8,
        f"{hits[-1]} detections are right, but there are only 8 objects ｜ "
        f"有 {hits[-1]} 个对的，物体却只有 8 个",
    )
    share = hits[-1] / len(flags)
    expect(
        share < 0.05,
        f"{share:.1%} of the detections are right, wanted are fewer than 5% ｜ "
        f"对的占 {share:.1%}，应不到 5%",
    )
    precision, recall = hits / np.arange(1, len(flags) + 1), hits / 8
    ap = np.mean([precision[recall >= r].max(initial=0) for r in np.linspace(0, 1, 101)])
    expect(
        ap >= 0.75,
        f"the AP is {ap:.3f}, wanted is 0.75 at least ｜ AP 是 {ap:.3f}，应不低于 0.75",
    )


def _iou(one, other):
    return (one & other).sum() / (one | other).sum()


def _keep_best(masks, scores, least=0.5):
    """Positions that are kept, by falling score."""
    kept = []
    for i in np.argsort(-scores, kind="stable").tolist():
        if all(_iou(masks[i], masks[j]) < least for j in kept):
            kept.append(i)
    return kept


def _keeps_touching(masks, scores):
    """A wrong answer: any overlap at all removes a detection."""
    return _keep_best(masks, scores, least=1e-9)


def _keeps_at_half(masks, scores):
    """A wrong answer: an IoU of exactly 0.5 does not remove a detection."""
    return _keep_best(masks, scores, least=0.5 + 1e-9)


def _compares_with_all(masks, scores):
    """A wrong answer: removed detections remove others, too."""
    order = np.argsort(-scores, kind="stable").tolist()
    return [
        i
        for place, i in enumerate(order)
        if all(_iou(masks[i], masks[j]) < 0.5 for j in order[:place])
    ]


@exercise(
    4,
    wrong=[
        lambda masks, scores: list(range(len(masks))),
        lambda masks, scores: sorted(_keep_best(masks, scores)),
        lambda masks, scores: _keep_best(masks, -scores),
        lambda masks, scores: masks[_keep_best(masks, scores)],
        lambda masks, scores: None,
        _keeps_touching,
        _keeps_at_half,
        _compares_with_all,
        [0, 1],
    ],
)
def keep_best(answer):
    """Non-maximum suppression on masks, at IoU 0.5."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    scores = np.array([0.3, 0.9, 0.5, 0.95, 0.6, 0.2])
    three = np.array([0.8, 0.6, 0.4])
    thirds = np.stack([_square(0, 2), _square(8, 8), _square(0, 0)])  # two share a third
    half = np.stack([_square(0, 0), _square(8, 8), _square(0, 0, 2, 4)])  # IoU exactly 0.5
    chain = np.stack([_square(0, 0), _square(0, 1), _square(0, 2)])  # IoU 0.6, 0.6; ends 1/3
    only_kept = (
        "; the third overlaps strongly only with the second, which was removed",
        "；第三个只与已去掉的第二个大幅重叠",
    )
    at_half = (
        "; here one IoU is exactly 0.5, which is not below 0.5",
        "；这里有一个 IoU 恰好是 0.5，不算低于 0.5",
    )
    generator = drawn(0)
    places = torch.randint(0, 9, (8, 2), generator=generator).tolist()
    drawn_masks = np.stack([_square(row, column) for row, column in places])
    drawn_scores = torch.randperm(8, generator=generator).numpy() / 8
    nothing = ("", "")
    for masks, s, (english, chinese) in [
        (FOUND, SCORES, nothing),
        (FOUND, scores, nothing),
        (thirds, three, nothing),
        (half, three, at_half),
        (chain, three, only_kept),
        (drawn_masks, drawn_scores, nothing),
    ]:
        found, wanted = answer(masks.copy(), s.copy()), _keep_best(masks, s)
        expect(found is not None, "the function returns nothing ｜ 函数没有返回结果")
        found = np.asarray(found)
        expect(
            found.ndim == 1,
            "a list of positions is wanted, not the masks ｜ 需要位置的列表，而不是掩膜",
        )
        expect(
            sorted(found.tolist()) != sorted(wanted) or found.tolist() == wanted,
            "the right ones are kept, but the order must be by falling score ｜ "
            "保留的是对的，但次序应按得分从高到低",
        )
        expect(
            found.tolist() == wanted,
            f"with the scores {s.tolist()} the positions {found.tolist()} are kept, wanted are "
            f"{wanted}{english} ｜ 得分为 {s.tolist()} 时保留了 {found.tolist()}，应为 "
            f"{wanted}{chinese}",
        )


@exercise(
    5,
    wrong=[[0.401, 0.571, 0.356], np.zeros(12), 0.401, AveragePrecision(), "stats"],
    by_person=True,
)
def official_numbers(answer):
    """COCO's twelve numbers of the six detections on paper."""
    expect(
        isinstance(answer, list | tuple | np.ndarray) and len(answer) == 12,
        "twelve numbers are wanted: the attribute stats ｜ 需要十二个数：stats 属性",
    )
    keys = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    numbers = _paper(SCORES)
    wanted = [-1.0 if np.isnan(numbers[key]) else numbers[key] for key in keys]
    expect_tensor(answer, np.array(wanted), tolerance=1e-3)
