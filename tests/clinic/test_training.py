"""`segedu.checkup` names each sickness, and calls no healthy training sick."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import segedu
from segedu.clinic import checkup
from segedu.data import scenes
from segedu.engine import make_loader, poly_lr
from segedu.losses import (
    AuxiliaryLoss,
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    LovaszSoftmaxLoss,
)
from segedu.models import get_model

C, SIZE, COUNT = 12, 32, 16


@pytest.fixture(scope="module")
def data():
    train, val = scenes.splits(COUNT, 8, SIZE)
    return tuple(
        [{k: s[k].as_subclass(torch.Tensor) for k in ("image", "mask")} for s in part]
        for part in (train, val)
    )


def unet(num_classes=C):
    torch.manual_seed(0)
    return get_model("unet", num_classes, base_width=4, depth=1)


def batches(samples, size=4, **settings):
    return DataLoader(list(samples), size, **settings)


def changed(samples, image=lambda x: x, mask=lambda y: y):
    return [{"image": image(s["image"]), "mask": mask(s["mask"])} for s in samples]


def person(mask):
    return (mask == 7).long()


# ------------------------------------------------------------------------------------ the sick ones


def divided(train, val):
    return unet(), batches(changed(train, mask=lambda y: (y / 255).long())), {}


def black_and_white(train, val):
    masks = changed(train, mask=lambda y: (y == 0).long() * 255)
    return unet(1), batches(masks), {}


def black_and_white_in_plain_bce(train, val):
    model, loader, _ = black_and_white(train, val)
    return (
        model,
        loader,
        {"loss": lambda z, y: F.binary_cross_entropy_with_logits(z[:, 0], 1.0 * y)},
    )


def void_as_class_0(train, val):
    plain = CrossEntropyLoss()
    loader = batches(changed(train, mask=lambda y: y.masked_fill(y == 3, 255)))
    return unet(), loader, {"loss": lambda z, y: plain(z, y.masked_fill(y == 255, 0))}


def wrong_axis(train, val):
    return unet(), batches(train), {"predict": lambda z: z.argmax(-1)}


def bilinear(train, val):
    big, _ = scenes.splits(COUNT, 1, 2 * SIZE)

    def half(x):
        small = F.interpolate(x[None].float(), size=SIZE, mode="bilinear")
        return small[0]

    return unet(), batches(changed(big, half, lambda y: half(y[None])[0].long())), {}


def sigmoid(train, val):
    return nn.Sequential(unet(), nn.Sigmoid()), batches(train), {}


def softmax_in_the_network(train, val):
    return nn.Sequential(unet(), nn.Softmax(1)), batches(train), {}


def softmax_in_the_loss(train, val):
    plain = CrossEntropyLoss()
    return unet(), batches(train), {"loss": lambda z, y: plain(z.softmax(1), y)}


def eval_mode(train, val):
    return unet().eval(), batches(train), {}


def rate_too_high(train, val):
    model = unet()
    return model, batches(train), {"optimizer": torch.optim.AdamW(model.parameters(), 3.0)}


def rate_too_high_for_sgd(train, val):
    model = unet()
    return model, batches(train), {"optimizer": torch.optim.SGD(model.parameters(), 1e4)}


def rate_too_low(train, val):
    model = unet()
    return model, batches(train), {"optimizer": torch.optim.AdamW(model.parameters(), 1e-6)}


def another_models_parameters(train, val):
    return unet(), batches(train), {"optimizer": torch.optim.AdamW(unet().parameters())}


def gradients_add_up(train, val):
    def step(model, batch, optimizer):
        loss = CrossEntropyLoss()(model(batch["image"]), batch["mask"])
        loss.backward()
        optimizer.step()
        return loss

    return unet(), batches(train), {"step": step}


def shuffled_pairs(train, val):
    pairs = zip(train, train[1:] + train[:1], strict=True)
    return unet(), batches({"image": a["image"], "mask": b["mask"]} for a, b in pairs), {}


def flipped_images(train, val):
    return unet(), batches(changed(train, image=lambda x: x.flip(-1))), {}


def leak(train, val):
    return unet(), batches(train), {"val_loader": batches(val[:4] + train[:4])}


def unlike_normalisation(train, val):
    return (
        unet(),
        batches(train),
        {"val_loader": batches(changed(val, image=lambda x: x * 0.2 + 0.5))},
    )


def not_scaled(train, val):
    return unet(), batches(changed(train, image=lambda x: (x + 3) * 40)), {}


def half_precision(train, val):
    def loss(z, y):
        chosen = z.half().softmax(1).gather(1, y[:, None]).log()
        return -chosen.mean()

    return unet(), batches(train), {"loss": loss}


def cut_at_a_half(train, val):
    return unet(1), batches(changed(train, mask=person)), {"predict": lambda z: z[:, 0] > 0.5}


def no_class(train, val):
    return unet(5), batches(train), {}


def fractions(train, val):
    return unet(), batches(changed(train, mask=lambda y: y / 255)), {}


def wrong_size(train, val):
    return nn.Sequential(unet(), nn.MaxPool2d(2)), batches(train), {}


SICK = {
    divided: ("one label",),
    black_and_white: ("black and white",),
    black_and_white_in_plain_bce: ("black and white", "void counts"),
    void_as_class_0: ("void counts",),
    wrong_axis: ("axis",),
    bilinear: ("interpolated labels",),
    sigmoid: ("probabilities",),
    softmax_in_the_network: ("probabilities",),
    softmax_in_the_loss: ("floor",),
    eval_mode: ("eval mode",),
    rate_too_high: ("rate too high",),
    rate_too_high_for_sgd: ("rate too high",),
    rate_too_low: ("rate too low",),
    another_models_parameters: ("still",),
    gradients_add_up: ("gradients add up",),
    shuffled_pairs: ("pairs",),
    flipped_images: ("pairs",),
    leak: ("leak",),
    unlike_normalisation: ("normalization",),
    not_scaled: ("scale",),
    half_precision: ("overflow",),
    cut_at_a_half: ("threshold",),
    no_class: ("no class",),
    fractions: ("batch", "failure"),
    wrong_size: ("output",),
}


@pytest.mark.parametrize("case", SICK, ids=lambda case: case.__name__)
def test_each_sickness_is_named(case, data):
    model, loader, settings = case(*data)
    result = checkup(model, loader, **settings)
    assert result.kinds == SICK[case], str(result)
    assert result.verdict in ("warnings", "errors")
    assert all(
        finding.cure for finding in result.findings if finding.kind not in ("output", "failure")
    )


# --------------------------------------------------------------------------------- the healthy ones


def plain(train, val):
    return unet(), batches(train), {"val_loader": batches(val), "predict": lambda z: z.argmax(1)}


def one_image_a_batch(train, val):
    return unet(), batches(train, 1), {}


def binary(train, val):
    settings = {"loss": BinaryCrossEntropyLoss(), "predict": lambda z: z[:, 0].sigmoid() > 0.5}
    return unet(1), batches(changed(train, mask=person)), settings


def dice(train, val):
    return unet(), batches(train), {"loss": DiceLoss()}


def lovasz(train, val):
    return unet(), batches(train), {"loss": LovaszSoftmaxLoss()}


def focal(train, val):
    return unet(), batches(train), {"loss": FocalLoss()}


def smoothed(train, val):
    return unet(), batches(train), {"loss": CrossEntropyLoss(label_smoothing=0.1)}


def void(train, val):
    return unet(), batches(changed(train, mask=lambda y: y.masked_fill(y == 3, 255))), {}


def torch_cross_entropy(train, val):
    return unet(), batches(train), {"loss": nn.CrossEntropyLoss()}


def sgd(train, val):
    model = unet()
    return model, batches(train), {"optimizer": torch.optim.SGD(model.parameters(), 0.1, 0.9)}


def large_but_good_rate(train, val):
    model = unet()
    return model, batches(train), {"optimizer": torch.optim.AdamW(model.parameters(), 1e-2)}


def warm_up(train, val):
    model = unet()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    poly_lr(optimizer, 100, warmup_steps=50)
    return model, batches(train), {"optimizer": optimizer}


def own_step(train, val):
    def step(model, batch, optimizer):
        loss = CrossEntropyLoss()(model(batch["image"]), batch["mask"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return unet(), batches(train), {"step": step}


class TwoHeads(nn.Module):
    """Gives a second, auxiliary output in training."""

    def __init__(self):
        super().__init__()
        self.main, self.aux = unet(), nn.Conv2d(3, C, 1)

    def forward(self, x):
        return (self.main(x), self.aux(x)) if self.training else self.main(x)


def several_outputs(train, val):
    return TwoHeads(), batches(train), {"loss": AuxiliaryLoss(CrossEntropyLoss(), [1.0, 0.4])}


def frozen_normalisation(train, val):
    model = unet()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model, batches(train), {}


def shuffled_loader(train, val):
    return unet(), make_loader(train, 8, shuffle=True), {}


HEALTHY = [
    plain,
    one_image_a_batch,
    binary,
    dice,
    lovasz,
    focal,
    smoothed,
    void,
    torch_cross_entropy,
]
HEALTHY += [
    sgd,
    large_but_good_rate,
    warm_up,
    own_step,
    several_outputs,
    shuffled_loader,
    frozen_normalisation,
]


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.__name__)
def test_no_healthy_training_is_called_sick(case, data):
    model, loader, settings = case(*data)
    result = checkup(model, loader, **settings)
    assert result.findings == [], str(result)
    assert str(result) == "verdict: ok"
    assert result.numbers["loss after"] < result.numbers["loss"]


# ------------------------------------------------------------------------------------- the contract


def state(model, optimizer):
    """Everything that a checkup could change, as bytes and numbers."""
    values = [v.clone() for v in model.state_dict().values()]
    grads = [p.grad for p in model.parameters()]
    rates = [group["lr"] for group in optimizer.param_groups]
    return values, grads, rates, len(optimizer.state), model.training


@pytest.mark.parametrize("training", [True, False])
def test_everything_is_left_as_it_was(training, data):
    model = unet().train(training)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(3)
    loader = batches(data[0], shuffle=True, generator=generator)
    values, grads, rates, kept, mode = state(model, optimizer)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1), generator.get_state()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    checkup(model, loader, loader, optimizer=optimizer)
    after = state(model, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(values, after[0], strict=True))
    assert after[1:] == (grads, rates, kept, mode)
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected[:3]
    assert torch.equal(generator.get_state(), expected[3])


def test_the_numbers_are_those_of_the_training(data):
    model, loader, _ = plain(*data)
    numbers = checkup(model, loader, steps=1).numbers
    batch = next(iter(loader))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    before = [p.detach().clone() for p in model.parameters()]
    loss = CrossEntropyLoss()(model(batch["image"]), batch["mask"])
    loss.backward()
    norm = nn.utils.get_total_norm([p.grad for p in model.parameters()])
    optimizer.step()
    pairs = list(zip(before, model.parameters(), strict=True))
    moved = math.sqrt(sum(float((b - a).detach().square().sum()) for a, b in pairs))
    length = math.sqrt(sum(float(a.square().sum()) for a, _ in pairs))
    assert numbers["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    assert numbers["gradient"] == pytest.approx(float(norm), rel=1e-4)
    assert numbers["change of the first step"] == pytest.approx(moved / length, rel=1e-4)


def test_no_more_images_are_read_than_allowed(data):
    read = []

    class Counting(list):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    checkup(unet(), DataLoader(Counting(data[0]), 4), images=6)
    assert len(read) == 8  # two batches of 4


def test_a_failing_step_is_told_in_one_line(data):
    def step(model, batch, optimizer):
        raise RuntimeError("shapes\n do not fit")

    result = checkup(unet(), batches(data[0]), step=step)
    (line,) = map(str, result.findings)
    assert line == "error: the training step fails: RuntimeError: shapes do not fit"


def test_top_level_name():
    assert segedu.checkup is checkup
    with pytest.raises(AttributeError, match="'check_up'"):
        segedu.check_up  # noqa: B018


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"images": 0}, ValueError, "images and steps must be at least 1, got 0 and 8"),
        ({"steps": 0}, ValueError, "got 1000 and 0"),
        ({"loader": DataLoader([])}, ValueError, "train loader has no batch"),
        ({"loader": [(1, 2)]}, TypeError, "mapping with image and mask, got tuple"),
        ({"val_loader": [[1]]}, TypeError, "got list"),
    ],
)
def test_wrong_input_is_named(wrong, error, message, data):
    with pytest.raises(error, match=message):
        checkup(unet(), **{"loader": batches(data[0])} | wrong)
