import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from segedu.ops import effective_field, receptive_fields

layers = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


@settings(deadline=None, max_examples=60)
@given(st.lists(layers, min_size=1, max_size=4))
def test_receptive_field_equals_what_gradients_say(stack):
    """All-ones kernels: the inputs with a gradient are the receptive field, nothing else."""
    *_, field = receptive_fields(stack)
    assume(field.size + field.jump < 400)
    signal = torch.zeros(1, 1, field.size + field.jump, requires_grad=True)
    out = signal
    for kernel, stride, dilation in stack:
        out = F.conv1d(out, torch.ones(1, 1, kernel), stride=stride, dilation=dilation)
    ends = []
    for unit in (0, 1):
        (gradient,) = torch.autograd.grad(out[0, 0, unit], signal, retain_graph=True)
        reached = gradient[0, 0].nonzero()
        ends.append((reached.min().item(), reached.max().item()))
    (first, last), (following, _) = ends
    assert last - first + 1 == field.size
    assert following - first == field.jump
    assert (first + last) / 2 == field.start


def test_receptive_field_of_vgg16_as_published():
    """212 pixels after pool5 (Araujo et al. 2019, table 1), 404 after fc6 of FCN."""
    vgg16 = [layer for n in (2, 2, 3, 3, 3) for layer in [*[(3, 1, 1, 1)] * n, (2, 2)]]
    fields = receptive_fields([*vgg16, (7,)])
    assert (fields[-2].size, fields[-2].jump) == (212, 32)
    assert fields[-1].size == 404


def test_receptive_field_counts_padding_in_the_centre():
    assert receptive_fields([(3, 1, 1, 1)])[0].start == 0
    assert receptive_fields([(3, 1, 1, 0)])[0].start == 1


@pytest.mark.parametrize("layer", [(0,), (3, 0), (3, 1, 0), (3, 1, 1, -1)])
def test_receptive_field_refuses_impossible_layers(layer):
    with pytest.raises(ValueError, match="layer 0"):
        receptive_fields([layer])


def test_effective_field():
    point = torch.zeros(9, 9)
    point[4, 3] = -3
    assert effective_field(point) == (1, 4, 3)
    block = torch.zeros(3, 21, 21)
    block[:, 5:14, 5:14] = 1
    assert effective_field(block, 1.0) == (9, 9, 9)
    assert effective_field(block, 0.5).size == 7  # 49 of 81 pixels; 5 x 5 are less than half


def test_effective_field_refuses_what_has_no_centre():
    with pytest.raises(ValueError, match=r"not all 0, got \(4, 4\)"):
        effective_field(torch.zeros(4, 4))
    with pytest.raises(ValueError, match=r"\(H, W\).*got \(4,\)"):
        effective_field(torch.ones(4))
    with pytest.raises(ValueError, match="share"):
        effective_field(torch.ones(4, 4), share=0.0)
