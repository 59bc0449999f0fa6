"""Metrics: ``update(...)``, ``compute() -> dict``, ``reset()``, ``merge(other)``."""

from segedu.metrics.calibration import CalibrationMetrics
from segedu.metrics.instance import AveragePrecision
from segedu.metrics.panoptic import PanopticQuality
from segedu.metrics.semantic import SemanticMetrics
from segedu.metrics.surface import SurfaceDistances, SurfaceMetrics, surface_distances

__all__ = [
    "CalibrationMetrics",
    "AveragePrecision",
    "PanopticQuality",
    "SemanticMetrics",
    "SurfaceDistances",
    "SurfaceMetrics",
    "surface_distances",
]
