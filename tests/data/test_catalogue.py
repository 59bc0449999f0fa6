"""The catalogue of data sets: its form, its sources and its terms."""

import re

import pytest
from pybtex.database import parse_file

from segedu.data import catalogue
from segedu.data.catalogue import FIELDS, SOURCES, TASKS, USES, DataSet, data_sets
from segedu.languages import BAR, halves
from tests.chapters.prose import HAN, ROOT

NAMED = [pytest.param(one, id=one.name) for one in data_sets()]
TERMS = re.compile(r"CC(0| BY(-NC)?(-SA)?( \d\.\d)?)|[\w-]+ Research License")
FREE = re.compile(r"CC0|CC BY(-SA)? \d\.\d")


@pytest.mark.parametrize("one", NAMED)
def test_form(one: DataSet) -> None:
    assert one.field in FIELDS and one.use in USES and one.unit in ("images", "volumes")
    assert one.tasks and set(one.tasks) <= set(TASKS)
    assert list(one.tasks) == sorted(one.tasks, key=TASKS.index)
    assert one.images > 0 and (one.classes is None or one.classes > 0)
    assert one.checked.keys() == {"images", "classes", "licence"}
    assert set(one.checked.values()) <= set(SOURCES)


@pytest.mark.parametrize("one", NAMED)
def test_home_is_an_address(one: DataSet) -> None:
    assert re.fullmatch(r"https?://[\w-]+(\.[\w-]+)+/[\w./-]*", one.home)


@pytest.mark.parametrize("one", NAMED)
def test_terms(one: DataSet) -> None:
    """A name of a licence, or words in both languages; and the use is what the name allows."""
    words = halves(one.licence)
    assert TERMS.fullmatch(one.licence) if words is None else re.search(f"[{HAN}]", words["zh"])
    assert (one.use == "free") == bool(FREE.fullmatch(one.licence))
    assert one.use == "non-commercial" or not re.search("-NC|Research", one.licence)
    assert (one.use == "unknown") == one.licence.startswith("not found")
    if one.use == "free":  # a promise to a reader who sells something
        assert one.checked["licence"]


def test_every_paper_is_in_the_bibliography() -> None:
    keys = parse_file(ROOT / "book" / "references.bib").entries.keys()
    assert [one.key for one in data_sets() if one.key not in keys] == []


def test_order_and_names() -> None:
    order = [(FIELDS.index(one.field), one.name.lower()) for one in data_sets()]
    assert order == sorted(set(order)), "by field, then by name, each name once"
    assert {one.field for one in data_sets()} == set(FIELDS)
    assert not any(BAR in one.name for one in data_sets())


def test_an_entry_of_another_form_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "read_json", lambda _: [{"name": "Nowhere", "size": 3}])
    with pytest.raises(ValueError, match="Nowhere: an entry must hold .*licence.*, got name, size"):
        data_sets.__wrapped__()
