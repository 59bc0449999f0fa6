"""What a patient is made of: tissues, their attenuation, and the labels that they belong to."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from segedu.medical.phantom.config import Nodule

LABELS = (
    "background ｜ 背景",
    "soft tissue ｜ 软组织",
    "lung ｜ 肺",
    "lung vessel ｜ 肺血管",
    "airway ｜ 气道",
    "heart and great vessels ｜ 心脏与大血管",
    "bone ｜ 骨",
    "abdominal organ ｜ 腹部器官",
    "nodule ｜ 结节",
    "effusion ｜ 胸腔积液",
    "table ｜ 检查床",
)  #: of `Phantom.labels`
LUNGS = ("background ｜ 背景", "right lung ｜ 右肺", "left lung ｜ 左肺")  #: of `Phantom.lungs`
RIGHT, LEFT = 1, 2  #: indices of `LUNGS`


class Label(IntEnum):
    """Indices of `LABELS`."""

    BACKGROUND = 0
    SOFT_TISSUE = 1
    LUNG = 2
    LUNG_VESSEL = 3
    AIRWAY = 4
    HEART = 5
    BONE = 6
    ORGAN = 7
    NODULE = 8
    EFFUSION = 9
    TABLE = 10


NODULE = Label.NODULE


class Tissue(IntEnum):
    """What fills a sample; each has its attenuation ``hu`` and its ``label``.

    The numbers after the last one belong to the nodules, one each.
    """

    def __new__(cls, hu: float, label: Label) -> "Tissue":
        """Number the tissues in the order in which they stand here."""
        number = len(cls.__members__)
        tissue = int.__new__(cls, number)
        tissue._value_, tissue.hu, tissue.label = number, hu, label
        return tissue

    AIR = -1000, Label.BACKGROUND
    SKIN = 20, Label.SOFT_TISSUE
    FAT = -100, Label.SOFT_TISSUE
    MUSCLE = 55, Label.SOFT_TISSUE
    LUNG = -865, Label.LUNG
    FISSURE = -740, Label.LUNG
    EMPHYSEMA = -965, Label.LUNG
    LUNG_VESSEL = 40, Label.LUNG_VESSEL
    AIRWAY_LUMEN = -995, Label.AIRWAY
    AIRWAY_WALL = 20, Label.AIRWAY
    MYOCARDIUM = 60, Label.HEART
    BLOOD = 40, Label.HEART
    CORTEX = 750, Label.BONE
    MARROW = 190, Label.BONE
    DISC = 85, Label.SOFT_TISSUE
    CARTILAGE = 110, Label.SOFT_TISSUE
    LIVER = 65, Label.ORGAN
    SPLEEN = 55, Label.ORGAN
    STOMACH = 30, Label.ORGAN
    GAS = -950, Label.ORGAN
    FLUID = 12, Label.EFFUSION
    TABLE_SHELL = -50, Label.TABLE
    TABLE_FOAM = -940, Label.TABLE
    SPINAL_CANAL = 25, Label.SOFT_TISSUE


def hu_table(nodules: Sequence[Nodule], contrast_hu: float) -> np.ndarray:
    """HU float32 of each tissue and then of each nodule, blood with its contrast agent."""
    table = [tissue.hu for tissue in Tissue]
    for vessel in (Tissue.BLOOD, Tissue.LUNG_VESSEL):
        table[vessel] += contrast_hu
    for organ in (Tissue.MYOCARDIUM, Tissue.LIVER, Tissue.SPLEEN):
        table[organ] += 0.4 * contrast_hu
    return np.array(table + [nodule.hu for nodule in nodules], np.float32)


def label_table(nodules: Sequence[Nodule]) -> np.ndarray:
    """Label uint8 of each tissue and then of each nodule."""
    return np.array([tissue.label for tissue in Tissue] + [NODULE] * len(nodules), np.uint8)
