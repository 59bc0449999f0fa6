"""The training loop: what it computes, and that it can be stopped and continued."""

import copy
import functools
import importlib
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from segedu.engine import (
    History,
    Semantic,
    Task,
    distributed,
    evaluate,
    fit,
    load_checkpoint,
    make_loader,
)
from segedu.losses import AdaptiveFocalLoss
from segedu.metrics import CalibrationMetrics, SemanticMetrics
from tests.engine.toy_training import LOSS, Stripes, toy_model


def train(model=None, *, epochs=2, batch_size=4, dataset=None, loader=None, **settings):
    """A tiny training; returns (history, model)."""
    model = model or toy_model()
    loader = loader or make_loader(dataset or Stripes(), batch_size, shuffle=True)
    if "optimizer" not in settings:
        settings["optimizer"] = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss = None if "task" in settings else LOSS
    return fit(model, loader, loss, epochs=epochs, **settings), model


def test_it_learns():
    history, model = train(
        epochs=8, val_loader=DataLoader(Stripes(6), 3), metric=SemanticMetrics(2)
    )
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["val_mean_iou"][-1] > 0.9
    assert history["epoch"] == list(range(1, 9))
    assert not model.training


def test_one_step_is_the_textbook_step():
    model, by_hand = toy_model(), toy_model()
    batch = next(iter(DataLoader(Stripes(4), 4)))
    LOSS(by_hand(batch["image"]), batch["mask"]).backward()
    train(
        model,
        epochs=1,
        loader=DataLoader(Stripes(4), 4),
        optimizer=torch.optim.SGD(model.parameters(), lr=0.5),
    )
    for got, start in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(got, start - 0.5 * start.grad)


@pytest.mark.parametrize("loader", ["plain", "made"])
def test_same_seed_same_bits_other_seed_other_bits(loader):
    def losses(seed):
        if loader == "plain":
            data = DataLoader(Stripes(noise=True), 4, shuffle=True)
        else:
            data = make_loader(Stripes(noise=True), 4, shuffle=True, seed=seed)
        return train(toy_model(dropout=0.3), loader=data, seed=seed)[0]["loss"]

    assert losses(0) == losses(0) != losses(1)


def test_accumulation_equals_the_big_batch():
    _, small = train(epochs=3, batch_size=2, accumulate=4)
    _, big = train(epochs=3, batch_size=8)
    for a, b in zip(small.parameters(), big.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_short_last_group_is_averaged_over_what_it_has():
    # 6 samples in batches of 2, accumulate=2: groups of 2 and of 1 batches.
    _, got = train(epochs=1, dataset=Stripes(6), batch_size=2, accumulate=2)
    want = toy_model()
    optimizer = torch.optim.SGD(want.parameters(), lr=0.1, momentum=0.9)
    loader = make_loader(Stripes(6), 2, shuffle=True)
    loader.sampler.set_epoch(1)
    first, second, third = loader
    for group in ([first, second], [third]):
        optimizer.zero_grad()
        for batch in group:
            (LOSS(want(batch["image"]), batch["mask"]) / len(group)).backward()
        optimizer.step()
    for a, b in zip(got.parameters(), want.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_clipping_bounds_the_step():
    model = toy_model()
    start = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    train(model, epochs=1, loader=DataLoader(Stripes(4), 4), optimizer=optimizer, clip_norm=0.01)
    moved = [a - b for a, b in zip(model.parameters(), start.parameters(), strict=True)]
    assert torch.cat([m.flatten() for m in moved]).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_moving_average_is_the_formula():
    decay = 0.7
    weights = []
    model = toy_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.register_step_post_hook(
        lambda *_: weights.append([p.detach().clone() for p in model.parameters()])
    )
    train(model, optimizer=optimizer, ema_decay=decay)
    average = weights[0]
    for current in weights[1:]:
        average = [decay * a + (1 - decay) * c for a, c in zip(average, current, strict=True)]
    assert len(weights) == 6
    for got, want in zip(model.parameters(), average, strict=True):
        torch.testing.assert_close(got, want)


def test_early_stopping_counts_epochs_without_a_better_one():
    # A learning rate of 0 never improves: the first epoch is the best, then `patience` more.
    model = toy_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    val_loader = DataLoader(Stripes(4), 4)
    history, _ = train(model, epochs=9, optimizer=optimizer, val_loader=val_loader, patience=2)
    assert len(history) == 3


def test_scheduler_steps_per_optimizer_step():
    model = toy_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    history, _ = train(model, optimizer=optimizer, scheduler=scheduler, accumulate=2)
    # 12 samples, batches of 4, two batches per step: 2 steps an epoch
    assert history["lr"] == pytest.approx([1e-3, 1e-3 / 3])
    assert scheduler.last_epoch == 4


def test_mixed_precision_on_the_cpu_stays_close():
    full, _ = train(epochs=3)
    mixed, _ = train(epochs=3, amp=True)
    assert full["loss"] != mixed["loss"]
    assert mixed["loss"] == pytest.approx(full["loss"], rel=0.05)


@pytest.mark.gpu
def test_gpu_stays_close_to_cpu():
    cpu, _ = train(epochs=3, device="cpu")
    gpu, model = train(epochs=3, device="cuda")
    assert next(model.parameters()).is_cuda
    assert gpu["loss"] == pytest.approx(cpu["loss"], rel=0.05)


class Pairs(Task):
    """Batches that are no dicts, and a loss that asks the network twice."""

    def collate(self, samples):
        return torch.stack([s["image"] for s in samples]), [s["mask"] for s in samples]

    def loss(self, model, batch):
        images, masks = batch
        return LOSS(model(images), torch.stack(masks)) + 1e-3 * model(images).square().mean()


def test_a_task_of_ones_own_needs_no_more_than_a_loss():
    task = Pairs()
    loader = make_loader(Stripes(), 4, shuffle=True, collate_fn=task.collate)
    history, _ = train(epochs=6, loader=loader, task=task)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    with pytest.raises(NotImplementedError, match="Pairs has no prediction"):
        evaluate(toy_model(), loader, task=task)
    with pytest.raises(ValueError, match="Pairs has no metric"):
        task.predict, task.update = lambda *_: [0], lambda *_: None
        evaluate(toy_model(), loader, task=task)


def test_class_weights_move_with_the_model():
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0], dtype=torch.float64))
    with pytest.raises(RuntimeError):  # float64 weights do not fit: they are really used
        fit(toy_model(), DataLoader(Stripes(4), 4), loss, epochs=1)


