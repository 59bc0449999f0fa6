"""Equality with other packages, wherever they compute the same function."""

from types import ModuleType

import pytest
import torch
from torch.nn import functional as F
from torchvision import ops

import segedu.losses as losses

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def monai() -> ModuleType:  # takes seconds to import: not where these tests do not run
    return pytest.importorskip("monai.losses")


@pytest.fixture(scope="module")
def smp() -> ModuleType:
    return pytest.importorskip("segmentation_models_pytorch.losses")


@pytest.fixture(scope="module")
def kornia() -> ModuleType:
    return pytest.importorskip("kornia.losses")


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(2, 4, 16, 20, generator=g, dtype=torch.float64)
    return logits, torch.randint(0, 4, (2, 16, 20), generator=g)


@pytest.fixture
def with_void(batch):
    logits, target = batch
    target[:, :3, 4:] = 255
    return logits, target


def same(ours, theirs, tolerance=1e-6):
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("per_image", [False, True])
def test_monai_region_losses(batch, per_image, monai):
    logits, target = batch
    settings = {"softmax": True, "to_onehot_y": True, "batch": not per_image}
    ours = {"per_image": per_image, "absent": "count"}
    pairs = [
        (losses.DiceLoss(smooth=1e-5, **ours), monai.DiceLoss(**settings)),
        # MONAI smooths the halved ratio of Jaccard; without smoothing the two are the same
        (
            losses.JaccardLoss(**ours),
            monai.DiceLoss(jaccard=True, smooth_nr=0, smooth_dr=0, **settings),
        ),
        (
            losses.DiceLoss(squared=True, smooth=1e-5, **ours),
            monai.DiceLoss(squared_pred=True, **settings),
        ),
        (
            losses.DiceLoss(include_background=False, smooth=1e-5, **ours),
            monai.DiceLoss(include_background=False, **settings),
        ),
        (
            losses.TverskyLoss(0.3, 0.7, smooth=1e-5, **ours),
            monai.TverskyLoss(alpha=0.3, beta=0.7, **settings),
        ),
        (
            losses.GeneralizedDiceLoss(per_image=per_image),
            monai.GeneralizedDiceLoss(smooth_nr=0, smooth_dr=0, **settings),
        ),
    ]
    for mine, theirs in pairs:
        same(mine(logits, target), theirs(logits, target[:, None]))


def test_monai_tversky_with_ignored_pixels(with_void, monai):
    logits, target = with_void
    theirs = monai.TverskyLoss(
        alpha=0.3, beta=0.7, softmax=True, to_onehot_y=True, batch=True, ignore_index=255
    )
    ours = losses.TverskyLoss(0.3, 0.7, absent="count", smooth=1e-5)
    same(ours(logits, target), theirs(logits, target[:, None]))


def test_smp_region_losses_with_ignored_pixels_and_an_absent_class(with_void, smp):
    logits, target = with_void
    target[target == 3] = 1
    # smp sets the loss of an absent class to 0 and still divides by all four classes
    same(
        losses.DiceLoss()(logits, target) * 3 / 4,
        smp.DiceLoss("multiclass", ignore_index=255)(logits, target),
    )
    same(
        losses.TverskyLoss(0.3, 0.7)(logits, target) * 3 / 4,
        smp.TverskyLoss("multiclass", alpha=0.3, beta=0.7, ignore_index=255)(logits, target),
    )
    plain = target.where(target != 255, 0)
    same(losses.JaccardLoss()(logits, plain) * 3 / 4, smp.JaccardLoss("multiclass")(logits, plain))


def test_binary_region_losses_against_monai(monai):
    g = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 1, 8, 9, generator=g, dtype=torch.float64)
    target = torch.randint(0, 2, (3, 8, 9), generator=g)
    target[0] = 0
    for per_image in (False, True):
        settings = {"sigmoid": True, "batch": not per_image, "smooth_nr": 1, "smooth_dr": 1}
        same(
            losses.BinaryDiceLoss(per_image=per_image)(logits, target),
            monai.DiceLoss(**settings)(logits, target[:, None]),
        )
        same(
            losses.BinaryTverskyLoss(per_image=per_image)(logits, target),
            monai.TverskyLoss(alpha=0.3, beta=0.7, **settings)(logits, target[:, None]),
        )


def test_binary_cross_entropy_is_that_of_two_classes(batch):
    logits, _ = batch
    logits, target = logits[:, :1], torch.randint(0, 2, (2, 16, 20))
    two = torch.cat([torch.zeros_like(logits), logits], 1)
    for weight in (None, [1.0, 3.0]):
        same(
            losses.BinaryCrossEntropyLoss(weight)(logits, target),
            losses.CrossEntropyLoss(weight)(two, target),
        )
    same(
        losses.BinaryCrossEntropyLoss()(logits, target),
        F.binary_cross_entropy_with_logits(logits[:, 0], target.double()),
    )


