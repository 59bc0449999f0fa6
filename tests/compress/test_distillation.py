"""The losses of a student, by hand and in a training."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segedu.compress import Distillation, attention_loss, soft_label_loss
from segedu.engine import train
from segedu.losses import CrossEntropyLoss
from segedu.models import get_model
from tests.compress.networks import CLASSES, NETWORKS, build, images


def test_soft_labels_by_hand():
    """Two classes, T = 2: log-odds 2 of the teacher are 1, of the student 0 stay 0."""
    logits, teacher = torch.zeros(1, 2, 1, 1), torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
    p = 1 / (1 + math.exp(-1))
    wanted = 4 * (p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5))
    assert soft_label_loss(logits, teacher, 2.0).item() == pytest.approx(wanted, abs=1e-6)
    assert soft_label_loss(teacher + 5, teacher).item() == pytest.approx(0, abs=1e-6)


def test_soft_labels_of_temperature_1_and_a_sure_teacher_are_cross_entropy():
    logits, labels = images()[:, :3], torch.randint(0, 3, (2, 64, 96))
    sure = 1e4 * F.one_hot(labels, 3).movedim(-1, 1).float()
    wanted = F.cross_entropy(logits, labels)
    assert soft_label_loss(logits, sure, 1.0).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_the_gradient_of_soft_labels_is_t_times_the_difference_of_probabilities():
    logits = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    soft_label_loss(logits, teacher, 3.0).backward()
    difference = (logits / 3).softmax(1) - (teacher / 3).softmax(1)
    assert torch.allclose(logits.grad, 3 * difference / 6, atol=1e-12)  # mean of 6 pixels
    assert teacher.grad is None


def test_attention_by_hand():
    """Energies (1, 0) against (0, 4): unit vectors at right angles, squared distance 2.

    What is active everywhere alike is so at every size.
    """
    one, other = torch.zeros(1, 3, 1, 2), torch.zeros(1, 5, 1, 2)
    one[0, 0, 0, 0], other[0, 0, 0, 1] = 1, 2
    assert attention_loss(one, other).item() == pytest.approx(2)
    assert attention_loss(one, 7 * one).item() == pytest.approx(0, abs=1e-6)
    even, other = torch.ones(1, 1, 2, 2), 3 * torch.ones(1, 5, 4, 6)
    assert attention_loss(even, other).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_student_follows_its_teacher(name):
    """Labels are noise here: what is learnt is the teacher's."""
    teacher = build(name)
    before = [parameter.clone() for parameter in teacher.parameters()]
    labels = torch.randint(0, CLASSES, (8, 64, 96))
    samples = [{"image": i, "mask": m} for i, m in zip(images(8), labels, strict=True)]
    task = Distillation(teacher, CrossEntropyLoss(), CLASSES, weight=1.0)
    assert not list(task.parameters()) and "teacher" not in str(list(task.state_dict()))
    _, history = train(
        lambda: get_model("unet", CLASSES, base_width=4, depth=2),
        samples,
        task=task,
        epochs=4,
        batch_size=4,
        lr=0.01,
    )
    losses = [record["loss"] for record in history]
    assert losses[-1] < 0.9 * losses[0]
    assert all(map(torch.equal, before, teacher.parameters()))


def test_the_parts_are_weighed():
    teacher, student = build("unet"), build("unet")
    nn.init.normal_(next(student.parameters()))
    batch = {"image": images(), "mask": torch.randint(0, CLASSES, (2, 64, 96))}
    names = {"encoder.0": "encoder.0"}
    criterion = CrossEntropyLoss()

    def loss(**settings):
        with torch.no_grad():
            return Distillation(teacher, criterion, **settings).loss(student, batch).item()

    hard, soft = loss(weight=0.0), loss(weight=1.0)
    with torch.no_grad():
        assert hard == pytest.approx(criterion(student(batch["image"]), batch["mask"]).item())
    assert loss(weight=0.25) == pytest.approx(0.75 * hard + 0.25 * soft, rel=1e-5)
    more = loss(weight=0.0, features=names) - hard
    assert more > 0
    assert loss(weight=0.0, features=names, features_weight=3.0) == pytest.approx(
        hard + 3 * more, rel=1e-4
    )


def test_bad_input():
    one = torch.zeros(1, 2, 3, 4)
    with pytest.raises(ValueError, match="one shape"):
        soft_label_loss(one, one[:, :, :2])
    with pytest.raises(ValueError, match="C >= 2"):
        soft_label_loss(one[:, :1], one[:, :1])
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        soft_label_loss(one, one, 0)
    with pytest.raises(ValueError, match=r"weight must be in \[0, 1\]"):
        Distillation(build("unet"), CrossEntropyLoss(), weight=2.0)
    with pytest.raises(ValueError, match="features_weight not negative, got 0.5 and -1"):
        Distillation(build("unet"), CrossEntropyLoss(), features_weight=-1)
    with pytest.raises(ValueError, match="the teacher has no module 'top'"):
        Distillation(build("unet"), CrossEntropyLoss(), features={"bottom": "top"})
    task = Distillation(build("unet"), CrossEntropyLoss(), features={"bottom": "encoder.0"})
    batch = {"image": images(), "mask": torch.zeros(2, 64, 96, dtype=torch.long)}
    with pytest.raises(ValueError, match="the student has no module 'bottom'"):
        task.loss(build("unet"), batch)
