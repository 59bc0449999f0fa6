"""Sentences about scenes in two languages, and the masks that they mean.

A sentence names a class and perhaps a colour, a size and a place: "the large red car on the left",
"左边的大型红色汽车". It means all things of the scene that fit.
"""

import re
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from segedu.data.scenes.classes import CAR, CLASSES
from segedu.data.scenes.generator import Scene

COLORS = {
    "red": ("红色", (176, 44, 40)),
    "blue": ("蓝色", (38, 88, 140)),
    "white": ("白色", (226, 226, 222)),
    "grey": ("灰色", (104, 108, 116)),
}
SIZES = {"small": "小型", "large": "大型"}
PLACES = {"left": "左边", "middle": "中间", "right": "右边"}
LARGE = 0.02  # share of the picture from which on a thing is large
TOKEN = re.compile(r"[a-z]+|[\u4e00-\u9fff]")


class Phrase(NamedTuple):
    """What a sentence says. Empty strings say nothing."""

    name: str  #: of a class of things
    color: str = ""  #: a key of `COLORS`, of cars only
    size: str = ""  #: a key of `SIZES`
    place: str = ""  #: a key of `PLACES`

    def english(self) -> str:
        """Such as "the large red car on the left"."""
        where = {"": "", "middle": " in the middle"}.get(self.place, f" on the {self.place}")
        return " ".join(filter(None, ["the", self.size, self.color, self.name])) + where

    def chinese(self) -> str:
        """Such as "左边的大型红色汽车"."""
        place = f"{PLACES[self.place]}的" if self.place else ""
        color = COLORS[self.color][0] if self.color else ""
        return place + SIZES.get(self.size, "") + color + _names()[self.name]

    def fits(self, fact: "Phrase") -> bool:
        """Whether all that is said is true of a thing of which all is said."""
        return all(said in ("", true) for said, true in zip(self, fact, strict=True))


def _names() -> dict[str, str]:
    return {c.name: c.name_zh for c in CLASSES if c.isthing}


def phrases() -> list[Phrase]:
    """Everything that can be said, in a fixed order."""
    said = product(_names(), ("", *COLORS), ("", *SIZES), ("", *PLACES))
    return [Phrase(*words) for words in said if words[0] == CLASSES[CAR].name or not words[1]]


def describe(mask: np.ndarray, label: int, image: np.ndarray) -> Phrase:
    """All that the grammar can say of one thing.

    Its place is the third of the picture in which the middle of its visible pixels lies, it is
    large from 2 % of the picture on, and the colour of a car is that of most of its pixels, each
    given to the nearest of the four.

    Args:
        mask: bool (H, W), not empty.
        label: class id of the thing.
        image: uint8 (H, W, 3).
    """
    third = int(3 * (np.nonzero(mask)[1].mean() + 0.5) / mask.shape[1])
    color = ""
    if label == CAR:
        palette = np.array([rgb for _, rgb in COLORS.values()], float)
        apart = ((image[mask].astype(float)[:, None] - palette) ** 2).sum(-1)  # (P, 4)
        votes = np.bincount(apart.argmin(1), minlength=len(palette))
        votes[-1] //= 2  # windows and tyres are grey, too
        color = list(COLORS)[int(votes.argmax())]
    size = "large" if mask.mean() >= LARGE else "small"
    return Phrase(CLASSES[label].name, color, size, list(PLACES)[third])


def meaning(phrase: Phrase, scene: Scene) -> np.ndarray:
    """The pixels of all things of a scene that a phrase fits: bool (H, W), empty if none does."""
    things = scene.instances
    found = np.zeros(scene.semantic.shape, bool)
    for mask, label in zip(things.masks, things.labels.tolist(), strict=True):
        if phrase.fits(describe(mask, label, scene.image)):
            found |= mask
    return found


def parse(sentence: str) -> Phrase:
    """What a sentence of this grammar says, in either language.

    Raises:
        ValueError: if it names no class, two, or holds a word that the grammar does not have.

    Example:
        >>> parse("the red car on the left")
        Phrase(name='car', color='red', size='', place='left')
        >>> parse("左边的红色汽车") == parse("the red car on the left")
        True
    """
    words = set(tokens(sentence))
    unknown = words - set(vocabulary())
    names = [name for name, zh in _names().items() if _says(sentence, name, zh)]
    if unknown or len(names) != 1:
        raise ValueError(
            f"sentence must name one of {', '.join(_names())} and hold no other words than those "
            f"of the grammar; got {sentence!r}"
        )

    def said(table: dict[str, str]) -> str:
        return next((en for en, zh in table.items() if _says(sentence, en, zh)), "")

    colors = {en: zh for en, (zh, _) in COLORS.items()}
    return Phrase(names[0], said(colors), said(SIZES), said(PLACES))


def _says(sentence: str, english: str, chinese: str) -> bool:
    return english in tokens(sentence) or chinese in sentence


def tokens(sentence: str) -> list[str]:
    """English words in small letters, and single Chinese characters.

    Example:
        >>> tokens("The red car 红色汽车")
        ['the', 'red', 'car', '红', '色', '汽', '车']
    """
    return TOKEN.findall(sentence.lower())


def vocabulary() -> list[str]:
    """All tokens of the grammar, sorted."""
    said = (form for phrase in phrases() for form in (phrase.english(), phrase.chinese()))
    return sorted({token for sentence in said for token in tokens(sentence)})


def encode(sentences: Sequence[str]) -> np.ndarray:
    """Sentences as numbers of tokens, from 1 on; int64 (N, L), 0 after the end of the shorter ones.

    A token that the vocabulary does not have is left out.

    Example:
        >>> encode(["the car", "the red car on the left"]).shape
        (2, 6)
    """
    number = {token: i for i, token in enumerate(vocabulary(), start=1)}
    rows = [[number[t] for t in tokens(s) if t in number] for s in sentences]
    table = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
    for row, numbers in zip(table, rows, strict=True):
        row[: len(numbers)] = numbers
    return table
