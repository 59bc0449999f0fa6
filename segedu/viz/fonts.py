"""The look of the book's figures, and the font that makes Chinese labels work everywhere."""

import functools
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib import font_manager
from matplotlib.text import Text

from segedu.viz.compact import store_figures_small

FONT_FILE = Path(__file__).with_name("fonts") / "SegeduSansSC-Regular.otf"
FONT_FAMILY = "Segedu Sans SC"

# Okabe and Ito's colours, told apart with every kind of colour vision; yellow is left out because
# it cannot be read on white.
COLOR_CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

STYLE = {
    # Our font comes first: in a string with $math$ matplotlib looks at the first family alone.
    "font.family": [FONT_FAMILY, "DejaVu Sans"],
    "font.size": 9.5,
    "mathtext.fontset": "dejavusans",
    "axes.unicode_minus": True,
    "axes.titlesize": 10,
    "axes.titleweight": "normal",
    "figure.titleweight": "normal",
    "figure.titlesize": 11,
    "axes.labelsize": 9.5,
    "axes.prop_cycle": cycler(color=COLOR_CYCLE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": "#000000",  # faint ink, on a light and on a dark page
    "grid.alpha": 0.13,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "image.interpolation": "antialiased",  # nearest at 3x and more, smooth below
    "image.cmap": "viridis",
    "figure.figsize": (7.0, 3.2),
    # 7 in at 100 dots per inch is the width of the book's text column; PNG files stay small.
    "figure.dpi": 100,
    "savefig.dpi": "figure",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
    "svg.hashsalt": "segedu",
}


class _RaiseOnMissingGlyph(logging.Handler):
    """Turns mathtext's log line about a missing glyph into an error."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "does not have a glyph" in message:
            raise ValueError(message)


_raise_on_missing_glyph = _RaiseOnMissingGlyph()


def use_style() -> None:
    """Make matplotlib draw as the book does: packaged Chinese font, colours, sizes.

    In a notebook charts are also stored as SVG, figures with pictures as palette PNG.

    A character that the font lacks then raises when the figure is drawn, rather than leaving an
    empty box in print.

    Raises:
        UserWarning: later, when a figure with a missing glyph in plain text is drawn.
        ValueError: later, when the missing glyph stands in a string with ``$math$``.
    """
    _register_font()
    matplotlib.rcParams.update(STYLE)
    warnings.filterwarnings("error", message="Glyph .* missing from", category=UserWarning)
    logging.getLogger("matplotlib.mathtext").addHandler(_raise_on_missing_glyph)
    store_figures_small()


def in_any_style(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function that draws, so that its Chinese labels show in any style.

    The texts of the figure keep their fonts; the packaged one is asked for what these lack.

    Args:
        draw: returns an artist, or an array of axes, of the figure that it drew.
    """

    @functools.wraps(draw)
    def drawn(*args: Any, **settings: Any) -> Any:
        result = draw(*args, **settings)
        _register_font()
        for text in np.ravel(result)[0].figure.findobj(Text):
            families = text.get_fontfamily()
            if FONT_FAMILY not in families:
                # In a string with $math$ matplotlib looks at the first family alone.
                first = "$" in text.get_text()
                text.set_fontfamily([FONT_FAMILY, *families] if first else [*families, FONT_FAMILY])
        return result

    return drawn


def _register_font() -> None:
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    if str(FONT_FILE) not in known:
        font_manager.fontManager.addfont(FONT_FILE)
