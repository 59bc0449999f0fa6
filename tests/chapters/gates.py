"""What every stored notebook must satisfy, one small function per rule.

A gate takes a `Chapter` and yields ``(cell index or None, what is wrong)``; `GATES` holds
them all. What they cannot see (whether a text is right, and good) is left to the reader's eye.
"""

import ast
import base64
import io
import json
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt
from pybtex.database import parse_file as parse_bibliography

from segedu.tools.setup_cell import setup_cell
from tests.chapters import expected, fingerprints
from segedu.languages import BAR
from tests.chapters.prose import (
    CITED,
    FORMULA,
    HAN,
    IDENTIFIER,
    ROOT,
    Prose,
    parse,
    untranslated,
)

Problem = tuple[int | None, str]

LANGUAGES = {"lang-en", "lang-zh"}
TAGS = {
    "markdown": LANGUAGES | {"caption"},
    "code": {
        "setup",
        "parameters",
        "results",
        "exercise",
        "solution",
        "hide-input",
        "hide-cell",
        "hide-output",
        "remove-input",
        "remove-output",
        "nbval-ignore-output",
        "raises-exception",
    },
}
CELL_METADATA = {"tags", "mystnb", "jupyter", "nbgrader", "cellView"}
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:home|root|tmp|work|Users|opt|mnt|private|var/folders)/[\w.]|[A-Z]:\\\\?Users"
    r"|site-packages|ipykernel_\d|<[^<>\n]* at 0x[0-9a-f]{6,}>"
)
SHOWN = ("text/plain", "text/html", "text/markdown", "text/latex")
CALLOUT = re.compile(r"^> ?(?:⚠️?|💡|ℹ️?) ?\*\*", re.M)


@dataclass(frozen=True)
class Chapter:
    """A stored notebook."""

    path: Path
    root: Path = ROOT

    @property
    def name(self) -> str:
        """The path from the repository's root."""
        return self.path.relative_to(self.root).as_posix()

    @cached_property
    def notebook(self) -> dict:
        """The notebook's JSON."""
        return json.loads(self.path.read_text(encoding="utf-8"))

    @property
    def cells(self) -> list[dict]:
        """All cells."""
        return self.notebook["cells"]

    @cached_property
    def pairs(self) -> list[tuple[int, Prose, Prose]]:
        """English and Chinese halves, with the index of the English cell."""
        return [
            (index, parse(source(cell)), parse(source(following)))
            for index, (cell, following) in enumerate(zip(self.cells, self.cells[1:], strict=False))
            if "lang-en" in tags(cell) and "lang-zh" in tags(following)
        ]

    @cached_property
    def short_texts(self) -> list[tuple[int, str, str]]:
        """Texts that must read `English ｜ 中文`: (cell index, what it is, text)."""
        found = []
        for index, cell in enumerate(self.cells):
            if "caption" in tags(cell):
                found.append((index, "caption", source(cell)))
            elif cell["cell_type"] == "markdown" and not tags(cell) & LANGUAGES:
                lines = without_fences(source(cell)).splitlines()
                found += [(index, "heading", h.group(2)) for h in map(HEADING.match, lines) if h]
                found += [(index, "table head", head) for head in table_heads(lines)]
            own = cell["metadata"].get("mystnb", {})
            if caption := own.get("figure", {}).get("caption"):
                found.append((index, "caption", caption))
            if alt := own.get("image", {}).get("alt"):
                found.append((index, "alt text", alt))
        return found

    def code_cells(self, tag: str | None = None) -> list[tuple[int, dict]]:
        """Code cells with their index, all or those with a tag."""
        return [
            (index, cell)
            for index, cell in enumerate(self.cells)
            if cell["cell_type"] == "code" and (tag is None or tag in tags(cell))
        ]

    @cached_property
    def headings(self) -> list[tuple[int, int, str]]:
        """(cell index, level, English half) of every heading."""
        found = []
        for index, cell in enumerate(self.cells):
            if cell["cell_type"] == "markdown":
                lines = without_fences(source(cell)).splitlines()
                matches = filter(None, map(HEADING.match, lines))
                found += [(index, len(h[1]), h[2].split(BAR)[0].strip()) for h in matches]
        return found


