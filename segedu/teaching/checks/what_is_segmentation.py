"""Checks of the exercises of *What is segmentation?*."""

import numpy as np
import torch

from segedu.data import scenes
from segedu.teaching.checking import NOTHING, drawn, exercise, expect, expect_function

TREE = 7


def _expect_callable(answer):
    kind = type(answer).__name__
    expect(callable(answer), f"expected a function, got {kind} ｜ 需要一个函数，得到的是 {kind}")


def _gives(answer, kinds, wanted):
    """The function ``answer``, held to arrays whose kind of dtype is one of ``kinds``."""
    _expect_callable(answer)

    def held(*arguments):
        found = answer(*arguments)
        english, _, chinese = wanted.partition(" ｜ ")
        kind = f"{type(found).__name__} {getattr(found, 'dtype', '')}".strip()
        expect(
            isinstance(found, np.ndarray) and found.dtype.kind in kinds,
            f"expected {english}, got {kind} ｜ 需要{chinese}，得到的是 {kind}",
        )
        return found

    return held


def _same(found, value):
    numeric = np.asarray(found).dtype.kind in "biuf"
    return numeric and np.shape(found) == np.shape(value) and np.allclose(found, value)


def _expect_like(answer, reference, cases, mistakes):
    """Expect what ``reference`` gives; ``mistakes`` maps what went wrong to a function."""
    for case in cases:
        found, right = answer(*case), reference(*case)
        expect(found is not None, NOTHING)
        for message, mistake in mistakes.items():
            expect(_same(found, right) or not _same(found, mistake(*case)), message)
    expect_function(answer, reference, cases)


def _to_masks(panoptic_seg, segments_info):
    ids = [segment["id"] for segment in segments_info if segment["isthing"]]
    return np.stack([panoptic_seg == number for number in ids])


def _masks_of_all(ids, info):
    return np.stack([ids == segment["id"] for segment in info])


def _masks_of_classes(ids, info):
    return np.stack([ids == segment["category_id"] for segment in info if segment["isthing"]])


def _masks_in_order_of_ids(ids, info):
    return _to_masks(ids, sorted(info, key=lambda segment: segment["id"]))