def test_softmax_focal(batch, with_void, monai, kornia):
    logits, target = with_void
    theirs = kornia.focal_loss(logits, target, alpha=None, gamma=2.0, ignore_index=255)
    # kornia averages over the class axis too
    same(losses.FocalLoss(reduction="sum")(logits, target), theirs.sum())
    plain = target.where(target != 255, 2)
    theirs = monai.FocalLoss(use_softmax=True, to_onehot_y=True, gamma=1.5)
    same(losses.FocalLoss(1.5)(logits, plain), 4 * theirs(logits, plain[:, None]))


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_sigmoid_focal(batch, alpha):
    logits, target = batch
    a, b = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    onehot = F.one_hot(target, 4).movedim(-1, 1).double()
    theirs = ops.sigmoid_focal_loss(
        b, onehot, alpha=-1 if alpha is None else alpha, reduction="mean"
    )
    ours = losses.SigmoidFocalLoss(2.0, alpha)(a, target)
    same(ours, theirs)
    ours.backward()
    theirs.backward()
    same(a.grad, b.grad)
    binary = (target == 1).long()
    same(
        losses.BinaryFocalLoss(2.0, alpha)(logits[:, :1], binary),
        ops.sigmoid_focal_loss(
            logits[:, 0], binary.double(), -1 if alpha is None else alpha, reduction="mean"
        ),
    )


def test_lovasz_softmax(with_void, smp, kornia):
    logits, target = with_void
    target[target == 3] = 1  # absent
    logits = logits.float()  # smp mixes types otherwise
    theirs = smp.LovaszLoss("multiclass", ignore_index=255)
    a, b = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    ours, value = losses.LovaszSoftmaxLoss()(a, target), theirs(b, target)
    same(ours, value)
    ours.backward()
    value.backward()
    same(a.grad, b.grad)
    theirs = smp.LovaszLoss("multiclass", per_image=True, ignore_index=255)
    same(losses.LovaszSoftmaxLoss(per_image=True)(logits, target), theirs(logits, target))
    full = target.where(target != 255, 0)
    same(
        losses.LovaszSoftmaxLoss("all", per_image=True)(logits, full),
        kornia.lovasz_softmax_loss(logits, full),
    )


def test_lovasz_hinge(batch, smp, kornia):
    logits, target = batch
    logits, target = logits[:, :1].float(), (target == 1).long()
    same(losses.LovaszHingeLoss()(logits, target), kornia.lovasz_hinge_loss(logits, target))
    same(
        losses.LovaszHingeLoss(per_image=False)(logits, target),
        smp.LovaszLoss("binary")(logits, target),
    )
    target[:, :4] = 255
    same(
        losses.LovaszHingeLoss(per_image=False)(logits, target),
        smp.LovaszLoss("binary", ignore_index=255)(logits, target),
    )


def blobs(shape, classes, seed=0):
    """A label map of a few squares."""
    g = torch.Generator().manual_seed(seed)
    target = torch.zeros(shape, dtype=torch.int64)
    for image in target:
        for c in range(1, classes):
            corner = [int(torch.randint(0, s - 4, (), generator=g)) for s in image.shape]
            image[tuple(slice(x, x + 4) for x in corner)] = c
    return target


@pytest.mark.parametrize("shape", [(2, 16, 20), (2, 8, 9, 10)])
@pytest.mark.parametrize("background", [False, True])
def test_boundary_and_hausdorff(shape, background, monai):
    g = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(shape[0], 3, *shape[1:], generator=g, dtype=torch.float64)
    target = blobs(shape, 3)
    settings = {"softmax": True, "to_onehot_y": True, "include_background": background}
    for mine, theirs in [
        (losses.BoundaryLoss, monai.BoundaryLoss),
        (losses.HausdorffDTLoss, monai.HausdorffDTLoss),
    ]:
        same(
            mine(include_background=background)(logits, target),
            theirs(**settings)(logits, target[:, None]),
        )


def test_cross_entropy_and_dice_together(batch, monai):
    logits, target = batch
    ours = losses.CombinedLoss(
        {
            "ce": (losses.CrossEntropyLoss(), 1.0),
            "dice": (losses.DiceLoss(absent="count", smooth=1e-5), 1.0),
        }
    )
    theirs = monai.DiceCELoss(softmax=True, to_onehot_y=True, batch=True)
    same(ours(logits, target), theirs(logits, target[:, None]))
