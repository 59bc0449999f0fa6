"""Checks of the exercises of *Bottom-up: objects without boxes*."""

import torch

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(1, wrong=[[2, 1], [3, 2], [-1, -2], [-3, -1], -2])
def vote_of_a_pixel(answer):
    """Offset of one pixel of an object of three."""
    found = expect_numbers(answer, 2)
    known = {
        (2, 1): "that leads from the centre to the pixel: the way to the centre is wanted ｜ "
        "那是从中心到像素：要的是从像素到中心",
        (3, 2): "that is the centre: subtract the pixel ｜ 那是中心：还要减去像素的位置",
        (-1, -2): "rows come first, then columns ｜ 先行后列",
    }
    for wrong, message in known.items():
        expect(found != wrong, message)
    for name, chinese, value, right in zip(
        ("rows", "columns"), "行列", found, (-2, -1), strict=True
    ):
        expect(
            abs(value - right) < 1e-6,
            f"the number of {name} is not {value:g} ｜ {chinese}数不是 {value:g}",
        )


@exercise(2, wrong=[2, 0, 3])
def disc_in_a_ring(answer):
    """Objects that are found where two have the same centre."""
    near = {2: "how many peaks has the heatmap? ｜ 热图有几个峰？"}
    expect_number(answer, 1, near=near)


def offsets(ids):
    """Offsets (2, H, W) to the centre of each object of a map (H, W)."""
    result = torch.zeros(2, *ids.shape)
    for number in ids.unique().tolist():
        if number:
            place = (ids == number).nonzero().float()
            result[:, ids == number] = (place.mean(0) - place).T
    return result


def _with_background(ids):
    return offsets(ids + 1)


def _centers(ids):
    place = torch.stack(torch.meshgrid(*map(torch.arange, ids.shape), indexing="ij"))
    return offsets(ids) + place * (ids > 0)


@exercise(
    3,
    wrong=[
        lambda ids: -offsets(ids),
        lambda ids: offsets(ids).flip(0),
        _with_background,
        _centers,
        lambda ids: offsets((ids > 0).long()),
        lambda ids: None,
    ],
)
def offsets_of_a_map(answer):
    """Offsets of a map of objects."""
    random = torch.randint(0, 4, (6, 7), generator=drawn(0))
    block = torch.tensor([[1, 1, 1, 0, 5], [1, 1, 1, 0, 5]])
    known = {
        "that leads from the centre to the pixel ｜ 那是从中心到像素": lambda x: -offsets(x),
        "rows come first, then columns ｜ 先行后列": lambda x: offsets(x).flip(0),
        "0 is no object: its offsets are 0 ｜ 0 不是物体，偏移量为 0": _with_background,
        "those are the votes: subtract the pixel ｜ 那是投票的落点：还要减去像素的位置": _centers,
    }
    for ids in (block, random) if callable(answer) else ():
        found = answer(ids.clone())
        for message, wrong in known.items():
            expect(not _equal(found, wrong(ids)), message)
    expect_function(answer, offsets, [(block,), (random,)])


def _equal(found, wanted) -> bool:
    same = torch.is_tensor(found) and found.shape == wanted.shape
    return same and torch.allclose(found.float(), wanted.float())


def pull_push(points, of):
    """Pull and push of points (P, E) with objects (P,)."""
    return _terms(points, of)


def _terms(points, of, *, per_object=True, square=True, margin=0.5, least=3.0):
    groups = [points[of == number] for number in of.unique()]
    means = torch.stack([group.mean(0) for group in groups])
    pairs = zip(groups, means, strict=True)
    pulls = [torch.relu((group - mean).norm(dim=1) - margin) for group, mean in pairs]
    push = torch.relu(least - torch.pdist(means))
    if square:
        pulls, push = [pull**2 for pull in pulls], push**2
    pull = torch.stack([pull.mean() for pull in pulls]) if per_object else torch.cat(pulls)
    return torch.stack([pull.mean(), push.mean()])


@exercise(
    4,
    wrong=[
        lambda points, of: _terms(points, of, per_object=False),
        lambda points, of: _terms(points, of, square=False),
        lambda points, of: _terms(points, of, margin=0),
        lambda points, of: _terms(points, of, least=1.5),
        lambda points, of: _terms(points, of).flip(0),
        lambda points, of: None,
    ],
)
def pull_and_push(answer):
    """The two parts of the discriminative loss."""
    four = torch.tensor([[-1.0, -1], [1, -1], [-0.4, 1], [0.4, 1]])
    points = torch.randn(9, 3, generator=drawn(0))
    of = torch.tensor([1, 1, 1, 1, 1, 2, 2, 3, 3])
    cases = [(four, torch.tensor([1, 1, 2, 2])), (points, of)]
    messages = {
        "every object counts alike in the pull, however many points it has ｜ "
        "在拉这一项中，不论点数多少，每个物体的分量相同": {"per_object": False},
        "the excess and what is missing are squared ｜ 超出与所缺的部分都要平方": {"square": False},
        "the pull begins at the distance 0.5 ｜ 拉从距离 0.5 开始": {"margin": 0},
        "the push ends at the distance 3, twice 1.5 ｜ 推到距离 3 为止，即 1.5 的两倍": {
            "least": 1.5
        },
    }
    if callable(answer):
        found = answer(points.clone(), of.clone())
        for message, settings in messages.items():
            wrong = _terms(points, of, **settings)
            expect(found is None or not _equal(torch.as_tensor(found), wrong), message)
    expect_function(answer, pull_push, cases)


def cluster(points, first, bandwidth):
    """Mask of the cluster that mean shift finds from a point."""
    mean, before = points[first], None
    while True:
        mask = (points - mean).norm(dim=1) <= bandwidth
        if before is not None and torch.equal(mask, before):
            return mask
        mean, before = points[mask].mean(0), mask


def _one_turn(points, first, bandwidth):
    return (points - points[first]).norm(dim=1) <= bandwidth


def _two_turns(points, first, bandwidth):
    mean = points[_one_turn(points, first, bandwidth)].mean(0)
    return (points - mean).norm(dim=1) <= bandwidth


@exercise(
    5,
    wrong=[
        _one_turn,
        _two_turns,
        lambda points, first, bandwidth: ~cluster(points, first, bandwidth),
        lambda points, first, bandwidth: points[cluster(points, first, bandwidth)],
        lambda points, first, bandwidth: None,
    ],
)
def cluster_of_a_point(answer):
    """One cluster of mean shift."""
    line = torch.tensor([[0.0], [0.9], [1.0], [1.6], [1.8], [2.0], [2.4], [6.0], [6.5]])
    blobs = torch.randn(40, 2, generator=drawn(0)) * 0.8
    blobs[20:] += 4
    cases = [(line, 0, 1.0), (line, 7, 1.0), (blobs, 0, 1.5), (blobs, 30, 1.5)]
    turns = {
        _one_turn: "that is the first turn: move to the mean, and go on ｜ "
        "那只是第一次：还要移到均值，继续下去",
        _two_turns: "go on until the points stay the same ｜ 要重复到这些点不再变化",
    }
    if callable(answer):
        found = answer(line.clone(), 0, 1.0)
        for turn, message in turns.items():
            expect(not _equal(found, turn(line, 0, 1.0)), message)
    expect_function(answer, cluster, cases)
