"""Pairs of pixels that lie one step apart."""


def step_pairs(dy: int, dx: int, height: int, width: int) -> tuple[tuple, tuple]:
    """Indices of the pixels (y, x), and of (y + dy, x + dx), where both exist.

    Args:
        dy: rows of the step, 0 .. height.
        dx: columns of the step, -width .. width.
        height: of the last but one dimension of what is indexed.
        width: of its last dimension.

    Example:
        >>> import torch
        >>> one, other = step_pairs(0, 1, 1, 3)
        >>> row = torch.tensor([[5, 6, 7]])
        >>> row[one], row[other]
        (tensor([[5, 6]]), tensor([[6, 7]]))
    """
    rows, columns = height - dy, width - abs(dx)
    left, right = max(0, -dx), max(0, dx)
    one = (..., slice(0, rows), slice(left, left + columns))
    return one, (..., slice(dy, height), slice(right, right + columns))
