"""Which images to label next: what a network is unsure of, or what is unlike what is labelled.

The first four say for each pixel how unsure it is, from 0 to 1; the mean over the pixels of an
image, ``entropy(p).flatten(1).mean(1)``, ranks the images (Settles 2009, "Active Learning
Literature Survey", section 3.1). `farthest_first` chooses by features instead.
"""

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor


def least_confidence(probabilities: Tensor) -> Tensor:
    """One minus the probability of the likeliest class (Lewis & Gale 1994).

    Args:
        probabilities: float (N, C, *S), of each pixel summing to 1 over C.

    Returns:
        (N, *S) in [0, 1 - 1/C].

    Raises:
        ValueError: the values are no probabilities.
    """
    return 1 - _checked(probabilities).amax(1)


def small_margin(probabilities: Tensor) -> Tensor:
    """One minus the lead of the likeliest class over the second (Scheffer et al. 2001).

    Args:
        probabilities: as for `least_confidence`; C is 2 at least.

    Returns:
        (N, *S) in [0, 1]: 1 where two classes are equally likely, and none more.

    Raises:
        ValueError: the values are no probabilities.
    """
    first, second = _checked(probabilities).topk(2, dim=1).values.unbind(1)
    return 1 - (first - second)


def entropy(probabilities: Tensor) -> Tensor:
    """Shannon's entropy, divided by its largest value, that of C equally likely classes.

    Args:
        probabilities: as for `least_confidence`; C is 2 at least.

    Returns:
        (N, *S) in [0, 1].

    Raises:
        ValueError: the values are no probabilities.
    """
    p = _checked(probabilities)
    return torch.special.entr(p).sum(1) / log(p.shape[1])


def disagreement(probabilities: Tensor) -> Tensor:
    """How much several networks contradict each other: BALD (Houlsby et al. 2011, Eq. 2).

    The entropy of their mean minus the mean of their entropies. It is 0 where all are unsure in the
    same way, as at an edge that nobody can place, and large where each is sure of another class.

    Args:
        probabilities: float (M, N, C, *S), of M networks, or of M passes with dropout at work.

    Returns:
        (N, *S) in [0, 1].

    Raises:
        ValueError: the values are no probabilities.
    """
    if probabilities.ndim < 4:
        raise ValueError(f"probabilities must be (M, N, C, ...), got {tuple(probabilities.shape)}")
    each = torch.stack([entropy(one) for one in probabilities])
    return (entropy(probabilities.mean(0)) - each.mean(0)).clamp(min=0)  # rounding goes below 0


def farthest_first(features: Tensor, labelled: Sequence[int], count: int) -> list[int]:
    """Images that lie far from all others that are labelled or chosen (Sener & Savarese 2018).

    The greedy k-centre rule, their Algorithm 1: again and again the image whose nearest labelled or
    chosen one is farthest away; of equally far ones the first.

    Args:
        features: float (N, D), one vector for each image.
        labelled: numbers of the images that have labels; one at least.
        count: how many to choose, from 0 to the number of the others.

    Returns:
        The numbers, in the order of choice.

    Raises:
        ValueError: nothing is labelled, or fewer others are left than `count`.
    """
    if features.ndim != 2:
        raise ValueError(f"features must be (N, D), got {tuple(features.shape)}")
    known = torch.as_tensor(sorted(set(labelled)), dtype=torch.int64)
    if not len(known):
        raise ValueError("labelled must hold one image at least, got none")
    if not 0 <= count <= len(features) - len(known):
        raise ValueError(f"count must be in 0..{len(features) - len(known)}, got {count}")
    nearest = torch.cdist(features, features[known]).amin(1)
    nearest[known] = -1  # never again, even where all lie in one place
    chosen: list[int] = []
    for _ in range(count):
        new = int(nearest.argmax())
        chosen.append(new)
        nearest = nearest.minimum(torch.linalg.vector_norm(features - features[new], dim=1))
        nearest[new] = -1
    return chosen


def _checked(probabilities: Tensor) -> Tensor:
    p = probabilities.detach()
    if p.ndim < 3 or p.shape[1] < 2:
        raise ValueError(
            f"probabilities must be (N, C, ...) of 2 classes at least, got {tuple(p.shape)}"
        )
    if p.numel() and not (p.min() >= 0 and torch.allclose(p.sum(1), p.new_ones(()), atol=1e-3)):
        raise ValueError("probabilities must sum to 1 over the classes: pass logits.softmax(1)")
    return p
