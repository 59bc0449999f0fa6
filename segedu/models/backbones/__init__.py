"""Torchvision's classifiers, adapted to give feature maps: random weights unless asked otherwise.

Segmentation needs three things that a classifier does not offer: the maps of several stages,
a smaller output stride (strides replaced by dilation), and narrow versions that train on a CPU.
"""

from segedu.models.backbones.densenet import DenseNetFeatures
from segedu.models.backbones.mobilenet import MobileNetV3Features
from segedu.models.backbones.resnet import ResNetFeatures
from segedu.models.backbones.vgg import VGG16_STAGES, load_vgg16, vgg16_stages
from segedu.models.backbones.vit import ViTFeatures
from segedu.models.backbones.weights import Weights, load_weights, read_weights, rename

__all__ = [
    "VGG16_STAGES",
    "DenseNetFeatures",
    "MobileNetV3Features",
    "ResNetFeatures",
    "ViTFeatures",
    "Weights",
    "load_vgg16",
    "load_weights",
    "read_weights",
    "rename",
    "vgg16_stages",
]
