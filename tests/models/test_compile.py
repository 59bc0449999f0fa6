"""Every network can be captured as one graph, which is what `torch.compile` works on."""

import pytest
import torch

from tests.models.test_models import NAMES, narrow, wake


def prepared(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    torch.compiler.reset()
    return wake(narrow(name)).eval(), torch.randn(1, 3, 76, 76)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_compiles_without_a_graph_break(name):
    model, x = prepared(name)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(x), model(x), atol=1e-4)
