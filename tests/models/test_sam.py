import pytest
import torch

from segedu.models.sam import SAM, Masks, losses, sam_tiny
from segedu.models.sam_decoder import FourierCode
from segedu.models.sam_encoder import EncoderLayer, RelativeAttention
from tests.models.mask_scenes import scenes
from tests.models.overfit import Samples, learn

SMALL = {
    "image_size": 64,
    "patch_size": 8,
    "layers": 2,
    "width": 32,
    "heads": 2,
    "window_size": 3,
    "global_layers": (1,),
    "embed_width": 32,
    "decoder_heads": 2,
    "decoder_ffn_width": 32,
}


@pytest.fixture(scope="module")
def model() -> SAM:
    torch.manual_seed(0)
    return SAM(**SMALL).eval()


def point(x: float, y: float) -> dict[str, torch.Tensor]:
    return {"points": torch.tensor([[[[x, y]]]]), "labels": torch.tensor([[[1]]])}


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({}, 93_735_472),
        ({"layers": 24, "width": 1024, "heads": 16, "global_layers": (5, 11, 17, 23)}, 312_342_832),
        ({"layers": 32, "width": 1280, "heads": 16, "global_layers": (7, 15, 23, 31)}, 641_090_608),
    ],
)
def test_parameters_are_the_published_ones(settings, parameters):
    with torch.device("meta"):
        model = SAM(**settings)
    assert sum(p.numel() for p in model.parameters()) == parameters


@torch.no_grad()
def test_every_kind_of_prompt_gives_masks_at_the_size_of_the_images(model):
    images = torch.rand(2, 3, 40, 50)
    points = torch.rand(2, 3, 4, 2) * 40
    labels = torch.randint(-1, 2, (2, 3, 4))
    boxes = torch.tensor([5.0, 6, 30, 35]).expand(2, 3, 4)
    masks = torch.randn(2, 3, 32, 32)
    for prompts in (
        {"points": points, "labels": labels},
        {"boxes": boxes},
        {"masks": masks},
        {"points": points, "labels": labels, "boxes": boxes, "masks": masks},
    ):
        answer = model(images, **prompts)
        assert answer.logits.shape == (2, 3, 3, 40, 50)
        assert answer.iou.shape == (2, 3, 3)
        assert answer.low_res.shape == (2, 3, 3, 32, 32)
        assert all(x.isfinite().all() for x in answer)
    single = model(images, boxes=boxes, multimask=False)
    assert single.logits.shape == (2, 3, 1, 40, 50)


@torch.no_grad()
def test_prompts_of_an_image_do_not_see_each_other(model):
    image = torch.rand(1, 3, 64, 64)
    points = torch.tensor([[[[10.0, 10.0]], [[50.0, 40.0]]]])
    labels = torch.ones(1, 2, 1, dtype=torch.int64)
    both = model(image, points=points, labels=labels)
    second = model(image, points=points[:, 1:], labels=labels[:, 1:])
    assert torch.allclose(both.logits[:, 1:], second.logits, atol=1e-5)
    assert not torch.allclose(both.logits[:, :1], second.logits, atol=1e-3)


@torch.no_grad()
def test_the_answer_depends_on_place_label_and_image(model):
    image = torch.rand(1, 3, 64, 64)
    first = model(image, **point(10, 10)).low_res
    moved = model(image, **point(50, 10)).low_res
    other_label = model(image, points=point(10, 10)["points"], labels=torch.zeros(1, 1, 1)).low_res
    other_image = model(1 - image, **point(10, 10)).low_res
    for other in (moved, other_label, other_image):
        assert not torch.allclose(first, other, atol=1e-4)


@torch.no_grad()
def test_a_missing_point_is_none_wherever_it_lies(model):
    image, labels = torch.rand(1, 3, 64, 64), torch.tensor([[[1, -1]]])
    here = torch.tensor([[[[10.0, 10.0], [0.0, 0.0]]]])
    there = torch.tensor([[[[10.0, 10.0], [60.0, 30.0]]]])
    a, b = (model(image, points=points, labels=labels).low_res for points in (here, there))
    assert torch.equal(a, b)


