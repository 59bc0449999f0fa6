"""The tables of times say what the records say, in both languages."""

import json

import pytest
import yaml
from measured import HEAD, SCORE, Race, joined, machines, numbers, races

from segedu.languages import halves
from segedu.models import comparison
from tests.book.conftest import ROOT

PAGE = (ROOT / "book/measured.md").read_text(encoding="utf-8")
WORDS = yaml.safe_load((ROOT / "book/measured.yml").read_text(encoding="utf-8"))
FILES = [line.split()[1] for line in PAGE.split("\n") if line.startswith("```{measured}")]
RECORDS = [json.loads((ROOT / "book" / file).read_text(encoding="utf-8")) for file in FILES]


def times(**found):
    """Median and ratio to the first, of each."""
    return {name: {"median_ms": ms, "ratio": ratio} for name, (ms, ratio) in found.items()}


def test_races_by_hand():
    record = {
        "machine": {},
        "losses": {"Dice": times(segedu=(2.0, 1.0), smp=(5.0, 2.4))},
        "note": "",
        "own": times(a=(1, 1)),
    }
    assert list(races(record)) == [Race(("Dice",), 2.0, {"smp": 2.4})]
    peer = {
        "peer": "smp: FPN",
        "difference": "",
        "forward": times(theirs=(2.0, 1.0), ours=(4.0, 1.6)),
        "peak_bytes": {"ours": 1},
    }
    assert list(races({"models": {"fpn": peer}})) == [
        Race(("fpn", "forward"), 4.0, {"smp": 1 / 1.6})
    ]


@pytest.mark.parametrize("record", RECORDS, ids=FILES)
def test_every_word_of_a_record_is_said_in_both_languages(record):
    found = list(races(record))
    words = {word for race in found for word in (*race.work, *race.ratios)}
    assert found and {word for word in words - WORDS.keys() if " " in word} == set()
    assert {clock for _, clock in machines(record)} <= WORDS.keys()


def test_no_word_is_left_over():
    used = {"work", "segedu, ms", "others"}
    for record in RECORDS:
        used |= {word for race in races(record) for word in (*race.work, *race.ratios)}
        used |= {clock for _, clock in machines(record)}
    assert set(WORDS) <= used


def test_both_halves_of_a_name_have_its_ratio():
    assert joined(["by torch ｜ 借助 torch", "1.22×"], " ") == "by torch 1.22× ｜ 借助 torch 1.22×"


def test_halves_are_joined_by_themselves():
    assert joined(["a ｜ 甲", "B"]) == "a · B ｜ 甲 · B"
    assert joined(["A", "B"]) == "A · B"


def test_networks_of_every_task_are_compared():
    tasks = [line.split()[1] for line in PAGE.split("\n") if line.startswith("```{compared}")]
    assert tasks == list(comparison.METRIC) == list(SCORE)
    alike = {"MACs, M", "MB"}  # in both languages
    assert all(halves(text) for text in (*HEAD, *SCORE.values()) if text not in alike)


def test_what_was_not_measured_is_left_out():
    one = comparison.Measured("A", "instance", 121_276, 148_000_000, 9.04, None, 4.94, (0.25,), ())
    assert numbers(one) == ["0.12", "148", "9.0", "4.9", "25.0"]
    several = one._replace(ms_two_threads=5.0, scores=(0.5, 0.6, 0.55))
    assert numbers(several)[2:] == ["9.0; 5.0", "4.9", "55.0"]
