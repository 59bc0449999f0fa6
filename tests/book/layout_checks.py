"""What must hold for the layout of an open page, at any width; each check names what is wrong."""

import io
from functools import cache

from fontTools.ttLib import TTFont
from playwright.sync_api import Page

ICON_FONT = "_static/vendor/fontawesome/webfonts/fa-solid-900.woff2"


def broken_over_lines(roots: str, pattern: str, *, but: str) -> str:
    """A check for matches of a regular expression that begin on one line and end on another."""
    return f"""() => {{
        const broken = [];
        for (const root of document.querySelectorAll("{roots}")) {{
            const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
            while (walker.nextNode()) {{
                const node = walker.currentNode;
                if (node.parentElement.closest("{but}")) continue;
                for (const match of node.data.matchAll({pattern})) {{
                    const range = document.createRange();
                    range.setStart(node, match.index);
                    range.setEnd(node, match.index + match[0].length);
                    const tops = [...range.getClientRects()].map((r) => Math.round(r.top));
                    if (new Set(tops).size > 1) broken.push(match[0]);
                }}
            }}
        }}
        return broken;
    }}"""


# Each gives texts or elements that break its rule, in their own words.
CHECKS = {
    "lines may be torn by justification": """() =>
        [...document.querySelectorAll("article :is(p, li, td, dd)")]
            .filter((e) => getComputedStyle(e).textAlign === "justify")
            .map((e) => e.textContent.slice(0, 30))""",
    "a name is broken at its hyphen": broken_over_lines(
        "article, .bd-links, .page-toc",
        r"/(?<![\w-])(?:\w{0,3}[A-Z]-[A-Z][\w+]*|[A-Z]\w+-\d\w*)(?![\w-])/g",
        but="pre, code, script, mjx-container, svg",
    ),
    "a table is cut": """() => [...document.querySelectorAll("article table:not(.dataframe)")]
        .filter((e) => e.offsetWidth > e.parentElement.clientWidth + 1)
        .map((e) => `${e.textContent.trim().slice(0, 30)} (${e.offsetWidth} px)`)""",
    "a word of a table is broken": broken_over_lines(
        "article table:not(.dataframe) :is(td, th)",
        r"/[A-Za-z]{2,}|\d[\d.,–]*\d/g",
        but="a, code, mjx-container",
    ),
    "a Chinese word of a table is broken": """() => {
        if (innerWidth < 992) return [];  // on a phone a column may be narrower than a word
        const words = new Intl.Segmenter("zh", {granularity: "word"}), broken = [];
        for (const cell of document.querySelectorAll("article table:not(.dataframe) :is(td, th)")) {
            const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
            while (walker.nextNode()) {
                const node = walker.currentNode;
                for (const {segment, index} of words.segment(node.data)) {
                    if (!/^\\p{Script=Han}{2,}$/u.test(segment)) continue;
                    const range = document.createRange();
                    range.setStart(node, index);
                    range.setEnd(node, index + segment.length);
                    const tops = [...range.getClientRects()].map((r) => Math.round(r.top));
                    if (new Set(tops).size > 1) broken.push(`${segment} in ${node.data}`);
                }
            }
        }
        return broken.map((text) => text.slice(0, 60));
    }""",
    "the number of a wide formula is out of sight": """() =>
        [...document.querySelectorAll("article div.math .eqno")].filter((e) => {
            const box = e.closest("div.math"), left = box.getBoundingClientRect().left;
            return e.getBoundingClientRect().right + box.scrollLeft > left + box.clientWidth + 1;
        }).map((e) => e.textContent)""",
    "a wide formula does not scroll visibly": """() =>
        [...document.querySelectorAll("article div.math")].filter((e) => {
            const style = getComputedStyle(e);
            const scrolls = /auto|scroll/.test(style.overflowX);
            return e.scrollWidth > e.clientWidth + 1
                && !(scrolls && style.backgroundImage.includes("gradient"));
        }).map((e) => e.textContent.slice(0, 30))""",
    "a wide formula begins out of sight": """() =>
        [...document.querySelectorAll("article div.math")].filter((e) => {
            const first = e.querySelector("mjx-math, span");
            const left = e.getBoundingClientRect().left - e.scrollLeft;
            return first && first.getBoundingClientRect().left < left - 1;
        }).map((e) => e.textContent.slice(0, 30))""",
    "a wide drawing does not say that it scrolls": """() =>
        [...document.querySelectorAll(
            "article :is(.segedu-architecture, .chapter-map) > [tabindex]")].filter((e) => {
            const hint = getComputedStyle(e.parentElement, "::before").content;
            return e.scrollWidth > e.clientWidth && hint === "none";
        }).map((e) => e.textContent.slice(0, 30))""",
    "a slider has the colour of the browser": """() =>
        [...document.querySelectorAll("article input[type=range]")]
            .filter((e) => getComputedStyle(e).accentColor === "auto")
            .map((e) => e.outerHTML.slice(0, 60))""",
    "a space beside a full-width mark": r"""() => {
        const stray = /.{0,8}(?:[，。；：！？、）][ \n]+(?=\S)|[ \n][，。；：！？、）]).{0,8}/;
        return [...document.querySelectorAll("article :is(p, li, h1, h2, h3, td, th, figcaption)")]
            .filter((e) => !e.querySelector("p, li, pre"))
            .map((e) => e.textContent.match(stray))
            .filter(Boolean).map((match) => match[0]);
    }""",
    "the other language in code, output or figure": r"""() => {
        const edition = document.body.dataset.edition;
        if (!["en", "zh"].includes(edition)) return [];
        const found = [];
        const look = (text) => {
            const han = /[\u3400-\u9fff]/.test(text);
            const words = /^[a-z]{3,}( [a-z-]{2,})+$/.test(text.trim());  // no name, no formula
            const bar = /[\p{L}.)。）] ?｜|｜ ?[\p{L}(（]/u.test(text);
            if (bar || (edition === "en" ? han : words)) found.push(text.trim());
        };
        const hidden = edition === "en" ? ".lang-zh" : ".lang-en";  // by the style sheet
        const textOf = (e) => {
            const copy = e.cloneNode(true);
            for (const part of copy.querySelectorAll(hidden)) part.remove();
            return copy.textContent;
        };
        const drawn = "svg text, .segedu-frame, .segedu-pictures figcaption, th";
        const parts = edition === "en" ? ".cell_input, .cell_output, figure" : ":not(*)";
        for (const e of document.querySelectorAll(`article :is(${drawn})`)) {
            look(textOf(e));
        }
        for (const e of document.querySelectorAll(`article :is(${parts})`)) {
            for (const line of textOf(e).split("\n")) look(line);
        }
        for (const e of document.querySelectorAll("article :is(img, svg)")) {
            look(e.getAttribute("alt") ?? e.getAttribute("aria-label") ?? "");
        }
        return found.map((text) => text.slice(0, 60));
    }""",
}
ALL_CHECKS = "() => [" + ", ".join(f"({check})()" for check in CHECKS.values()) + "]"
# Parts of a drawing have nothing before or after them.
ICONS = """() => [...document.querySelectorAll("*:not(:is(mjx-container, pre, svg) *)")]
    .flatMap((e) => ["::before", "::after"].map((part) => getComputedStyle(e, part))
        .filter((s) => s.fontFamily.includes("Font Awesome") && s.content.length === 3)
        .map((s) => [s.content.codePointAt(1), e.className.toString()]))"""


@cache
def known_icons(font: bytes) -> frozenset[int]:
    """Code points that an icon font can draw."""
    return frozenset(TTFont(io.BytesIO(font)).getBestCmap())


def complaints(page: Page, address: str) -> list[str]:
    """What is wrong with the layout of the page as it is open now."""
    every = zip(CHECKS, page.evaluate(ALL_CHECKS), strict=True)
    found = [f"{what}: {text!r}" for what, texts in every for text in texts]
    if icons := page.evaluate(ICONS):
        known = known_icons(page.request.get(address + ICON_FONT).body())
        blank = {(code, owner) for code, owner in icons if code not in known}
        found += [f"blank icon {code:x} of {owner!r}" for code, owner in sorted(blank)]
    return found