@torch.no_grad()
def test_an_image_of_twice_the_size_is_the_same_to_the_network(model):
    small = torch.rand(1, 3, 32, 48)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    # the middle of pixel 20 lies between pixels 40 and 41 of the larger image
    scaled = model.to_unit_square(torch.tensor([[[20.0, 10.0, 30.0, 20.0]]]), (32, 48))
    assert scaled.shape == (1, 1, 2, 2)
    assert torch.allclose(scaled[0, 0, 0] * 64 - 0.5, torch.tensor([20 * 64 / 48, 10 * 43 / 32]))
    assert model.embed(small).shape == model.embed(large).shape == (1, 32, 8, 8)
    answer = model(large, **point(40, 20))
    assert answer.logits.shape[-2:] == (64, 96)


@torch.no_grad()
def test_an_image_is_embedded_once_for_many_prompts(model):
    images = torch.rand(1, 3, 64, 64)
    embeddings = model.embed(images)
    apart = model.segment(embeddings, (64, 64), **point(9, 9))
    assert torch.equal(apart.logits, model(images, **point(9, 9)).logits)


@torch.no_grad()
def test_no_prompts_for_an_image_give_no_masks(model):
    none = model(torch.rand(2, 3, 64, 64), boxes=torch.zeros(2, 0, 4))
    assert none.logits.shape == (2, 0, 3, 64, 64)
    assert losses(none, torch.zeros(2, 0, 64, 64))["loss_mask"] == 0


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "a prompt is needed"),
        ({"points": torch.zeros(1, 1, 1, 2)}, "points and labels must be given together"),
        (
            {"boxes": torch.zeros(1, 1, 4), "labels": torch.zeros(1, 1, 1)},
            "points and labels must be given together",
        ),
        ({"boxes": torch.zeros(2, 1, 4)}, r"boxes must be \(1, P, 4\), got \(2, 1, 4\)"),
        ({"masks": torch.zeros(1, 1, 9, 9)}, r"masks must be \(1, P, 32, 32\)"),
        (
            {"boxes": torch.zeros(1, 2, 4), "masks": torch.zeros(1, 1, 32, 32)},
            "number of prompts for an image must be the same",
        ),
        (
            {"points": torch.zeros(1, 1, 1, 2), "labels": torch.zeros(1, 1, 3)},
            r"labels \(1, 1, 3\) do not fit points \(1, 1, 1, 2\)",
        ),
        (
            {"points": torch.zeros(1, 1, 1, 2), "labels": torch.full((1, 1, 1), 7)},
            r"labels must be 1, 0 or -1, got \[7\]",
        ),
    ],
)
def test_bad_prompts_are_refused(model, prompts, message):
    with pytest.raises(ValueError, match=message):
        model.segment(torch.zeros(1, 32, 8, 8), (64, 64), **prompts)


def test_bad_images_settings_and_targets_are_refused(model):
    with pytest.raises(ValueError, match=r"images must be float \(N, 3, H, W\), got torch.uint8"):
        model.embed(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="image_size must be a multiple of patch_size 8, got 65"):
        SAM(**SMALL | {"image_size": 65})
    with pytest.raises(ValueError, match="embed_width must be a multiple of 8, got 20"):
        SAM(**SMALL | {"embed_width": 20})
    masks = Masks(torch.zeros(1, 2, 3, 8, 8), torch.zeros(1, 2, 3), torch.zeros(1, 2, 3, 4, 4))
    with pytest.raises(ValueError, match=r"target must be \(1, 2, 8, 8\), got \(1, 2, 4, 4\)"):
        losses(masks, torch.zeros(1, 2, 4, 4))


@torch.no_grad()
def test_windows_do_not_see_each_other_but_the_whole_map_does():
    torch.manual_seed(0)
    x = torch.randn(1, 5, 7, 8)
    changed = x.clone()
    changed[:, 4, 6] = torch.randn(8)  # normalised, a constant would vanish
    windowed, whole = EncoderLayer(8, 2, 3, windowed=True), EncoderLayer(8, 2, 5, windowed=False)
    a, b = windowed(x), windowed(changed)
    assert a.shape == x.shape
    assert torch.equal(a[:, :3], b[:, :3])  # the windows above
    assert not torch.equal(a[:, 3, 6], b[:, 3, 6])  # the same window
    square = slice(0, 5)
    a, b = whole(x[:, :, square]), whole(changed[:, :, 2:])
    assert a.shape == b.shape == (1, 5, 5, 8)


