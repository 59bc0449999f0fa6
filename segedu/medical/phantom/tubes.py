"""Everything that is a tube: polylines with a radius, and trees of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def tube(points: ArrayLike, radii: ArrayLike) -> np.ndarray:
    """Segments (n, 8) of a polyline: start, end, radius at start, radius at end."""
    points = np.asarray(points, float)
    radii = np.broadcast_to(np.asarray(radii, float), len(points))
    ends = np.stack([radii[:-1], radii[1:]], axis=1)
    return np.concatenate([points[:-1], points[1:], ends], axis=1)


def tree(
    rng: np.random.Generator,
    root: Sequence[float],
    targets: np.ndarray,
    radius: float,
    power: float,
) -> np.ndarray:
    """Branches (n, 8) that reach every target, thinner the fewer targets they supply.

    Each branch heads for the middle of its targets and splits them in two, as vessels fill a lung:
    Murray's law says radius ~ targets^(1/3); lungs come closer to a power of 0.4.
    """
    branches, todo = [], [(np.asarray(root, float), targets)]
    while todo:
        start, group = todo.pop()
        thick = radius * len(group) ** power
        if len(group) == 1:
            branches.append([*start, *group[0], thick, 0.5 * thick])
            continue
        middle = group.mean(0)
        reach = middle - start
        bend = rng.normal(size=3) * 0.10 * np.linalg.norm(reach)
        end = start + rng.uniform(0.4, 0.6) * reach + bend
        branches.append([*start, *end, thick, 0.92 * thick])
        longest = np.linalg.svd(group - middle, full_matrices=False)[2][0]
        order = np.argsort(group @ longest, kind="stable")
        cut = int(np.clip(round(len(group) * rng.uniform(0.3, 0.7)), 1, len(group) - 1))
        todo += [(end, group[order[:cut]]), (end, group[order[cut:]])]
    return np.array(branches)