def test_not_a_number_stops_before_the_checkpoint(tmp_path):
    model = toy_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=float("inf"))
    with pytest.raises(FloatingPointError, match="epoch 1"):
        train(model, optimizer=optimizer, checkpoint_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_interrupt_and_continue_bit_by_bit(tmp_path):
    whole, reference = train(toy_model(dropout=0.3), epochs=4)

    def interrupt(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    settings = {"epochs": 4, "checkpoint_dir": tmp_path, "resume": True}
    with pytest.raises(KeyboardInterrupt):
        train(toy_model(dropout=0.3), on_epoch=interrupt, **settings)
    torch.manual_seed(99)  # the new process starts from other weights and another random state
    continued, model = train(toy_model(dropout=0.3), **settings)
    assert continued["loss"] == whole["loss"]
    for a, b in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.equal(a, b)


def test_interrupted_cell_runs_again(tmp_path):
    """Ctrl-C in the middle of an epoch, then the same cell again with the same objects."""
    whole, reference = train(epochs=3, batch_size=2, accumulate=2)
    model = toy_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    calls = 0

    class Interrupted(nn.CrossEntropyLoss):
        def forward(self, logits, mask):
            nonlocal calls
            calls += 1
            if calls == 10:  # 6 batches an epoch: gradients of one batch are pending
                raise KeyboardInterrupt
            return super().forward(logits, mask)

    task = Semantic(Interrupted())

    def cell():
        return train(
            model,
            epochs=3,
            batch_size=2,
            accumulate=2,
            optimizer=optimizer,
            task=task,
            checkpoint_dir=tmp_path,
            resume=True,
        )[0]

    with pytest.raises(KeyboardInterrupt):
        cell()
    assert cell()["loss"] == whole["loss"]
    assert torch.equal(model[0].weight, reference[0].weight)


def test_half_precision_with_a_scaler(monkeypatch, tmp_path):
    """The path of GPUs without bfloat16, on the CPU: scaled, unscaled for clipping, resumed."""
    module = importlib.import_module("segedu.engine.fit")  # the package's `fit` is the function

    def half(amp, device):
        autocast = functools.partial(torch.autocast, "cpu", dtype=torch.float16)
        return autocast, torch.amp.GradScaler("cpu", init_scale=2.0**10)

    monkeypatch.setattr(module, "precision", half)
    mixed, _ = train(epochs=3, clip_norm=1.0, checkpoint_dir=tmp_path)
    monkeypatch.undo()
    full, _ = train(epochs=3, clip_norm=1.0)
    assert full["loss"] != mixed["loss"] == pytest.approx(full["loss"], rel=0.05)
    assert load_checkpoint(tmp_path / "last.pt")["scaler"]["scale"] == 2.0**10


def test_resume_restores_scheduler_average_and_patience(tmp_path):
    def run(epochs, folder):
        model = toy_model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12)
        settings = {"scheduler": scheduler, "ema_decay": 0.9, "monitor": "loss", "patience": 3}
        return train(
            model,
            epochs=epochs,
            optimizer=optimizer,
            checkpoint_dir=folder,
            resume=True,
            **settings,
        )

    run(2, tmp_path / "cut")
    cut, cut_model = run(4, tmp_path / "cut")
    whole, whole_model = run(4, tmp_path / "whole")
    assert cut["loss"] == whole["loss"] and cut["lr"] == whole["lr"]
    assert torch.equal(cut_model[0].weight, whole_model[0].weight)


def test_resume_with_other_parts_is_refused(tmp_path):
    train(checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="cannot resume.*ema"):
        train(checkpoint_dir=tmp_path, resume=True, ema_decay=0.9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"ema_decay": 1.0}, "ema_decay must lie between 0 and 1"),
        ({"resume": True}, "resume needs a checkpoint_dir"),
        ({"seed": -1}, "seed|non-negative"),
    ],
)
def test_bad_arguments(settings, message):
    with pytest.raises(ValueError, match=message):
        train(**settings)


