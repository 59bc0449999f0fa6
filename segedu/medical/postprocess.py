"""What is known of anatomy, applied to predicted labels."""

from collections.abc import Iterable

import numpy as np

from segedu.medical.volume import Volume


def keep_largest(labels: Volume, classes: Iterable[int]) -> Volume:
    """Of each class keep its largest piece; the others become background.

    Only for structures that are one piece, as a liver is: of tumours the smaller ones would go.

    Args:
        labels: whole numbers.
        classes: those of which only one piece is kept. Voxels that touch by faces, edges or
            corners are one piece.

    Example:
        >>> found = keep_largest(Volume(np.array([[[1, 0, 1, 1, 2, 0, 2]]])), [1])
        >>> found.array.tolist()
        [[[0, 0, 1, 1, 2, 0, 2]]]
    """
    from scipy.ndimage import label

    array = labels.array.copy()
    for c in classes:
        pieces, _ = label(array == c, np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        array[(pieces > 0) & (pieces != sizes.argmax())] = 0
    return labels.with_array(array)
