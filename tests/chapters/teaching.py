"""The gates of a chapter that teaches: its frame, its rhythm, its numbers, its exercises.

They stand beside the rules of `gates.py` about languages, typography and outputs.
"""

import ast
import builtins
import html
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from segedu.languages import BAR
from tests.chapters.gates import (
    GATES,
    LANGUAGES,
    Chapter,
    Problem,
    agrees_across_languages,
    code_lines,
    keeps_single_language_prose_in_pairs,
    pairs_languages,
    pictures_of,
    shown_text,
    source,
    tags,
    translates_terms,
    without_fences,
    writes_short_texts_in_both_languages,
)
from tests.chapters.prose import ROOT

MAX_WORDS, MAX_HAN = 120, 220  # of a prose cell
MAX_LINES = 15  # of a visible code cell
FOLDED = {"setup", "parameters", "hide-input", "hide-cell", "solution", "remove-input"}
OPENING, ENDING = ("objectives",), ("exercises", "summary", "further reading")
# Headings that every chapter could have say nothing about this one.
EMPTY_HEADINGS = re.compile(
    r"the (idea|picture|analogy|mathematics|maths?|formulation|full implementation|package)"
    r"|from scratch|training|measuring|looking|interactive figure|pitfalls?|introduction|results"
    r"|implementation|experiments?|discussion",
    re.I,
)


def in_exercises(chapter: Chapter) -> set[int]:
    """Indices of the cells below the heading of the exercises, up to the next one of its level."""
    found, inside = set(), False
    for index in range(len(chapter.cells)):
        for level, text in [(level, text) for i, level, text in chapter.headings if i == index]:
            if level <= 2:
                inside = text.lower() == "exercises"
        if inside:
            found.add(index)
    return found


def visible_code(chapter: Chapter) -> list[tuple[int, dict]]:
    """Code cells that the reader meets unfolded."""
    return [(i, cell) for i, cell in chapter.code_cells() if not FOLDED & tags(cell)]


# ---- frame and size


def is_framed(chapter: Chapter) -> Iterator[Problem]:
    """Title, Objectives; at the end Exercises, Summary, Further reading; telling heads between."""
    levels = [level for _, level, _ in chapter.headings]
    if levels[:1] != [1] or levels.count(1) != 1:
        yield None, "the first heading, and only that, is the title (# English ｜ 中文)"
    sections = [(i, text) for i, level, text in chapter.headings if level == 2]
    names = [text.lower() for _, text in sections]
    if tuple(names[:1]) != OPENING:
        yield None, "the first section is '## Objectives ｜ 学习目标'"
    if tuple(names[-3:]) != ENDING:
        yield None, f"the last three sections are {', '.join(ENDING)}; they are {names[-3:]}"
    for index, text in sections[1:-3]:
        if EMPTY_HEADINGS.fullmatch(text.strip()):
            yield index, f"the heading {text!r} fits every chapter: say what this section shows"
    objectives = [p for p in chapter.pairs if sections and p[0] > sections[0][0]][:2]
    links = {link for _, english, _ in objectives for link in english.links}
    if not any(link.endswith((".ipynb", ".md")) for link in links):
        yield None, "the objectives name what one needs to know, linked to the chapter that has it"


def count_steps(chapter: Chapter) -> int:
    """Cells, where a pair is one, and a heading or a caption belongs to what it names."""
    named = {index for index, _, _ in chapter.headings}
    named |= {index for index, cell in enumerate(chapter.cells) if "caption" in tags(cell)}
    return len(chapter.cells) - len(chapter.pairs) - len(named)