def test_a_loss_is_needed():
    with pytest.raises(ValueError, match="either a loss.*or a task"):
        fit(toy_model(), DataLoader(Stripes(4), 4), epochs=1)


def test_an_unknown_monitor_names_what_there_is_and_keeps_the_epoch(tmp_path):
    settings = {"epochs": 2, "checkpoint_dir": tmp_path}
    with pytest.raises(ValueError, match="monitor must be one of .*'loss'.*, got 'val_recall'"):
        train(monitor="val_recall", **settings)
    assert len(load_checkpoint(tmp_path / "last.pt")["history"]) == 1
    with pytest.raises(ValueError, match="monitor must be one of .*'loss'.*, got 'val_recall'"):
        train(monitor="val_recall", resume=True, patience=1, **settings)
    assert len(train(monitor="loss", resume=True, **settings)[0]) == 2


def test_a_metric_without_the_score_of_the_task_leaves_the_choice_to_the_loss(tmp_path):
    history, _ = train(
        val_loader=DataLoader(Stripes(4), 4), metric=CalibrationMetrics(), checkpoint_dir=tmp_path
    )
    assert "val_ece" in history.records[0]
    best = load_checkpoint(tmp_path / "best.pt")["history"]
    assert len(best) == history.best("val_loss")


def test_a_loader_that_does_not_know_its_length_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([Stripes()[0]])

    with pytest.raises(ValueError, match="does not know how many batches it has"):
        fit(toy_model(), DataLoader(Stream(), 1), LOSS, epochs=1)
    with pytest.raises(ValueError, match="does not know how many batches it has"):
        evaluate(toy_model(), DataLoader(Stream(), 1), loss=LOSS)


def test_sister_processes_leave_the_files_of_the_first_alone(tmp_path, monkeypatch):
    settings = {"epochs": 1, "checkpoint_dir": tmp_path}
    train(**settings)
    being_written = tmp_path / ".segedu-tmp-0-best.pt"
    being_written.touch()
    with monkeypatch.context() as sister:
        sister.setattr(distributed, "rank", lambda: 1)
        train(resume=True, **settings)
    assert being_written.exists()
    train(resume=True, **settings)
    assert not being_written.exists()


def test_evaluate_weighs_images_not_batches():
    model = toy_model()
    whole = evaluate(model, DataLoader(Stripes(5), 5), SemanticMetrics(2), loss=LOSS)
    parts = evaluate(model, DataLoader(Stripes(5), 2), SemanticMetrics(2), loss=LOSS)
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-6)
    assert parts["mean_iou"] == whole["mean_iou"]
    with pytest.raises(ValueError, match="a metric, a loss or a task"):
        evaluate(model, DataLoader(Stripes(5), 2))


def adaptive(model=None, **settings):
    """A training whose loss has a state of its own; returns (history, loss)."""
    loss = AdaptiveFocalLoss()
    history, _ = train(model, task=Semantic(loss), **settings)
    return history, loss


