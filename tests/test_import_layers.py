"""The layers of the package: a module imports from the layers below its own, never sideways."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import segedu

ROOT = Path(segedu.__file__).parent
LAYERS = (
    {"files", "languages", "machine"},
    {"ops"},
    {"models", "losses", "metrics", "data", "viz"},
    {"engine", "page", "tools"},
    {"report", "clinic", "serve", "compress", "monitor"},
    {"tasks", "teaching"},
    {"medical"},
    {"cli"},
    {"__main__"},
)
# Seconds each; torchvision brings torch._dynamo. Samples of `data` are of its types, and of the
# networks that `tasks` know by name some have its layers.
SLOW = {"torchvision", "torch._dynamo", "scipy", "skimage", "onnxruntime", "pydicom", "fastapi"}
NEED_THEM = {"data", "clinic", "tasks"}
LAYER = {name: number for number, layer in enumerate(LAYERS) for name in layer}


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(text: str) -> set[str]:
    """The rooms that a source imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "segedu":
            names |= {f"segedu.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: write a relative import with its full name"
            names.add(node.module)
    parts = (name.split(".") for name in names if name.startswith("segedu."))
    return {part[1] for part in parts} - {"__version__"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_go_down(path):
    own = room(path)
    if own == "__init__":
        assert not imported(path.read_text(encoding="utf-8"))
        return
    assert own in LAYER, f"say in LAYERS on which layer {own} stands"
    others = imported(path.read_text(encoding="utf-8")) - {own}
    assert {other for other in others if LAYER.get(other, 99) >= LAYER[own]} == set()


def test_every_way_to_import_is_seen():
    text = "import segedu.ops.nms\nfrom segedu import viz, __version__\ndef f():\n    "
    assert imported(text + "from segedu.data.voc import x") == {"ops", "viz", "data"}


def test_relative_imports_are_refused():
    for text in ("from . import x", "from .x import y"):
        with pytest.raises(AssertionError, match="line 1: write a relative import"):
            imported(text)


def after(code: str) -> set[str]:
    """The modules that a new Python has loaded after that."""
    code += "\nimport sys; print(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(run.stdout.splitlines())


def test_what_takes_seconds_is_imported_where_it_is_used():
    rooms = [f"segedu.{name}" for name in LAYER if name not in NEED_THEM]
    loaded = after(f"import {', '.join(rooms)}")
    assert {*rooms, "torch"} <= loaded and not loaded & SLOW


def test_a_page_without_live_networks_loads_none():
    own = {"segedu.viz.live_figures", "segedu.viz.live_frame", "segedu.viz.clicks"}
    assert not after("from segedu import viz; viz.table") & own
    assert own <= after("from segedu import viz; viz.live, viz.live_clicks")
