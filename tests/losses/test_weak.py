"""Losses for pixels without a label, by hand and by brute force."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from segedu.data.weak import annotate
from segedu.losses import BoxTightnessLoss, CrossEntropyLoss, NeighborLoss, SizeConstraintLoss

SURE = 200.0


def logits_of(*maps):
    """Logits (1, C, H, W) that are sure of a map of classes (H, W)."""
    labels = torch.stack([torch.as_tensor(m) for m in maps])
    return SURE * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).double()


def random_logits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def colours(logits):
    """Images (N, 3, H, W) of the size of logits, or of the first of several."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    return random_logits(len(logits), 3, *logits.shape[2:], seed=1)


HALVES = [[0, 0, 1, 1], [0, 0, 1, 1]]
LOWER, UPPER = torch.tensor([0.0, 0.1, 0.0]).double(), torch.tensor([1.0, 0.3, 0.0]).double()
BOX = [torch.tensor([[2.0, 0.0, 4.0, 2.0]])]
NAME = [torch.tensor([1])]
LOSSES = {
    "size": lambda z: SizeConstraintLoss()(z, LOWER, UPPER),
    "box": lambda z: BoxTightnessLoss()(z, BOX * len(z), NAME * len(z)),
    "neighbor": lambda z: NeighborLoss(2)(z, colours(z)),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def test_partial_cross_entropy_is_cross_entropy_on_a_mask_with_gaps():
    logits = random_logits(1, 3, 2, 3)
    scribble = torch.tensor([[[0, 255, 255], [255, 2, 255]]])
    log_p = logits.log_softmax(1)
    partial = -(log_p[0, 0, 0, 0] + log_p[0, 2, 1, 1]) / 2
    torch.testing.assert_close(CrossEntropyLoss()(logits, scribble), partial)


def test_the_size_penalty_by_hand():
    """Half of the pixels are class 1, which may have at most 0.3: 0.2² among three classes."""
    loss = SizeConstraintLoss("none")(logits_of(HALVES), LOWER, UPPER)
    torch.testing.assert_close(loss, torch.tensor([[0.0, 0.04, 0.0]]).double())
    assert SizeConstraintLoss()(logits_of(HALVES), LOWER, UPPER).item() == pytest.approx(0.04 / 3)
    assert SizeConstraintLoss("sum")(logits_of(HALVES), LOWER, UPPER).item() == pytest.approx(0.04)
    at_least = torch.tensor([0.0, 0.0, 0.2]).double()  # class 2 is there, says a tag
    loss = SizeConstraintLoss("none")(logits_of(HALVES), at_least, torch.ones(3).double())
    torch.testing.assert_close(loss, torch.tensor([[0.0, 0.0, 0.04]]).double())


def test_sizes_inside_of_the_bounds_cost_nothing_and_pull_nowhere():
    logits = random_logits(2, 3, 4, 4).requires_grad_()
    share = logits.softmax(1).mean((2, 3)).detach()
    loss = SizeConstraintLoss()(logits, share - 0.01, share + 0.01)
    loss.backward()
    assert loss == 0 and (logits.grad == 0).all()


def test_the_size_counts_valid_pixels_alone():
    """Of the left three columns a third is class 1; what stands beside them is void."""
    valid = torch.tensor([[[True, True, True, False]] * 2])
    loss = SizeConstraintLoss("none")(logits_of(HALVES), LOWER, UPPER, valid)
    assert loss[0, 1].item() == pytest.approx((1 / 3 - 0.3) ** 2)
    nothing = SizeConstraintLoss("none")(logits_of(HALVES), LOWER, UPPER, valid & False)
    assert (nothing == 0).all()


CROSS = [[0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0]]
TIGHT = torch.tensor([[0.0, 0.0, 3.0, 3.0]])


def test_an_object_that_touches_all_sides_of_its_box_costs_nothing():
    loss = BoxTightnessLoss()
    assert loss(logits_of(CROSS), [TIGHT], NAME).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_boxes_of_an_annotator_ask_nothing_of_a_mask_that_is_right(seed):
    """Whatever the regions look like; of a mask of one class they ask for the others."""
    mask = torch.randint(0, 3, (9, 8), generator=torch.Generator().manual_seed(seed))
    said = annotate(mask, "boxes", 3)
    boxes, labels, loss = [said.boxes], [said.labels], BoxTightnessLoss()
    right = loss(logits_of(mask), boxes, labels, classes=[0, 1, 2])
    assert right.item() == pytest.approx(0, abs=1e-12)
    assert loss(logits_of(0 * mask), boxes, labels, classes=[0, 1, 2]) > 0.1


def test_the_tightness_of_a_box_that_is_too_large_by_hand():
    """A box of 3 x 4 around the cross: of its seven rows and columns one holds nothing."""
    loss = BoxTightnessLoss(emptiness=0.5)
    value = loss(logits_of(CROSS), [torch.tensor([[0.0, 0.0, 4.0, 3.0]])], NAME)
    assert loss.parts["tightness"].item() == pytest.approx(1 / 7)
    assert loss.parts["emptiness"].item() == pytest.approx(0)
    assert value.item() == pytest.approx(1 / 7)


def test_bands_of_two_lines_want_two_pixels_and_the_rest_one():
    """Rows of the cross hold 1, 3, 1: bands of 4 and 1 pixels, as the columns; nothing lacks."""
    assert BoxTightnessLoss(2)(logits_of(CROSS), [TIGHT], NAME).item() == pytest.approx(0)
    dot = [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]  # one of two, none of one: twice
    loss = BoxTightnessLoss(2)(logits_of(dot), [TIGHT], NAME)
    assert loss.item() == pytest.approx((1 / 2 + 1) / 2)


def test_a_class_outside_of_its_boxes_by_hand():
    """Class 1 fills 2 of the 10 pixels outside of a box around its others; class 2 has no box."""
    spilt = [[1, 0, 0, 2], [1, 0, 1, 0], [0, 0, 1, 0]]
    box = [torch.tensor([[2.0, 1.0, 3.0, 3.0]])]
    loss = BoxTightnessLoss()
    value = loss(logits_of(spilt), box, NAME)
    assert loss.parts["tightness"].item() == pytest.approx(0)
    assert value.item() == pytest.approx((2 / 10 + 1 / 12) / 2)
    assert loss(logits_of(spilt), box, NAME, classes=[1]).item() == pytest.approx(2 / 10)
    nowhere = [torch.zeros(0, 4)], [torch.zeros(0).long()]
    assert loss(logits_of(spilt), *nowhere, classes=[1]).item() == pytest.approx(4 / 12)


def neighbors_by_force(logits, images, valid, radius, sigma_xy, sigma_rgb):
    total, (n, _, height, width) = 0.0, logits.shape
    p = logits.softmax(1)
    places = [(y, x) for y in range(height) for x in range(width)]
    for image in range(n):
        for i in places:
            for j in places:
                near = max(abs(i[0] - j[0]), abs(i[1] - j[1])) <= radius
                if i == j or not near or not (valid[image][i] and valid[image][j]):
                    continue
                far = (i[0] - j[0]) ** 2 + (i[1] - j[1]) ** 2
                a, b = (images[image, :, y, x] for y, x in (i, j))
                unlike = (a - b).square().sum().item()
                kernel = math.exp(-far / 2 / sigma_xy**2 - unlike / 2 / sigma_rgb**2)
                one, other = (p[image, :, y, x] for y, x in (i, j))
                total += kernel * (1 - (one * other).sum().item())
    return total / valid.sum().item()


@pytest.mark.parametrize("radius", [1, 2, 9])
def test_neighbors_equal_the_sum_over_all_pairs(radius):
    logits, images = random_logits(2, 3, 4, 5), random_logits(2, 3, 4, 5, seed=1)
    valid = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(2)) > 0.2
    assert not valid.all()
    loss = NeighborLoss(radius, 3.0, 0.7)(logits, images, valid)
    expected = neighbors_by_force(logits, images, valid, radius, 3.0, 0.7)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_neighbors_want_a_boundary_where_the_colour_changes():
    """Two pixels beside each other, one boundary: 2 exp(-1/72 - 1/2) / 2 of unlike colours."""
    labels = logits_of([[0, 1]])
    colours = torch.tensor([[[[0.0, 0.1]]]]).double()
    loss = NeighborLoss(1)(labels, colours)
    assert loss.item() == pytest.approx(math.exp(-1 / 72 - 1 / 2))
    assert NeighborLoss(1)(labels, 0 * colours).item() == pytest.approx(math.exp(-1 / 72))
    assert NeighborLoss(1)(labels, 10 * colours).item() < 1e-20
    assert NeighborLoss(1)(logits_of([[1, 1]]), 0 * colours).item() == pytest.approx(0)


