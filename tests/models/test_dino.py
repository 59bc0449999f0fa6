import math

import pytest
import torch
from torch import Tensor

from segedu.models.dino import DINO, agreement_loss, moved, multi_crop, random_views
from tests.models.test_double import Exact

SMALL = {"image_size": 32, "layers": 2, "width": 32, "heads": 2, "hidden": 32, "bottleneck": 16}
NARROW = SMALL | {"outputs": 12}


@pytest.fixture
def model() -> DINO:
    torch.manual_seed(0)
    return DINO(**NARROW)


def views(seed: int = 0) -> list[Tensor]:
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)
    return multi_crop(images, small=2, small_size=16, generator=generator)


def test_an_average_by_hand():
    assert moved(torch.tensor([2.0, 0.0]), torch.tensor([4.0, 10.0]), 0.9).tolist() == (
        pytest.approx([2.2, 1.0])
    )


def test_agreement_by_hand():
    """Two views, two outputs. The teacher says (1, 0) and (0, 1), less the centre of (0.5, 0.5)."""
    outputs = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])]
    center = torch.tensor([0.5, 0.5])
    sure, answer = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1))  # temperatures of 1/2 and 1
    by_hand = -(sure * math.log(1 - answer) + (1 - sure) * math.log(answer))
    found = agreement_loss(outputs, outputs, center, 1.0, 0.5)
    assert found.item() == pytest.approx(by_hand, rel=1e-6)


def test_the_center_changes_what_the_teacher_says():
    outputs = [torch.tensor([[3.0, 1.0]])] * 2
    center = torch.tensor([2.0, 0.0])  # all that the first output is ahead by
    answer = torch.log_softmax(torch.tensor([3.0, 1.0]), 0)
    found = agreement_loss(outputs, outputs, center, 1.0, 1.0)
    assert found.item() == pytest.approx(-answer.mean().item())


def test_pairs_are_of_different_views():
    torch.manual_seed(0)
    teacher = [torch.randn(3, 5) for _ in range(2)]
    student = [torch.randn(3, 5) for _ in range(4)]
    center = torch.randn(5)
    total, pairs = 0.0, 0
    for i, j in [(0, 1), (0, 2), (0, 3), (1, 0), (1, 2), (1, 3)]:
        target = torch.softmax((teacher[i] - center) / 0.04, 1)
        for one, other in zip(target, student[j], strict=True):
            total += -(one * torch.log_softmax(other / 0.1, 0)).sum().item() / 3
        pairs += 1
    found = agreement_loss(student, teacher, center)
    assert found.item() == pytest.approx(total / pairs, rel=1e-5)


def test_one_step_of_center_and_teacher(model):
    model.center.copy_(torch.arange(12.0))
    model.move_center(torch.stack([torch.zeros(12), torch.full((12,), 20.0)]))
    torch.testing.assert_close(model.center, 0.9 * torch.arange(12.0) + 0.1 * 10)
    with torch.no_grad():
        for p in [*model.encoder.parameters(), *model.head.parameters()]:
            p.fill_(1.0)
        for p in [*model.teacher.parameters(), *model.teacher_head.parameters()]:
            p.fill_(3.0)
    model.move_teacher(0.75)
    for p in [*model.teacher.parameters(), *model.teacher_head.parameters()]:
        torch.testing.assert_close(p, torch.full_like(p, 2.5))
    assert all((p == 1).all() for p in model.encoder.parameters())


def test_the_center_moves_in_training_alone(model):
    model.eval().loss(views())
    assert not model.center.any()
    teacher = torch.cat([model.teach(view) for view in views()[:2]])
    model.train().loss(views())
    torch.testing.assert_close(model.center, 0.1 * teacher.mean(0))


def test_teacher_begins_as_the_student_and_gets_no_gradient(model):
    batch = views()
    torch.testing.assert_close(model.teach(batch[0]), model(batch[0]))
    model.loss(batch).backward()
    for name, parameter in model.named_parameters():
        if name.startswith("teacher"):
            assert parameter.grad is None and not parameter.requires_grad, name
        elif parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.any(), name


