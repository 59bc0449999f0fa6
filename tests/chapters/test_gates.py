"""Every stored notebook passes every gate, and the book consists of exactly these notebooks."""

import re
import warnings
from functools import cache

import pytest
import yaml
from fontTools.ttLib import TTFont

from tests.chapters.expected import EXPECTED
from tests.chapters.fingerprints import notebooks, records
from tests.chapters.gates import Chapter, report, source
from tests.chapters.prose import HAN, ROOT, squeeze, terms, terms_in
from tests.chapters.smoke import PROFILES
from tests.chapters.teaching import gates_of, is_draft

CHAPTERS = [Chapter(path) for path in notebooks()]


@cache
def packaged_characters() -> set[int]:
    return set(TTFont(ROOT / "segedu/viz/fonts/SegeduSansSC-Regular.otf").getBestCmap())


def named(chapter: Chapter) -> str:
    return chapter.name.removeprefix("chapters/")


@pytest.mark.parametrize(
    ("chapter", "gate"),
    [
        pytest.param(chapter, gate, id=f"{named(chapter)}-{gate.__name__}")
        for chapter in CHAPTERS
        for gate in gates_of(chapter)
    ],
)
def test_gate(chapter, gate):
    problems = report(chapter, gate)
    assert not problems, "\n" + "\n".join(problems)


def test_the_table_of_contents_names_exactly_these_notebooks():
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    listed = re.findall(r"file: (chapters/[\w./-]+)", contents)
    stored = [c.name.removesuffix(".ipynb") for c in CHAPTERS if not is_draft(c)]
    assert stored, "the book has no chapter"
    assert sorted(name.removesuffix(".ipynb") for name in listed) == stored


def test_expected_numbers_are_those_of_these_notebooks():
    assert sorted(yaml.safe_load(EXPECTED.read_text(encoding="utf-8"))) == [
        chapter.name for chapter in CHAPTERS
    ]


def test_profiles_are_those_of_these_notebooks():
    """What `cpu` is, in which the chapter is stored, as small as it goes, and on a GPU."""
    profiles = yaml.safe_load(PROFILES.read_text(encoding="utf-8"))
    assert {name: set(own) for name, own in profiles.items()} == {
        chapter.name: {"cpu", "smoke", "gpu"} for chapter in CHAPTERS
    }


def test_fingerprints_are_those_of_these_notebooks():
    assert sorted(records()) == [chapter.name for chapter in CHAPTERS], "run `make notebooks`"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=named)
def test_the_packaged_font_has_every_chinese_character(chapter):
    """The book is shown with it where a machine has no Chinese font."""
    text = set(re.findall(f"[{HAN}]", chapter.path.read_text(encoding="utf-8")))
    missing = "".join(sorted(c for c in text if ord(c) not in packaged_characters()))
    assert not missing, f"add {missing} to TECHNICAL in segedu/viz/fonts/subset.py and run that"


def test_all_notebooks_install_from_the_same_repository():
    named = {
        repository
        for chapter in CHAPTERS
        for _, cell in chapter.code_cells("setup")
        for repository in re.findall(r'^REPOSITORY = "([^"]*)"', source(cell), re.M)
    }
    configured = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    url = configured["url"] and f"{configured['url']}@{configured['branch']}"
    assert named == {url or ""}, "run python -m segedu.tools.retarget with the URL of _config.yml"


@pytest.mark.parametrize("chapter", CHAPTERS, ids=named)
def test_first_use_of_a_term_gives_the_english(chapter):
    """Advice, not a rule: the first use in a chapter reads 感受野（receptive field）."""
    seen, advice = set(), []
    for index, english, chinese in chapter.pairs:
        for term in terms_in(english.text).values():
            text = squeeze(chinese.text)
            if term.id in seen or term.everyday or squeeze(term.zh) not in text:
                continue
            seen.add(term.id)
            if not any(squeeze(form).lower() in text.lower() for form in term.forms):
                advice.append(f"cell {index + 1}: {term.zh}（{term.en}）")
    if advice:
        warnings.warn(f"{chapter.name}: first use without the English term: {advice}", stacklevel=1)


def test_terminology_is_well_formed():
    entries = yaml.safe_load((ROOT / "book" / "terminology.yml").read_text(encoding="utf-8"))
    required = {"id", "en", "zh", "en_def", "zh_def"}
    optional = {"en_forms", "zh_also", "everyday"}
    for entry in entries:
        assert required <= entry.keys() <= required | optional, entry
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry["id"]), entry
        assert entry["en_def"].endswith(".") and entry["zh_def"].endswith("。"), entry
    assert len(entries) >= 130
    assert len({entry["id"] for entry in entries}) == len(entries)
    forms = [form.lower() for term in terms() for form in term.forms]
    assert sorted(forms) == sorted(set(forms))