def test_void_pixels_have_no_part_in_size_and_neighbors_whatever_they_hold():
    logits, images = random_logits(1, 3, 3, 3), random_logits(1, 3, 3, 3, seed=1)
    valid = torch.ones(1, 3, 3, dtype=torch.bool)
    valid[0, 0, :2] = False
    broken, dark = logits.clone(), images.clone()
    broken[0, :, 0, 0], broken[0, 1, 0, 1], dark[0, :, 0, 0] = math.nan, math.inf, math.nan
    for loss in (
        lambda z, i: SizeConstraintLoss()(z, LOWER, UPPER, valid),
        lambda z, i: NeighborLoss(2)(z, i, valid),
    ):
        one, other = logits.clone().requires_grad_(), broken.requires_grad_()
        value, again = loss(one, images), loss(other, dark)
        grad, regrad = (torch.autograd.grad(v, z)[0] for v, z in ((value, one), (again, other)))
        torch.testing.assert_close(again, value)
        torch.testing.assert_close(regrad, grad)
        assert (grad[0, :, 0, :2] == 0).all() and grad.abs().sum() > 0


@every_loss
def test_gradient(name):
    assert gradcheck(LOSSES[name], random_logits(2, 3, 3, 4).requires_grad_())


@every_loss
def test_half_precision_is_computed_in_float32(name):
    half = random_logits(2, 3, 8, 9).bfloat16()
    value, expected = LOSSES[name](half), LOSSES[name](half.float())
    assert value.isfinite() and value.dtype == expected.dtype != torch.bfloat16
    assert torch.equal(value, expected)


