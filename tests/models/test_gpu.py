"""What only a GPU can show: the same answers there, mixed precision, the memory it takes."""

import copy

import pytest
import torch

from segedu.models.attention import PositionAttention, scaled_dot_product_attention
from tests.models.test_models import NAMES, logits_of, narrow, wake

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_agrees_with_the_cpu(name, channels_last):
    model = wake(narrow(name)).eval()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(2, 3, 76, 76)
    expected = model(x)
    there = copy.deepcopy(model).to("cuda", memory_format=layout)
    actual = there(x.to("cuda", memory_format=layout)).cpu()
    assert torch.allclose(actual, expected, atol=1e-4 * max(1, expected.abs().max().item()))


@pytest.mark.parametrize("name", NAMES)
def test_trains_in_mixed_precision(name):
    model = narrow(name).cuda().train()
    with torch.autocast("cuda", torch.bfloat16):
        outputs = logits_of(model(torch.randn(2, 3, 76, 76, device="cuda")))
        loss = sum(output.float().square().mean() for output in outputs)
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def peak_of(run) -> int:
    """Bytes allocated at most, beyond what was there before."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() - before


@torch.no_grad()
def test_attention_never_stores_its_weights():
    positions = 96 * 96
    weights = 2 * positions**2  # bytes in half precision
    block = PositionAttention(64).cuda().half()
    x = torch.randn(1, 64, 96, 96, device="cuda", dtype=torch.half)
    block(x)  # libraries allocate their workspaces
    assert peak_of(lambda: block(x)) < weights / 4
    tokens = x.flatten(2).transpose(1, 2)
    assert peak_of(lambda: scaled_dot_product_attention(tokens, tokens, tokens)) > weights


@pytest.mark.parametrize("name", ["unet", "fc_densenet56", "segformer_b0"])
@torch.no_grad()
def test_prediction_leaves_no_memory_behind(name):
    model = narrow(name).cuda().eval()
    x = torch.randn(1, 3, 128, 128, device="cuda")
    model(x)
    before = torch.cuda.memory_allocated()
    model(x)
    assert torch.cuda.memory_allocated() == before
