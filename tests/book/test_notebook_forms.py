import pytest
from docutils import nodes
from notebook_forms import rewrite


@pytest.mark.parametrize(
    ("notebook", "book"),
    [
        ("as shown [@long2015]", "as shown {cite}`long2015`"),
        ("both [@one; @two:a]", "both {cite}`one,two:a`"),
        ("[Fig.](#fig-x)", "{numref}`Fig. {number} <fig-x>`"),
        ("见[图](01-other.ipynb#fig-x)", "见{numref}`图 {number} <fig-x>`"),
        ("[图](#fig-x)中，[式](#eq-a)的", "{numref}`图 {number} <fig-x>` 中，式 {eq}`eq-a` 的"),
        ("([A](../b/bibliography.md#one))", "{cite}`one`"),
        ("（[A](bibliography.md#one)；[B](bibliography.md#two)）", "{cite}`one,two`"),
        ("（同一年，[A](bibliography.md#one)）", "（同一年，{cite}`one`）"),
        ("([A](bibliography.md#one), table 2)", "({cite}`one`, table 2)"),
        ("[Eq.](#eq-dice)", "Eq. {eq}`eq-dice`"),
        ("$$\na\n$$ <!-- eq-dice -->", "$$\na\n$$ (eq-dice)"),
        ("$$ a $$ <!-- eq-dice -->", "$$ a $$ (eq-dice)"),
        ("`[@key]` and [@key]", "`[@key]` and {cite}`key`"),
        ("```python\n[@key]\n```\n[@key]", "```python\n[@key]\n```\n{cite}`key`"),
        ("[a link](#section) [b](other.ipynb) x@y.z", "[a link](#section) [b](other.ipynb) x@y.z"),
    ],
)
def test_rewrite(notebook, book):
    assert rewrite(notebook) == book


@pytest.mark.parametrize(("sign", "kind"), [("⚠️", "warning"), ("💡", "tip"), ("ℹ️", "note")])
def test_callouts_become_admonitions(read, sign, kind):
    tree, warnings = read(f"# T\n\n> {sign} **Title.** Text $x$.\n>\n> More.\n", "both")
    [admonition] = tree.findall(nodes.admonition)
    assert admonition["classes"] == [kind]
    assert admonition[0].astext() == "Title"
    assert [paragraph.astext() for paragraph in admonition[1:]] == ["Text x.", "More."]
    assert not list(tree.findall(nodes.block_quote)) and warnings == ""


def test_a_callout_may_have_its_text_in_the_next_paragraph(read):
    tree, _ = read("# T\n\n> 💡 **Title ｜ 标题**\n>\n> - item\n", "en")
    [admonition] = tree.findall(nodes.admonition)
    assert admonition[0].astext() == "Title"
    assert isinstance(admonition[1], nodes.bullet_list) and len(admonition) == 2


def test_other_quotes_stay(read):
    tree, _ = read("# T\n\n> **Bold.** Text.\n\n> 💡 no title\n", "both")
    assert len(list(tree.findall(nodes.block_quote))) == 2
