"""Every network can be captured as one graph, which is what `torch.compile` works on."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.models.test_models import EVERY_TIME, narrow, others_weekly, wake, without_norms

COMPILER = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")  # as inductor
HEADER = Path(sysconfig.get_path("include"), "Python.h")


@pytest.mark.parametrize("name", others_weekly(EVERY_TIME))
@torch.no_grad()
def test_compiles_without_a_graph_break(name):
    torch.compiler.reset()
    model, x = without_norms(wake(narrow(name))).eval(), torch.randn(1, 3, 76, 76)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(x), model(x), atol=1e-4)


# Plain C++, not optimised, and compiled in this process: g++ needs seconds for each loop.
QUICK = {"cpp.vec_isa_ok": False, "cpp_cache_precompile_headers": False, "compile_threads": 1}


@pytest.mark.weekly  # generates and compiles C++; whether networks can be is asked above
@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"no C++ compiler: {COMPILER}")
@pytest.mark.skipif(not HEADER.exists(), reason=f"no headers of Python: {HEADER}")
@torch.no_grad()
def test_the_default_backend_computes_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing compiled before
    monkeypatch.setenv("TORCHINDUCTOR_DEBUG_COMPILE", "1")
    torch.compiler.reset()
    # What it fuses into one loop; a convolution stays a call of a library.
    enlarge = nn.Upsample(scale_factor=2, mode="bilinear")
    model = wake(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), enlarge)).eval()
    x = torch.randn(1, 3, 32, 48)
    compiled = torch.compile(model, fullgraph=True, options=QUICK)
    assert torch.allclose(compiled(x), model(x), atol=1e-4)
    assert [*tmp_path.rglob("*.so")], "nothing was compiled"
