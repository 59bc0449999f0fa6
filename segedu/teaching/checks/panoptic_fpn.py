"""Checks of the exercises of *Panoptic FPN: two heads, one answer*."""

import torch
from torch import Tensor

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(
    1,
    wrong=[
        [3, 1, 1, 1, 1, 2, 2, 0, 3, 0],
        [4, 1, 1, 1, 1, 3, 3, 3, 4, 0],
        [3, 1, 1, 1, 1, 2, 2, 2, 3, 4],
        [2, 1, 1, 1, 1, 0, 0, 0, 2, 0],
        [0, 1, 1, 1, 1, 2, 2, 2, 0, 0],
        [3, 1, 1, 1, 1],
    ],
)
def ten_pixels_with_a_stricter_limit(answer):
    """Numbers of ten pixels, merged with an overlap of 0.4."""
    found = expect_numbers(answer, 10)
    known = {
        (3, 1, 1, 1, 1, 2, 2, 0, 3, 0): "that is the result with 0.5: half of the dog is gone, "
        "more than 0.4 ｜ 那是 0.5 的结果：狗失去了一半，超过 0.4",
        (2, 1, 1, 1, 1, 0, 0, 0, 2, 0): "a dropped dog takes no pixels: the person is still free "
        "｜ 被舍弃的狗不占像素：行人的像素没有被占",
        (3, 1, 1, 1, 1, 2, 2, 2, 3, 4): "the grass has fewer than 2 pixels ｜ 草地不到 2 个像素",
        (4, 1, 1, 1, 1, 3, 3, 3, 4, 0): "a dropped object uses up no number ｜ "
        "被舍弃的物体不占用编号",
    }
    for wrong, message in known.items():
        expect(found != wrong, message)
    right = (3, 1, 1, 1, 1, 2, 2, 2, 3, 0)
    for pixel, (number, wanted) in enumerate(zip(found, right, strict=True)):
        message = f"pixel {pixel} is not {number:g} ｜ 像素 {pixel} 的编号不是 {number:g}"
        expect(number == wanted, message)


@exercise(2, wrong=[53, 133, 134, 81, 80])
def scores_of_the_semantic_head(answer):
    """Scores of a pixel for 80 things and 53 kinds of stuff."""
    near = {
        53: "all things together need one score, too ｜ 全部可数物体还要合用一个得分",
        133: "the things share one score ｜ 可数物体合用一个得分",
        134: "the things share one score ｜ 可数物体合用一个得分",
        81: "the stuff has a score for each class, not the things ｜ "
        "各有得分的是背景物质，不是可数物体",
    }
    expect_number(answer, 54, near=near)


@exercise(3, wrong=[1024, 4096, 512, 16])
def least_area_of_a_smaller_image(answer):
    """The least area for images of a quarter of the side."""
    near = {
        1024: "each side is a quarter as long, so the area is smaller than a quarter ｜ "
        "每边都是四分之一，所以面积不到四分之一",
        4096: "that is still the old area ｜ 那还是原来的面积",
    }
    expect_number(answer, 256, near=near)


def always_void(masks: Tensor, semantic: Tensor) -> int:
    """Pixels that no mask (D, H, W) claims and that are a thing, 0, in the labels (H, W)."""
    return int((~masks.any(0) & (semantic == 0)).sum())


def _scene(size: int, objects: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = drawn(seed)
    masks = torch.rand(objects, size, size, generator=generator) < 0.3
    return masks, torch.randint(0, 4, (size, size), generator=generator)


@exercise(
    4,
    wrong=[
        lambda masks, semantic: int((semantic == 0).sum()),
        lambda masks, semantic: int((~masks.any(0)).sum()),
        lambda masks, semantic: int((masks.any(0) & (semantic == 0)).sum()),
        lambda masks, semantic: int((~masks.all(0) & (semantic == 0)).sum()),
        lambda masks, semantic: int((~masks[0] & (semantic == 0)).sum()),
        lambda masks, semantic: None,
    ],
)
def pixels_that_are_void_in_any_case(answer):
    """Pixels that nobody can own."""
    expect_function(answer, always_void, [_scene(6, 2, 0), _scene(9, 3, 1), _scene(5, 0, 2)])


def kept(masks: Tensor, overlap: float) -> list[bool]:
    """Which of the masks (D, H, W), surest first, the merge keeps."""
    taken, result = torch.zeros(masks.shape[1:], dtype=torch.bool), []
    for mask in masks:
        gone, area = int((mask & taken).sum()), int(mask.sum())
        result.append(gone < area and gone <= overlap * area)
        if result[-1]:
            taken |= mask
    return result


def _dropped_take(masks, overlap):
    shares = [(mask & masks[:i].any(0)).sum() / mask.sum() for i, mask in enumerate(masks)]
    return [bool(share < 1 and share <= overlap) for share in shares]


def _strictly(masks, overlap):
    taken, result = torch.zeros_like(masks[0]), []
    for mask in masks:
        result.append(bool((mask & taken).sum() < overlap * mask.sum()))
        taken |= mask & result[-1]
    return result


def _even_if_all_is_gone(masks, overlap):
    taken, result = torch.zeros_like(masks[0]), []
    for mask in masks:
        result.append(bool((mask & taken).sum() <= overlap * mask.sum()))
        taken |= mask & result[-1]
    return result


def _strips(*spans: tuple[int, int]) -> Tensor:
    masks = torch.zeros(len(spans), 1, 12, dtype=torch.bool)
    for mask, (start, end) in zip(masks, spans, strict=True):
        mask[0, start:end] = True
    return masks


@exercise(
    5,
    wrong=[
        _dropped_take,
        _strictly,
        _even_if_all_is_gone,
        lambda masks, overlap: [True] * len(masks),
        lambda masks, overlap: [not k for k in kept(masks, overlap)],
        lambda masks, overlap: kept(masks, overlap)[:-1],
        lambda masks, overlap: None,
    ],
)
def objects_that_the_merge_keeps(answer):
    """Truth values, one for each object."""
    generator = drawn(0)
    place = int(torch.randint(0, 3, (), generator=generator))
    cases = [
        (_strips((1, 5), (3, 7), (5, 8)), 0.5),
        (_strips((1, 5), (3, 7), (5, 8)), 0.4),
        (_strips((0, 6), (1, 4), (8, 10)), 1.0),
        (_strips((place, place + 6), (place + 3, place + 7), (place + 5, place + 9)), 0.5),
        (torch.rand(4, 3, 5, generator=generator) > 0.6, 0.5),
    ]
    expect_function(answer, kept, cases)
