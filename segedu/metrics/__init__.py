"""Metrics: ``update(...)``, ``compute() -> dict``, ``reset()``, ``merge(other)``."""

from segedu.metrics.panoptic import PanopticQuality
from segedu.metrics.semantic import SemanticMetrics

__all__ = ["PanopticQuality", "SemanticMetrics"]
