"""Checks of the exercises of *Learning without labels*."""

import torch

from segedu.teaching.checking import (
    drawn,
    exercise,
    expect,
    expect_function,
    expect_number,
    expect_numbers,
)


@exercise(1, wrong=[49, 196, 197, 147, 148, 14])
def tokens(answer):
    """What the encoder of an MAE gets."""
    near = {
        49: "one more token stands for the whole image ｜ 还有一个词元代表整幅图像",
        148: "those are the hidden patches: the encoder gets the others ｜ "
        "那是遮住的块：编码器得到的是其余的块",
        147: "those are the hidden patches: the encoder gets the others ｜ "
        "那是遮住的块：编码器得到的是其余的块",
        197: "the encoder does not get the hidden patches ｜ 编码器得不到遮住的块",
        196: "the encoder does not get the hidden patches ｜ 编码器得不到遮住的块",
    }
    expect_number(answer, 50, near=near)


def hidden_loss(guess, truth, hidden):
    """Mean squared error of the hidden patches."""
    return (guess[hidden] - truth[hidden]).square().mean()


def _all(guess, truth, hidden):
    return (guess - truth).square().mean()


def _zeros(guess, truth, hidden):
    return ((guess - truth) * hidden[..., None]).square().mean()


def _visible(guess, truth, hidden):
    return hidden_loss(guess, truth, ~hidden)


@exercise(
    2,
    wrong=[
        _all,
        _zeros,
        _visible,
        lambda guess, truth, hidden: (guess[hidden] - truth[hidden]).abs().mean(),
        lambda guess, truth, hidden: (guess[hidden] - truth[hidden]).square().sum(),
        lambda guess, truth, hidden: None,
    ],
)
def loss_of_hidden(answer):
    """The loss of an MAE."""
    guess, truth = torch.rand(2, 3, 8, 12, generator=drawn(0))
    hidden = torch.rand(3, 8, generator=drawn(1)) < 0.6
    hidden[:, 0], hidden[:, 1] = True, False
    known = {
        _all: "the visible patches must not count ｜ 可见的块不应计入",
        _zeros: "the zeros of visible patches must not be averaged in ｜ "
        "不能把可见块的零也平均进去",
        _visible: "those are the visible patches ｜ 那是可见的块",
    }
    if callable(answer):
        found = answer(guess.clone(), truth.clone(), hidden.clone())
        for wrong, message in known.items():
            expect(not _same(found, wrong(guess, truth, hidden)), message)
    expect_function(answer, hidden_loss, [(guess, truth, hidden)])


def _same(found, wanted) -> bool:
    try:
        return abs(float(found) - float(wanted)) < 1e-6
    except (TypeError, ValueError, RuntimeError):
        return False


@exercise(3, wrong=[[1, 3], [9, 18.9], [10, 20], [2.9, 1], 2.9])
def center(answer):
    """Two steps of a moving average."""
    found = expect_numbers(answer, 2)
    known = {
        (9.0, 18.9): "0.9 belongs to the old centre, 0.1 to the batch ｜ "
        "0.9 属于旧中心，0.1 属于小批量",
        (1.0, 3.0): "the old centre is kept by 0.9 only ｜ 旧中心只保留 0.9",
    }
    for wrong, message in known.items():
        close = all(abs(x - y) < 1e-6 for x, y in zip(found, wrong, strict=True))
        expect(not close, message)
    for step, (value, right) in enumerate(zip(found, (1.0, 2.9), strict=True), 1):
        expect(
            abs(value - right) < 1e-6,
            f"after step {step} it is not {value:g} ｜ 第 {step} 步之后不是 {value:g}",
        )


def prototype(features, mask):
    """Mean feature vector of one class."""
    return features[:, mask].mean(1)


def _over_all(features, mask):
    return (features * mask).mean((1, 2))


def _sum(features, mask):
    return features[:, mask].sum(1)


@exercise(
    4,
    wrong=[
        _over_all,
        _sum,
        lambda features, mask: features[:, mask].mean(),
        lambda features, mask: features[:, ~mask].mean(1),
        lambda features, mask: features.mean((1, 2)),
        lambda features, mask: None,
    ],
)
def masked_average(answer):
    """Masked average pooling."""
    features = torch.rand(5, 6, 7, generator=drawn(0))
    mask = torch.rand(6, 7, generator=drawn(1)) < 0.3
    mask[0, 0], mask[1, 1] = True, False
    known = {
        _over_all: "divide by the number of marked pixels, not of all ｜ "
        "应除以标注的像素数，而不是全部像素数",
        _sum: "that is the sum: a mean is wanted ｜ 那是和，要的是平均",
    }
    if callable(answer):
        found = answer(features.clone(), mask.clone())
        for wrong, message in known.items():
            same = torch.is_tensor(found) and found.shape == (5,)
            expect(not (same and torch.allclose(found, wrong(features, mask))), message)
    expect_function(answer, prototype, [(features, mask)])


def collapsed(shares):
    """Whether all images get the same shares, to 0.01."""
    return bool((shares - shares.mean(0)).abs().max() <= 0.01)


def _entropy(shares):
    return bool(torch.special.entr(shares).sum(1).mean() < 0.1)


def _uniform(shares):
    return bool((shares - 1 / shares.shape[1]).abs().max() <= 0.01)


def _across(shares):
    return bool((shares - shares.mean(1, keepdim=True)).abs().max() <= 0.01)


@exercise(
    5,
    wrong=[
        _entropy,
        _uniform,
        _across,
        lambda shares: bool((shares - shares.mean(0)).max() > 0.01),
        lambda shares: True,
        lambda shares: None,
    ],
)
def find_collapse(answer):
    """Whether answers differ between images."""
    one = torch.tensor([[0.9, 0.1, 0.0]]).expand(4, 3)
    sure = torch.eye(3)
    even = torch.full((4, 5), 0.2)
    nearly = one + torch.tensor([[0.004, -0.004, 0.0]]) * torch.tensor([[1], [-1], [1], [-1]])
    some = torch.rand(6, 4, generator=drawn(0)).softmax(1)
    cases = {
        "sure answers that differ are no collapse ｜ 各不相同的确定回答不是坍缩": sure,
        "the same answer for all images is a collapse ｜ 所有图像同一个回答就是坍缩": one,
        "equal shares for all images are a collapse, too ｜ 所有图像的份额都均等也是坍缩": even,
        "differences of up to 0.01 still count as the same ｜ 不超过 0.01 的差别仍算相同": nearly,
        "not for these answers, which differ ｜ 这些回答各不相同，不是坍缩": some,
    }
    expect(callable(answer), "a function is wanted ｜ 需要一个函数")
    for message, shares in cases.items():
        found = answer(shares.clone())
        expect(found is not None, "it returns nothing ｜ 没有返回值")
        expect(bool(found) == collapsed(shares), message)