def has_a_teaching_size(chapter: Chapter) -> Iterator[Problem]:
    """40-100 steps, ≤ 170 visible lines of code, ≤ 2,600 words per language, ≤ 1.5 MB."""
    steps = count_steps(chapter)
    if not 40 <= steps <= 100:
        yield None, f"{steps} steps (a pair counts as one), wanted are 40 to 100"
    lines = sum(code_lines(source(cell)) for _, cell in visible_code(chapter))
    if lines > 170:
        yield None, f"{lines} visible lines of code, allowed are 170"
    english = sum(en.words for _, en, _ in chapter.pairs)
    chinese = round(sum(zh.han for _, _, zh in chapter.pairs) / 1.6)
    for language, words in (("English", english), ("Chinese", chinese)):
        if words > 2600:
            yield None, f"{words} words of {language}, allowed are 2600"
    if (size := chapter.path.stat().st_size) > 1_500_000:
        yield None, f"{size} bytes, allowed are 1500000"
    pictures = sum(len(picture) * 3 // 4 for picture in pictures_of(chapter))
    if pictures > 1_100_000:
        yield None, f"figures of {pictures} bytes, allowed are 1100000"


# ---- rhythm


def blocks_of(markdown: str) -> list[str]:
    """Paragraphs, lists, quotes and tables of a cell; a list and its items are one block."""
    blocks: list[str] = []
    for block in re.split(r"\n\s*\n", without_fences(markdown).strip()):
        item = re.match(r"\s*(?:[-*+]|\d+\.)\s", block)
        continues = blocks and re.match(r"\s*(?:[-*+]|\d+\.)\s", blocks[-1])
        if item and continues:
            blocks[-1] += "\n" + block
        elif block.strip():
            blocks.append(block)
    return blocks


def takes_one_step_at_a_time(chapter: Chapter) -> Iterator[Problem]:
    """A prose cell is one paragraph or one list (a line may lead it in), of 120 words at most."""
    exercises = in_exercises(chapter)
    for index, english, chinese in chapter.pairs:
        limit = 2 if index in exercises else 1  # a question with hint and answer
        if english.words > limit * MAX_WORDS:
            yield index, f"{english.words} words, allowed are {limit * MAX_WORDS}: divide the cell"
        if chinese.han > limit * MAX_HAN:
            yield (
                index + 1,
                f"{chinese.han} characters, allowed are {limit * MAX_HAN}: divide the cell",
            )
        if index in exercises:
            continue
        for half in (index, index + 1):
            blocks = blocks_of(source(chapter.cells[half]))
            led_in = len(blocks) == 2 and blocks[0].rstrip().endswith((":", "："))
            if len(blocks) > 1 and not led_in:
                yield half, f"{len(blocks)} paragraphs in one cell: one idea per cell"


def shows_short_cells(chapter: Chapter) -> Iterator[Problem]:
    """A visible code cell has at most 15 lines."""
    for index, cell in visible_code(chapter):
        lines = [line for line in source(cell).splitlines() if line.strip()]
        if len(lines) > MAX_LINES:
            yield index, f"{len(lines)} visible lines, allowed are {MAX_LINES}: take smaller steps"


def writes_a_formula_once(chapter: Chapter) -> Iterator[Problem]:
    """A display formula stands in an untagged cell between the languages, not in each of them."""
    for index, cell in enumerate(chapter.cells):
        if tags(cell) & LANGUAGES and "$$" in without_fences(source(cell)):
            yield index, "a display formula in a cell with a language: put it between the pairs"


POSITION = (
    re.compile(
        r"\b(?:figures?|tables?|pictures?|plots?|charts?|cells?|code|outputs?|drawings?|formulas?"
        r"|equations?|sections?|list|slider)\s+(?:above|below)\b"
        r"|\b(?:above|below|previous|next|following)\s+(?:figure|table|picture|plot|chart|cell"
        r"|code|output|drawing|formula|equation|slider)\b",
        re.I,
    ),
    re.compile(
        r"[上下](?:图|表|式|面的?(?:图|表|代码|单元格|公式|输出|滑块|曲线|列表))"
        r"|[上下]方的?(?:图|表|代码|单元格|公式|输出|滑块|曲线)|[上下]一个?单元格"
    ),
)


def refers_by_number(chapter: Chapter) -> Iterator[Problem]:
    """No reference by position: figures, tables and formulas by number, sections by link."""
    for index, *halves in chapter.pairs:
        for offset, (prose, pattern) in enumerate(zip(halves, POSITION, strict=True)):
            for match in pattern.finditer(prose.text):
                yield index + offset, f"refers by position: {match[0]!r}; use a number or a link"


# ---- hidden cells and comments


class Names(NamedTuple):
    """Names in the code of a cell."""

    bound: set[str]  # at its top level or inside, imports included
    read: set[str]


def names_in(code: str) -> Names:
    """The names that a cell binds and those that it reads."""
    names = Names(set(), set())
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.bound.add(node.id)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.read.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler):
            names.bound.update({node.name} - {None})
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.bound.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.arg):
            names.bound.add(node.arg)
    return names