def test_validation_does_not_move_the_state_of_a_loss():
    plain, loss = adaptive()
    judged, same_loss = adaptive(val_loader=DataLoader(Stripes(5, noise=True), 1))
    assert judged["loss"] == plain["loss"]
    assert torch.equal(same_loss.mean_probability, loss.mean_probability)
    assert not loss.training
    evaluate(toy_model(), DataLoader(Stripes(4), 4), loss=loss.train())
    assert torch.equal(same_loss.mean_probability, loss.mean_probability)


def test_the_state_of_a_loss_is_resumed(tmp_path):
    whole, loss = adaptive(epochs=4)
    adaptive(epochs=2, checkpoint_dir=tmp_path)
    kept = load_checkpoint(tmp_path / "last.pt")["task"]["criterion.mean_probability"]
    assert 0 < kept < 1
    continued, same_loss = adaptive(epochs=4, checkpoint_dir=tmp_path, resume=True)
    assert continued["loss"] == whole["loss"]
    assert torch.equal(same_loss.mean_probability, loss.mean_probability)


def test_a_score_that_is_better_if_smaller_can_be_monitored(tmp_path):
    class Falling(SemanticMetrics):
        """1 after the first epoch, then 1/2, 1/3, ..."""

        epoch = 0

        def compute(self):
            self.epoch += 1
            return {"hd95": 1 / self.epoch}

    settings = {"val_loader": DataLoader(Stripes(4), 4), "monitor": "val_hd95"}
    for larger_is_better, best in ((False, 3), (True, 1)):
        train(
            epochs=3,
            metric=Falling(2),
            larger_is_better=larger_is_better,
            checkpoint_dir=tmp_path,
            **settings,
        )
        assert len(load_checkpoint(tmp_path / "best.pt")["history"]) == best


def test_the_records_are_on_the_disk_after_every_epoch(tmp_path):
    path = tmp_path / "history.jsonl"

    def read(record):
        assert [json.loads(line) for line in path.open()][-1] == record
        assert len(path.read_text().splitlines()) == record["epoch"]

    history, _ = train(epochs=3, checkpoint_dir=tmp_path, on_epoch=read)
    assert History.from_jsonl(path) == history
    # a crash between last.pt and history.jsonl: the next start mends it
    path.write_text(path.read_text().splitlines()[0] + "\n")
    continued, _ = train(epochs=3, checkpoint_dir=tmp_path, resume=True)
    assert continued.records == history.records == History.from_jsonl(path).records


def sgd(model, **settings):
    return torch.optim.SGD(model.parameters(), **({"lr": 0.1, "momentum": 0.9} | settings))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer": {"lr": 0.5}}, r"lr was \[0\.1\], is \[0\.5\] now"),
        ({"optimizer": {"weight_decay": 0.1}}, r"weight_decay was \[0\], is \[0\.1\] now"),
        ({"batch_size": 2}, "batch_size was 4, is 2 now"),
        ({"dataset": Stripes(16)}, "images was 12, is 16 now"),
        ({"accumulate": 3}, "accumulate was 1, is 3 now"),
        ({"clip_norm": 1.0}, "clip_norm was None, is 1.0 now"),
        ({"seed": 7}, "seed was 0, is 7 now"),
        ({"task": Semantic(AdaptiveFocalLoss())}, "task was .*CrossEntropyLoss.*AdaptiveFocal"),
        ({"config": {"lr": 0.5, "note": 1}}, r"lr was 0\.1, is 0\.5 now"),
        ({"model": "wide"}, r"model of .*last.pt does not fit .* 0.weight is \(8, 3, 3, 3\) there"),
    ],
)
def test_a_resume_with_other_settings_names_them(tmp_path, changed, message):
    def run(epochs, changed):
        settings = {"epochs": epochs, "checkpoint_dir": tmp_path, "resume": True}
        settings |= {"config": {"lr": 0.1, "epochs": epochs, "crop": (8, 8)}} | changed
        model = toy_model()
        if settings.pop("model", None):
            model = nn.Sequential(nn.Conv2d(3, 9, 3, padding=1), *model[1:])
        settings["optimizer"] = sgd(model, **changed.get("optimizer", {}))
        return train(model, **settings)

    run(1, {})
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(ValueError, match=f"cannot resume.*{message}"):
        run(2, changed)
    assert (tmp_path / "last.pt").read_bytes() == before
    history, _ = run(2, {})  # more epochs and the same tuple are no other settings
    assert len(history) == 2


