"""Checks of the exercises of *Lungs and patches*."""

from collections.abc import Sequence

import numpy as np
import torch

from segedu.teaching.checking import (
    NOTHING,
    drawn,
    exercise,
    expect,
    expect_number,
    expect_numbers,
)


@exercise(1, wrong=[4, 3.75, 4.375, 9, 35 / 8, 3.8])
def achieved_spacing(answer):
    """Spacing of 7 slices of 5 mm after resampling to 4 mm."""
    near = {
        4: "that is what was asked for: 9 slices of 4 mm would be 36 mm ｜ "
        "那是要求的间距：9 层、每层 4 毫米，就有 36 毫米了",
        4.375: "8.75 slices are rounded to 9, not to 8 ｜ 8.75 层应取整为 9，不是 8",
        9: "that is the number of slices: divide the length by it ｜ 那是层数：用总长除以它",
    }
    expect_number(answer, 35 / 9, tolerance=6e-3, near=near)


@exercise(2, wrong=[0.5, 0.07, 0.035, 0.57, 7 / 93])
def misread_ratio(answer):
    """Share of patches with a nodule if half of the others are dropped."""
    near = {
        0.5: "that is what was wanted, not what comes out ｜ 那是想要的结果，不是实际的结果",
        7 / 93: "half of the 93 others are dropped ｜ 其余 93 个要丢掉一半",
    }
    expect_number(answer, 7 / 53.5, tolerance=2e-3, near=near)


def paired(images: Sequence[str], masks: Sequence[str]) -> list[tuple[str, str]]:
    """Images with the masks of their names."""
    wanted = {name: name.replace(".nii.gz", "_mask.nii.gz") for name in images}
    if set(wanted.values()) != set(masks):
        raise ValueError("images and masks do not match")
    return [(name, wanted[name]) for name in sorted(images)]


def _by_order(images, masks):
    if len(images) != len(masks):
        raise ValueError("images and masks differ in number")
    return list(zip(sorted(images), sorted(masks), strict=True))


def _by_names_alone(images, masks):
    return [(name, name.replace(".nii.gz", "_mask.nii.gz")) for name in sorted(images)]


@exercise(
    3,
    wrong=[
        lambda images, masks: list(zip(images, masks, strict=False)),
        lambda images, masks: list(zip(sorted(images), sorted(masks), strict=False)),
        _by_order,
        _by_names_alone,
        lambda images, masks: None,
    ],
    by_person=True,  # a wrong pairing must raise
)
def pairs_by_name(answer):
    """Images and masks paired by name, or refused."""
    images = ["p2.nii.gz", "p10.nii.gz", "p1.nii.gz"]  # sorted, their masks come in another order
    masks = ["p10_mask.nii.gz", "p1_mask.nii.gz", "p2_mask.nii.gz"]
    found = answer(list(images), list(masks))
    expect(found is not None, NOTHING)
    found = [tuple(pair) for pair in found]
    right = paired(images, masks)
    expect(
        set(found) == set(right),
        "an image has the mask of another patient ｜ 有图像配上了别人的掩膜",
    )
    expect(found == right, "sort the pairs by image ｜ 应按图像名排序")
    others = ["p10_mask.nii.gz", "p1_mask.nii.gz", "p3_mask.nii.gz"]
    for case in ((images, masks[1:]), (images, masks[:2]), (images[1:], masks), (images, others)):
        try:
            answer(*map(list, case))
        except ValueError:
            continue
        expect(
            False,
            "an image without a mask, or a mask without an image, must raise ValueError ｜ "
            "缺掩膜或缺图像时应抛出 ValueError",
        )


def shares(lungs: np.ndarray, nodules: np.ndarray) -> list[float]:
    """For each connected nodule the share of its voxels that lies in the lungs."""
    from scipy.ndimage import label

    numbers, count = label(nodules)
    return [lungs[numbers == number].mean().item() for number in range(1, count + 1)]


def _of_what_is_left(lungs, nodules):
    return [1.0 for _ in shares(lungs, lungs & nodules)]


def _of_the_lungs(lungs, nodules):
    from scipy.ndimage import label

    numbers, count = label(nodules)
    return [(lungs & (numbers == k)).sum() / lungs.sum() for k in range(1, count + 1)]


@exercise(
    4,
    wrong=[
        lambda lungs, nodules: [lungs[nodules].mean()],  # of all nodules together
        lambda lungs, nodules: sorted(shares(lungs, nodules), reverse=True),
        lambda lungs, nodules: [1 - share for share in shares(lungs, nodules)],
        _of_what_is_left,
        _of_the_lungs,
        lambda lungs, nodules: None,
    ],
)
def kept_nodules(answer):
    """Share of each nodule that a lung mask keeps."""
    nodules = np.zeros((3, 6, 8), bool)
    nodules[0, 1:3, 1:3] = nodules[1, 4, 2:7] = nodules[2, 5, 7] = True  # two touch at an edge
    lungs = np.zeros_like(nodules)
    lungs[0, 2], lungs[1, :, :6], lungs[2, :5] = True, True, True
    drawn_lungs = (torch.rand(nodules.shape, generator=drawn(0)) < 0.5).numpy()
    for mask, spots in ((lungs, nodules), (drawn_lungs, nodules), (lungs, nodules & False)):
        found, right = answer(mask.copy(), spots.copy()), shares(mask, spots)
        expect(found is not None, NOTHING)
        found = expect_numbers(found, len(right))
        expect(
            bool(np.allclose(found, right, atol=1e-6)),
            f"the shares are {[round(x, 3) for x in found]}, wanted is "
            f"{[round(x, 3) for x in right]} ｜ 比例是 {[round(x, 3) for x in found]}，"
            f"应为 {[round(x, 3) for x in right]}",
        )
