"""Checks of the exercises of *What is segmentation?*."""

import numpy as np

from segedu.data import scenes
from segedu.teaching.checking import (
    exercise,
    expect,
    expect_function,
    expect_number,
)

TREE = 7


def _gives(answer, kinds, wanted):
    """The function ``answer``, held to arrays whose kind of dtype is one of ``kinds``."""
    expect(
        callable(answer),
        f"a function is wanted, got {type(answer).__name__} ｜ "
        f"需要一个函数，得到的是 {type(answer).__name__}",
    )

    def held(*arguments):
        found = answer(*arguments)
        english, _, chinese = wanted.partition(" ｜ ")
        kind = f"{type(found).__name__} {getattr(found, 'dtype', '')}".strip()
        expect(
            isinstance(found, np.ndarray) and found.dtype.kind in kinds,
            f"wanted is {english}, got {kind} ｜ 需要{chinese}，得到的是 {kind}",
        )
        return found

    return held


@exercise(1, wrong=[53, 1_836, 2_885_378, 67_380, 2_348, 131_879, 1_000_000])
def colour_to_id(answer):
    """Id of a colour in a panoptic file of COCO."""
    near = {
        53: "the channels count differently ｜ 各通道的分量不同",
        1_836: "blue is missing ｜ 漏了蓝色",
        2_885_378: "red counts least, blue most ｜ 红色的分量最轻，蓝色最重",
        67_380: "blue is 2, not 1 ｜ 蓝色是 2，不是 1",
        2_348: "blue counts 256 times as much as green ｜ 蓝色的分量是绿色的 256 倍",
        131_879: "the factor is 256, not 255 ｜ 倍数是 256，不是 255",
    }
    expect_number(answer, 132_908, near=near)


def _to_masks(panoptic_seg, segments_info):
    ids = [segment["id"] for segment in segments_info if segment["isthing"]]
    return np.stack([panoptic_seg == number for number in ids])


@exercise(
    2,
    wrong=[
        lambda ids, info: np.stack([ids == s["id"] for s in info]),
        lambda ids, info: np.stack([ids == s["category_id"] for s in info if s["isthing"]]),
        lambda ids, info: np.stack([ids == k for k in np.unique(ids)[1:]]),
        lambda ids, info: sum(ids == s["id"] for s in info if s["isthing"]),
        lambda ids, info: list(_to_masks(ids, info)),
        lambda ids, info: _to_masks(ids, info).astype(int),
        "masks",
    ],
)
def to_masks(answer):
    """Masks of the things of a panoptic map."""
    ids = np.array([[7, 7, 7, 0], [7, 3, 9, 9], [300, 3, 3, 9]])
    info = [
        {"id": 9, "category_id": 3, "isthing": True},
        {"id": 7, "category_id": 0, "isthing": False},
        {"id": 3, "category_id": 8, "isthing": True},
        {"id": 300, "category_id": 3, "isthing": True},
    ]
    wanted = "one array with true and false ｜ 一个元素为真或假的数组"
    expect_function(_gives(answer, "b", wanted), _to_masks, [(ids, info), (ids[:2], info[:2])])


def _paste(masks, scores):
    ids = np.zeros(masks.shape[1:], dtype=int)
    for k in np.argsort(scores):
        ids[masks[k]] = k + 1
    return ids


def _paste_in_order(order):
    def paste(masks, scores):
        ids = np.zeros(masks.shape[1:], dtype=int)
        for place, k in enumerate(order(scores)):
            ids[masks[k]] = (k if order is not np.sort else place) + 1
        return ids

    return paste


@exercise(
    3,
    wrong=[
        _paste_in_order(lambda scores: range(len(scores))),
        _paste_in_order(lambda scores: np.argsort(scores)[::-1]),
        lambda masks, scores: (masks * scores[:, None, None]).argmax(0),
        lambda masks, scores: (masks * scores[:, None, None]).argmax(0) + 1,
        lambda masks, scores: _paste(masks, scores) - 1,
        lambda masks, scores: _paste(masks, scores).astype(float),
        np.zeros((4, 6), dtype=int),
    ],
)
def paste(answer):
    """Ids of overlapping masks, the higher score on top."""
    masks = np.zeros((3, 4, 6), dtype=bool)
    masks[0, :3, :3], masks[1, 1:, 1:5], masks[2, 2, 2:] = True, True, True
    cases = [(masks, np.array(scores)) for scores in ([0.9, 0.4, 0.6], [0.2, 0.8, 0.5])]
    integers = _gives(answer, "iu", "an integer array ｜ 一个整数数组")
    covered = _paste(masks, -cases[0][1])  # the lowest score on top
    expect(
        not np.array_equal(integers(*cases[0]), covered),
        "where masks overlap, the object of the lower score covers that of the higher ｜ "
        "掩膜重叠处，得分高的物体被得分低的盖住了",
    )
    expect_function(integers, _paste, [*cases, (masks[1:], np.array([0.3, 0.7]))])


def _trees(n):
    """Trees of scene ``n``, components of their class, and whether two trees share one."""
    from scipy import ndimage

    scene = scenes.generate(n, scenes.SceneConfig(size=128))
    components, count = ndimage.label(scene.semantic == TREE, np.ones((3, 3)))
    trees = scene.instances.masks[scene.instances.labels == TREE]  # (N, H, W)
    held = [number for tree in trees for number in np.unique(components[tree])]
    return len(trees), count, len(held) > len(set(held))


def _equal(n):
    trees, components, _ = _trees(n)
    return trees == components


@exercise(
    4,
    wrong=[
        _equal,
        lambda n: _trees(n)[2],
        lambda n: not (_equal(n) and _trees(n)[2]),
        lambda n: True,
        lambda n: n,
        lambda n: None,
        1,
    ],
)
def right_by_accident(answer):
    """Whether a scene has as many trees as their components, though two trees share one."""
    expect(
        callable(answer),
        f"a function is wanted, got {type(answer).__name__} ｜ "
        f"需要一个函数，得到的是 {type(answer).__name__}",
    )
    for n in (0, 1, 4, 18, 29):  # all four cases: 29 has equal numbers, and no tree shares
        trees, components, shared = _trees(n)
        found = answer(n)
        expect(
            isinstance(found, bool | np.bool_),
            f"the function must return true or false, got {type(found).__name__} ｜ "
            f"函数应返回真或假，得到的是 {type(found).__name__}",
        )
        expect(
            bool(found) == (trees == components and shared),
            f"scene {n}: {trees} trees, {components} components, two trees share a component: "
            f"{shared}; by_accident({n}) is {bool(found)} ｜ "
            f"场景 {n}：{trees} 棵树，{components} 个连通分量，有两棵树同在一个分量里："
            f"{shared}；by_accident({n}) 是 {bool(found)}",
        )
