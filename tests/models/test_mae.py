import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segedu.models.mae import (
    MAE,
    PatchEncoder,
    from_patches,
    masked_loss,
    normalized,
    random_mask,
    to_patches,
)
from tests.models.mask_scenes import scenes
from tests.models.overfit import learn
from tests.models.test_double import Exact

SMALL = {"image_size": 32, "layers": 2, "width": 32, "heads": 2}
NARROW = SMALL | {"decoder_layers": 1, "decoder_width": 16}


@pytest.fixture
def model() -> MAE:
    torch.manual_seed(0)
    return MAE(**NARROW)


def first_hidden(count: int, images: int = 2, patches: int = 16) -> Tensor:
    return (torch.arange(patches) < count).expand(images, patches)


def test_patches_go_row_by_row_and_back():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    patches = to_patches(image, 2)
    assert patches.tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]
    assert torch.equal(from_patches(patches, 2, (4, 4)), image)


def test_only_hidden_patches_count():
    """By hand: errors of 1 and 3 in the first patch, 2 and 0 in the third; the others are seen."""
    target = torch.zeros(1, 4, 2)
    prediction = torch.tensor([[[1.0, 3], [50, 50], [2, 0], [70, 70]]])
    hidden = torch.tensor([[True, False, True, False]])
    assert masked_loss(prediction, target, hidden) == ((1 + 9) / 2 + (4 + 0) / 2) / 2


