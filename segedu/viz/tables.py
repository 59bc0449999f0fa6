"""Tables that a notebook shows as HTML and a terminal as text.

A text ``English ｜ 中文`` is shown whole in Jupyter; the book's editions in one language show
their half of every text.
"""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True, repr=False)
class Table:
    """A finished table, see `table`; its cells are texts."""

    rows: tuple[tuple[str, ...], ...]
    head: tuple[str, ...]
    caption: str = ""
    numeric: tuple[bool, ...] = ()

    def _repr_html_(self) -> str:
        aligns = [f"text-align:{'right' if number else 'left'}" for number in self.numeric]
        heads = zip(self.head, aligns, strict=True)
        parts = [f"<caption>{escape(self.caption)}</caption>"] if self.caption else []
        top = "".join(f'<th scope="col" style="{how}">{escape(text)}</th>' for text, how in heads)
        parts.append(f"<thead><tr>{top}</tr></thead><tbody>")
        label = f"font-weight:normal;white-space:nowrap;{aligns[0]}"
        for first, *others in self.rows:
            cells = [f'<th scope="row" style="{label}">{escape(first)}</th>']
            pairs = zip(others, aligns[1:], strict=True)
            cells += [f'<td style="{how}">{escape(text)}</td>' for text, how in pairs]
            parts.append(f"<tr>{''.join(cells)}</tr>")
        # a wide table scrolls alone, also by the keyboard
        return (
            '<div class="segedu-table" style="overflow-x:auto" tabindex="0">'
            f"<table>{''.join(parts)}</tbody></table></div>"
        )

    def __repr__(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
        texts = ["  ".join(self._pad(line, widths)).rstrip() for line in lines]
        rule = "  ".join("-" * width for width in widths)
        return "\n".join([*([self.caption] if self.caption else []), texts[0], rule, *texts[1:]])

    def _pad(self, line: tuple[str, ...], widths: list[int]) -> Iterator[str]:
        for text, width, is_number in zip(line, widths, self.numeric, strict=True):
            space = " " * (width - _width(text))
            yield space + text if is_number else text + space


def table(
    rows: Sequence[Sequence[Any]], head: Sequence[str], *, digits: int = 3, caption: str = ""
) -> Table:
    """Return a table for a notebook, the same bytes for the same content.

    Args:
        rows: the cells of each row; the first one names it. Floats are rounded, integers get
            thousands separators, negative numbers a minus sign, NaN and None are "–".
        head: one text per column, ``English ｜ 中文``.
        digits: decimals of floats.
        caption: a text above the table, ``English ｜ 中文``.

    Raises:
        ValueError: if there is no row, or a row has not as many cells as ``head``.

    Example:
        >>> table([["U-Net", 0.71828], ["FCN", None]], ["model ｜ 模型", "IoU"], digits=2)
        model ｜ 模型   IoU
        -------------  ----
        U-Net          0.72
        FCN               –
    """
    if not len(rows):
        raise ValueError("rows must hold at least one row, got none")
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"a row must have {len(head)} cells as head has, got {list(row)}")
    cells = tuple(tuple(_text(value, digits) for value in row) for row in rows)
    numeric = tuple(
        all(not isinstance(value, str) for value in column) for column in zip(*rows, strict=True)
    )
    return Table(cells, tuple(head), caption, numeric)


def _text(value: Any, digits: int) -> str:
    if hasattr(value, "item"):  # a number of numpy or torch
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes ｜ 是" if value else "no ｜ 否"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    return f"{value:z.{digits}f}".replace("-", "−") if isinstance(value, float) else str(value)


def _width(text: str) -> int:
    """Columns that a terminal needs: two for a Chinese character."""
    return sum(2 if unicodedata.east_asian_width(c) in "FW" else 1 for c in text)
