"""Metrics: ``update(...)``, ``compute() -> dict``, ``reset()``, ``merge(other)``."""

from segedu.metrics.semantic import SemanticMetrics

__all__ = ["SemanticMetrics"]