HEADING = re.compile(r"^ {0,3}(#{1,6})\s+(.*\S)")
LABEL = re.compile(r"^\s*\([\w-]+\)=\s*$|\$\$\s*(?:\([\w-]+\)|<!--\s*eq-)", re.M)


def source(cell: dict) -> str:
    """A cell's source as one string."""
    return "".join(cell["source"])


def tags(cell: dict) -> set[str]:
    """A cell's tags."""
    return set(cell["metadata"].get("tags", []))


def without_fences(markdown: str) -> str:
    """Markdown with the content of fenced code blanked, line by line."""
    lines, fence = [], ""
    for line in markdown.splitlines():
        opening = re.match(r"\s*(`{3,}|~{3,})", line)
        if opening and (not fence or line.strip() == fence):
            fence = "" if fence else opening[1]
            lines.append("")
        else:
            lines.append("" if fence else line)
    return "\n".join(lines)


def table_heads(lines: list[str]) -> list[str]:
    """Cells of the head rows of Markdown tables."""
    heads: list[str] = []
    for row, rule in zip(lines, lines[1:], strict=False):
        if re.fullmatch(r"\s*\|?(\s*:?-{2,}:?\s*\|)+\s*(:?-{2,}:?)?\s*", rule) and "|" in row:
            heads += [cell.strip() for cell in row.strip().strip("|").split("|")]
    return heads


def shown_text(cell: dict) -> Iterator[str]:
    """Every text that a code cell has printed or shown."""
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            yield "".join(output["text"])
        for kind in SHOWN:
            if kind in output.get("data", {}):
                yield "".join(output["data"][kind])


# ---- the contract


def is_valid(chapter: Chapter) -> Iterator[Problem]:
    """The notebook is valid nbformat 4.5 and carries no trace of the machine that ran it."""
    nameless = [index for index, cell in enumerate(chapter.cells) if "id" not in cell]
    yield from ((index, "the cell has no id") for index in nameless)
    try:
        if not nameless:
            nbformat.validate(nbformat.from_dict(chapter.notebook))
    except nbformat.ValidationError as error:
        yield None, f"invalid notebook: {str(error).splitlines()[0]}"
    if chapter.notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield None, "kernelspec must be python3"
    for key in {"widgets", "papermill", "vscode", "colab"} & chapter.notebook["metadata"].keys():
        yield None, f"notebook metadata holds {key!r}"
    for index, cell in enumerate(chapter.cells):
        for key in sorted(cell["metadata"].keys() - CELL_METADATA):
            yield index, f"cell metadata holds {key!r}"


def keeps_code_narrow(chapter: Chapter) -> Iterator[Problem]:
    """No line of code over 100 characters: longer ones would be cut on paper, hidden on a phone."""
    for index, cell in chapter.code_cells():
        for line in source(cell).splitlines():
            if len(line) > 100:
                yield index, f"a line of {len(line)} characters, allowed are 100: {line[:40]} ..."


def hides_results_by_the_last_character(chapter: Chapter) -> Iterator[Problem]:
    """Nothing after a closing semicolon: before a comment some kernels heed it, and some do not."""
    for index, cell in chapter.code_cells():
        if match := re.search(r";[ \t]*#.*\Z", source(cell).rstrip()):
            yield index, f"put the comment on a line of its own, before the semicolon: {match[0]}"


def code_lines(code: str) -> int:
    """Lines that hold anything but white space and comments."""
    ignored = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    used = [range(t.start[0], t.end[0] + 1) for t in tokens if t.type not in ignored]
    return len({line for lines in used for line in lines})


def pictures_of(chapter: Chapter) -> Iterator[str]:
    """Base64 text of all pictures in the outputs, also those inside explorers."""
    for _, cell in chapter.code_cells():
        for output in cell["outputs"]:
            for kind, data in output.get("data", {}).items():
                if kind.startswith("image/"):
                    yield "".join(data)
                if kind == "text/html":
                    yield from re.findall(r"base64,([A-Za-z0-9+/=]+)", "".join(data))


