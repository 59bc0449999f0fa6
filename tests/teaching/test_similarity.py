"""Answers that are alike."""

import pytest

from segedu.teaching.similarity import alike

LOOP = """\
def answer(mask, size):
    best = 0
    for row in range(size):
        for column in range(size):
            if mask[row][column]:
                best = max(best, row * size + column)
    return best
"""


def test_names_comments_and_layout_hide_nothing():
    renamed = LOOP.replace("best", "b").replace("row", "i").replace("column", "j")
    moved = "# mine\n" + LOOP.replace("    ", "  ").replace("best = 0", "best = 0  # begin\n")
    other = LOOP.replace("row * size", "row + size")
    found = alike({"ann": LOOP, "bob": renamed, "eve": moved, "jo": other})
    assert found == [["ann", "bob", "eve"]]


def test_names_that_change_places_are_another_program():
    swapped = LOOP.replace("row * size + column", "column * size + row")
    assert alike({"ann": LOOP, "bob": swapped}) == []


@pytest.mark.parametrize("source", ["", "answer = 3", "'''", "if x:\n  y\n z" + LOOP])
def test_short_and_broken_code_is_left_out(source):
    assert alike({"ann": source, "bob": source}) == []


@pytest.mark.parametrize("source", ["(" * 50_000, "-" * 50_000 + "1", "[" * 9_000 + "]" * 9_000])
def test_code_that_stops_a_parser_stops_nothing(source):
    assert alike({"ann": source, "bob": LOOP}) == []
