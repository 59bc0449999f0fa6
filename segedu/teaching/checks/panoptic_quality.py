"""Checks of the exercises of *Panoptic quality*."""

import math

import numpy as np
import torch

from segedu.teaching.checking import drawn, exercise, expect, expect_function, expect_number

TRUTH = np.array(
    [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
        [3, 3, 2, 2, 4, 4],
        [3, 3, 2, 2, 4, 4],
        [3, 3, 2, 2, 4, 4],
        [2, 2, 2, 2, 2, 2],
    ]
)
CLASS_OF_TRUTH, CLASS_OF_ANSWER = {1: 0, 2: 1, 3: 2, 4: 2}, {5: 0, 6: 1, 7: 2, 8: 2}


def _iou(a, b):
    return (a & b).sum() / max((a | b).sum(), 1)


@exercise(1, wrong=[0.8, 2 / 3, 0.6, 2.4 / 6, 2.4])
def by_hand(answer):
    """PQ of three matches, two false positives and one false negative."""
    near = {
        0.8: "that is SQ; multiply by RQ ｜ 那是 SQ；还要乘 RQ",
        2 / 3: "that is RQ; multiply by SQ ｜ 那是 RQ；还要乘 SQ",
        0.6: "that is SQ times the recall; the false positives are missing ｜ "
        "那是 SQ 乘召回率；没有计入假阳性",
        0.4: "FP and FN count one half each ｜ FP 与 FN 各计一半",
    }
    expect_number(answer, 2.4 / 4.5, tolerance=6e-4, near=near)


@exercise(2, wrong=[4, 6, 2, 3.67])
def farthest_slip(answer):
    """Largest diagonal shift of a square of 20 pixels that still matches."""
    near = {
        6: "that is for a shift to the right alone ｜ 那是只向右移动的结果",
        4: "with 4 the IoU is 256/544, below one half ｜ 取 4 时 IoU 是 256/544，不到一半",
        2: "3 still matches: 289/511 ｜ 取 3 时仍然匹配：289/511",
    }
    expect_number(answer, 3, near=near)


def _without_person_4():
    answer = TRUTH + 4
    answer[answer == 8] = 6
    return answer


@exercise(3, wrong=[TRUTH + 4, TRUTH, np.full((6, 6), 7), _without_person_4(), 0, np.ones((3, 3))])
def right_classes_and_no_match(answer):
    """A map of ids with all classes right and PQ 0 for person."""
    ids = np.asarray(answer)
    expect(
        ids.shape == TRUTH.shape,
        f"the shape is {ids.shape}, wanted is (6, 6) ｜ 形状是 {ids.shape}，应为 (6, 6)",
    )
    expect(
        set(np.unique(ids).tolist()) <= CLASS_OF_ANSWER.keys(),
        "only the ids 5, 6, 7 and 8 may occur ｜ 只能用编号 5、6、7、8",
    )
    pairs = zip(ids.ravel().tolist(), TRUTH.ravel().tolist(), strict=True)
    wrong = sum(CLASS_OF_ANSWER[i] != CLASS_OF_TRUTH[j] for i, j in pairs)
    expect(
        wrong == 0,
        f"{wrong} pixels have a wrong class ｜ 有 {wrong} 个像素的类别不对",
    )
    people = {j: np.equal(TRUTH, j) for j in (3, 4)}
    for i in (7, 8):
        for j, person in people.items():
            value = _iou(ids == i, person)
            expect(
                value <= 0.5,
                f"segment {i} and person {j} match: their IoU is {value:.3f} ｜ "
                f"区域 {i} 与行人 {j} 匹配了：IoU 是 {value:.3f}",
            )


def _mostly_void(a, void):
    return (a & void).sum() > a.sum() / 2


def _class_pq(found, true, void, *, union=True, excused=_mostly_void, half=0.5):
    """PQ of one class; the settings break one rule each."""
    ious, false = [], 0
    for a in found:
        part = a & ~void if union else a
        partner = [v for v in (_iou(part, b) for b in true) if v > half]
        ious += partner
        false += not partner and not excused(a, void)
    size = len(ious) + false / 2 + (len(true) - len(ious)) / 2
    return float(sum(ious) / size) if size else math.nan


def _union_with_void(found, true, void):
    return _class_pq(found, true, void, union=False)


def _nothing_excused(found, true, void):
    return _class_pq(found, true, void, excused=lambda a, void: False)


def _half_is_enough(found, true, void):
    return _class_pq(found, true, void, half=0.49)


def _half_on_void_is_enough(found, true, void):
    return _class_pq(found, true, void, excused=lambda a, void: (a & void).sum() >= a.sum() / 2)


def _share_of_the_rest(found, true, void):
    return _class_pq(
        found, true, void, excused=lambda a, void: (a & void).sum() > (a & ~void).sum() / 2
    )


def _nothing_is_zero(found, true, void):
    return np.nan_to_num(_class_pq(found, true, void))


@exercise(
    4,
    wrong=[
        _union_with_void,
        _nothing_excused,
        _half_is_enough,
        _half_on_void_is_enough,
        _share_of_the_rest,
        _nothing_is_zero,
        lambda found, true, void: None,
        0.714,
    ],
)
def pq_with_void(answer):
    """PQ of one class by the two rules for void."""

    def strip(*columns):
        mask = np.zeros((1, 12), dtype=bool)
        mask[0, list(columns)] = True
        return mask

    void, none = strip(8, 9, 10, 11), strip()
    cases = [
        ([strip(0, 1, 2)], [strip(0, 1, 2, 3)], none),
        ([strip(0, 1)], [strip(0, 1, 2, 3)], none),
        ([], [strip(0, 1)], void),
    ]
    generator = drawn(0)
    for _ in range(4):  # three segments and three objects; objects never lie on void
        found, true = torch.randint(0, 4, (2, 12), generator=generator).numpy()
        moved = np.where(torch.rand(12, generator=generator).numpy() < 0.7, true, found)
        masks = [[(row == k)[None] for k in range(3)] for row in (moved, true)]
        objects = [mask & ~void for mask in masks[1]]
        cases.append(([m for m in masks[0] if m.any()], [m for m in objects if m.any()], void))
    expect_function(answer, _class_pq, cases)
    expect(
        np.isclose(answer([strip(5, 6, 7, 8, 9, 10)], [strip(4, 5, 6, 7)], void), 3 / 4),
        "void pixels are still in the union ｜ 并集里还有忽略像素",
    )
    excuses = [
        (
            strip(9, 10, 11),
            "a segment with more than half of it on void is no false positive ｜ "
            "超过一半落在忽略像素上的区域，不算假阳性",
        ),
        (
            strip(5, 6, 7, 8, 9),
            "the share on void is that of the whole segment, not of the part that counts ｜ "
            "落在忽略像素上的比例要用整个区域来算，不是只用计入的部分",
        ),
        (
            strip(6, 7, 8, 9),
            "a segment with exactly half of it on void is a false positive ｜ "
            "恰好一半落在忽略像素上的区域不免除，仍是假阳性",
        ),
    ]
    for segment, message in excuses:
        case = [strip(0, 1), segment], [strip(0, 1, 2)], void
        expect(np.isclose(answer(*case), _class_pq(*case)), message)
    try:
        empty = answer([strip(8, 9)], [], void)
    except ZeroDivisionError:
        empty = 0
    expect(
        np.isnan(empty),
        'where nothing is left to count, float("nan") is wanted ｜ '
        '没有可计的区域时，应返回 float("nan")',
    )