@every_loss
def test_a_logit_that_is_no_number_is_not_hidden(name):
    logits = random_logits(2, 3, 3, 4)
    logits[1, 1, 2, 3] = math.nan
    assert LOSSES[name](logits).isnan()


@every_loss
def test_saturated_logits_stay_finite(name):
    logits = (1e4 * random_logits(2, 3, 3, 4).sign()).requires_grad_()
    value = LOSSES[name](logits)
    value.backward()
    assert value.isfinite() and logits.grad.isfinite().all()


@every_loss
def test_what_is_no_logits_is_named(name):
    logits = random_logits(1, 3, 2, 4)
    with pytest.raises(TypeError, match="a tuple of 2 outputs"):
        LOSSES[name]((logits, logits))
    with pytest.raises(TypeError, match="floating point, got torch.int64"):
        LOSSES[name](logits.long())
    with pytest.raises(ValueError, match="at least one pixel"):
        LOSSES[name](logits[:, :, :0])


def test_bad_settings_and_arguments_are_named():
    logits = random_logits(1, 3, 2, 4)
    size, box, neighbor = SizeConstraintLoss(), BoxTightnessLoss(), NeighborLoss()
    with pytest.raises(ValueError, match=r"lower must be \(1, 3\) or \(3,\).*got \(4,\)"):
        size(logits, torch.zeros(4), UPPER)
    for lower, upper in ((0.5, 0.2), (-0.1, 0.2), (0.5, 8.0), (math.nan, 1.0)):
        with pytest.raises(ValueError, match="bounds must be shares with 0 <= lower <= upper <= 1"):
            size(logits, torch.full((3,), lower), torch.full((3,), upper))
    with pytest.raises(TypeError, match="valid must be bool.*mask != ignore_index"):
        size(logits, LOWER, UPPER, torch.ones(1, 2, 4))
    with pytest.raises(ValueError, match=r"valid must be \(1, 2, 4\), got \(1, 4, 2\)"):
        neighbor(logits, logits, torch.ones(1, 4, 2).bool())
    with pytest.raises(ValueError, match=r"images \(N, K, H, W\).*and \(1, 3, 2, 3\)"):
        neighbor(logits, logits[..., :3])
    with pytest.raises(ValueError, match="one tensor for each of N images, got .* 0 and 1"):
        box(logits, [], NAME)
    with pytest.raises(ValueError, match=r"boxes must be \(..., 4\), got \(1, 3\)"):
        box(logits, [BOX[0][:, :3]], NAME)
    with pytest.raises(ValueError, match="need one label each"):
        box(logits, BOX, [torch.tensor([1, 1])])
    with pytest.raises(ValueError, match=r"labels must be 0..2, got \[3\]"):
        box(logits, BOX, [torch.tensor([3])])
    with pytest.raises(TypeError, match="labels must be integer, got torch.float32"):
        box(logits, BOX, [torch.ones(1)])
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=rf"classes must be some of 0..2, got \[1, {wrong}\]"):
            box(logits, BOX, NAME, classes=[1, wrong])
    for corners in ([2.0, 0.0, 2.0, 2.0], [2.0, 0.0, 5.0, 2.0], [-1.0, 0.0, 2.0, 2.0]):
        with pytest.raises(ValueError, match="inside of 4 x 2 pixels and not empty"):
            box(logits, [torch.tensor([corners])], NAME)
    with pytest.raises(ValueError, match="reduction must be one of"):
        SizeConstraintLoss("median")
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        BoxTightnessLoss(0)
    with pytest.raises(ValueError, match="emptiness must be >= 0"):
        BoxTightnessLoss(emptiness=math.nan)
    with pytest.raises(ValueError, match="radius must be at least 1, got 0"):
        NeighborLoss(0)
    with pytest.raises(ValueError, match="sigma_rgb must be > 0 and finite, got nan"):
        NeighborLoss(sigma_rgb=math.nan)


@pytest.mark.gpu
def test_cuda_equals_cpu():
    logits, images = random_logits(2, 3, 6, 7), random_logits(2, 3, 6, 7, seed=1)
    for loss, others in (
        (SizeConstraintLoss(), (LOWER, UPPER)),
        (NeighborLoss(2), (images,)),
        (BoxTightnessLoss(), (BOX * 2, NAME * 2)),
    ):
        moved = [x.cuda() if isinstance(x, torch.Tensor) else [y.cuda() for y in x] for x in others]
        torch.testing.assert_close(loss(logits.cuda(), *moved).cpu(), loss(logits, *others))
