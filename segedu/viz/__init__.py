"""Pictures: overlays, charts and explorers. It draws arrays and knows no model."""

from segedu.viz.cases import boxes, cumulative, distribution, scatter
from segedu.viz.charts import (
    benchmark_ratios,
    class_bars,
    confusion_matrix,
    effective_receptive_field,
    effective_size,
    kernel,
    learning_curves,
    live_curves,
    receptive_field,
    receptive_fields,
    schedules,
)
from segedu.viz.explorers import explore, frames, source
from segedu.viz.fonts import use_style
from segedu.viz.overlays import (
    ERROR_COLORS,
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

__all__ = [
    "ERROR_COLORS",
    "benchmark_ratios",
    "boxes",
    "class_bars",
    "colorize",
    "colorize_panoptic",
    "confusion_matrix",
    "cumulative",
    "distribution",
    "effective_receptive_field",
    "effective_size",
    "error_map",
    "explore",
    "frames",
    "instance_colors",
    "kernel",
    "learning_curves",
    "legend",
    "live_curves",
    "overlay",
    "overlay_instances",
    "overlay_panoptic",
    "receptive_field",
    "receptive_fields",
    "scatter",
    "schedules",
    "show_instances",
    "show_row",
    "source",
    "use_style",
]
