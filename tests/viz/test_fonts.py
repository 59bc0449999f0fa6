import ast
import logging
import subprocess
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager

import segedu
from segedu.viz import use_style
from segedu.viz.fonts import FONT_FAMILY, FONT_FILE

PACKAGE = Path(segedu.__file__).parent
NOTO = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")


@pytest.fixture(scope="module")
def glyphs():
    return set(TTFont(FONT_FILE).getBestCmap())


def draw(title):
    plt.figure(figsize=(4, 1))
    plt.title(title)
    plt.gcf().canvas.draw()
    return np.asarray(plt.gcf().canvas.buffer_rgba()).copy()


def test_the_packaged_font_is_used_first():
    found = font_manager.findfont(matplotlib.rcParams["font.family"][0], fallback_to_default=False)
    assert Path(found) == FONT_FILE
    assert matplotlib.rcParams["font.family"][0] == FONT_FAMILY


def test_use_style_twice_registers_once():
    use_style()
    entries = [e for e in font_manager.fontManager.ttflist if e.name == FONT_FAMILY]
    assert len(entries) == 1
    handlers = logging.getLogger("matplotlib.mathtext").handlers
    assert len({type(h).__name__ for h in handlers}) == len(handlers)


def test_font_file_is_small_and_licensed():
    assert FONT_FILE.stat().st_size < 1_000_000
    licence = FONT_FILE.with_name("OFL.txt").read_text(encoding="utf-8")
    assert "SIL OPEN FONT LICENSE" in licence
    assert "Adobe" in licence


def test_font_covers_chinese_latin_and_greek(glyphs):
    rows = (bytes([row, cell]) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    level_1 = b"".join(rows).decode("gb2312", errors="ignore")
    assert len(level_1) == 3755
    ascii_latin = [chr(c) for c in (*range(0x20, 0x7F), *range(0xA0, 0x100))]
    wanted = [*level_1, *ascii_latin, *"−×αβγλμσΩ←↑→↓｜，。：（）“”《》熵阈掩膜"]
    assert [c for c in wanted if ord(c) not in glyphs] == []


def test_font_covers_every_string_of_the_package(glyphs):
    missing = {}
    for path in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # not drawn
        for node in nodes:
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and id(node) not in docstrings:
                for character in node.value:
                    if ord(character) > 127 and ord(character) not in glyphs:
                        missing.setdefault(character, path.name)
    assert missing == {}


@pytest.mark.parametrize("title", ["损失", "loss ｜ 损失 $-\\sum_c y_c \\log p_c$ 交叉熵", "−5 °C"])
def test_chinese_and_math_draw_without_complaint(title):
    assert draw(title).min() < 128  # there is ink


def test_missing_glyph_in_plain_text_is_an_error():
    with pytest.raises(UserWarning, match="Glyph"):
        draw("\U00020bb7")


def test_missing_glyph_beside_math_is_an_error():
    with pytest.raises(ValueError, match="does not have a glyph"):
        draw("$x$ \U00020bb7")


@pytest.mark.slow  # reads the whole Noto collection, 20 MB, in Python
@pytest.mark.skipif(not NOTO.exists(), reason="needs the Debian package fonts-noto-cjk")
def test_subset_script_reproduces_the_font(tmp_path):
    script = tmp_path / "subset.py"
    script.write_bytes(FONT_FILE.with_name("subset.py").read_bytes())
    subprocess.run([sys.executable, script, NOTO], check=True, timeout=120, capture_output=True)
    assert (tmp_path / FONT_FILE.name).read_bytes() == FONT_FILE.read_bytes()
