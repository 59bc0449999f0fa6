"""Smaller and faster networks: channels pruned away, a teacher's help, eight bits.

`pruning` makes a network narrower, `distillation` trains a small one with the answers of a large
one, `quantization` turns an exported network into one of eight-bit integers.
"""

from segedu.compress.distillation import Distillation, attention_loss, soft_label_loss
from segedu.compress.pruning import filter_norms, prune_channels
from segedu.compress.quantization import quantize

__all__ = [
    "Distillation",
    "attention_loss",
    "filter_norms",
    "prune_channels",
    "quantize",
    "soft_label_loss",
]
