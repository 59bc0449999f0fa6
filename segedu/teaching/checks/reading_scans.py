"""Checks of the exercises of *Reading scans*."""

import numpy as np
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


@exercise(1, wrong=[(1104, 0.586), (80, 0.229), (80, 1), (80, 0.086), (0.586, 80), (80,), 80])
def hu_and_grey(answer):
    """Hounsfield units and grey value of one stored number."""
    hu, grey = expect_numbers(answer, 2)
    expect(
        hu == 80,
        f"the first number should be 1 · 1104 − 1024, not {hu:g} "
        f"｜ 第一个数应为 1 · 1104 − 1024，不是 {hu:g}",
    )
    expect_number(
        grey,
        205 / 350,
        tolerance=0.001,
        near={
            80 / 350: "the window does not begin at 0 but at L − W/2 "
            "｜ 窗不是从 0 开始，而是从 L − W/2 开始",
            30 / 350: "L is the middle of the window, not its beginning ｜ L 是窗的中心，不是起点",
        },
    )


@exercise(
    2,
    wrong=[
        (-60, 32, 30, 1),
        (12, -55, 30, 0),
        (-40, -30, 30, 1),
        (30, -40, 30, 0),
        (-30, -40, 30, 0),
        (-30, -40, 30),
        3,
    ],
)
def pixel_in_the_patient(answer):
    """Position of a pixel in LPS from three tags, and its side."""
    *found, on_the_right = expect_numbers(answer, 4)
    expect(
        found != [12, -55, 30],
        "the two spacings are swapped: the first is from row to row "
        "｜ 两个间距用反了：第一个是行与行的距离",
    )
    expect(
        found != [-60, 32, 30],
        "row and column are swapped: x grows with the column ｜ 行与列用反了：x 随列号增大",
    )
    for name, number, right in zip("xyz", found, (-30, -40, 30), strict=True):
        expect(
            abs(number - right) < 1e-6,
            f"{name} is not {number:g} mm ｜ {name} 不是 {number:g} mm",
        )
    expect(
        on_the_right == 1,
        "the position is right, the side is not: x grows to the patient's left "
        "｜ 位置正确，左右不对：x 朝病人的左侧增大",
    )


def _normal(orientation: np.ndarray) -> np.ndarray:
    return np.cross(orientation[:3], orientation[3:])


def _order(positions: np.ndarray, orientation: np.ndarray) -> np.ndarray:
    return np.argsort(positions @ _normal(orientation))


def _planes() -> list[np.ndarray]:
    """Axial, coronal, sagittal and slanted orientations; across and down are unit vectors."""
    turn = 2 * float(torch.rand((), generator=drawn(1))) - 1
    slanted = [1, 0, 0, 0, np.cos(turn), np.sin(turn)]
    planes = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1], slanted)
    return [np.array(plane, float) for plane in planes]


def _series() -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions (N, 3) of slices in disorder, and their orientation."""
    generator = drawn(0)
    cases = []
    for orientation in _planes():
        start = (200 * torch.rand(3, generator=generator) - 100).numpy()
        places = 2.5 * torch.randperm(9, generator=generator).numpy()
        cases.append((start + np.outer(places, _normal(orientation)), orientation))
    return cases


@exercise(
    3,
    wrong=[
        lambda positions, orientation: np.argsort(positions[:, 2]),
        lambda positions, orientation: np.argsort(-positions @ _normal(orientation)),
        lambda positions, orientation: np.argsort(np.linalg.norm(positions, axis=1)),
        lambda positions, orientation: np.sort(positions @ _normal(orientation)),
        lambda positions, orientation: np.arange(len(positions)),
        lambda positions, orientation: None,
        [0, 1, 2],
    ],
)
def order_along_the_normal(answer):
    """Order of slices of any plane."""
    expect_function(answer, _order, [])  # is it one at all?
    names = ("axial ｜ 横断", "coronal ｜ 冠状", "sagittal ｜ 矢状", "slanted ｜ 倾斜")
    for name, (positions, orientation) in zip(names, _series(), strict=True):
        english, _, chinese = name.partition(" ｜ ")
        found = answer(positions.copy(), orientation.copy())
        expect(found is not None, NOTHING)
        right = _order(positions, orientation)
        backwards = np.array_equal(found, right[::-1])
        expect(
            not backwards,
            f"the {english} scan comes out backwards: n = a × b, and the lowest height first "
            f"｜ {chinese}扫描的顺序反了：n = a × b，高度最小的在前",
        )
        expect(
            np.array_equal(found, right),
            f"the order of the {english} scan is wrong ｜ {chinese}扫描的顺序不对",
        )


def _in_ras(
    row: int, column: int, position: np.ndarray, orientation: np.ndarray, spacing: np.ndarray
) -> np.ndarray:
    across, down = orientation[:3], orientation[3:]
    lps = position + column * spacing[1] * across + row * spacing[0] * down
    return lps * np.array([-1, -1, 1])


@exercise(
    4,
    wrong=[
        lambda r, c, p, o, s: -_in_ras(r, c, p, o, s),
        lambda r, c, p, o, s: _in_ras(r, c, p, o, s) * [-1, -1, 1],
        lambda r, c, p, o, s: _in_ras(r, c, p, o, s) * [1, 1, -1],
        lambda r, c, p, o, s: _in_ras(r, c, p, o, s[::-1]),
        lambda r, c, p, o, s: _in_ras(c, r, p, o, s),
        lambda r, c, p, o, s: [
            -p[0] - c * s[1],
            -p[1] - r * s[0],
            p[2],
        ],
        lambda r, c, p, o, s: None,
        (1, 2, 3),
    ],
)
def pixel_in_ras(answer):
    """Position of a pixel in RAS."""
    expect_function(answer, _in_ras, [])  # is it one at all?
    generator = drawn(3)
    for orientation in _planes():
        position = (100 * torch.rand(3, generator=generator)).numpy().astype(float)
        spacing = np.array([0.8, 0.5])
        found = answer(7, 20, position.copy(), orientation.copy(), spacing.copy())
        expect(found is not None, NOTHING)
        found = np.array(expect_numbers(found, 3))
        right = _in_ras(7, 20, position, orientation, spacing)
        for wrong, message in (
            (right * [-1, -1, 1], "that is the position in LPS ｜ 这是 LPS 中的位置"),
            (right * [1, 1, -1], "the sign of z stays as it was ｜ z 的符号不变"),
            (
                _in_ras(20, 7, position, orientation, spacing),
                "row and column are swapped ｜ 行与列用反了",
            ),
            (
                _in_ras(7, 20, position, orientation, spacing[::-1]),
                "the two spacings are swapped ｜ 两个间距用反了",
            ),
        ):
            expect(not np.allclose(found, wrong, atol=1e-4), message)
        expect(
            np.allclose(found, right, atol=1e-4),
            "the position is wrong for one of the planes; are both directions taken from the "
            "orientation? ｜ 有一个平面的位置不对；两个方向都取自 orientation 吗？",
        )