def test_the_loss_is_that_of_a_picture_painted_by_hand(model):
    images = torch.rand(2, 3, 32, 32)
    generator = torch.Generator().manual_seed(3)
    hidden = random_mask(2, 16, 0.75, torch.Generator().manual_seed(3))
    painted = model(images, hidden)
    squares = []
    for i in range(2):
        for patch in hidden[i].nonzero().flatten().tolist():
            y, x = 8 * (patch // 4), 8 * (patch % 4)
            wanted = images[i, :, y : y + 8, x : x + 8].flatten()
            squares.append((painted[i, patch] - wanted).square())
    torch.testing.assert_close(model.loss(images, generator), torch.stack(squares).mean())


def test_what_is_hidden_is_not_seen(model):
    """Other pixels in hidden patches change nothing that is painted."""
    images, hidden = torch.rand(2, 3, 32, 32), first_hidden(12)
    other = images.clone()
    other[..., :24, :] = 7.0  # rows 0 to 2 of the patches
    torch.testing.assert_close(model(images, hidden), model(other, hidden))
    other[..., 24:, :] = 7.0
    assert (model(images, hidden) - model(other, hidden)).abs().max() > 1e-3


def test_visible_patches_give_no_gradient_to_the_painter(model):
    images, hidden = torch.rand(2, 3, 32, 32), first_hidden(12)
    painted = model(images, hidden)
    painted.retain_grad()
    masked_loss(painted, model.target(images), hidden).backward()
    assert (painted.grad[hidden] != 0).all() and not painted.grad[~hidden].any()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.any(), name


def test_the_decoder_knows_where_a_patch_is_hidden(model):
    painted = model(torch.rand(2, 3, 32, 32), first_hidden(12))
    assert (painted[:, 0] - painted[:, 1]).abs().max() > 1e-4


def test_visible_patches_come_back_at_their_place(model):
    """A decoder that does nothing gives each visible patch what the encoder made of it."""
    model.decoder = nn.Identity()
    images, hidden = torch.rand(2, 3, 32, 32), random_mask(2, 16, 0.5)
    seen = [
        torch.cat([tokens[:1], tokens[1:][~row]])
        for tokens, row in zip(model.encoder.tokens(images)[0], hidden, strict=True)
    ]
    made = model.paint(model.narrow(model.encoder.encode(torch.stack(seen))[:, 1:]))
    painted = model(images, hidden)
    torch.testing.assert_close(painted[~hidden], made.flatten(0, 1))
    same = model.paint(model.mask_token)[0].expand(16, -1)
    torch.testing.assert_close(painted[hidden], same)


def test_random_masks():
    masks = random_mask(1000, 16, 0.75, torch.Generator().manual_seed(0))
    assert (masks.sum(1) == 12).all()
    share = masks.float().mean(0)
    assert (share - 0.75).abs().max() < 0.06  # 4 standard deviations
    assert torch.equal(masks, random_mask(1000, 16, 0.75, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("ratio", [0.0, 0.01, 1.0, -1.0, float("nan")])
def test_something_is_hidden_and_something_seen(ratio):
    with pytest.raises(ValueError, match="ratio must hide some of the 16 patches"):
        random_mask(2, 16, ratio)


def test_normalized_patches():
    patches = normalized(torch.tensor([[[1.0, 2, 3], [5, 5, 5]]]))
    wanted = torch.tensor([[[-1.0, 0, 1], [0, 0, 0]]])
    torch.testing.assert_close(patches, wanted, atol=1e-5, rtol=0)
    images = torch.rand(2, 3, 32, 32)
    target = MAE(**NARROW, normalize=True).target(images)
    torch.testing.assert_close(target, normalized(to_patches(images, 8)))


def test_the_encoder_gives_maps_of_any_size():
    encoder = PatchEncoder(**SMALL)
    assert encoder(torch.zeros(2, 3, 32, 32)).shape == (2, 32, 4, 4)
    assert encoder(torch.zeros(1, 3, 48, 64)).shape == (1, 32, 6, 8)


def test_the_attention_of_a_layer_can_be_looked_at():
    encoder = PatchEncoder(**SMALL).eval()
    images = torch.rand(2, 3, 32, 24)
    weights = encoder.attention(images, 1)
    assert weights.shape == (2, 2, 13, 13)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 13))
    block = encoder.encoder.layers[1]
    seen = block.ln_1(encoder.encoder.layers[0](encoder.tokens(images)[0]))
    both = seen @ block.self_attention.in_proj_weight[:64].T  # queries and keys; no bias yet
    asked, keys = both.unflatten(2, (2, 2, 16)).unbind(2)
    wanted = torch.einsum("nqhc,nkhc->nhqk", asked, keys).div(4).softmax(-1)
    torch.testing.assert_close(weights, wanted, atol=1e-5, rtol=0)


def test_position_codes_are_fixed_and_differ():
    encoder = PatchEncoder(**SMALL)
    codes = encoder.encoder.pos_embedding
    assert not codes.requires_grad and not codes[0, 0].any()
    assert torch.cdist(codes[0], codes[0]).add(9 * torch.eye(17)).min() > 0.05


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: PatchEncoder(30, 8), "patch_size must divide the image_size of 30, got 8"),
        (lambda: PatchEncoder(**SMALL)(torch.zeros(1, 3, 32, 30)), "multiples .* got 32 x 30"),
        (
            lambda: MAE(**NARROW)(torch.zeros(2, 3, 32, 32), torch.eye(2, 16).cumsum(1) > 0),
            r"equally many patches in each image, got \[16, 15\]",
        ),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_four_scenes_are_learnt_by_heart():
    torch.manual_seed(0)
    model = MAE(**SMALL, decoder_layers=1, decoder_width=64)
    images = F.interpolate(torch.stack([s["image"] for s in scenes(4)]), 32, mode="area")
    images = (images - images.mean()) / images.std()

    def loss(model: MAE, _: list) -> Tensor:
        return model.loss(images, torch.Generator().manual_seed(0))  # the same patches hidden

    before = loss(model, []).item()
    assert loss(learn(model, [], 200, 3e-3, loss), []) < 0.1 * before


@pytest.mark.parametrize("normalize", [False, True])
def test_nothing_is_rounded_in_float64(normalize):
    torch.manual_seed(0)
    model = MAE(**NARROW, normalize=normalize).double()
    images, hidden = torch.rand(2, 3, 32, 32).double(), first_hidden(12)
    with Exact():
        loss = masked_loss(model(images, hidden), model.target(images), hidden)
        loss.backward()
    assert loss.dtype == torch.float64
