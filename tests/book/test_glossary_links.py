"""The first use of a term on a page leads to the glossary and explains itself."""

import io

import pytest
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

TERMS = """
- {id: mask, en: mask, zh: 掩膜, en_def: Marks pixels., zh_def: 标出像素。}
- {id: binary-mask, en: binary mask, zh: 二值掩膜, en_def: Two values., zh_def: 两种取值。}
- {id: iou, en: overlap over union, zh: 交并比, en_def: A ratio., zh_def: 一比。, en_forms: [IoU]}
- {id: otsu, en: Otsu's method, zh: 大津法, zh_also: [一块], en_def: A threshold., zh_def: 阈值。}
- {id: recall, en: recall, zh: 召回率, en_def: A share., zh_def: 比例。, everyday: true}
- {id: entropy, en: entropy, zh: 熵, en_def: Doubt., zh_def: 不确定。}
- {id: loss, en: cross-entropy, zh: 交叉熵损失, zh_also: [交叉熵], en_def: A loss., zh_def: 损失。}
"""
PAGE = """# A mask ｜ 掩膜

+++ {"tags": ["lang-en"]}

Binary masks first; `mask`, $mask$, a **mask**, masks, unmask, IoU-like, IoU. Recall Otsu's method.

+++ {"tags": ["lang-zh"]}

二值掩膜，再是掩膜与掩膜；召回率（mask）；交叉熵；一块。
"""


@pytest.fixture
def links(tmp_path):
    """Gives (text, address, explanation) of the links on a page of an edition."""
    (tmp_path / "book").mkdir()
    (tmp_path / "book/terminology.yml").write_text(TERMS, encoding="utf-8")
    (tmp_path / "book/glossary.md").write_text("# G\\n\\n```{terminology} terminology.yml\\n```\\n")
    (tmp_path / "index.md").write_text(f"{PAGE}\n\n```{{toctree}}\nbook/glossary\n```\n", "utf-8")

    def build(edition: str) -> list[tuple[str, str, str]]:
        settings = {
            "extensions": ["myst_nb", "bilingual", "glossary"],
            "bilingual_edition": edition,
            "myst_enable_extensions": ["dollarmath"],
            "nb_execution_mode": "off",
        }
        folders = (tmp_path, None, tmp_path / "_build", tmp_path / "_build" / "trees")
        with patch_docutils(), docutils_namespace():
            app = Sphinx(
                *folders, "html", settings, status=None, warning=io.StringIO(), freshenv=True
            )
            app.build(force_all=True)
            page = app.env.get_and_resolve_doctree("index", app.builder)
        return [
            (link.astext(), link["refuri"], link["reftitle"])
            for link in page.findall(nodes.reference)
            if "term" in link["classes"]
        ]

    return build


ENGLISH = [
    ("Binary masks", "book/glossary.html#term-binary-mask", "Two values."),
    ("mask", "book/glossary.html#term-mask", "Marks pixels."),
    ("IoU", "book/glossary.html#term-iou", "A ratio."),
    ("Otsu’s method", "book/glossary.html#term-otsu", "A threshold."),
]
CHINESE = [
    ("二值掩膜", "book/glossary.html#term-binary-mask", "两种取值。"),
    ("掩膜", "book/glossary.html#term-mask", "标出像素。"),
    ("交叉熵", "book/glossary.html#term-loss", "损失。"),
]


@pytest.mark.parametrize(
    ("edition", "expected"), [("en", ENGLISH), ("zh", CHINESE), ("both", ENGLISH + CHINESE)]
)
def test_first_uses_are_linked(links, edition, expected):
    assert links(edition) == expected
