import pytest
import torch
from torch import nn

from segedu.engine import Task, cosine_lr, fit, make_loader, seed_everything, train
from segedu.metrics import SemanticMetrics
from tests.engine.toy_training import LOSS, Stripes


def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))


def test_train_is_the_textbook_recipe():
    model, history = train(build, Stripes(), epochs=3, batch_size=4, lr=0.02, seed=7, loss=LOSS)
    seed_everything(7)
    by_hand = build()
    loader = make_loader(Stripes(), 4, shuffle=True, seed=7)
    optimizer = torch.optim.AdamW(by_hand.parameters(), lr=0.02, fused=True)
    scheduler = cosine_lr(optimizer, 3 * 3, warmup_steps=1)
    plan = {"epochs": 3, "optimizer": optimizer, "scheduler": scheduler, "seed": 7}
    assert fit(by_hand, loader, LOSS, **plan)["loss"] == history["loss"]
    assert all(map(torch.equal, model.parameters(), by_hand.parameters()))
    assert not model.training


def test_train_repeats_itself_whatever_was_drawn_before():
    plan = {"epochs": 2, "batch_size": 4, "loss": LOSS}
    first = train(build, Stripes(noise=True), seed=1, **plan)[1]["loss"]
    torch.rand(5)
    assert train(build, Stripes(noise=True), seed=1, **plan)[1]["loss"] == first
    assert train(build, Stripes(noise=True), seed=2, **plan)[1]["loss"] != first


@pytest.mark.parametrize(
    ("schedule", "accumulate", "rates"),
    [
        # by epoch, after 3 steps each, or 2 if every 2 batches are a step; half of them warm up
        ("poly", 1, [0.5, (1 - 2 / 5) ** 0.9]),
        ("poly", 2, [0.5, (1 - 1 / 3) ** 0.9]),
        (None, 1, [1.0, 1.0]),
    ],
)
def test_train_plans_the_schedule_by_the_step(schedule, accumulate, rates):
    plan = {"epochs": 2, "batch_size": 4, "lr": 1.0, "schedule": schedule}
    history = train(build, Stripes(), loss=LOSS, accumulate=accumulate, **plan)[1]
    assert history["lr"] == pytest.approx(rates)


def test_train_judges_the_validation_set_after_every_epoch():
    plan = {"epochs": 2, "batch_size": 4, "loss": LOSS, "metric": SemanticMetrics(2)}
    history = train(build, Stripes(), Stripes(6), **plan)[1]
    assert len(history["val_mean_iou"]) == len(history["val_loss"]) == 2


class Brightness(Task):
    """Learns the mean of the images, with a network and a shift of its own."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.ones(()))

    def collate(self, samples):
        return torch.stack([sample["image"] for sample in samples])

    def loss(self, model, batch):
        return (model(batch).mean((1, 2, 3)) + self.shift - batch.mean((1, 2, 3))).square().mean()


def test_train_of_a_task_uses_its_batches_and_trains_its_parameters():
    task = Brightness()
    history = train(build, Stripes(), task=task, epochs=4, batch_size=4, lr=0.05)[1]
    assert history["loss"][-1] < history["loss"][0]
    assert task.shift.item() != 1


def test_train_needs_a_loss_or_a_task():
    with pytest.raises(ValueError, match="either a loss"):
        train(build, Stripes(), epochs=1, batch_size=4)


def test_train_refuses_another_schedule():
    with pytest.raises(ValueError, match=r"'cosine', 'poly'\] or None, got 'cosinus'"):
        train(build, Stripes(), epochs=1, batch_size=4, schedule="cosinus", loss=LOSS)


@pytest.mark.parametrize("name", ["optimizer", "scheduler", "val_loader"])
def test_train_refuses_what_it_makes_itself(name):
    with pytest.raises(ValueError, match=f"train makes the {name} itself"):
        train(build, Stripes(), epochs=1, batch_size=4, loss=LOSS, **{name: object()})


@pytest.mark.parametrize("name", ["epochs", "accumulate"])
def test_train_refuses_counts_below_one(name):
    plan = {"epochs": 1, "batch_size": 4, name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        train(build, Stripes(), loss=LOSS, **plan)
