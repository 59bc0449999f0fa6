"""Each hand-written backward pass against its plain form: value and gradient, in float64."""

import pytest
import torch

from segedu.losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalTverskyLoss,
    GeneralizedDiceLoss,
    JaccardLoss,
    TverskyLoss,
    fused,
)

# name -> (fused, plain), functions of (logits, target) that give tensors
PAIRS = {
    "log_prob": (fused.log_prob, fused.plain_log_prob),
    "class_sums": (
        lambda z, t: fused.class_sums(z, t, tables=("prob", "hit", "square", "nll")),
        fused.plain_class_sums,
    ),
    "focal": (
        lambda z, t: fused.focal(fused.plain_log_prob(z, t), 1.5),
        lambda z, t: fused.plain_focal(fused.plain_log_prob(z, t), 1.5),
    ),
    "sigmoid_focal": (
        lambda z, t: fused.sigmoid_focal(z, t, gamma=1.5, weights=(0.75, 0.25)),
        lambda z, t: fused.plain_sigmoid_focal(z, t, gamma=1.5, weights=(0.75, 0.25)),
    ),
    "lovasz": (fused.lovasz, fused.plain_lovasz),
    "lovasz(per_image)": (
        lambda z, t: fused.lovasz(z, t, per_image=True),
        lambda z, t: fused.plain_lovasz(z, t, per_image=True),
    ),
}


def targets(classes):
    """Name -> target (3, 4, 5)."""
    g = torch.Generator().manual_seed(classes)
    mixed = torch.randint(0, classes, (3, 4, 5), generator=g)
    some = torch.where(torch.rand(mixed.shape, generator=g) < 0.3, 255, mixed)
    one_image = mixed.clone()
    one_image[1] = 255
    return {
        "all labelled": mixed,
        "some ignored": some,
        "one image ignored": one_image,
        "ignored everywhere": torch.full_like(mixed, 255),
        "one class only": torch.zeros_like(mixed),
    }


def value_and_gradient(function, logits, target):
    """All that the function gives, and the gradient of a weighted sum of it."""
    logits = logits.clone().requires_grad_()
    outputs = function(logits, target)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    g = torch.Generator().manual_seed(7)
    weighted = [
        (x * torch.rand(x.shape, generator=g, dtype=x.dtype)).sum() if x.requires_grad else 0
        for x in outputs
    ]
    (gradient,) = torch.autograd.grad(sum(weighted), logits)
    return [x.detach().double() for x in outputs], gradient


@pytest.mark.parametrize("kind", targets(3))
@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("name", PAIRS)
def test_fused_equals_plain(name, classes, kind):
    """Other weights for every output: none of them can hide behind another."""
    g = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(3, classes, 4, 5, generator=g, dtype=torch.float64)
    target = targets(classes)[kind]
    (got, slope), (expected, plain_slope) = (
        value_and_gradient(function, logits, target) for function in PAIRS[name]
    )
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(slope, plain_slope, rtol=1e-10, atol=1e-12)
    if kind == "ignored everywhere":
        assert not any(x.any() for x in got)
        assert not slope.any()


WEIGHT = [0.5, 2.0, 1.0]
FORMULAS = {
    "cross entropy": CrossEntropyLoss(WEIGHT),
    "cross entropy, sum": CrossEntropyLoss(WEIGHT, reduction="sum"),
    "Dice": DiceLoss(weight=WEIGHT),
    "Dice, squared": DiceLoss(weight=WEIGHT, squared=True, per_image=True),
    "Jaccard": JaccardLoss(weight=WEIGHT, absent="count", smooth=1.0),
    "Tversky": TverskyLoss(weight=WEIGHT, include_background=False),
    "focal Tversky": FocalTverskyLoss(weight=WEIGHT),
    "generalised Dice": GeneralizedDiceLoss(),
}


@pytest.mark.parametrize("kind", targets(3))
@pytest.mark.parametrize("name", FORMULAS)
def test_losses_of_the_sums_equal_their_formula_of_the_plain_sums(name, kind):
    """With class weights, through the loss that people call."""
    loss = FORMULAS[name]
    logits = 3 * torch.randn(3, 3, 4, 5, generator=torch.manual_seed(1), dtype=torch.float64)
    target = targets(3)[kind]
    (got, slope), (expected, plain_slope) = (
        value_and_gradient(function, logits, target)
        for function in (loss, lambda z, t: loss.from_sums(fused.plain_class_sums(z, t)))
    )
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(slope, plain_slope, rtol=1e-10, atol=1e-12)


def test_every_plain_form_is_compared():
    plain = {name.removeprefix("plain_") for name in dir(fused) if name.startswith("plain_")}
    assert plain == {name.partition("(")[0] for name in PAIRS}