def starts_with_the_setup_cell(chapter: Chapter) -> Iterator[Problem]:
    """The first code cell is the canonical setup cell, whatever repository it names."""
    code = chapter.code_cells()
    setup = chapter.code_cells("setup")
    if not code or len(setup) != 1 or setup[0][0] != code[0][0]:
        yield None, "the first code cell, and only that, is tagged 'setup'"
        return
    index, cell = setup[0]
    named = re.search(r'^REPOSITORY = "([^"]*)"', source(cell), re.M)
    if not named or source(cell) != setup_cell(named[1]):
        yield index, "differs from segedu/tools/setup_cell.txt"
    if "hide-input" not in tags(cell):
        yield index, "the setup cell needs the tag 'hide-input'"


def declares_typed_parameters(chapter: Chapter) -> Iterator[Problem]:
    """The second code cell holds typed assignments only, as papermill reads them."""
    cells = chapter.code_cells("parameters")
    if len(cells) != 1 or cells[0][0] != chapter.code_cells()[1][0]:
        yield None, "the second code cell, and only that, is tagged 'parameters'"
        return
    index, cell = cells[0]
    statements = ast.parse(source(cell)).body
    if not statements:
        yield index, "no parameter is declared"
    for statement in statements:
        if not isinstance(statement, ast.AnnAssign) or statement.value is None:
            yield index, f"not a typed assignment (name: type = value): {ast.unparse(statement)}"


def uses_known_tags(chapter: Chapter) -> Iterator[Problem]:
    """Tags are known, fit the kind of cell, and come with what they need."""
    solved = 0
    for index, cell in enumerate(chapter.cells):
        for tag in sorted(tags(cell) - TAGS.get(cell["cell_type"], set())):
            yield index, f"unknown tag {tag!r} on a {cell['cell_type']} cell"
        if "solution" in tags(cell):
            if "hide-cell" not in tags(cell):
                yield index, "a solution needs the tag 'hide-cell'"
            solved += 1
            for key, value in solution_metadata(solved).items():
                if not value.items() <= cell["metadata"].get(key, {}).items():
                    yield index, f"a solution needs the metadata {key}: {value}"


def solution_metadata(number: int) -> dict[str, dict]:
    """What folds the solution of an exercise away, in a notebook and in the book."""
    return {
        "jupyter": {"source_hidden": True},  # `teaching.folds_in_jupyter` asks for more
        "mystnb": {
            "code_prompt_show": f"Solution {number} ｜ 参考答案 {number}",
            "code_prompt_hide": f"Hide solution {number} ｜ 收起答案 {number}",
        },
    }


# ---- two languages


def pairs_languages(chapter: Chapter) -> Iterator[Problem]:
    """Every English cell is followed by its Chinese one, and none stands alone."""
    kinds = [sorted(tags(c) & LANGUAGES) for c in chapter.cells]
    for index, kind in enumerate(kinds):
        before = kinds[index - 1] if index else []
        following = kinds[index + 1] if index + 1 < len(kinds) else []
        if kind == ["lang-en"] and following != ["lang-zh"]:
            yield index, "lang-en is not followed by lang-zh"
        if kind == ["lang-zh"] and before != ["lang-en"]:
            yield index, "lang-zh does not follow lang-en"
        if len(kind) == 2:
            yield index, "tagged with both languages"


def keeps_shared_things_out_of_pairs(chapter: Chapter) -> Iterator[Problem]:
    """No heading and no label stands in a cell that one edition drops."""
    for index, cell in enumerate(chapter.cells):
        if tags(cell) & LANGUAGES:
            text = without_fences(source(cell))
            for line in text.splitlines():
                if HEADING.match(line):
                    yield index, f"heading in a cell with a language: {line.strip()!r}"
            for label in LABEL.findall(text):
                yield index, f"label in a cell with a language: {label.strip()!r}"


def keeps_single_language_prose_in_pairs(chapter: Chapter) -> Iterator[Problem]:
    """What both editions show is a formula, a label, or a text in both languages."""
    for index, cell in enumerate(chapter.cells):
        if cell["cell_type"] == "markdown" and not tags(cell) & LANGUAGES:
            text = parse(re.sub(r"^\s*\([\w-]+\)=\s*$", "", source(cell), flags=re.M)).text
            for line in text.splitlines():
                if line.strip().startswith("|"):
                    alone = [
                        c for c in line.split("|") if BAR not in c and re.search(f"[{HAN}]", c)
                    ]
                elif BAR not in line:
                    alone = re.findall(rf"[{HAN}]+|[A-Za-z]{{3,}}(?: [A-Za-z]+){{2,}}", line)
                else:
                    alone = []
                for words in alone:
                    yield index, f"one language in an untagged cell: {words.strip()[:40]!r}"


