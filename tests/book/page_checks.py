"""What must hold on every page of a built edition; each check yields its complaints.

A page is opened once and looked at in three `VIEWS`, one after the other: wide and light, then
dark, then as narrow as a phone. A new check is a function of a `Visit` in one of these lists.
"""

import gzip
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

import axe_playwright_python
import yaml
from playwright.sync_api import BrowserContext, Page

from tests.book.layout_checks import complaints

OTHER_FILES = {"_static", "_sources", "index.html", "404.html"}
MAX_PAGE = 700_000  # bytes, compressed, without the page's own figures
MAX_FIGURES = 800_000  # bytes

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
# With `preload`, axe would itself ask for the style sheets' imports, at wrong addresses.
AXE_OPTIONS = {"resultTypes": ["violations"], "preload": False}
COLOUR_RULES = ("color-contrast", "link-in-text-block")
# Violations in the theme's own parts, which no page of ours can mend: (rule, part of the element).
KNOWN_IN_THEME = (
    ("region", "logo__title"),  # the title in the side bar stands outside a landmark
)

# Colours come from style sheets: elements with the same tags and classes around them look alike,
# odd and even rows of tables apart. Of those with text of their own the first that shows is marked,
# unless an earlier page of the edition had its like, and the kinds that were marked are returned.
# Code is thousands of elements; those that look like an earlier one become plain text.
MARK_KINDS = """(known) => {
    const kinds = new Map(), seen = new Set(), alike = [], before = new Set(known);
    const kind = (e) => {
        if (!e) return "";
        if (!kinds.has(e)) {
            const row = e.tagName === "TR" ? e.rowIndex % 2 : "";
            const own = `${e.tagName}${row} ${e.getAttribute("class")} ${e.getAttribute("style")}`;
            kinds.set(e, `${kind(e.parentElement)} > ${own}`);
        }
        return kinds.get(e);
    };
    for (const e of [...document.body.querySelectorAll("*")]) {
        if (![...e.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
        if (!seen.has(kind(e)) && e.checkVisibility()) {
            seen.add(kind(e));
            if (!before.has(kind(e))) e.dataset.kind = "";
        } else if (e.matches(".highlight pre span")) alike.push(e);
    }
    for (const e of alike) e.replaceWith(e.textContent);  // at the end: each change costs a layout
    return [...seen].filter((kind) => !before.has(kind));
}"""
RUN_AXE = "([context, options]) => axe.run(context, options)"
UNSET_MATH = """() => [...document.querySelectorAll("article .math")]
    .filter((e) => !e.querySelector("mjx-container") || e.querySelector("mjx-merror"))
    .map((e) => e.textContent.slice(0, 60))"""
MATH_READY = "async () => { await window.MathJax?.startup?.promise; }"
AT_ONCE = "*, *::before, *::after { transition: none !important; }"  # the theme fades to dark
OVERFLOW = """() => [document.documentElement.scrollWidth, window.innerWidth]"""
CUT_CODE = """() => [...document.querySelectorAll("article div.highlight pre")]
    .filter((e) => e.scrollWidth > e.clientWidth + 1)
    .filter((e) => !getComputedStyle(e).backgroundImage.includes("gradient"))
    .map((e) => e.textContent.slice(0, 40))"""
EAGER = """() => [...document.querySelectorAll("article img")]
    .filter((e) => e.getAttribute("loading") !== "lazy" && !e.closest(".segedu-frames"))
    .map((e) => e.outerHTML.slice(0, 80))"""


def pages_of(site: Path, folder: str) -> list[str]:
    """All pages of one edition, as paths from the top of the site, without the entry page."""
    root = site / folder
    others = {"en", "zh"} if not folder else set()
    return sorted(
        str(path.relative_to(site))
        for path in root.rglob("*.html")
        if path.relative_to(root).parts[0] not in others | OTHER_FILES
    )


def pages_in(contents: Path) -> list[str]:
    """The pages that an edition must have: those of a `_toc.yml`, index and search."""
    table = yaml.safe_load(contents.read_text(encoding="utf-8"))
    listed = [chapter["file"] for part in table["parts"] for chapter in part["chapters"]]
    return sorted(f"{name}.html" for name in [table["root"], *listed, "genindex", "search"])


@dataclass
class Visit:
    """An open page."""

    page: Page
    site: Path
    address: str
    name: str  # path from the top of the site
    language: str  # what <html lang> must say
    requested: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)  # of elements whose colours are to be judged

    @cached_property
    def edition(self) -> Path:
        """The folder of the page's edition."""
        first = self.name.split("/")[0]
        return self.site / first if first in ("en", "zh") else self.site


def watch(page: Page, address: str) -> list[str]:
    """A list that fills with the external and failed requests and the errors of `page`."""
    seen: list[str] = []

    def request(sent) -> None:
        if not sent.url.startswith((address, "data:")):
            seen.append(f"external request {sent.url}")

    def response(received) -> None:
        if received.status >= 400:
            seen.append(f"{received.status} for {received.url}")

    def console(message) -> None:
        if message.type in ("error", "warning"):
            seen.append(f"console {message.type}: {message.text}")

    page.on("request", request)
    page.on("response", response)
    page.on("requestfailed", lambda failed: seen.append(f"failed request {failed.url}"))
    page.on("console", console)
    page.on("pageerror", lambda error: seen.append(f"script error: {error}"))
    return seen


# ---- wide and light


def speaks_its_language(visit: Visit) -> Iterator[str]:
    """`<html lang>` is the edition's."""
    lang = visit.page.evaluate("document.documentElement.lang")
    if lang != visit.language:
        yield f"<html lang={lang!r}>, expected {visit.language!r}"


