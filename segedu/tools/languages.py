"""The half of a cell's code and outputs, written ``English ｜ 中文``, that one edition shows.

The book's editions and single-language copies of a notebook split by the same rules: comments and
strings of code, lines of printed text, texts of HTML and SVG. Short texts: `segedu.languages`.
"""

from __future__ import annotations

import io
import re
import tokenize
from itertools import accumulate, groupby

from segedu.languages import BAR, plain

WORD = re.compile(r"[^\W\d_]")
STRING = re.compile(r"""(?P<prefix>\w*)(?P<quote>\"{3}|'{3}|"|')(?P<body>.*)(?P=quote)""", re.S)
OTHER_SPAN = r'<span class="lang-{}" lang="[^"]*">[^<]*</span> ?'
TEXT_NODE = re.compile(rf">([^<>]*{BAR}[^<>]*)<")
# Not "title: label", both parts of which may have two halves: the page's extension knows them.
NAME = re.compile(rf'( (?:alt|title|aria-label)=")([^"<>{BAR}]*{BAR}[^"<>{BAR}:]*)(?=")')

# --- code -------------------------------------------------------------------------------------

EXERCISE = re.compile(r"\A# Exercise (\d+)$", re.M)
Piece = tuple[str, int, int]  # kind (comment, string, other), first and last place in the code


def split_code(code: str, edition: str) -> str:
    """Python code whose comments and strings speak the language of the edition.

    The line ``# Exercise 2`` above a solution has no Chinese half; it gets one here.
    """
    if edition == "zh":
        code = EXERCISE.sub(r"# 练习 \1", code)
    if edition == "both" or BAR not in code:
        return code
    try:
        found = pieces(code)
    except (tokenize.TokenError, IndentationError):
        return code  # not Python alone: a magic of the notebook
    for kind, group in reversed([(k, list(g)) for k, g in groupby(found, lambda piece: piece[0])]):
        if kind == "comment":
            for _, start, end in reversed(group):
                comment = plain(code[start + 1 : end].strip(), edition)
                code = f"{code[: start + 1]} {comment}{code[end:]}"
        elif kind == "string":
            start, end = group[0][1], group[-1][2]
            code = code[:start] + half_of_strings(code, group, edition) + code[end:]
    return code


def pieces(code: str) -> list[Piece]:
    """Comments, strings and what stands between them, in order."""
    lines = [0, *accumulate(map(len, code.splitlines(keepends=True)))]
    found: list[Piece] = []
    depth, opened = 0, 0
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        kind = tokenize.tok_name[token.type]
        start, end = (lines[line - 1] + column for line, column in (token.start, token.end))
        if kind == "FSTRING_START":  # from Python 3.12 on f-strings are taken apart
            opened = opened if depth else start
            depth += 1
        elif kind == "FSTRING_END":
            depth -= 1
            if not depth:
                found.append(("string", opened, end))
        elif not depth and kind != "NL":
            kind = kind.lower() if kind in ("STRING", "COMMENT") else "other"
            found.append((kind, start, end))
    return found


def half_of_strings(code: str, group: list[Piece], edition: str) -> str:
    """The half of neighbouring strings, one of which holds the bar, as code."""
    start, end = group[0][1], group[-1][2]
    whole = code[start:end]
    barred = [piece for piece in group if BAR in code[piece[1] : piece[2]]]
    if len(barred) != 1 or whole.count(BAR) != 1:
        return whole
    _, first, last = barred[0]
    prefix, quote, body = STRING.fullmatch(code[first:last]).group("prefix", "quote", "body")
    left, right = body.split(BAR)
    texts = {"en": code[start:first] + left, "zh": right + code[last:end]}
    if left.count("{") != left.count("}") or not all(map(WORD.search, texts.values())):
        return whole  # the bar of an expression, or a separator
    at = group.index(barred[0])
    if edition == "en":
        if not left.strip() and at:  # the bar begins a string: the one before ends the half
            return code[start : group[at - 1][2]]
        return f"{code[start:first]}{prefix}{quote}{left.rstrip()}{quote}"
    if not right.strip() and at + 1 < len(group):
        return code[group[at + 1][1] : end]
    return f"{prefix}{quote}{right.lstrip()}{quote}{code[last:end]}"


# --- outputs ----------------------------------------------------------------------------------


def split_lines(text: str, edition: str) -> str:
    """Printed text, line by line; what stands before the English half of a line stays."""
    if edition == "both" or BAR not in text:
        return text
    lines = text.split("\n")
    return "\n".join(plain(line, edition) if line.count(BAR) == 1 else line for line in lines)


def split_html(html: str, edition: str) -> str:
    """The texts of an HTML or SVG output, and the names of its pictures and buttons."""
    if edition != "both":
        other = "zh" if edition == "en" else "en"
        html = re.sub(OTHER_SPAN.format(other), "", html)
    html = NAME.sub(lambda match: match[1] + plain(match[2], edition), html)
    return TEXT_NODE.sub(lambda match: f">{plain(match[1], edition)}<", html)
