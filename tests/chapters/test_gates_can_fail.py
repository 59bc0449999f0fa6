"""Each gate notices what it is for: a correct notebook is broken in one way at a time."""

import pytest

from tests.chapters import small_chapter
from tests.chapters.fingerprints import FILE
from tests.chapters.gates import GATES, report
from tests.chapters.small_chapter import NAME, code, markdown, shows



def first(content: dict, tag: str) -> dict:
    """The first cell with a tag."""
    return next(c for c in content["cells"] if tag in c["metadata"].get("tags", []))


def holding(content: dict, text: str) -> dict:
    """The first cell whose source holds a text."""
    return next(c for c in content["cells"] if text in c["source"])


def swap(cell: dict, old: str, new: str) -> None:
    assert old in cell["source"]
    cell["source"] = cell["source"].replace(old, new)


def append(content: dict, *cells: dict) -> None:
    for cell in cells:
        number = len(content["cells"])
        if cell["cell_type"] == "code":
            cell["execution_count"] = 1 + sum(c["cell_type"] == "code" for c in content["cells"])
        content["cells"].append(cell | {"id": f"cell-{number}"})


def in_chinese(old: str, new: str):
    return lambda n: swap(first(n, "lang-zh"), old, new)


def in_english(old: str, new: str):
    return lambda n: swap(first(n, "lang-en"), old, new)


def output(kind: str, data: str):
    return lambda n: append(n, code("x", outputs=[shows(kind, data)]))


def stream(name: str, text: str):
    printed = {"output_type": "stream", "name": name, "text": text}
    return lambda n: append(n, code("x", outputs=[printed]))


def without(text: str):
    return lambda n: n["cells"].remove(holding(n, text))


