"""YOLACT: Real-time Instance Segmentation. Bolya, Zhou, Xiao & Lee, ICCV 2019 (arXiv:1904.02689).

Masks without cutting regions out of a map: the network draws a few prototype masks of the whole
image, and each detection says with which coefficients to add them up.

Read ``parts`` first, the network piece by piece; then ``network``, which puts them together and
detects; then ``loss``, which says what it learns from.
"""

from segedu.models.yolact.network import YOLACT, finetune, from_reference, yolact_tiny

__all__ = ["YOLACT", "finetune", "from_reference", "yolact_tiny"]
