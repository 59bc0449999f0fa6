"""Checks of the exercises of *Semantic metrics: one confusion matrix, many averages*."""

from functools import partial

import torch
from torch import Tensor

from segedu.teaching.checking import NOTHING, drawn, exercise, expect, expect_number, expect_tensor

COUNTED = [[2, 1, 0], [0, 3, 0], [0, 1, 1]]
TRANSPOSED = [[2, 0, 0], [1, 3, 1], [0, 0, 1]]


@exercise(1, wrong=[TRANSPOSED, [[3, 1, 0], [0, 3, 0], [0, 1, 1]], [2, 3, 1], 6])
def nine_pixels(answer):
    """The confusion matrix of nine pixels."""
    plain = answer.tolist() if hasattr(answer, "tolist") else answer
    expect(
        plain != TRANSPOSED,
        "rows and columns are exchanged: a row is a true class ｜ 行与列颠倒了：行是真实类别",
    )
    expect_tensor(answer, COUNTED)


@exercise(2, wrong=[0.5889, 0.75, 0.722, 0.5])
def weighted_by_frequency(answer):
    """Frequency-weighted IoU of the nine pixels."""
    near = {
        0.5889: "that is the mean IoU: weigh by the row sums ｜ 那是平均 IoU：应按行和加权",
        0.75: "that is the pixel accuracy ｜ 那是像素准确率",
        0.7222: "that is the mean accuracy ｜ 那是平均准确率",
    }
    expect_number(answer, 0.6, tolerance=6e-4, near=near)


def class_ious(matrix: Tensor) -> Tensor:
    """IoU of each class (C,), NaN where it occurs in neither map."""
    right = matrix.diagonal().double()
    return right / (matrix.sum(1) + matrix.sum(0) - right)


def _only_in_truth(matrix: Tensor) -> Tensor:
    return torch.where(matrix.sum(1) > 0, class_ious(matrix), torch.nan)


@exercise(
    3,
    wrong=[
        _only_in_truth,
        lambda m: class_ious(m).nan_to_num(0),
        lambda m: class_ious(m).nan_to_num(1),
        lambda m: m.diagonal() / m.sum(1),
        lambda m: m.diagonal() / (m.sum(1) + m.sum(0)),
        lambda m: None,
    ],
)
def ious_of_a_matrix(answer):
    """IoU of each class, with classes that are absent."""
    fixed = (COUNTED, [[3, 0, 0], [0, 0, 0], [0, 0, 4]], [[3, 2, 0], [0, 0, 0], [0, 0, 0]])
    for matrix in (*fixed, torch.randint(0, 4, (4, 4), generator=drawn(0)).tolist()):
        matrix = torch.tensor(matrix)
        found = answer(matrix)
        expect(found is not None, NOTHING)
        found = torch.as_tensor(found)
        absent = matrix.sum(0) + matrix.sum(1) == 0
        if found.shape == absent.shape:
            expect(
                bool(found[absent].isnan().all()),
                "a class that occurs in neither map must get NaN ｜ 两张图中都没有的类别应得 NaN",
            )
            expect(
                not found[~absent].isnan().any(),
                "a class that occurs only in the prediction must get 0 ｜ "
                "只在预测中出现的类别应得 0",
            )
            hit, in_truth, in_prediction = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
            known = {
                "that is the recall: divide by the union ｜ 那是召回率：应除以并集": hit / in_truth,
                "the union counts the diagonal once: subtract it ｜ "
                "并集只算一次对角线上的数：要减去": hit / (in_truth + in_prediction),
            }
            near = partial(torch.allclose, found.double(), equal_nan=True)
            for message, value in known.items():
                expect(near(class_ious(matrix)) or not near(value.double()), message)
        expect_tensor(found, class_ious(matrix))


def image_iou(prediction: Tensor, truth: Tensor, label: int) -> Tensor:
    """Mean over images of the IoU of one class, where it occurs in either map."""
    p, t = prediction == label, truth == label
    both, either = (p & t).sum((1, 2)), (p | t).sum((1, 2))
    return (both[either > 0] / either[either > 0]).mean()


def _over_all_pixels(prediction: Tensor, truth: Tensor, label: int) -> Tensor:
    p, t = prediction == label, truth == label
    return (p & t).sum() / (p | t).sum()


def _where_in_truth(prediction: Tensor, truth: Tensor, label: int) -> Tensor:
    there = (truth == label).flatten(1).any(1)
    return image_iou(prediction[there], truth[there], label)