@exercise(
    1,
    wrong=[
        _masks_of_all,
        _masks_of_classes,
        _masks_in_order_of_ids,
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
    mistakes = {
        "stuff has no mask: leave out the ids whose isthing is False ｜ "
        "背景物质没有掩膜：isthing 为 False 的 id 要去掉": _masks_of_all,
        "compare with id, not with category_id ｜ "
        "应与 id 比较，不是与 category_id": _masks_of_classes,
        "the order is that of the list, not that of the ids ｜ "
        "顺序应是列表的顺序，不是 id 的大小": _masks_in_order_of_ids,
    }
    boolean = _gives(answer, "b", "one Boolean array ｜ 一个布尔数组")
    generator = drawn(0)
    numbers = (1 + torch.randperm(400, generator=generator)[:5]).tolist()
    other = np.array(numbers)[torch.randint(0, 5, (5, 6), generator=generator).numpy()]
    things = [{"id": i, "category_id": i % 9, "isthing": k > 1} for k, i in enumerate(numbers)]
    cases = [(ids, info), (ids[:2], info[:2]), (other, things)]
    _expect_like(boolean, _to_masks, cases, mistakes)


def _bins(images):
    """The bin of every pixel, as the chapter's function: steps of the colours, band of height."""
    steps, height = images // 32, images.shape[1]
    band = np.arange(height)[:, None] * 8 // height  # (H, 1)
    return steps[..., 0], steps[..., 1], steps[..., 2], band


def _accuracy(learnt, tested):
    """Accuracy on one set of the rule that is learnt from another."""
    counts = np.zeros((8, 8, 8, 8, 12), dtype=int)
    np.add.at(counts, (*_bins(learnt[0]), learnt[1]), 1)
    return float((counts.argmax(axis=-1)[_bins(tested[0])] == tested[1]).mean())


def _still_missing(usual, turned):
    return _accuracy(*usual) - _accuracy(*turned)


def _whole_drop(usual, turned):
    return _accuracy(*usual) - _accuracy(usual[0], turned[1])


def _regained(usual, turned):
    return _accuracy(*turned) - _accuracy(usual[0], turned[1])


def _turned_rule_on_usual(usual, turned):
    return _accuracy(*usual) - _accuracy(turned[0], usual[1])


def _missing_in_training(usual, turned):
    return _accuracy(usual[0], usual[0]) - _accuracy(turned[0], turned[0])


def _learnt_from_validation(usual, turned):
    return _accuracy(*usual[::-1]) - _accuracy(*turned[::-1])


def _street(generator, contrast, noise):
    """Training and validation set of patches, grey by class; a part of the pixels is changed."""
    sets = []
    for count in (4, 3):
        labels = torch.randint(0, 4, (count, 8, 8), generator=generator)
        changed = torch.rand(labels.shape, generator=generator) < noise
        seen = torch.where(changed, torch.randint(0, 4, labels.shape, generator=generator), labels)
        images = (20 + contrast * seen)[..., None].expand(-1, -1, -1, 3)
        sets.append((images.numpy().astype(np.uint8), labels.numpy()))
    return tuple(sets)


@exercise(
    2,
    wrong=[
        _whole_drop,
        _regained,
        _turned_rule_on_usual,
        _missing_in_training,
        _learnt_from_validation,
        lambda usual, turned: -_still_missing(usual, turned),
        lambda usual, turned: _accuracy(*turned),
        lambda usual, turned: (_accuracy(*usual), _accuracy(*turned)),
        lambda usual, turned: None,
        0.022,
    ],
)
def still_missing(answer):
    """Accuracy in usual scenes minus that of matched training, for one seed."""
    _expect_callable(answer)
    mistakes = {
        "the second rule learns from the training set of turned ｜ "
        "第二条规则要用 turned 的训练集来学习": _whole_drop,
        "the first accuracy is that in usual scenes, training and validation both usual ｜ "
        "前一个准确率是平常场景的：训练集与验证集都取自 usual": _regained,
        "test the second rule on the validation set of turned ｜ "
        "第二条规则要用 turned 的验证集来测试": _turned_rule_on_usual,
        "test on the validation sets, not on the training sets ｜ "
        "应当用验证集来测试，不是用训练集": _missing_in_training,
        "learn from the training sets, test on the validation sets ｜ "
        "应当从训练集学习，用验证集测试": _learnt_from_validation,
        "subtract the accuracy of matched training from that in usual scenes, not the reverse ｜ "
        "应当用平常场景的准确率减去同条件训练的准确率，不是反过来": (
            lambda usual, turned: -_still_missing(usual, turned)
        ),
        "this is the accuracy of matched training; subtract it from that in usual scenes ｜ "
        "这是同条件训练的准确率；要用平常场景的准确率减去它": (
            lambda usual, turned: _accuracy(*turned)
        ),
    }
    generator = drawn(0)
    usual = _street(generator, contrast=40, noise=0.1)
    cases = [(usual, _street(generator, contrast=25, noise=noise)) for noise in (0.3, 0.2)]
    _expect_like(answer, _still_missing, cases, mistakes)


def _paste(masks, scores):
    ids = np.zeros(masks.shape[1:], dtype=int)
    for k in np.argsort(scores):
        ids[masks[k]] = k + 1
    return ids


def _paste_lowest_last(masks, scores):
    return _paste(masks, -scores)


def _paste_in_order_of_list(masks, scores):
    return _paste(masks, np.arange(len(scores)))


def _paste_ranks(masks, scores):
    return _paste(masks[np.argsort(scores)], np.arange(len(scores)))


def _paste_from_0(masks, scores):
    return np.maximum(_paste(masks, scores) - 1, 0)


def _paste_without_background(masks, scores):
    return (masks * scores[:, None, None]).argmax(0) + 1


@exercise(
    3,
    wrong=[
        _paste_lowest_last,
        _paste_in_order_of_list,
        _paste_ranks,
        _paste_from_0,
        _paste_without_background,
        lambda masks, scores: (masks * scores[:, None, None]).argmax(0),
        lambda masks, scores: _paste(masks, scores) - 1,
        lambda masks, scores: _paste(masks, scores).astype(float),
        np.zeros((4, 6), dtype=int),
    ],
)
def paste(answer):
    """Ids of overlapping masks, the higher confidence on top."""
    masks = np.zeros((3, 4, 6), dtype=bool)
    masks[0, :3, :3], masks[1, 1:, 1:5], masks[2, 2, 2:] = True, True, True
    cases = [(masks, np.array(scores)) for scores in ([0.9, 0.4, 0.6], [0.2, 0.8, 0.5])]
    mistakes = {
        "where masks overlap, the object of the lower confidence covers that of the higher ｜ "
        "掩膜重叠处，置信度高的物体被置信度低的盖住了": _paste_lowest_last,
        "where masks overlap, the confidence decides, not the order of the list ｜ "
        "掩膜重叠处由置信度决定，不是由列表里的顺序决定": _paste_in_order_of_list,
        "the id is k + 1, where k is the place in the list, not the rank of the confidence ｜ "
        "id 是 k + 1，k 是列表里的序号，不是置信度的名次": _paste_ranks,
        "object k has the id k + 1, not k ｜ 物体 k 的 id 是 k + 1，不是 k": _paste_from_0,
        "where there is no object, the id is 0 ｜ 没有物体处，id 应为 0": _paste_without_background,
    }
    integers = _gives(answer, "iu", "an integer array ｜ 一个整数数组")
    cases.append((masks[1:], np.array([0.3, 0.7])))
    generator = drawn(0)
    more = torch.rand(5, 4, 6, generator=generator).numpy() < 0.4
    cases.append((more, (1 + torch.randperm(5, generator=generator)).numpy() / 6))
    _expect_like(integers, _paste, cases, mistakes)


EIGHT = np.ones((3, 3))  # neighbours of a pixel, those at its corners, too


def _trees(n, neighbours=EIGHT):
    """Trees of scene ``n``, components of their class, and whether two trees share one."""
    from scipy import ndimage

    scene = scenes.generate(n, scenes.SceneConfig(size=128))
    components, count = ndimage.label(scene.semantic == TREE, neighbours)
    trees = scene.instances.masks[scene.instances.labels == TREE]  # (N, H, W)
    held = [number for tree in trees for number in np.unique(components[tree])]
    return len(trees), count, len(held) > len(set(held))


def _equal(n):
    trees, components, _ = _trees(n)
    return trees == components


def _by_edges(n):
    """The answer of one who forgets that pixels which share a corner touch, too."""
    trees, components, shared = _trees(n, neighbours=None)
    return trees == components and shared


@exercise(
    4,
    wrong=[
        _equal,
        _by_edges,
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
    _expect_callable(answer)
    # All four cases: 29 has equal numbers, and no tree shares. In 39 corners matter.
    for n in (0, 1, 4, 18, 29, 39, *torch.randint(40, 400, (1,), generator=drawn(0)).tolist()):
        trees, components, shared = _trees(n)
        found = answer(n)
        expect(
            isinstance(found, bool | np.bool_),
            f"expected True or False, got {type(found).__name__} ｜ "
            f"函数应返回 True 或 False，得到的是 {type(found).__name__}",
        )
        expect(
            bool(found) == (trees == components and shared),
            f"scene {n}: {trees} trees, {components} components, two trees share a component: "
            f"{shared}; by_accident({n}) is {bool(found)} ｜ "
            f"场景 {n}：{trees} 棵树，{components} 个连通分量，有两棵树同在一个分量里："
            f"{shared}；by_accident({n}) 是 {bool(found)}",
        )