# gate, what is done to the notebook, what the complaint must say
BROKEN = [
    ("is_valid", lambda n: n["cells"][0].update(attachments=1), "invalid notebook"),
    ("is_valid", lambda n: n["cells"][0].pop("id"), "the cell has no id"),
    ("is_valid", lambda n: n["metadata"].update(kernelspec={"name": "venv"}), "must be python3"),
    ("is_valid", lambda n: n["metadata"].update(widgets={}), "holds 'widgets'"),
    (
        "is_valid",
        lambda n: first(n, "results")["metadata"].update(execution={}),
        "holds 'execution'",
    ),
    (
        "hides_results_by_the_last_character",
        lambda n: append(n, code("print(1);  # one")),
        "put the comment on a line of its own",
    ),
    ("keeps_code_narrow", lambda n: append(n, code(f"x = {'1' * 100}")), "104 characters"),
    (
        "starts_with_the_setup_cell",
        lambda n: n["cells"].remove(first(n, "setup")),
        "first code cell",
    ),
    (
        "starts_with_the_setup_cell",
        lambda n: swap(first(n, "setup"), "scikit-image", "scipy"),
        "differs from",
    ),
    (
        "starts_with_the_setup_cell",
        lambda n: first(n, "setup")["metadata"].update(tags=["setup"]),
        "needs the tag 'hide-input'",
    ),
    (
        "declares_typed_parameters",
        lambda n: n["cells"].remove(first(n, "parameters")),
        "second code",
    ),
    (
        "declares_typed_parameters",
        lambda n: swap(first(n, "parameters"), "epochs: int", "epochs"),
        "not a typed assignment",
    ),
    (
        "declares_typed_parameters",
        lambda n: first(n, "parameters").update(source="# none"),
        "no parameter is declared",
    ),
    (
        "uses_known_tags",
        lambda n: first(n, "results")["metadata"]["tags"].append("nbval-skip"),
        "unknown tag 'nbval-skip' on a code cell",
    ),
    (
        "uses_known_tags",
        lambda n: first(n, "results")["metadata"]["tags"].append("lang-en"),
        "unknown tag 'lang-en' on a code cell",
    ),
    (
        "uses_known_tags",
        lambda n: first(n, "solution")["metadata"]["tags"].remove("hide-cell"),
        "needs the tag 'hide-cell'",
    ),
    (
        "uses_known_tags",
        lambda n: first(n, "solution")["metadata"].pop("jupyter"),
        "needs the metadata jupyter",
    ),
    (
        "pairs_languages",
        lambda n: n["cells"].remove(first(n, "lang-zh")),
        "not followed by lang-zh",
    ),
    (
        "pairs_languages",
        lambda n: n["cells"].remove(first(n, "lang-en")),
        "does not follow lang-en",
    ),
    (
        "pairs_languages",
        lambda n: first(n, "lang-en")["metadata"]["tags"].append("lang-zh"),
        "both languages",
    ),
    ("keeps_shared_things_out_of_pairs", in_english("Short", "\n## Head\n"), "heading in a cell"),
    ("keeps_shared_things_out_of_pairs", in_chinese("这里", "\n(here)=\n"), "label in a cell"),
    (
        "keeps_shared_things_out_of_pairs",
        in_chinese("这里", "\n$$x$$ <!-- eq-x -->\n"),
        "label in a cell",
    ),
    (
        "keeps_single_language_prose_in_pairs",
        lambda n: append(n, markdown("Only one language here.")),
        "one language",
    ),
    (
        "keeps_single_language_prose_in_pairs",
        lambda n: append(n, markdown("| A ｜ 甲 |\n|---|\n| 只有中文 |")),
        "one language",
    ),
    ("agrees_across_languages", in_english("$a + b$", "$a - b$"), "formulas differ"),
    ("agrees_across_languages", in_chinese("1000", "1001"), r"numbers differ.*'1000'.*'1001'"),
    ("agrees_across_languages", in_chinese("@long2015fcn", "@he2016resnet"), "citations differ"),
    ("agrees_across_languages", in_chinese("02-other", "03-other"), "links differ"),
    ("agrees_across_languages", in_chinese("`mask[0]`", "`mask[1]`"), "code differ"),
    ("agrees_across_languages", in_chinese("> 💡 ", ""), "number of callouts differs"),
    ("agrees_across_languages", in_chinese("这里", "<details>\n\n"), "number of <details> differs"),
    ("translates_terms", in_chinese("掩膜", "遮罩"), "term 'mask' must be 掩膜"),
    (
        "translates_terms",
        lambda n: append(n, markdown("### The receptive field ｜ 接受域")),
        "heading: term 'receptive field' must be 感受野",
    ),
    (
        "writes_short_texts_in_both_languages",
        lambda n: append(n, markdown("### Only English")),
        "heading is not",
    ),
    (
        "writes_short_texts_in_both_languages",
        lambda n: append(n, markdown("### Half-width | 半角")),
        "heading is not",
    ),
    (
        "writes_short_texts_in_both_languages",
        lambda n: append(n, markdown("### 中文 ｜ English")),
        "Chinese before the bar",
    ),
    (
        "writes_short_texts_in_both_languages",
        lambda n: append(n, markdown("### One ｜ two")),
        "no Chinese after the bar",
    ),
    (
        "writes_short_texts_in_both_languages",
        lambda n: swap(n["cells"][-1], "Model ｜ 模型", "model"),
        "table head is not",
    ),
    (
        "writes_short_texts_in_both_languages",
        lambda n: holding(n, "draw()")["metadata"]["mystnb"]["figure"].update(caption="A mask"),
        "caption is not",
    ),
    (
        "writes_short_texts_in_both_languages",
        lambda n: holding(n, "draw()")["metadata"]["mystnb"]["image"].update(alt="A mask"),
        "alt text is not",
    ),
    ("sets_chinese_well", in_chinese("个像素", "pixel"), "no space between"),
    ("sets_chinese_well", in_chinese(" $a+b$ 个", "$a+b$个"), r"no space.*\$…\$"),
    ("sets_chinese_well", in_chinese("部分，", "部分,"), "half-width punctuation"),
    ("sets_chinese_well", in_chinese("话。", "话."), "half-width punctuation"),
    ("sets_chinese_well", in_chinese("（mask）", "(mask)"), "half-width bracket"),
    ("sets_chinese_well", in_chinese("平常", '"平常"'), "straight quotation"),
    ("sets_chinese_well", in_chinese("平常", "平 常"), "between two Chinese"),
    ("sets_chinese_well", in_chinese("部分，", "部分 ，"), "space before full-width"),
    ("sets_chinese_well", in_chinese("部分，", "部分，\n"), "line break"),
    ("sets_chinese_well", in_chinese("请读", "您读"), "你, not 您"),
    (
        "sets_chinese_well",
        lambda n: append(n, markdown("### Uses of FCN ｜ FCN的用途")),
        "heading: no space",
    ),
    ("renders_emphasis", in_chinese("**掩膜**（", "**掩膜（mask）**的（"), r"\*\* is not rendered"),
    (
        "renders_emphasis",
        lambda n: swap(holding(n, "<details>"), "</summary>\n\n", "</summary>\n"),
        "blank line is needed",
    ),
    ("cites_what_exists", in_english("long2015fcn", "nobody2099nothing"), "not in book/references"),
    (
        "cites_what_exists",
        lambda n: [c.update(source=c["source"].replace("[@long2015fcn]", "")) for c in n["cells"]],
        "cites nothing",
    ),
    ("links_to_what_exists", in_english("02-other", "09-other"), "does not exist: 09-other.ipynb"),
    ("links_to_what_exists", in_english("02-other.ipynb", "http://example.org"), "not https"),
    ("links_to_what_exists", in_english("02-other.ipynb", "#exercises"), "headings have no anchors"),
    (
        "stores_clean_outputs",
        lambda n: holding(n, "draw()").update(execution_count=99),
        "execution counts",
    ),
    ("stores_clean_outputs", stream("stderr", "UserWarning"), "wrote to stderr: 'UserWarning'"),
    (
        "stores_clean_outputs",
        lambda n: append(
            n,
            code(
                "x",
                outputs=[{"output_type": "error", "ename": "E", "evalue": "v", "traceback": []}],
            ),
        ),
        "raised E: v",
    ),
    (
        "stores_clean_outputs",
        output("application/vnd.jupyter.widget-view+json", "{}"),
        "needs a live kernel",
    ),
    ("stores_clean_outputs", stream("stdout", "/home/me/x.png"), "machine path or address"),
    (
        "stores_clean_outputs",
        output("text/plain", "<A at 0x7fbc12345678>"),
        "machine path or address",
    ),
    ("stores_clean_outputs", lambda n: append(n, code("open('/tmp/x')")), "path in the source"),
    ("stores_clean_outputs", stream("stdout", "Glyph 25513 (x) missing from font"), "glyph"),
    ("stores_clean_outputs", output("text/html", "<script>1</script>"), "loads a script"),
    ("stores_clean_outputs", output("text/html", '<img src="http://x/y">'), "loads a script"),
    (
        "stores_outputs",
        lambda n: holding(n, "print(1)").update(outputs=[]),
        "prints, but no output",
    ),
    ("stores_outputs", lambda n: holding(n, "draw()").update(outputs=[]), "is a figure, but"),
    (
        "stores_outputs",
        lambda n: holding(n, "draw()")["metadata"]["mystnb"].pop("image"),
        "without metadata mystnb.image.alt",
    ),
    (
        "stores_outputs",
        lambda n: holding(n, "draw()").update(outputs=[shows("image/png", "AAAA")]),
        "not a PNG",
    ),
    ("shows_an_explorer", without("explore()"), "no interactive figure"),
    ("keeps_its_promise", lambda n: n["cells"].remove(first(n, "results")), "0 cells tagged"),
    (
        "keeps_its_promise",
        lambda n: first(n, "results")["metadata"]["tags"].remove("nbval-ignore-output"),
        "needs the tag 'nbval-ignore-output'",
    ),
    (
        "keeps_its_promise",
        lambda n: first(n, "results").update(outputs=[]),
        "plain dict of numbers",
    ),
    (
        "keeps_its_promise",
        lambda n: first(n, "results").update(outputs=[shows("text/plain", "{'mean_iou': nan}")]),
        "plain dict of numbers",
    ),
    (
        "keeps_its_promise",
        lambda n: first(n, "results").update(outputs=[shows("text/plain", "{'mean_iou': '0.6'}")]),
        "must be a finite number",
    ),
    (
        "keeps_its_promise",
        lambda n: first(n, "results").update(outputs=[shows("text/plain", "{'mean_iou': 0.64}")]),
        "mean_iou = 0.64, expected 0.61 ± 0.02",
    ),
    (
        "keeps_its_promise",
        lambda n: first(n, "results").update(outputs=[shows("text/plain", "{'iou': 0.6}")]),
        "iou is not in expected.yml",
    ),
    (
        "is_stored_by_make",
        lambda n: swap(first(n, "results"), "0.6", "0.60"),
        "its code changed, not executed by `make notebooks CHAPTERS=01-topic`",
    ),
    ("is_stored_by_make", stream("stdout", "edited"), "its outputs changed"),
]


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.__name__)
def test_the_correct_notebook_passes(tmp_path, gate):
    chapter = small_chapter.write(tmp_path, small_chapter.notebook())
    assert report(chapter, gate) == []


