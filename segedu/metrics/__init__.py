"""Metrics: ``update(...)``, ``compute() -> dict``, ``reset()``, ``merge(other)``; see `Metric`."""

from segedu.metrics.base import Metric
from segedu.metrics.calibration import CalibrationMetrics
from segedu.metrics.clicks import ClickIoU
from segedu.metrics.errors import ErrorBudget
from segedu.metrics.instance import AveragePrecision
from segedu.metrics.offsets import OffsetCurve, offset_curve
from segedu.metrics.panoptic import PanopticQuality
from segedu.metrics.semantic import SemanticMetrics, region_areas, score
from segedu.metrics.surface import SurfaceDistances, SurfaceMetrics, surface_distances

__all__ = [
    "AveragePrecision",
    "CalibrationMetrics",
    "ClickIoU",
    "ErrorBudget",
    "Metric",
    "OffsetCurve",
    "PanopticQuality",
    "SemanticMetrics",
    "SurfaceDistances",
    "SurfaceMetrics",
    "offset_curve",
    "region_areas",
    "score",
    "surface_distances",
]