def plain_code(cell: dict) -> str:
    """A cell's code without IPython's magics."""
    return re.sub(r"^\s*[%!].*$", "pass", source(cell), flags=re.M)


def draws_only_in_hidden_cells(chapter: Chapter) -> Iterator[Problem]:
    """Nothing that a visible cell or a solution reads is defined in a folded one alone."""
    shown: set[str] = set(dir(builtins)) | {"display", "get_ipython"}
    hidden: dict[str, int] = {}
    for index, cell in chapter.code_cells():
        bound, read = names_in(plain_code(cell))
        if {"setup", "parameters"} & tags(cell):
            shown |= bound if "parameters" in tags(cell) else set()
        elif FOLDED & tags(cell) and "solution" not in tags(cell):
            hidden |= dict.fromkeys(bound, index)
        else:
            for name in sorted(read - shown - bound):
                where = f"cell {hidden[name]}, which is folded" if name in hidden else "no cell"
                yield index, f"reads {name!r}, which is defined in {where}"
            shown |= bound


def comments_in_both_languages(chapter: Chapter) -> Iterator[Problem]:
    """A comment in visible code is `# English ｜ 中文`, or symbols and shapes."""
    for index, cell in visible_code(chapter):
        for line in source(cell).splitlines():
            comment = re.search(r"(?:^|\s)#\s?(.*)", re.sub(r"(['\"]).*?\1", "''", line))
            words = re.findall(r"[A-Za-z]{3,}", comment[1]) if comment else []
            if len(words) >= 2 and "｜" not in comment[1]:
                yield index, f"a comment in one language: {comment[0].strip()[:60]!r}"
            halves = comment[1].split("｜") if comment and "｜" in comment[1] else []
            if any(len(re.findall("[(（]", h)) - len(re.findall("[)）]", h)) for h in halves):
                yield index, f"an edition shows half a bracket: {comment[0].strip()[:60]!r}"


def splits_labels_only(chapter: Chapter) -> Iterator[Problem]:
    """Code takes apart `data.labels[k]` alone: of a text of its own an edition shows one half."""
    for index, cell in chapter.code_cells():
        for node in ast.walk(ast.parse(plain_code(cell))):
            match node:
                case ast.Call(ast.Attribute(ast.Subscript(ast.Attribute(attr="labels"))), _):
                    pass
                case ast.Call(
                    ast.Attribute(attr="split" | "partition"), [ast.Constant(str(bar)), *_]
                ) if BAR in bar:
                    yield index, f"an edition has no bar left to split at: {ast.unparse(node)}"


def folds_in_jupyter(chapter: Chapter) -> Iterator[Problem]:
    """A folded cell is folded in plain Jupyter and Colab, too; of a solution also the output."""
    for index, cell in chapter.code_cells():
        folded = tags(cell) & {"hide-input", "hide-cell"}
        jupyter = cell["metadata"].get("jupyter", {})
        if folded and not jupyter.get("source_hidden"):
            yield index, 'a folded cell needs the metadata jupyter: {"source_hidden": true}'
        if folded and cell["metadata"].get("cellView") != "form":
            yield index, 'a folded cell needs the metadata cellView: "form" (Colab)'
        if "solution" in tags(cell) and not jupyter.get("outputs_hidden"):
            yield index, 'a solution needs the metadata jupyter: {"outputs_hidden": true}'