def _absent_is(value: float, prediction: Tensor, truth: Tensor, label: int) -> Tensor:
    p, t = prediction == label, truth == label
    both, either = (p & t).sum((1, 2)), (p | t).sum((1, 2))
    return (both / either).nan_to_num(value).mean()


@exercise(
    4,
    wrong=[
        _over_all_pixels,
        _where_in_truth,
        lambda *maps: _absent_is(0.0, *maps),
        lambda *maps: _absent_is(1.0, *maps),
        lambda *maps: None,
    ],
)
def one_class_per_image(answer):
    """Mean over images of the IoU of one class."""
    prediction = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]], [[1, 0, 0, 2]], [[0, 1, 1, 1]]])
    truth = torch.tensor([[[1, 0, 0, 0]], [[0, 0, 0, 0]], [[0, 0, 0, 2]], [[0, 1, 1, 1]]])
    found = answer(prediction, truth, 1)
    expect(found is not None, NOTHING)
    known = {
        "that is the IoU over all pixels, not per image ｜ "
        "那是在全部像素上算的 IoU，不是按图像平均": _over_all_pixels,
        "an image where the class is only in the prediction counts, with IoU 0 ｜ "
        "类别只在预测中出现的图像也要计入，IoU 为 0": _where_in_truth,
        "leave out an image where the class is in neither map ｜ "
        "两张图中都没有这个类别的图像不要计入": lambda *maps: _absent_is(0.0, *maps),
        "an image where the class is in neither map does not count 1 ｜ "
        "两张图中都没有这个类别的图像不能记为 1": lambda *maps: _absent_is(1.0, *maps),
    }
    for message, wrong in known.items():
        value = wrong(prediction, truth, 1)
        expect(not torch.isclose(torch.as_tensor(found, dtype=torch.float32), value), message)
    expect_tensor(found, image_iou(prediction, truth, 1))
    expect_tensor(answer(prediction, truth, 2), image_iou(prediction, truth, 2))
    maps = torch.randint(0, 3, (2, 5, 2, 3), generator=drawn(0))
    maps[:, 0] = 0  # an image without the class
    expect_tensor(answer(*maps, 1), image_iou(*maps, 1))


def miou_of_draws(counts: Tensor, chosen: Tensor) -> Tensor:
    """Mean IoU (D,) of draws (D, n) from counts (N, 3, C)."""
    right, in_truth, in_prediction = counts[chosen].sum(1).double().unbind(1)
    return (right / (in_truth + in_prediction - right)).nanmean(1)


def differences(first: Tensor, second: Tensor, chosen: Tensor) -> Tensor:
    """Mean IoU of the second minus that of the first, in each draw."""
    return miou_of_draws(second, chosen) - miou_of_draws(first, chosen)


def _per_image(first: Tensor, second: Tensor, chosen: Tensor) -> Tensor:
    one = torch.arange(len(first))[:, None]
    return differences(first, second, one)[chosen].nanmean(1)


@exercise(
    5,
    wrong=[
        lambda first, second, chosen: -differences(first, second, chosen),
        _per_image,
        lambda first, second, chosen: differences(first, second, chosen).mean(),
        lambda first, second, chosen: miou_of_draws(second, chosen),
        lambda first, second, chosen: None,
    ],
)
def differences_of_draws(answer):
    """The difference of two networks in each draw of images."""
    generator = drawn(0)
    right = torch.randint(0, 9, (2, 6, 4), generator=generator)
    truth = right[0].maximum(right[1]) + torch.randint(1, 9, (6, 4), generator=generator)
    other = torch.randint(0, 9, (2, 6, 4), generator=generator)
    first, second = (torch.stack([r, truth, r + o], 1) for r, o in zip(right, other, strict=True))
    first[:, :, 3] = second[:, :, 3] = 0  # a class that is absent everywhere
    chosen = torch.randint(6, (5, 6), generator=generator)
    found = answer(first, second, chosen)
    expect(found is not None, NOTHING)
    found = torch.as_tensor(found)
    expected = differences(first, second, chosen)
    if found.shape == expected.shape:
        expect(
            not torch.allclose(found.double(), -expected),
            "the sign is wrong: second minus first ｜ 符号反了：应是 second 减 first",
        )
        expect(
            not found.isnan().any(),
            "a class that is absent from a draw must be skipped ｜ 抽样中缺席的类别应当跳过",
        )
        expect(
            not torch.allclose(found.double(), _per_image(first, second, chosen)),
            "that is a mean over images: add up the counts of a draw first ｜ "
            "那是按图像的平均：应先把一次抽样的计数相加",
        )
    expect_tensor(found, expected)
