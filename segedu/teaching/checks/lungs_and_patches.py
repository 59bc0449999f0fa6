"""Checks of the exercises of *Lungs and patches*."""

from collections.abc import Sequence

import torch

from segedu.teaching.checking import NOTHING, drawn, exercise, expect, expect_number


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


def leaking(train: Sequence[str], test: Sequence[str]) -> list[str]:
    """Patients, named before the first _, of whom files are in both lists."""
    return sorted({n.split("_")[0] for n in train} & {n.split("_")[0] for n in test})


@exercise(
    3,
    wrong=[
        lambda train, test: sorted(set(train) & set(test)),
        lambda train, test: sorted({n.split("_")[0] for n in train + test}),
        lambda train, test: sorted({n[:3] for n in train} & {n[:3] for n in test}),
        lambda train, test: [n.split("_")[0] for n in test],
        lambda train, test: None,
    ],
)
def patients_in_both(answer):
    """Patients that are in the training and in the test."""
    cases = [
        (["p03_slice001.png", "p03_slice003.png"], ["p03_slice002.png", "p04_slice001.png"]),
        (["p01_slice001.png"], ["p02_slice001.png"]),
        (["p101_a.png", "p2_b.png", "p7_c.png"], ["p102_a.png", "p7_a.png", "p2_c.png"]),
    ]
    numbers = torch.randint(1, 40, (2, 12), generator=drawn(0)).tolist()
    cases.append(tuple([f"q{n}_slice{i}.png" for i, n in enumerate(part)] for part in numbers))
    for train, test in cases:
        found, right = answer(list(train), list(test)), leaking(train, test)
        expect(found is not None, NOTHING)
        found = list(found)
        expect(
            sorted(found) != right or found == right,
            "each patient once, sorted ｜ 每位病人只列一次，并排好序",
        )
        expect(
            found == right,
            f"train {train} and test {test}: {found}, wanted is {right} ｜ "
            f"训练 {train} 与测试 {test}：得到 {found}，应为 {right}",
        )


def paired(images: Sequence[str], masks: Sequence[str]) -> list[tuple[str, str]]:
    """Images with the masks of their names."""
    wanted = {name: name.replace(".nii.gz", "_mask.nii.gz") for name in images}
    if set(wanted.values()) != set(masks):
        raise ValueError("images and masks do not fit")
    return [(name, wanted[name]) for name in sorted(images)]


def _by_names_alone(images, masks):
    return [(name, name.replace(".nii.gz", "_mask.nii.gz")) for name in sorted(images)]


@exercise(
    4,
    wrong=[
        lambda images, masks: list(zip(images, masks, strict=False)),
        lambda images, masks: list(zip(sorted(images), sorted(masks), strict=False)),
        _by_names_alone,
        lambda images, masks: None,
    ],
    by_person=True,  # a wrong pairing must raise
)
def pairs_by_name(answer):
    """Images and masks paired by name, or refused."""
    images = ["p02.nii.gz", "p10.nii.gz", "p01.nii.gz"]
    masks = ["p10_mask.nii.gz", "p01_mask.nii.gz", "p02_mask.nii.gz"]
    found = answer(list(images), list(masks))
    expect(found is not None, NOTHING)
    found = [tuple(pair) for pair in found]
    right = paired(images, masks)
    expect(
        set(found) == set(right),
        "an image has the mask of another patient ｜ 有图像配上了别人的掩膜",
    )
    expect(found == right, "sort the pairs by image ｜ 应按图像名排序")
    for left_out in (0, 2):
        for case in (
            (images, masks[:left_out] + masks[left_out + 1 :]),
            (images[:left_out] + images[left_out + 1 :], masks),
        ):
            try:
                answer(*map(list, case))
            except ValueError:
                continue
            expect(
                False,
                "an image without a mask, or a mask without an image, must raise ValueError ｜ "
                "缺掩膜或缺图像时应抛出 ValueError",
            )