# ---- numbers

NUMBER = re.compile(r"(?<![\w.,])\d+(?:,\d{3})*\.\d+|(?<![\w.,])\d+(?:\.\d+)?(?=\s?%)")
ANY_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?", re.I)
RECORD = re.compile(r"book/results/([\w.-]+\.json)")


def numbers_in(text: str) -> list[float]:
    """Every number of a text; of HTML and SVG what is shown, without pictures and styles."""
    text = re.sub(r"base64,[A-Za-z0-9+/=]+|<style.*?</style>|\bd=\"[^\"]*\"", "", text, flags=re.S)
    text = html.unescape(re.sub(r"<[^>]+>", " ", text)).replace("−", "-")
    return [float(number.replace(",", "")) for number in ANY_NUMBER.findall(text)]


def result_of(formula: str) -> str:
    r"""What a formula comes to, where that is a number: of ``2 \cdot 0.3 = 0.6`` the 0.6."""
    last = re.split(r"=|\\approx", formula)[-1].replace("\\", "").strip()
    return last if re.fullmatch(r"[-+]?[\d.,]+\s*%?", last) else ""


def is_founded(claim: str, found: list[float]) -> bool:
    """Whether a number that was found rounds to the claim, as it is or as a percentage."""
    value = float(claim.replace(",", ""))
    decimals = len(claim.partition(".")[2])
    half = 0.5 * 10**-decimals * (1 + 1e-9)
    return any(abs(value - scale * number) <= half for number in found for scale in (1, 100))


def founds_its_numbers(chapter: Chapter) -> Iterator[Problem]:
    """A decimal number in prose was printed before, or recorded in a named file, or is cited.

    What the code that follows sets counts, too: the sentence before it announces the value.
    """
    found: list[float] = []
    pairs = {index: english for index, english, _ in chapter.pairs}
    sources = [(i, numbers_in(source(cell))) for i, cell in chapter.code_cells()]
    for index, cell in enumerate(chapter.cells):
        if cell["cell_type"] == "code":
            found += numbers_in(source(cell))
            found += [number for text in shown_text(cell) for number in numbers_in(text)]
        elif index in pairs and not pairs[index].citations:
            recorded = [
                number
                for name in RECORD.findall(" ".join(pairs[index].code | pairs[index].links))
                for number in numbers_in((ROOT / "book" / "results" / name).read_text("utf-8"))
            ]
            announced = next((numbers for i, numbers in sources if i > index), [])
            results = " ".join(map(result_of, pairs[index].formulas))
            for claim in NUMBER.findall(f"{pairs[index].text} {results}"):
                if not is_founded(claim, found + recorded + announced):
                    yield (
                        index,
                        f"the number {claim} stands in no earlier output; print it first, name "
                        "its file (`book/results/….json`) or cite its source in this cell",
                    )


def prints_in_both_languages(chapter: Chapter) -> Iterator[Problem]:
    """A printed line `English ｜ 中文` says the same numbers in both halves: an edition shows one."""
    for index, cell in chapter.code_cells():
        streams = ["".join(o["text"]) for o in cell["outputs"] if o["output_type"] == "stream"]
        for line in "".join(streams).splitlines():
            english, bar, chinese = line.partition(BAR)
            if bar and numbers_in(english) != numbers_in(chinese):
                yield index, f"an edition would show half of the line {line.strip()[:60]!r}"


def names_its_parameters(chapter: Chapter) -> Iterator[Problem]:
    """Every parameter is named in the text, as `code`, where it matters."""
    named = {name for _, english, _ in chapter.pairs for name in english.code}
    for index, cell in chapter.code_cells("parameters"):
        for statement in ast.parse(source(cell)).body:
            name = ast.unparse(getattr(statement, "target", statement))
            if name not in named:
                yield index, f"the parameter `{name}` is named nowhere in the text"


# ---- pitfalls and exercises

