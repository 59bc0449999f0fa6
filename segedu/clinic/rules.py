"""The rules on images and labels: shared by the examination of a data set and of a training."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from segedu.clinic.findings import Finding

SHOWN = 5  # examples that a finding names
_PAIRS = 64  # images whose edges are compared with the labels of another
_FEWEST = 8  # of them before anything is said
_FOLLOWS = 1.15  # own labels against those of another image; healthy 1.3 to 9, mixed up 0.4 to 1.1
_BETWEEN = 0.2  # share of label steps that climb; healthy 0 to 0.08, after bilinear 0.3 to 0.45


class LabelSurvey:
    """What the labels of a data set look like, read one sample after the other.

    Args:
        ignore_index: label of the pixels that have no class.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index
        self.pixels: Counter[int] = Counter()
        """Label -> number of pixels."""
        self.images = self.steps = self.climbs = 0
        self.gains: list[float] = []
        self._before: Tensor | None = None

    def update(self, image: Tensor, mask: Tensor) -> None:
        """Read one sample.

        Args:
            image: (C, H, W), of any type.
            mask: integers (H, W).
        """
        mask = mask.long()
        values, counts = mask.unique(return_counts=True)
        self.pixels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self.images += 1
        for axis in (0, 1):
            self._count_climbs(mask.movedim(axis, 0))
        if len(self.gains) < _PAIRS:
            self._compare(image.float(), mask)

    def findings(self) -> list[Finding]:
        """What is wrong with the labels."""
        rules = (self._black_and_white, self._one_label, self._interpolated, self._unpaired)
        return [finding for rule in rules if (finding := rule()) is not None]

    def _count_climbs(self, mask: Tensor) -> None:
        """Count the steps between labels, and those that lead on to a third in the same sense."""
        known = mask != self.ignore_index
        rise = mask.diff(dim=0).sign() * (known[1:] & known[:-1])  # -1, 0 or 1
        self.steps += int(rise.count_nonzero())
        self.climbs += int((rise[1:] * rise[:-1] > 0).sum())

    def _compare(self, image: Tensor, mask: Tensor) -> None:
        """How much better the image's edges fit its own labels than those of the image before."""
        before, self._before = self._before, mask
        if before is None or before.shape != mask.shape or torch.equal(before, mask):
            return
        own, other = (_contrast(image, labels, self.ignore_index) for labels in (mask, before))
        if own and other:
            self.gains.append(math.log(own / other))

    def _black_and_white(self) -> Finding | None:
        if set(self.pixels) != {0, 255} or self.ignore_index != 255:
            return None
        return Finding(
            "error",
            "black and white",
            "the masks hold 0 and 255 alone: 255 is read as `no class`, so class 0 is all there is",
            healthy="0 and 1",
            cure="mask = (mask == 255), or masks='binary' where the files are read",
        )

    def _one_label(self) -> Finding | None:
        labels = set(self.pixels) - {self.ignore_index}
        if len(labels) != 1 or 255 in self.pixels:
            return None
        return Finding(
            "error",
            "one label",
            f"the masks of all {self.images} images hold the label {labels.pop()} alone",
            healthy="two labels or more",
            cure="look at the values of a mask file; ToTensor divides labels by 255",
        )

    def _interpolated(self) -> Finding | None:
        share = self.climbs / max(1, self.steps)
        if share < _BETWEEN:
            return None
        return Finding(
            "warning",
            "interpolated labels",
            f"{share:.0%} of the label edges pass through a value in between",
            healthy=f"less than {_BETWEEN:.0%}",
            cure="resize and turn masks with the nearest neighbour, never bilinearly",
        )

    def _unpaired(self) -> Finding | None:
        gain = math.exp(sum(self.gains) / max(1, len(self.gains)))
        if len(self.gains) < _FEWEST or gain >= _FOLLOWS:
            return None
        return Finding(
            "warning",
            "pairs",
            f"the edges of images fit their own masks {gain:.2f} times as well as those of others",
            healthy=f"more than {_FOLLOWS}",
            cure="pair images and masks by name, and turn or flip both together",
        )


def _contrast(image: Tensor, mask: Tensor, ignore_index: int) -> float:
    """Mean step of the image (C, H, W) where the label changes, relative to elsewhere; or 0."""
    total, number = [0.0, 0.0], [0, 0]
    for axis in (0, 1):
        step = image.movedim(axis + 1, 1).diff(dim=1).abs().mean(0)
        labels = mask.movedim(axis, 0)
        known = (labels[1:] != ignore_index) & (labels[:-1] != ignore_index)
        edge = labels[1:] != labels[:-1]
        for place, chosen in enumerate((known & edge, known & ~edge)):
            total[place] += float(step[chosen].sum())
            number[place] += int(chosen.sum())
    if not all(number) or not all(total):
        return 0.0
    return total[0] / number[0] * number[1] / total[1]


def digest(image: Tensor) -> str:
    """A key that two images (C, H, W) share only where all their pixels are equal."""
    pixels = image.contiguous().numpy()
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def repeated(contents: Mapping[str, Mapping[str, Sequence[str]]]) -> list[Finding]:
    """Images whose pixels are those of another: within a split, and in two splits.

    Args:
        contents: split -> `digest` -> names of the images.
    """
    findings = []
    splits = list(contents)
    for split, images in contents.items():
        copies = [" = ".join(names) for names in images.values() if len(names) > 1]
        if copies:
            text = f"{split}: {len(copies)} images occur several times"
            findings.append(Finding("warning", "copies", text, tuple(copies[:SHOWN])))
    for place, one in enumerate(splits):
        for other in splits[place + 1 :]:
            # VOC's trainval is the union of train and val, by design.
            if "trainval" in (one, other):
                continue
            shared = [key for key in contents[one] if key in contents[other]]
            if shared:
                text = f"{len(shared)} images occur in {one} and in {other}: scores would be wrong"
                examples = (f"{contents[one][k][0]} = {contents[other][k][0]}" for k in shared)
                findings.append(
                    Finding(
                        "error",
                        "leak",
                        text,
                        tuple(examples)[:SHOWN],
                        healthy="none",
                        cure="split by patient, place or film, before anything is cut or turned",
                    )
                )
    return findings