def agrees_across_languages(chapter: Chapter) -> Iterator[Problem]:
    """Formulas, numbers, citations, links and code are the same in both halves of a pair."""
    for index, english, chinese in chapter.pairs:
        for kind in ("formulas", "numbers", "citations", "links", "code"):
            left, right = getattr(english, kind), getattr(chinese, kind)
            if left != right:
                yield (
                    index,
                    f"{kind} differ: only English {sorted(left - right)}, "
                    f"only Chinese {sorted(right - left)}",
                )
        cells = [source(chapter.cells[index]), source(chapter.cells[index + 1])]
        for what, pattern in (("callouts", CALLOUT), ("<details>", re.compile("<details"))):
            left, right = (len(pattern.findall(cell)) for cell in cells)
            if left != right:
                yield index, f"number of {what} differs: {left} in English, {right} in Chinese"


def translates_terms(chapter: Chapter) -> Iterator[Problem]:
    """A term of book/terminology.yml in the English half is translated as it says."""
    for index, english, chinese in chapter.pairs:
        for problem in untranslated(english.text, chinese.text):
            yield index, f"term {problem}"
    for index, what, text in chapter.short_texts:
        english, bar, chinese = text.partition(BAR)
        for problem in untranslated(parse(english).text, parse(chinese).text) if bar else ():
            yield index, f"{what}: term {problem}"


def writes_short_texts_in_both_languages(chapter: Chapter) -> Iterator[Problem]:
    """Headings, captions, alt texts and table heads read `English ｜ 中文`."""
    for index, what, text in chapter.short_texts:
        english, bar, chinese = text.partition(f" {BAR} ")
        if not bar:
            words = re.findall(r"[A-Za-z]{2,}", parse(text).text)
            names = all(any(c.isupper() for c in word) for word in words)
            if what != "table head" or not names or re.search(f"[{HAN}]", text):
                yield index, f"{what} is not 'English ｜ 中文': {text!r}"
        elif re.search(f"[{HAN}]", english):
            yield index, f"{what}: Chinese before the bar: {text!r}"
        elif not re.search(f"[{HAN}]", chinese) and chinese != english:
            yield index, f"{what}: no Chinese after the bar: {text!r}"
        elif BAR in chinese:
            yield index, f"{what}: more than one bar: {text!r}"


# ---- Chinese typography

WORD = f"A-Za-z0-9%{FORMULA}{IDENTIFIER}"
TYPOGRAPHY: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("no space between Chinese and Latin, digit, formula or code",
     re.compile(rf"[{HAN}][{WORD}]|[{WORD}][{HAN}]")),
    ("half-width punctuation beside Chinese",
     re.compile(rf"[{HAN}][,;:?!]|[,;?!][ ]?[{HAN}]|(?<![:\d]):[ ]?[{HAN}]|[{HAN}]\.(?![\d\w])")),
    ("half-width bracket beside Chinese",
     re.compile(rf"[{HAN}] ?\(|\( ?[{HAN}]|[{HAN}] ?\)|\) ?[{HAN}]")),
    ("straight quotation mark beside Chinese", re.compile(rf"[\"'][{HAN}]|[{HAN}][\"']")),
    ("space between two Chinese characters", re.compile(rf"[{HAN}] +[{HAN}]")),
    ("space before full-width punctuation", re.compile(r"\S +[，。；：？！、）」』》]")),
    ("line break inside a Chinese sentence (it shows as a space)",
     re.compile(rf"[{HAN}，。；：？！、）”]\n>? ?[{HAN}（“]")),
    ("the reader is 你, not 您", re.compile("您")),
)  # fmt: skip


def typographic_problems(chinese: Prose) -> Iterator[str]:
    """What is set wrongly in a Chinese text."""
    for what, pattern in TYPOGRAPHY:
        for match in pattern.finditer(chinese.text):
            start, end = max(0, match.start() - 6), match.end() + 6
            snippet = chinese.text[start:end].replace(FORMULA, "$…$").replace(IDENTIFIER, "`…`")
            yield f"{what}: {snippet!r}"