PITFALL = {
    "lang-en": re.compile(
        r"^> ?⚠️? ?\*\*.+?\*\*(?=.*\*\*But:\*\*)(?=.*\*\*Instead:\*\*)", re.M
    ),
    "lang-zh": re.compile(
        r"^> ?⚠️? ?\*\*.+?\*\*(?=.*\*\*错在哪里[^*]*\*\*)(?=.*\*\*正确做法[^*]*\*\*)", re.M
    ),
}


def warns_of_pitfalls(chapter: Chapter) -> Iterator[Problem]:
    """Two pitfalls at least, each a callout of mistake, refutation and cure."""
    for tag, pattern in PITFALL.items():
        count = sum(
            bool(pattern.search(source(cell).replace("\n> ", " ")))
            for cell in chapter.cells
            if tag in tags(cell)
        )
        if count < 2:
            form = (
                "> ⚠️ **Title.** The mistake. **But:** The number. **Instead:** What to do."
                if tag == "lang-en"
                else "> ⚠️ **标题。** 错误。**错在哪里？** 数字。**正确做法：** 怎么做。"
            )
            yield None, f"{count} pitfalls in {tag}, wanted are two at least: {form}"


CHECK = re.compile(r'\bcheck\("([a-z0-9-]+)-(\d)"')


def poses_checked_exercises(chapter: Chapter) -> Iterator[Problem]:
    """Four to six exercises, each with question, hint, answer in words, place, check, solution."""
    inside = in_exercises(chapter)
    starts = [i for i, level, text in chapter.headings if i in inside and level == 3]
    if not 4 <= len(starts) <= 6:
        yield None, f"{len(starts)} exercises (### headings), wanted are four to six"
    for number, (start, end) in enumerate(
        zip(starts, [*starts[1:], max(inside, default=0) + 1], strict=True), 1
    ):
        cells = [(i, chapter.cells[i]) for i in range(start, end)]
        for tag, hint, answer in (("lang-en", "Hint", "Answer"), ("lang-zh", "提示", "答案")):
            text = "\n".join(source(cell) for _, cell in cells if tag in tags(cell))
            for what in (hint, answer):
                if not re.search(rf"<summary>{what}", text):
                    yield start, f"exercise {number} has no <summary>{what}</summary> in {tag}"
        for kind in ("exercise", "solution"):
            found = [(i, cell) for i, cell in cells if kind in tags(cell)]
            if not found:
                yield start, f"exercise {number} has no code cell tagged {kind!r}"
            for index, cell in found:
                checked = CHECK.search(source(cell))
                if not checked or int(checked[2]) != number:
                    yield index, f'the cell does not check("NAME-{number}", answer)'
                elif kind == "solution" and not any("Right" in t for t in shown_text(cell)):
                    yield index, "the solution does not pass its own check"


# What a draft need not satisfy, since it may stand in one language.
BILINGUAL = {
    pairs_languages,
    agrees_across_languages,
    translates_terms,
    writes_short_texts_in_both_languages,
    keeps_single_language_prose_in_pairs,
    comments_in_both_languages,
    warns_of_pitfalls,
    poses_checked_exercises,
    has_a_teaching_size,
}


def is_draft(chapter: Chapter) -> bool:
    """Whether the notebook is marked as a draft, which no edition of the book takes in."""
    return bool(chapter.notebook["metadata"].get("segedu", {}).get("draft"))


TEACHING = (
    is_framed,
    has_a_teaching_size,
    takes_one_step_at_a_time,
    shows_short_cells,
    writes_a_formula_once,
    refers_by_number,
    draws_only_in_hidden_cells,
    comments_in_both_languages,
    splits_labels_only,
    folds_in_jupyter,
    founds_its_numbers,
    prints_in_both_languages,
    names_its_parameters,
    warns_of_pitfalls,
    poses_checked_exercises,
)


def gates_of(chapter: Chapter) -> tuple[Callable[[Chapter], Iterator[Problem]], ...]:
    """The gates that hold for a chapter."""
    gates = GATES + TEACHING
    return tuple(g for g in gates if g not in BILINGUAL) if is_draft(chapter) else gates