def test_the_teacher_sees_the_large_views_alone(model):
    batch = views()
    kept = model.eval().loss(batch)
    seen = []
    model.teach = lambda view: seen.append(tuple(view.shape)) or model(view).detach()
    torch.testing.assert_close(model.loss(batch), kept)
    assert seen == [(4, 3, 32, 32)] * 2


def test_the_head_compares_directions(model):
    """Outputs are cosines: within -1 and 1, whatever the lengths."""
    out = model.head(100 * torch.randn(8, 32))
    assert out.abs().max() <= 1 + 1e-5
    last = model.head[-1].weight
    torch.testing.assert_close(last.norm(dim=1), torch.ones(12))


def test_views():
    images = torch.rand(3, 3, 32, 32)
    batch = multi_crop(images, small=3, small_size=16, generator=torch.Generator().manual_seed(0))
    assert [v.shape[-1] for v in batch] == [32, 32, 16, 16, 16]
    again = multi_crop(images, small=3, small_size=16, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(batch, again, strict=True))
    assert not torch.equal(batch[0], batch[1])


def test_a_view_of_the_whole_is_the_image_or_its_mirror():
    images = torch.rand(16, 3, 32, 32)
    whole = random_views(images, 32, (1.0, 1.0), light=0)
    same = (whole - images).abs().flatten(1).amax(1) < 1e-5
    mirrored = (whole - images.flip(3)).abs().flatten(1).amax(1) < 1e-5
    assert (same ^ mirrored).all() and 0 < same.sum() < 16


def test_a_piece_lies_within_the_image_and_has_its_area():
    """On ramps of x and y, which say where each pixel was taken."""
    ramp = (torch.arange(64) + 0.5) / 64
    images = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64)])[None]
    pieces = random_views(images.repeat(50, 1, 1, 1), 64, (0.25, 0.25), light=0)
    extent = pieces.amax((2, 3)) - pieces.amin((2, 3))  # half a side, less a pixel of the 64
    torch.testing.assert_close(extent, torch.full((50, 2), 0.5 * 63 / 64), atol=1e-2, rtol=0)
    assert pieces.min() >= 0 and pieces.max() <= 1


def test_one_view_is_refused():
    with pytest.raises(ValueError, match="two different views at least"):
        agreement_loss([torch.zeros(1, 2)], [torch.zeros(1, 2)], torch.zeros(2))


@pytest.mark.parametrize(("center_momentum", "told_apart"), [(0.9, True), (1.0, False)])
def test_light_and_dark_are_told_apart_if_the_center_moves(center_momentum, told_apart):
    """Without labels. A centre that stays at zero lets all pictures get the same answer."""
    torch.manual_seed(0)
    model = DINO(**SMALL, outputs=8, center_momentum=center_momentum)
    images = torch.tensor([1.0, -1.0] * 8)[:, None, None, None].expand(-1, 3, 32, 32)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        optimizer.zero_grad()
        loss = model.loss(multi_crop(images, small=0, generator=generator))
        loss.backward()
        optimizer.step()
        model.move_teacher(0.9)
    shares = ((model.teach(images) - model.center) / 0.04).softmax(1)
    apart = (shares[0::2].mean(0) - shares[1::2].mean(0)).abs().sum()  # 2 at most
    assert loss < 0.2  # both agree with themselves
    assert apart > 1.8 if told_apart else apart < 0.1


def test_nothing_is_rounded_in_float64():
    torch.manual_seed(0)
    model = DINO(**NARROW).double()
    batch = [view.double() for view in views()]
    with Exact():
        loss = model.loss(batch)
        loss.backward()
        model.move_teacher(0.75)
    assert loss.dtype == model.center.dtype == torch.float64
    model.float()