def sets_its_formulas(visit: Visit) -> Iterator[str]:
    """MathJax has set every formula, without an error."""
    yield from (f"formula not set: {text}" for text in visit.page.evaluate(UNSET_MATH))


def loads_figures_late(visit: Visit) -> Iterator[str]:
    """Figures wait until they are near."""
    yield from (f"not loaded lazily: {image}" for image in visit.page.evaluate(EAGER))


def is_light(visit: Visit) -> Iterator[str]:
    """A page with its scripts, styles and fonts is small, and so are its figures."""
    total, figures = weight(visit)
    if total > MAX_PAGE:
        yield f"{total / 1000:.0f} kB, allowed {MAX_PAGE / 1000:.0f}"
    if figures > MAX_FIGURES:
        yield f"figures {figures / 1000:.0f} kB, allowed {MAX_FIGURES / 1000:.0f}"


def weight(visit: Visit) -> tuple[int, int]:
    """Compressed bytes of a page with its scripts, styles and fonts; bytes of its figures."""
    document = visit.site / visit.name
    body, own = document.read_bytes(), visit.address + visit.name
    asked = {url for url in visit.requested if url.startswith(visit.address)} - {own}
    files = {visit.site / unquote(urlsplit(url).path).lstrip("/") for url in asked}
    pictures = {visit.edition / "_images" / name.decode() for name in PICTURE.findall(body)}
    total = sum(packed_size(file) for file in files if file.parent.name != "_images")
    return len(gzip.compress(body)) + total, sum(picture.stat().st_size for picture in pictures)


PICTURE = re.compile(rb'_images/([^"#?]+)"')


@cache
def packed_size(file: Path) -> int:
    """Bytes of a file as a server sends it."""
    data = file.read_bytes() if file.exists() else b""
    return len(data if file.suffix in (".woff", ".woff2", ".png") else gzip.compress(data))


def is_accessible(visit: Visit) -> Iterator[str]:
    """What axe-core finds by all rules but those that look at colours."""
    rules = {rule: {"enabled": False} for rule in COLOUR_RULES}
    yield from violations(visit.page, {"include": ["html"]}, {"rules": rules})


def has_contrast(visit: Visit) -> Iterator[str]:
    """What axe-core finds by the rules that look at colours, for one element of each new kind."""
    if not visit.kinds:
        return
    marked = {"include": ["[data-kind]"]}
    yield from violations(visit.page, marked, {"runOnly": list(COLOUR_RULES)})


def violations(page: Page, context: dict, options: dict) -> Iterator[str]:
    """The complaints of axe-core, apart from what is known of the theme."""
    for rule in page.evaluate(RUN_AXE, [context, AXE_OPTIONS | options])["violations"]:
        for node in rule["nodes"]:
            known = any(rule["id"] == r and part in node["html"] for r, part in KNOWN_IN_THEME)
            if not known:
                yield f"axe {rule['id']}: {node['html'][:120]}"


# ---- as narrow as a phone


def fits_a_phone(visit: Visit) -> Iterator[str]:
    """Nothing is wider than the screen."""
    needed, available = visit.page.evaluate(OVERFLOW)
    if needed > available:
        yield f"scrolls sideways at 390 px: {needed} px"


def shows_that_code_goes_on(visit: Visit) -> Iterator[str]:
    """Code that is wider than the screen has a shadow at its edge: a phone hides the bar."""
    yield from (f"code is cut without a sign: {text!r}" for text in visit.page.evaluate(CUT_CODE))


# ---- at any width


def is_well_laid_out(visit: Visit) -> Iterator[str]:
    """Nothing is torn, broken, cut or blank."""
    width = visit.page.viewport_size["width"]
    yield from (f"{problem} ({width} px)" for problem in complaints(visit.page, visit.address))


Check = Callable[[Visit], Iterator[str]]
VIEWS: tuple[tuple[tuple[int, int], str, tuple[Check, ...]], ...] = (
    (
        (1360, 900),
        "light",
        (
            speaks_its_language,
            sets_its_formulas,
            loads_figures_late,
            is_accessible,
            has_contrast,
            is_well_laid_out,
        ),
    ),
    ((1360, 900), "dark", (has_contrast,)),
    ((1280, 800), "light", (is_well_laid_out,)),
    ((390, 844), "light", (fits_a_phone, shows_that_code_goes_on, is_well_laid_out, is_light)),
)


def look_at(
    context: BrowserContext,
    site: Path,
    address: str,
    name: str,
    language: str,
    judged: set[str],
) -> list[str]:
    """Opens a page, looks at it in all views, and says what is wrong with it.

    `judged` are the kinds of elements whose colours were good on another page of the edition;
    those of a good page are added.
    """
    page = context.new_page()
    problems = watch(page, address)
    visit = Visit(page, site, address, name, language)
    page.on("request", lambda request: visit.requested.append(request.url))
    page.set_viewport_size({"width": 1360, "height": 900})
    page.emulate_media(color_scheme="light")
    page.goto(address + name, wait_until="load")
    page.evaluate(MATH_READY)
    page.add_style_tag(content=AT_ONCE)
    page.evaluate(AXE)
    visit.kinds = page.evaluate(MARK_KINDS, list(judged))
    for (width, height), scheme, checks in VIEWS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        found = [problem for check in checks for problem in check(visit)]
        problems += [f"{problem} ({scheme}, {width} px)" for problem in found]
    page.wait_for_load_state("networkidle")  # late requests and errors are in `problems`, too
    page.close()
    if not problems:
        judged.update(visit.kinds)
    return problems