def sets_chinese_well(chapter: Chapter) -> Iterator[Problem]:
    """Chinese text has full-width punctuation, and spaces around Latin words and digits."""
    for index, _, chinese in chapter.pairs:
        for problem in typographic_problems(chinese):
            yield index + 1, problem
    for index, what, text in chapter.short_texts:
        for problem in typographic_problems(parse(text.partition(BAR)[2])):
            yield index, f"{what}: {problem}"


def renders_emphasis(chapter: Chapter) -> Iterator[Problem]:
    """No ** survives rendering, as it does where Chinese punctuation touches the marks."""
    markdown = MarkdownIt("commonmark").enable("table")
    for index, cell in enumerate(chapter.cells):
        if cell["cell_type"] == "markdown":
            text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$", "x", source(cell), flags=re.S)
            for token in markdown.parse(text):
                for child in token.children or []:
                    if child.type == "text" and "**" in child.content:
                        yield index, f"** is not rendered: {child.content[:40]!r}"
            if re.search(r"</summary>[ \t]*\n[ \t]*\S", text):
                yield index, "a blank line is needed after </summary>"


# ---- references


@cache
def bibliography() -> dict[str, tuple[str, str]]:
    """Key -> how a work is cited, in English and in Chinese: "Long et al., 2015"."""
    cited = {}
    for key, entry in parse_bibliography(ROOT / "book" / "references.bib").entries.items():
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        names = [" ".join([*person.prelast_names, *person.last_names]) for person in people]
        names = [name.replace("{", "").replace("}", "") for name in names] or [key]
        year = entry.fields["year"]
        if len(names) > 2:
            who = f"{names[0]} et al.", f"{names[0]} 等"
        else:
            who = " and ".join(names), " 与 ".join(names)
        cited[key] = f"{who[0]}, {year}", f"{who[1]}，{year}"
    return cited


def cites_what_exists(chapter: Chapter) -> Iterator[Problem]:
    """Every cited work is in the bibliography, and there is at least one."""
    keys = bibliography()
    cited = False
    for index, cell in enumerate(chapter.cells):
        if cell["cell_type"] == "markdown":
            for citation in sorted(parse(source(cell)).citations):
                cited = True
                if citation.removeprefix("@") not in keys:
                    yield index, f"[{citation}] is not in book/references.bib"
            for label, key in CITED.findall(source(cell)):
                wanted = keys.get(key, ("", ""))["lang-zh" in tags(cell)]
                if wanted and label != wanted:
                    yield index, f"cited as {label!r}, wanted is {wanted!r}"
    if not cited:
        yield None, "cites nothing"


NAMED = re.compile(r"^\(([a-z0-9-]+)\)=$", re.M)


def links_to_what_exists(chapter: Chapter) -> Iterator[Problem]:
    """Links to pages of the book lead to files, their anchors to figures, formulas or labels.

    Labels are those that a page around the chapters gives to a heading. Links to other places are
    https.
    """
    pages = (chapter.root / "book").glob("*.md")
    labels = {label for page in pages for label in NAMED.findall(page.read_text(encoding="utf-8"))}
    for index, cell in enumerate(chapter.cells):
        for link in sorted(parse(source(cell)).links) if cell["cell_type"] == "markdown" else ():
            target, _, anchor = link.partition("#")
            if "://" in link:
                if not link.startswith("https://"):
                    yield index, f"link is not https: {link}"
            elif target and not (chapter.path.parent / target).is_file():
                yield index, f"link to a file that does not exist: {link}"
            elif anchor and not anchor.startswith(("fig-", "eq-")) and anchor not in labels:
                yield index, f"headings have no anchors, link to the page or a figure: {link}"


# ---- outputs