def test_a_rate_that_a_schedule_has_changed_is_the_same_rate(tmp_path):
    """Also with the same objects, as when a cell of a notebook runs again."""
    model = toy_model()
    optimizer = sgd(model)
    for kind in (
        lambda: torch.optim.lr_scheduler.StepLR(optimizer, 1),
        lambda: torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=10),
    ):
        scheduler = kind()
        settings = {"optimizer": optimizer, "scheduler": scheduler, "resume": True}
        folder = tmp_path / type(scheduler).__name__
        train(model, epochs=3, checkpoint_dir=folder, **settings)
        assert optimizer.param_groups[0]["lr"] < 0.05
        train(model, epochs=4, checkpoint_dir=folder, **settings)


class Pooled(nn.Module):
    """Normalises what it has pooled to one pixel, as pyramid pooling does."""

    def __init__(self):
        super().__init__()
        self.body = toy_model()
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))

    def forward(self, images):
        logits = self.body(images)
        return logits + self.context(logits)


@pytest.mark.parametrize(("images", "batch_size"), [(9, 4), (3, 1)])
def test_a_last_batch_of_one_is_found_before_the_training(images, batch_size):
    model = Pooled()
    before = copy.deepcopy(model.state_dict())
    optimizer = sgd(model)
    optimizer.register_step_pre_hook(lambda *_: pytest.fail("a step was made"))
    with pytest.raises(ValueError, match=f"{images} training .* batch of 1, .* another batch_size"):
        train(model, dataset=Stripes(images), batch_size=batch_size, optimizer=optimizer)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_last_batch_of_one_is_no_fault_where_the_network_can_train_on_it():
    norm = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    start = copy.deepcopy(norm.state_dict())
    train(norm, dataset=Stripes(5), batch_size=4, epochs=1)
    assert norm[1].num_batches_tracked == start["1.num_batches_tracked"] + 2  # the trial left none
    train(Pooled(), loader=DataLoader(Stripes(9), 4, drop_last=True), epochs=1)
    train(Pooled(), dataset=Stripes(10), epochs=1)


class Spoiled(Stripes):
    """The image of sample 2 holds NaN."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return sample | {"image": sample["image"] / 0} if index == 2 else sample


def test_an_image_that_is_not_finite_is_named_at_its_first_batch():
    model = toy_model()
    optimizer = sgd(model)
    with pytest.raises(ValueError, match="image of sample 2 holds NaN or infinity"):
        train(model, dataset=Spoiled(4), batch_size=1, optimizer=optimizer)
    assert all(p.isfinite().all() for p in model.parameters())
    with pytest.raises(ValueError, match="batch 2 of the loader holds NaN or infinity"):
        train(model, loader=DataLoader(Spoiled(4), 2), optimizer=optimizer)
    with pytest.raises(ValueError, match="batch 1 of the loader holds NaN"):
        evaluate(model, DataLoader(Spoiled(4), 4), SemanticMetrics(2))


def test_a_rate_that_is_too_high_is_blamed_since_when():
    model = toy_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=float("inf"))
    message = "no longer finite in epoch 1, since batch 2 of 3: lower the learning rate"
    with pytest.raises(FloatingPointError, match=message):
        train(model, optimizer=optimizer)


def test_scores_of_any_metric_are_recorded(tmp_path):
    """Nested, as arrays, with numbers for keys: JSON and checkpoints know plain values only."""

    class Rich(SemanticMetrics):
        def compute(self):
            return {
                "mean_iou": np.float64(0.5),
                "labels": np.array([1, 2]),
                "areas": {1: {"AP": float("nan"), "curve": np.zeros((2, 2))}},
                "per_class": {1: {"AP": 0.5}},
                "precision": np.zeros((2, 2)),
            }

    val_loader = DataLoader(Stripes(4), 4)
    history, _ = train(epochs=1, val_loader=val_loader, metric=Rich(2), checkpoint_dir=tmp_path)
    (record,) = history
    assert record["val_mean_iou"] == 0.5 and record["val_labels"] == [1, 2]
    assert record["val_areas"] == {"1": {"AP": None}}
    assert not {"val_precision", "val_per_class"} & record.keys()  # too large for every epoch
    assert History.from_jsonl(tmp_path / "history.jsonl") == history


class Bright(Stripes):
    """The pictures of `Stripes`, twice as bright."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return {**sample, "image": 2 * sample["image"]}


def test_batches_of_the_training_alone_are_augmented():
    def brighten(batch):
        return {**batch, "image": 2 * batch["image"]}

    judged = make_loader(Stripes(), 4)
    found, model = train(augment=brighten, val_loader=judged, metric=SemanticMetrics(2))
    expected, other = train(dataset=Bright(), val_loader=judged, metric=SemanticMetrics(2))
    assert found["loss"] == expected["loss"] and found["val_loss"] == expected["val_loss"]
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
