"""The glossary page: every term with both names in every edition, and anchors to link to."""

import io
import re
import sys

import pytest
import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from tests.chapters.prose import ROOT

TERMS = yaml.safe_load((ROOT / "book" / "terminology.yml").read_text(encoding="utf-8"))


def test_there_are_enough_terms():
    assert len(TERMS) >= 250


def test_one_chinese_term_for_one_concept():
    names = [term["zh"] for term in TERMS]
    assert sorted(names) == sorted(set(names))
    forms = [form.lower() for term in TERMS for form in {term["en"], *term.get("en_forms", [])}]
    assert sorted(forms) == sorted(set(forms))
    for term in TERMS:
        for short in term.get("zh_also", []):
            latin = re.search("[A-Za-z]", short)
            assert latin or short in term["zh"], f"{term['id']}: {short} is a second term"


def test_explanations_are_one_line_in_each_language():
    for term in TERMS:
        english, chinese = term["en_def"], term["zh_def"]
        assert english.endswith(".") and chinese.endswith("。"), term["id"]
        assert len(english) <= 140 and len(chinese) <= 70, term["id"]
        assert not re.search("[\u4e00-\u9fff]", english), term["id"]
        assert re.search("[\u4e00-\u9fff]", chinese), term["id"]


def test_terms_are_those_of_the_chinese_literature():
    by_name = {term["en"]: term["zh"] for term in TERMS}
    assert by_name | {
        "ignored pixel": "忽略像素",
        "predicted class": "预测类别",
        "parameter update": "参数更新步",
        "random number generator": "随机数生成器",
        "batch size": "批量大小",
        "batch": "小批量",
        "evaluation": "评估",
        "absent class": "未出现的类别",
        "stride": "步幅",
        "output stride": "输出步幅",
        "dropout": "暂退法",
    } == by_name


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Gives the glossary as an edition sees it, a page that links to it, and the warnings."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "book" / "ext"), *sys.path])
    for name in ("glossary.md", "terminology.yml"):
        (tmp_path / name).write_text((ROOT / "book" / name).read_text("utf-8"), "utf-8")
    link = "# A\n\n[field](#term-receptive-field)\n\n```{toctree}\nglossary\n```\n"
    (tmp_path / "index.md").write_text(link)

    def build(edition):
        warnings = io.StringIO()
        with patch_docutils(), docutils_namespace():
            settings = {
                "extensions": ["myst_nb", "bilingual", "glossary"],
                "bilingual_edition": edition,
                "nb_execution_mode": "off",
            }
            folders = (tmp_path, None, tmp_path / "_build", tmp_path / "_build" / "trees")
            app = Sphinx(*folders, "dummy", settings, status=None, warning=warnings, freshenv=True)
            app.build(force_all=True)
            page = app.env.get_and_resolve_doctree("index", app.builder)
            return app.env.get_doctree("glossary"), page, warnings.getvalue()

    return build


@pytest.mark.parametrize(
    ("edition", "explained"), [("both", ("en", "zh")), ("en", ("en",)), ("zh", ("zh",))]
)
def test_every_term_is_there(read, edition, explained):
    glossary, page, warnings = read(edition)
    assert warnings == ""
    items = {item[0]["ids"][-1]: item for item in glossary.findall(nodes.definition_list_item)}
    assert set(items) == {f"term-{term['id']}" for term in TERMS}
    for term in TERMS:
        name, definition = items[f"term-{term['id']}"].children
        shown = name.astext().replace("’", "'")
        assert term["en"] in shown and term["zh"] in shown
        assert [p.astext().replace("’", "'") for p in definition] == [
            term[f"{language}_def"]
            for language in (("zh", "en") if edition == "zh" else ("en", "zh"))
            if language in explained
        ]
    (link,) = [r for r in page.findall(nodes.reference) if r.astext() == "field"]
    assert link.get("refuri", "").endswith("#term-receptive-field")
