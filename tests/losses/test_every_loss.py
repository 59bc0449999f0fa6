"""What every loss promises, whatever its formula."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

import segedu.losses as losses

MULTICLASS = {
    "CrossEntropyLoss": losses.CrossEntropyLoss(),
    "CrossEntropyLoss(weight)": losses.CrossEntropyLoss([1.0, 0.5, 2.0]),
    "CrossEntropyLoss(label_smoothing)": losses.CrossEntropyLoss(label_smoothing=0.1),
    "OHEMLoss(threshold)": losses.OHEMLoss("threshold", min_kept=5),
    "OHEMLoss(quantile)": losses.OHEMLoss("quantile"),
    "OHEMLoss(top_k)": losses.OHEMLoss("top_k"),
    "FocalLoss": losses.FocalLoss(),
    "FocalLoss(gamma<1)": losses.FocalLoss(0.5, [1.0, 0.5, 2.0], "weights"),
    "FocalLoss(positives)": losses.FocalLoss(normalizer="positives"),
    "SigmoidFocalLoss": losses.SigmoidFocalLoss(),
    "SigmoidFocalLoss(positives)": losses.SigmoidFocalLoss(1.5, None, "positives"),
    "AdaptiveFocalLoss": losses.AdaptiveFocalLoss(),
    "DiceLoss": losses.DiceLoss(),
    "DiceLoss(squared)": losses.DiceLoss(squared=True, per_image=True, absent="count"),
    "JaccardLoss": losses.JaccardLoss(smooth=1.0),
    "GeneralizedDiceLoss": losses.GeneralizedDiceLoss(),
    "GeneralizedDiceLoss(per_image)": losses.GeneralizedDiceLoss(per_image=True),
    "TverskyLoss": losses.TverskyLoss(absent="count"),
    "FocalTverskyLoss": losses.FocalTverskyLoss(),
    "LovaszSoftmaxLoss": losses.LovaszSoftmaxLoss(),
    "LovaszSoftmaxLoss(all)": losses.LovaszSoftmaxLoss("all", per_image=True),
    "BoundaryLoss": losses.BoundaryLoss(),
    "HausdorffDTLoss": losses.HausdorffDTLoss(),
    "CombinedLoss": losses.CombinedLoss(
        {
            "ce": (losses.CrossEntropyLoss([1.0, 2.0, 0.5]), 1.0),
            "dice": (losses.DiceLoss(squared=True), 0.5),
            "focal": (losses.FocalLoss(), 2.0),
        }
    ),
}
BINARY = {
    "BinaryCrossEntropyLoss": losses.BinaryCrossEntropyLoss([1.0, 3.0]),
    "BinaryFocalLoss": losses.BinaryFocalLoss(),
    "BinaryDiceLoss": losses.BinaryDiceLoss(),
    "BinaryJaccardLoss": losses.BinaryJaccardLoss(squared=True),
    "BinaryTverskyLoss": losses.BinaryTverskyLoss(per_image=True),
    "BinaryFocalTverskyLoss": losses.BinaryFocalTverskyLoss(),
    "LovaszHingeLoss": losses.LovaszHingeLoss(),
    "LovaszHingeLoss(batch)": losses.LovaszHingeLoss(per_image=False),
}
EVERY = {**MULTICLASS, **BINARY}
every_loss = pytest.mark.parametrize("name", EVERY)


def batch(name, shape=(2, 5, 6), dtype=torch.float64, ignored=4, seed=0):
    """Logits and a target that fit the loss, the first pixels ignored."""
    classes = 1 if name in BINARY else 3
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape[0], classes, *shape[1:], generator=g, dtype=torch.float64)
    target = torch.randint(0, max(classes, 2), shape, generator=g)
    target.view(-1)[:ignored] = 255
    return logits.to(dtype), target


@pytest.fixture(autouse=True)
def forget_running_means():
    EVERY["AdaptiveFocalLoss"].mean_probability.fill_(float("nan"))


def test_all_public_names_are_here():
    tested = {name.partition("(")[0] for name in EVERY}
    public = {name for name in losses.__all__ if name.endswith("Loss")}
    others = {"AuxiliaryLoss", "DiscriminativeLoss"}  # other inputs
    others |= {"BoxTightnessLoss", "NeighborLoss", "SizeConstraintLoss"}  # see test_weak.py
    assert public - tested == others


@every_loss
def test_several_outputs_name_the_loss_for_them(name):
    logits, target = batch(name)
    with pytest.raises(TypeError, match=r"a tuple of 2 outputs.*AuxiliaryLoss\(loss, weights\)"):
        EVERY[name]((logits, logits), target)


@every_loss
def test_gradient(name):
    loss = EVERY[name].eval()
    logits, target = batch(name, (2, 3, 4), ignored=2)
    assert gradcheck(loss, (logits.requires_grad_(), target))


@every_loss
def test_all_ignored_batch_costs_nothing_and_moves_nothing(name):
    logits, target = batch(name)
    logits.requires_grad_()
    loss = EVERY[name].train()(logits, torch.full_like(target, 255))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def assert_the_same_for(logits, other, loss, target):
    """Value and gradient of a loss do not depend on which of two predictions it is given."""
    for x in (logits, other):
        x.requires_grad_()
    a, b = loss(logits, target), loss(other, target)
    a.backward()
    b.backward()
    torch.testing.assert_close(b, a)
    torch.testing.assert_close(other.grad, logits.grad)


@every_loss
def test_what_is_predicted_at_ignored_pixels_does_not_matter(name):
    loss = EVERY[name].eval()
    logits, target = batch(name)
    other = torch.where((target == 255)[:, None], 7 * torch.randn_like(logits), logits)
    assert_the_same_for(logits, other, loss, target)
    ignored = (target == 255)[:, None].expand_as(logits)
    assert (logits.grad[ignored] == 0).all()


@every_loss
@pytest.mark.parametrize("channel", [0, slice(None)])
def test_what_is_no_number_at_an_ignored_pixel_does_not_matter_either(name, channel):
    loss = EVERY[name].eval()
    logits, target = batch(name)
    broken = logits.clone()
    values = torch.tensor([-math.inf, math.inf, 1e30, math.nan])
    broken.flatten(2)[0, channel, :4] = values  # a view: the four ignored pixels
    assert_the_same_for(logits, broken, loss, target)


@every_loss
@pytest.mark.parametrize("ignore_index", [-100, -1, 11])
def test_any_ignore_index(name, ignore_index):
    if name == "CombinedLoss":
        pytest.skip("it has no ignore_index of its own")
    logits, target = batch(name)
    loss = EVERY[name].eval()
    expected = loss(logits, target)
    owner = getattr(loss, "softmax_loss", loss)  # BinaryFocalLoss delegates
    owner.ignore_index = ignore_index
    try:
        got = loss(logits, target.where(target != 255, ignore_index))
    finally:
        owner.ignore_index = 255
    torch.testing.assert_close(got, expected)


@every_loss
def test_volumes_go_the_same_way_as_images(name):
    if name in ("BoundaryLoss", "HausdorffDTLoss"):
        pytest.skip("distances in a volume are not those in an image; see test_boundary.py")
    loss = EVERY[name].eval()
    logits, target = batch(name, (2, 4, 6))
    flat = loss(logits, target)
    volume = loss(logits.unflatten(2, (2, 2)), target.unflatten(1, (2, 2)))
    torch.testing.assert_close(flat, volume)


@every_loss
def test_half_precision_under_autocast_is_computed_in_float32(name):
    loss = EVERY[name].eval()
    logits, target = batch(name, (2, 40, 40), torch.float32)
    half = logits.bfloat16()
    expected = loss(half.float(), target)
    half.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss(half, target)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected)
    got.backward()
    assert half.grad.dtype == torch.bfloat16
    assert half.grad.isfinite().all()


@every_loss
def test_channels_last_logits(name):
    loss = EVERY[name].eval()
    logits, target = batch(name)
    strided = logits.contiguous(memory_format=torch.channels_last)
    assert_the_same_for(logits, strided, loss, target)


@every_loss
def test_saturated_logits_stay_finite(name):
    loss = EVERY[name].eval()
    logits, target = batch(name, dtype=torch.float32)
    logits = (logits.sign() * 1e4).requires_grad_()
    value = loss(logits, target)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@every_loss
@pytest.mark.parametrize("place", [7, -1])
def test_a_logit_that_is_no_number_is_not_hidden(name, place):
    """The loss is NaN, which ``fit`` reports; a finite one would let a broken network train on."""
    loss = EVERY[name].train()
    logits, target = batch(name)
    logits.view(-1)[place] = float("nan")
    assert loss(logits, target).isnan()


@every_loss
def test_backward_twice_gives_the_same_gradient(name):
    logits, target = batch(name)
    value = EVERY[name].eval()(logits.requires_grad_(), target)
    (first,) = torch.autograd.grad(value, logits, retain_graph=True)
    (second,) = torch.autograd.grad(value, logits)
    assert torch.equal(first, second)


@every_loss
def test_descent_finds_the_target(name):
    """At most a hundred steps on the logits themselves raise the share of right pixels to all."""
    torch.manual_seed(0)
    loss = EVERY[name].train()
    logits, target = batch(name, (1, 6, 6), torch.float32, ignored=0)
    logits.requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(100):
        optimizer.zero_grad()
        loss(logits, target).backward()
        optimizer.step()
        pred = (logits[:, 0] > 0).long() if name in BINARY else logits.argmax(1)
        if torch.equal(pred, target):
            break
    if name == "BoundaryLoss":  # alone it only pulls towards the region, as its paper says
        assert (pred == target).float().mean() > 0.5
    else:
        assert torch.equal(pred, target)


@every_loss
def test_wrong_input_is_named(name):
    loss = EVERY[name].eval()
    logits, target = batch(name)
    with pytest.raises(ValueError, match="no class: 9; allowed are"):
        loss(logits, torch.full_like(target, 9))
    with pytest.raises(ValueError, match=r"got logits \(2, . ?.*and target \(1, 5, 6\)"):
        loss(logits, target[:1])
    with pytest.raises(ValueError, match=r"at least one pixel, got \(0, "):
        loss(logits[:0], target[:0])
    with pytest.raises(TypeError, match="logits must be floating point"):
        loss(logits.long(), target)
    with pytest.raises(TypeError, match="target must hold integer"):
        loss(logits, target.float())


NAN, INFINITY = float("nan"), float("inf")
BAD_SETTINGS = [
    *((losses.FocalLoss, {"gamma": bad}) for bad in (NAN, INFINITY, -1.0)),
    (losses.SigmoidFocalLoss, {"gamma": NAN}),
    (losses.SigmoidFocalLoss, {"alpha": NAN}),
    (losses.BinaryFocalLoss, {"gamma": INFINITY}),
    (losses.AdaptiveFocalLoss, {"max_gamma": NAN}),
    (losses.AdaptiveFocalLoss, {"momentum": NAN}),
    (losses.DiceLoss, {"smooth": NAN}),
    (losses.DiceLoss, {"smooth": INFINITY}),
    (losses.GeneralizedDiceLoss, {"smooth": NAN}),
    (losses.TverskyLoss, {"beta": INFINITY}),
    (losses.FocalTverskyLoss, {"gamma": INFINITY}),
    (losses.HausdorffDTLoss, {"alpha": INFINITY}),
    (losses.CrossEntropyLoss, {"label_smoothing": NAN}),
    (losses.CrossEntropyLoss, {"weight": [1.0, NAN]}),
    (losses.OHEMLoss, {"threshold": NAN}),
    *((losses.DiscriminativeLoss, {key: NAN}) for key in ("delta_var", "delta_dist", "alpha")),
    (losses.CombinedLoss, {"parts": {"dice": (losses.DiceLoss(), NAN)}}),
    (losses.AuxiliaryLoss, {"loss": losses.DiceLoss(), "weights": (1.0, NAN)}),
    (losses.class_weights, {"pixel_counts": [1.0, NAN]}),
    (losses.class_weights, {"pixel_counts": [1.0, INFINITY]}),
    (losses.class_weights, {"pixel_counts": [1.0, 2.0], "image_pixels": [3.0, NAN]}),
]


@pytest.mark.parametrize(("make", "setting"), BAD_SETTINGS)
def test_settings_that_are_no_numbers_are_refused(make, setting):
    with pytest.raises(ValueError, match=r"got .*(nan|inf|-1\.0)"):
        make(**setting)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), name=st.sampled_from(sorted(EVERY)), size=st.integers(1, 5))
def test_pixels_and_images_have_no_order(seed, name, size):
    loss = EVERY[name].eval()
    g = torch.Generator().manual_seed(seed)
    logits, target = batch(name, (2, size, 3), ignored=2, seed=seed)
    expected = loss(logits, target)
    swapped = loss(logits.flip(0), target.flip(0))
    torch.testing.assert_close(swapped, expected)
    if name in ("BoundaryLoss", "HausdorffDTLoss"):  # these do look at where a pixel is
        mirrored = loss(logits.flip(2), target.flip(1))
    else:
        order = torch.randperm(3 * size, generator=g)
        mirrored = loss(
            logits.flatten(2)[..., order].view_as(logits),
            target.flatten(1)[:, order].view_as(target),
        )
    torch.testing.assert_close(mirrored, expected)


UNWEIGHTED = [
    name
    for name in MULTICLASS
    if "weight" not in name and "gamma<1" not in name and name != "CombinedLoss"
    if "positives" not in name and not name.startswith(("Boundary", "Hausdorff"))  # 0 is special
]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), name=st.sampled_from(UNWEIGHTED))
def test_classes_have_no_order(seed, name):
    loss = MULTICLASS[name].eval()
    logits, target = batch(name, seed=seed)
    order = torch.randperm(3, generator=torch.Generator().manual_seed(seed))
    renamed = torch.where(target == 255, 255, order.argsort()[target.where(target != 255, 0)])
    torch.testing.assert_close(loss(logits[:, order], renamed), loss(logits, target))


@pytest.mark.gpu
@every_loss
def test_cuda_equals_cpu_and_waits_for_nothing(name):
    loss = EVERY[name].eval()
    logits, target = batch(name)
    a, b = logits.clone().requires_grad_(), logits.cuda().requires_grad_()
    expected = loss(a, target)
    expected.backward()
    on_gpu, target = loss.cuda(), target.cuda()
    needs_host = name in ("BoundaryLoss", "HausdorffDTLoss")  # asks whether there is a boundary
    try:
        torch.cuda.set_sync_debug_mode("default" if needs_host else "error")
        value = on_gpu(b, target)
        value.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
        loss.cpu()
    torch.testing.assert_close(value.cpu(), expected)
    torch.testing.assert_close(b.grad.cpu(), a.grad)


@pytest.mark.gpu
def test_label_check_on_cuda_is_a_switch():
    logits = torch.zeros(1, 3, 2, 2, device="cuda")
    with losses.check_labels(), pytest.raises(ValueError, match="no class: 9"):
        losses.DiceLoss()(logits, torch.full((1, 2, 2), 9, device="cuda"))


WITHOUT_CLASS_0 = {
    "CrossEntropyLoss": (losses.CrossEntropyLoss([0.0, 1.0]), losses.CrossEntropyLoss()),
    "OHEMLoss": (
        losses.OHEMLoss("quantile", min_fraction=1.0, weight=[0.0, 1.0]),
        losses.OHEMLoss("quantile", min_fraction=1.0),
    ),
    "FocalLoss": (
        losses.FocalLoss(alpha=[0.0, 1.0], normalizer="weights"),
        losses.FocalLoss(),
    ),
    "CombinedLoss": tuple(
        losses.CombinedLoss(
            {"ce": (losses.CrossEntropyLoss(w), 1.0), "dice": (losses.DiceLoss(), 1.0)}
        )
        for w in ([0.0, 1.0], None)
    ),
}


@pytest.mark.parametrize("name", WITHOUT_CLASS_0)
def test_a_weight_of_0_takes_an_infinite_loss_away(name):
    """Zero times infinity is not a number, and would end the training."""
    loss, plain = WITHOUT_CLASS_0[name]
    logits = torch.tensor([[[-math.inf, 0.5], [0.0, 0.25]]], dtype=torch.float64)  # (1, 2, 2)
    logits.requires_grad_()
    value = loss(logits, torch.tensor([[0, 1]]))
    value.backward()
    assert value.isfinite() and logits.grad[..., 1].isfinite().all()
    if name != "CombinedLoss":  # whose other part counts the first pixel
        assert value.item() == pytest.approx(plain(logits[..., 1:], torch.tensor([[1]])).item())


def test_binary_weights_of_0_take_an_infinite_loss_away():
    """Not of the binary cross entropy: PyTorch's own is NaN for every infinite logit."""
    logits, target = torch.tensor([[-math.inf, 0.5]], dtype=torch.float64), torch.tensor([[1, 0]])
    loss = losses.BinaryFocalLoss(alpha=0.0, normalizer="weights")
    assert loss(logits, target) == pytest.approx(loss(logits[:, 1:], target[:, 1:]).item())
    # The network sees nothing of class 1 in the first pixel, but positive terms weigh nothing.
    several = torch.tensor([[[0.0, 0.0], [-math.inf, 0.5]]], dtype=torch.float64)
    assert losses.SigmoidFocalLoss(alpha=0.0)(several, target).isfinite()