@torch.no_grad()
def test_relative_positions_favour_a_distance():
    attention = RelativeAttention(2, 1, size=3)
    for parameter in attention.parameters():
        parameter.zero_()
    attention.qkv.bias[:2] = 1.0  # every query is (1, 1), every key 0: the bias decides alone
    attention.columns[1] = 50.0  # query minus key is -1: the neighbour on the right
    attention.qkv.weight[4:] = torch.eye(2)  # the value is the token
    attention.out.weight.copy_(torch.eye(2))
    x = torch.arange(3.0).expand(3, 3)[None, :, :, None].repeat(1, 1, 1, 2)  # the column
    y = attention(x)
    assert torch.allclose(y[0, :, :2, 0], torch.tensor([1.0, 2.0]).expand(3, 2), atol=1e-5)


def test_codes_of_a_map_are_those_of_its_pixel_centres():
    code = FourierCode(8)
    centre = code(torch.tensor([2.5 / 4, 1.5 / 4]))  # column 2, row 1
    assert torch.allclose(code.map(4)[1 * 4 + 2], centre)


def test_the_loss_trains_the_best_mask_and_judges_all():
    target = torch.zeros(1, 1, 4, 4)
    target[..., :2] = 1
    logits = torch.stack([20 * target - 10, -20 * target + 10, torch.full_like(target, 10.0)], 2)
    logits.requires_grad_()
    iou = torch.tensor([[[1.0, 0.0, 0.5]]])
    result = losses(Masks(logits, iou, logits), target)
    assert sum(result.values()) < 1e-3
    wrong = losses(Masks(logits, 1 - iou, logits), target)
    assert wrong["loss_iou"] == pytest.approx(2 / 3)
    wrong["loss_dice"].backward()
    assert logits.grad[:, :, 0].abs().sum() > 0
    assert logits.grad[:, :, 1:].abs().sum() == 0


def test_bfloat16_autocast_trains():
    torch.manual_seed(0)
    model = SAM(**SMALL).train()
    boxes = torch.tensor([[[5.0, 6, 30, 35]]])
    with torch.autocast("cpu", torch.bfloat16):
        answer = model(torch.rand(1, 3, 64, 64), **point(20, 20), boxes=boxes)
        loss = sum(losses(answer, torch.rand(1, 1, 64, 64) > 0.5).values())
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def points_on(masks: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One random pixel x, y of each mask: (P, H, W) -> (P, 1, 2)."""
    chosen = masks.flatten(1).float().multinomial(1, generator=generator)  # (P, 1)
    return torch.stack([chosen % masks.shape[2], chosen // masks.shape[2]], dim=2).float()


@pytest.mark.slow  # 80 steps of training
def test_learns_objects_from_one_point():
    samples = scenes(2, "instance")
    images = torch.stack([s["image"] for s in samples])
    # the two largest objects of each scene
    targets = torch.stack(
        [s["masks"][s["masks"].sum((1, 2)).argsort(descending=True)[:2]] for s in samples]
    )  # (2, 2, 128, 128)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = sam_tiny()
    labels = torch.ones(2, 2, 1, dtype=torch.int64)

    def answer() -> Masks:
        points = torch.stack([points_on(masks, generator) for masks in targets])
        return model(images, points=points, labels=labels)

    @torch.no_grad()
    def score() -> float:
        """Mean IoU of the mask that the network itself thinks best, over five points an object."""
        model.eval()
        ious = []
        for _ in range(5):
            masks = answer()
            best = masks.iou.argmax(2)[..., None, None, None].expand(-1, -1, -1, 128, 128)
            predicted = masks.logits.gather(2, best)[:, :, 0] > 0  # (2, 2, 128, 128)
            overlap = (predicted & targets).sum((2, 3))
            ious.append(overlap / (predicted | targets).sum((2, 3)))
        return torch.stack(ious).mean().item()

    def compute_loss(model: SAM, samples: Samples) -> torch.Tensor:
        return sum(losses(answer(), targets).values())

    assert score() < 0.2
    learn(model, samples, 80, 2e-3, compute_loss, clip_norm=1.0, warmup=0.15)
    assert score() > 0.7
