"""Checks of the exercises of *Scaling out*."""

import math

import torch

from segedu.teaching.checking import drawn, exercise, expect, expect_function, expect_number


@exercise(1, wrong=[-16 / 3, -48, 6, -5])
def gradient_of_unequal_parts(answer):
    """The gradient of a batch that three workers share unequally."""
    near = {
        -16 / 3: "that is the mean of the means: the third worker has four pictures ｜ "
        "那是平均的平均：第三个工作进程有四幅图像",
        -48: "that is the sum: divide by the number of pictures ｜ 那是总和：还要除以图像数",
        6: "the sign is lost ｜ 丢了符号",
    }
    expect_number(answer, -6, tolerance=1e-6, near=near)


@exercise(2, wrong=[0.45, 33 / 80, 0.75])
def iou_of_two_workers(answer):
    """IoU of one class over the pictures of two workers."""
    near = {0.45: "that is the mean of the two IoUs ｜ 那是两个 IoU 的平均"}
    expect_number(answer, 0.55, tolerance=1e-6, near=near)


def _mean_iou(matrices) -> float:
    whole = torch.stack([torch.as_tensor(m, dtype=torch.float64) for m in matrices]).sum(0)
    hits = whole.diag()
    union = whole.sum(0) + whole.sum(1) - hits
    return (hits / union)[union > 0].mean().item()


def _with_zeros(matrices) -> float:
    whole = sum(matrices).double()
    hits = whole.diag()
    return (hits / (whole.sum(0) + whole.sum(1) - hits).clamp_min(1)).mean().item()


def _accuracy(matrices) -> float:
    whole = sum(matrices)
    return (whole.diag().sum() / whole.sum()).item()


@exercise(
    3,
    wrong=[
        lambda matrices: sum(_mean_iou([m]) for m in matrices) / len(matrices),
        lambda matrices: _mean_iou(matrices[:1]),
        _with_zeros,
        _accuracy,
        lambda matrices: None,
        0.5,
    ],
)
def mean_iou_of_workers(answer):
    """Mean IoU out of the confusion matrices of several workers; an absent class is left out."""
    some = (
        torch.randint(1, 50, (3, 4, 4), generator=drawn(3))
        * torch.tensor([1, 7, 30])[:, None, None]
    )
    some[:, 2], some[:, :, 2] = 0, 0  # nobody has seen it, nobody has predicted it
    hand = [torch.tensor([[8, 0], [2, 10]]), torch.tensor([[0, 0], [2, 18]])]
    expect_function(answer, _mean_iou, [(hand,), (list(some),), ([some[0]],)])


def _dealt(count: int, rank: int, workers: int) -> list[int]:
    return list(range(rank, count, workers))


def _padded(count: int, rank: int, workers: int) -> list[int]:
    share = math.ceil(count / workers)
    return [i % count for i in range(rank, share * workers, workers)]


@exercise(
    4,
    wrong=[
        _padded,
        lambda count, rank, workers: list(range(rank, count - count % workers, workers)),
        lambda count, rank, workers: list(range(count)),
        lambda count, rank, workers: list(range(rank + 1, count, workers)),
        lambda count, rank, workers: (
            list(range(rank * (count // workers), (rank + 1) * (count // workers)))
            + (list(range(count - count % workers, count)) if rank == workers - 1 else [])
        ),
        lambda count, rank, workers: None,
        [0, 2, 4],
    ],
)
def shares_without_padding(answer):
    """Who judges which picture: each exactly once, shares that differ by one at most."""
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    several = torch.randint(5, 40, (3,), generator=drawn(4)).tolist()
    for count, workers in [(8, 2), (7, 3), (33, 16), *((count, 4) for count in several)]:
        shares = [answer(count, rank, workers) for rank in range(workers)]
        case = f"{count}, {workers}"
        for share in shares:
            expect(share is not None, "the function returns nothing ｜ 函数没有返回值")
        shares = [[int(i) for i in share] for share in shares]
        dealt = [i for share in shares for i in share]
        again = len(dealt) - len(set(dealt))
        expect(
            not again,
            f"count, workers = {case}: {again} pictures are judged twice ｜ "
            f"count, workers = {case}：有 {again} 幅图像评价了两次",
        )
        expect(
            sorted(dealt) == list(range(count)),
            f"count, workers = {case}: not exactly the pictures 0 to {count - 1} ｜ "
            f"count, workers = {case}：不恰好是图像 0 到 {count - 1}",
        )
        sizes = [len(share) for share in shares]
        expect(
            max(sizes) - min(sizes) <= 1,
            f"count, workers = {case}: the shares hold {min(sizes)} to {max(sizes)} pictures ｜ "
            f"count, workers = {case}：各份从 {min(sizes)} 幅到 {max(sizes)} 幅不等",
        )


def _efficiency(workers: int, a: float, e: float, batch: int) -> float:
    return a * batch / (a * batch + 2 * e * (workers - 1))


@exercise(
    5,
    wrong=[
        lambda workers, a, e, batch: workers * _efficiency(workers, a, e, batch),
        lambda workers, a, e, batch: 1 / _efficiency(workers, a, e, batch),
        lambda workers, a, e, batch: a * batch / (a * batch + e * workers),
        lambda workers, a, e, batch: a * batch / (a * batch + 2 * e * (workers - 1) / workers),
        lambda workers, a, e, batch: None,
        0.5,
    ],
)
def efficiency(answer):
    """The share of the ideal speed that several workers reach."""
    drawn_workers = torch.randint(2, 100, (3,), generator=drawn(5)).tolist()
    cases = [(1, 0.02, 0.1, 64), (8, 0.02, 0.1, 64), *((k, 0.05, 0.01, 32) for k in drawn_workers)]
    expect_function(answer, _efficiency, cases)
