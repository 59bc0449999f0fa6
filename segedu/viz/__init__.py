"""Pictures: overlays, charts, tables and explorers. It draws arrays and knows no model by name.

Networks that run in the page are loaded when they are first used: most pages have none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from segedu.viz.architecture import architecture, shapes
from segedu.viz.convolutions import effective_receptive_field, kernel, receptive_field
from segedu.viz.curves import learning_curves, live_curves, schedules
from segedu.viz.distributions import box_plot, cumulative, distribution, scatter
from segedu.viz.explorers import explore, frames, source
from segedu.viz.fonts import use_style
from segedu.viz.grids import pictures
from segedu.viz.overlays import (
    BINARY_COLORS,
    ERROR_COLORS,
    binary_errors,
    colorize,
    colorize_panoptic,
    error_map,
    instance_colors,
    legend,
    overlay,
    overlay_instances,
    overlay_panoptic,
    show_instances,
    show_row,
)
from segedu.viz.scores import benchmark_ratios, class_bars, confusion_matrix
from segedu.viz.sheets import sheet, show_labels, show_pixels, shown_classes
from segedu.viz.tables import table

if TYPE_CHECKING:
    from segedu.viz.clicks import Clicking, live_clicks
    from segedu.viz.live_figures import Layer, live

LATER = {
    "Clicking": "clicks",
    "Layer": "live_figures",
    "live": "live_figures",
    "live_clicks": "clicks",
}

__all__ = [
    "BINARY_COLORS",
    "Clicking",
    "ERROR_COLORS",
    "Layer",
    "architecture",
    "benchmark_ratios",
    "binary_errors",
    "box_plot",
    "class_bars",
    "colorize",
    "colorize_panoptic",
    "confusion_matrix",
    "cumulative",
    "distribution",
    "effective_receptive_field",
    "error_map",
    "explore",
    "frames",
    "instance_colors",
    "kernel",
    "learning_curves",
    "legend",
    "live",
    "live_clicks",
    "live_curves",
    "overlay",
    "overlay_instances",
    "overlay_panoptic",
    "pictures",
    "receptive_field",
    "scatter",
    "schedules",
    "shapes",
    "sheet",
    "show_instances",
    "show_labels",
    "show_pixels",
    "shown_classes",
    "show_row",
    "source",
    "table",
    "use_style",
]


def __getattr__(name: str) -> Any:
    if name in LATER:
        return getattr(import_module(f"{__name__}.{LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
