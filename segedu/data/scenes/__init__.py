"""Procedural street and park scenes: image, semantic mask, instances and panoptic map at once.

from segedu.data.scenes import CLASSES, SceneConfig, SceneDataset, generate

scene = generate(seed=7)                          # numpy arrays
dataset = SceneDataset(256, SceneConfig(size=96)) # torch samples
train_set, val_set = splits(96, 24, size=64)      # normalised, no scene in both
"""

from segedu.data.scenes.classes import CLASSES, VOID, SceneClass
from segedu.data.scenes.config import SceneConfig
from segedu.data.scenes.dataset import SceneDataset, splits
from segedu.data.scenes.generator import Instances, Scene, generate

__all__ = [
    "CLASSES",
    "VOID",
    "Instances",
    "Scene",
    "SceneClass",
    "SceneConfig",
    "SceneDataset",
    "generate",
    "splits",
]