@pytest.mark.parametrize(
    ("gate", "breaking", "message"), BROKEN, ids=[f"{g}-{m[:24]}" for g, _, m in BROKEN]
)
def test_a_broken_notebook_is_noticed(tmp_path, gate, breaking, message):
    content = small_chapter.notebook()
    breaking(content)
    chapter = small_chapter.write(tmp_path, content, executed=small_chapter.notebook())
    problems = report(chapter, next(g for g in GATES if g.__name__ == gate))
    assert all(problem.startswith(NAME) for problem in problems)
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("\n".join(problems))


def test_every_gate_is_broken_at_least_once():
    assert {gate for gate, _, _ in BROKEN} == {gate.__name__ for gate in GATES}


def test_a_notebook_without_expected_numbers_is_noticed(tmp_path):
    chapter = small_chapter.write(tmp_path, small_chapter.notebook(), expected="other: 1")
    (tmp_path / "book" / "expected.yml").write_text("other.ipynb: {}\n")
    gate = next(g for g in GATES if g.__name__ == "keeps_its_promise")
    assert report(chapter, gate)[0].endswith(f"expected.yml has no entry {NAME}: cpu")


def test_a_notebook_without_a_fingerprint_is_noticed(tmp_path):
    chapter = small_chapter.write(tmp_path, small_chapter.notebook())
    (tmp_path / FILE).unlink()
    gate = next(g for g in GATES if g.__name__ == "is_stored_by_make")
    assert "has no fingerprint" in report(chapter, gate)[0]