def stores_clean_outputs(chapter: Chapter) -> Iterator[Problem]:
    """Run from top to bottom, without warnings, widgets, machine paths or missing glyphs."""
    counts = [cell["execution_count"] for _, cell in chapter.code_cells()]
    if counts != list(range(1, len(counts) + 1)):
        yield None, f"execution counts are {counts}, not 1 to {len(counts)}"
    for index, cell in chapter.code_cells():
        for output in cell["outputs"]:
            if output.get("name") == "stderr":
                yield index, f"wrote to stderr: {''.join(output['text']).strip()[:80]!r}"
            if output["output_type"] == "error" and "raises-exception" not in tags(cell):
                yield index, f"raised {output['ename']}: {output['evalue'][:80]}"
            for kind in output.get("data", {}):
                if "widget" in kind or kind == "application/javascript":
                    yield index, f"output of type {kind} needs a live kernel or a script"
        for text in shown_text(cell):
            text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
            for match in MACHINE_PATH.finditer(text):
                yield index, f"machine path or address in an output: {match[0]!r}"
            if re.search(r"Glyph .* missing|does not have a glyph", text):
                yield index, "a glyph is missing in a figure"
            if re.search(r"<script|<link|src=[\"']?http|url\(http", text):
                yield index, "an HTML output loads a script or a file from elsewhere"
    for index, cell in enumerate(chapter.cells):
        if match := MACHINE_PATH.search(source(cell)):
            yield index, f"machine path in the source: {match[0]!r}"


def stores_outputs(chapter: Chapter) -> Iterator[Problem]:
    """Cells that print, and figures, have their outputs; pictures have a text alternative."""
    for index, cell in chapter.code_cells():
        if not cell["outputs"] and re.search(r"^(print|display)\(", source(cell), re.M):
            yield index, "prints, but no output is stored"
        if "figure" in cell["metadata"].get("mystnb", {}) and not cell["outputs"]:
            yield index, "is a figure, but no output is stored"
        kinds = {kind for output in cell["outputs"] for kind in output.get("data", {})}
        has_picture = kinds & {"image/png", "image/svg+xml"}
        if has_picture and not cell["metadata"].get("mystnb", {}).get("image", {}).get("alt"):
            yield index, "shows a picture without metadata mystnb.image.alt"
        for output in cell["outputs"]:
            picture = "".join(output.get("data", {}).get("image/png", ""))
            if picture and not base64.b64decode(picture).startswith(b"\x89PNG"):
                yield index, "the stored picture is not a PNG"


def shows_an_explorer(chapter: Chapter) -> Iterator[Problem]:
    """At least one interactive figure of segedu.viz.frames."""
    texts = (text for _, cell in chapter.code_cells() for text in shown_text(cell))
    if not any("segedu-frames" in text for text in texts):
        yield None, "no interactive figure (segedu.viz.frames)"


def keeps_its_promise(chapter: Chapter) -> Iterator[Problem]:
    """One results cell; what it shows is what book/expected.yml says for the stored profile."""
    cells = chapter.code_cells("results")
    if len(cells) != 1:
        yield None, f"{len(cells)} cells tagged 'results', wanted is one"
        return
    index, cell = cells[0]
    if "nbval-ignore-output" not in tags(cell):
        yield index, "the results cell needs the tag 'nbval-ignore-output'"
    try:
        results = expected.results_in(cell["outputs"])
        promise = expected.promised(chapter.name, "cpu", chapter.root / "book" / "expected.yml")
        for problem in expected.differences(results, promise):
            yield index, problem
    except (ValueError, LookupError) as error:
        yield index, str(error)


def is_stored_by_make(chapter: Chapter) -> Iterator[Problem]:
    """Code and outputs are those of the execution that `make notebooks` has recorded."""
    record = fingerprints.records(chapter.root).get(chapter.name)
    word = chapter.path.stem
    for reason in fingerprints.edited(chapter.notebook, record):
        yield None, f"{reason}, not executed by `make notebooks CHAPTERS={word}`: run that"


GATES: tuple[Callable[[Chapter], Iterator[Problem]], ...] = (
    is_valid,
    keeps_code_narrow,
    hides_results_by_the_last_character,
    starts_with_the_setup_cell,
    declares_typed_parameters,
    uses_known_tags,
    pairs_languages,
    keeps_shared_things_out_of_pairs,
    keeps_single_language_prose_in_pairs,
    agrees_across_languages,
    translates_terms,
    writes_short_texts_in_both_languages,
    sets_chinese_well,
    renders_emphasis,
    cites_what_exists,
    links_to_what_exists,
    stores_clean_outputs,
    stores_outputs,
    shows_an_explorer,
    keeps_its_promise,
    is_stored_by_make,
)


def report(chapter: Chapter, gate: Callable[[Chapter], Iterator[Problem]]) -> list[str]:
    """The gate's complaints, each naming notebook and cell."""
    return [
        f"{chapter.name}{'' if index is None else f', cell {index}'}: {what}"
        for index, what in gate(chapter)
    ]
