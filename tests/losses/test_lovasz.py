from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segedu.losses import LovaszHingeLoss, LovaszSoftmaxLoss
from segedu.losses.fused import falling_keys, lovasz_slopes


def jaccard_loss(wrong, foreground):
    """1 − IoU when exactly the pixels ``wrong`` are predicted wrongly (0 when none is)."""
    union = foreground | wrong
    hit = foreground & ~wrong
    return 1 - hit.sum().item() / union.sum().item() if union.any() else 0.0


def extension_by_definition(errors, foreground):
    """Lovász extension: sum over the order of e_i times the growth of the set function."""
    order = errors.argsort(descending=True)
    wrong = torch.zeros_like(foreground)
    values = [0.0]
    for i in order:
        wrong[i] = True
        values.append(jaccard_loss(wrong, foreground))
    return sum(
        errors[i].item() * (b - a) for i, (a, b) in zip(order, pairwise(values), strict=True)
    )


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.floats(0, 3, width=32), st.booleans(), st.booleans()), min_size=1, max_size=9
    ),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_slopes_are_the_definition(pixels, dtype):
    errors = torch.tensor([e for e, _, _ in pixels], dtype=dtype)
    foreground = torch.tensor([f for _, f, _ in pixels])
    valid = torch.tensor([v for _, _, v in pixels])
    slopes = lovasz_slopes(errors, foreground & valid, valid)
    expected = extension_by_definition(errors[valid], foreground[valid])
    assert (slopes * errors).sum().item() == pytest.approx(expected, abs=1e-5)
    assert (slopes[~valid] == 0).all()
    assert (slopes >= 0).all()


def test_hard_predictions_cost_one_minus_iou():
    g = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, (1, 6, 7), generator=g)
    pred = torch.randint(0, 3, (1, 6, 7), generator=g)
    logits = 1e3 * torch.nn.functional.one_hot(pred, 3).movedim(-1, 1).float()
    each = LovaszSoftmaxLoss(reduction="none")(logits, target)
    for c in range(3):
        assert each[c].item() == pytest.approx(
            jaccard_loss((pred == c) != (target == c), target == c)
        )


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 2.0**100, width=32), min_size=1, max_size=20))
def test_keys_sort_as_the_floats_do(values):
    errors = torch.tensor(values)
    valid = torch.ones(len(values), dtype=torch.bool)
    order = torch.sort(falling_keys(errors, valid)).indices
    assert torch.equal(errors[order], errors.sort(descending=True).values)


def test_reductions_and_bad_arguments():
    logits = torch.randn(2, 3, 4, 5)
    target = torch.randint(0, 3, (2, 4, 5))
    each = LovaszSoftmaxLoss(per_image=True, reduction="none")(logits, target)
    assert each.shape == (2, 3)
    torch.testing.assert_close(
        LovaszSoftmaxLoss(per_image=True, reduction="sum")(logits, target), each.sum()
    )
    with pytest.raises(ValueError, match="classes must be"):
        LovaszSoftmaxLoss("some")
    with pytest.raises(ValueError, match=r"\(N, 1, ...\) or"):
        LovaszHingeLoss()(logits, target)
