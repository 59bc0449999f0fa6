"""What must hold on every page of a built edition; each check yields its complaints.

A page is opened once and looked at in one of the `VIEWS` after the other:

- as narrow as a phone, where most is cut or broken;
- as wide as a small laptop, with both side bars, where lines break elsewhere; here axe-core looks,
  too, at a page without its drawings;
- dark, for the colours alone, if the page has elements of a kind that no good page had.

What the editions share is judged in the bilingual one: its pages hold all elements of the others,
so that axe-core's rules about structure run there alone. What leaving out a language can change is
judged in each: layout, formulas, names, and colours of kinds that are new.

A new check is a function of a `Visit` in one of these lists. All pages are opened in one `Tab`: a
new one would start a process that knows none of the scripts and fonts.
"""

import gzip
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from html import unescape
from itertools import chain
from pathlib import Path
from urllib.parse import unquote, urlsplit

import axe_playwright_python
import yaml
from playwright.sync_api import Page, TimeoutError

from tests.book.layout_checks import complaints

OTHER_FILES = {"_static", "_sources", "index.html", "404.html"}
MAX_PAGE = 700_000  # bytes, compressed, without the page's own figures
MAX_FIGURES = 800_000  # bytes

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
# With `preload`, axe would itself ask for the style sheets' imports, at wrong addresses.
AXE_OPTIONS = {"resultTypes": ["violations"], "preload": False}
COLOUR_RULES = {"color-contrast": "*", "link-in-text-block": "a[href]"}  # and their elements
COLOURS = {"runOnly": [*COLOUR_RULES]}
# Violations in the theme's own parts, which no page of ours can mend: (rule, part of the element).
KNOWN_IN_THEME = (
    ("region", "logo__title"),  # the title in the side bar stands outside a landmark
)

# Axe looks at every element several times, and needs no drawings: those of formulas, which are
# hidden from readers of the screen, and of charts. Texts stay, those of formulas in one piece.
WITHOUT_DRAWINGS = """() => {
    const drawn = "mjx-math, svg :is(path, use, line, polyline)";
    for (const e of document.querySelectorAll(drawn)) e.remove();
    for (const e of document.querySelectorAll("mjx-assistive-mml")) e.textContent = e.textContent;
}"""
# Elements of the same tag and class, the same colours and ground look alike, if both are large or
# none is. Of those with text of their own the first that shows is marked, unless an earlier page
# had its like, and the kinds that were marked are returned.
# Code is thousands of elements; those that look like an earlier one become plain text.
MARK_KINDS = """(known) => {
    const grounds = new Map(), seen = new Set(), alike = [], before = new Set(known);
    const ground = (e) => {  // of the element itself and of those around it
        if (!e) return "";
        if (!grounds.has(e)) {
            const s = getComputedStyle(e);
            const own = [s.backgroundColor, s.backgroundImage.slice(0, 99), s.opacity].join(" ");
            const clear = own === "rgba(0, 0, 0, 0) none 1";
            grounds.set(e, (clear ? "" : `${own} / `) + ground(e.parentElement));
        }
        return grounds.get(e);
    };
    const kind = (e) => {
        const s = getComputedStyle(e), size = parseFloat(s.fontSize);
        const large = size >= 24 || (size >= 18.6 && s.fontWeight >= 700);  // may be paler
        const own = [e.tagName, e.getAttribute("class"), s.color, s.textShadow, large];
        if (e.tagName === "A") {  // must differ from the text around it
            const t = getComputedStyle(e.parentElement);
            own.push(s.textDecorationLine, s.fontWeight, t.color, t.fontWeight);
        }
        return [...own, ground(e)].join(" ");
    };
    for (const e of [...document.body.querySelectorAll("*")]) {
        delete e.dataset.kind;
        if (![...e.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
        const own = kind(e);
        if (!seen.has(own) && e.checkVisibility()) {
            seen.add(own);
            if (!before.has(own)) e.dataset.kind = "";
        } else if (e.matches(".highlight pre span")) alike.push(e);
    }
    for (const e of alike) e.replaceWith(e.textContent);  // at the end: each change costs a layout
    return [...seen].filter((kind) => !before.has(kind));
}"""
# The rules about colours need of a page what is marked, and what stands around it: of all else only
# empty elements stay, so that style sheets find each at its place. Texts beside a link stay.
ONLY_MARKED = """() => {
    const kept = new Set(), beside = new Set();
    for (const e of document.querySelectorAll("[data-kind], body style")) {
        for (let up = e; up; up = up.parentElement) kept.add(up);
        if (e.tagName === "A") beside.add(e.parentElement);
    }
    const empty = (parent) => {
        for (const e of [...parent.children]) {
            if (kept.has(e)) empty(e);
            else if (!beside.has(parent)) e.replaceChildren();
        }
    };
    empty(document.body);
}"""
JUDGE_MARKED = """(rules) => axe.configure(
    {rules: rules.map(([id, selector]) => ({id, selector: `${selector}[data-kind]`}))})"""
RUN_AXE = "(options) => axe.run(options)"
UNSET_MATH = """() => [...document.querySelectorAll("article .math")]
    .filter((e) => !e.querySelector("mjx-container") || e.querySelector("mjx-merror"))
    .map((e) => e.textContent.slice(0, 60))"""
MATH_READY = "async () => { await window.MathJax?.startup?.promise; }"
# The theme lets the keyboard reach what scrolls, 0.3 s after the width has changed.
TAB_STOPS = """() => [...document.querySelectorAll("pre, .cell_output > .output")]
    .every((e) => e.scrollWidth <= e.clientWidth || e.tabIndex === 0)"""
AT_ONCE = "*, *::before, *::after { transition: none !important; }"  # the theme fades to dark
NAMELESS = """() => [...document.querySelectorAll("a[href], button, [role=img], img:not([alt])")]
    .filter((e) => ![e.textContent, e.ariaLabel, e.title, e.querySelector("img")?.alt]
        .some((text) => text?.trim()))
    .map((e) => e.outerHTML.slice(0, 120))"""
# What a screen reader says or the mouse shows, apart from what names another language or a source.
FOREIGN_NAMES = """(lang) => [...document.querySelectorAll("[title], [aria-label]")]
    .filter((e) => !e.closest(".edition-switch, .bibtex-citation, svg"))
    .filter((e) => lang.startsWith(e.closest("[lang]").lang.slice(0, 2)))
    .flatMap((e) => [e.title, e.ariaLabel]).filter((text) => text?.trim())
    .filter((text) => lang === "en" ? /\\p{Script=Han}/u.test(text)
        : !/\\p{Script=Han}/u.test(text) && /[a-z]{4} [a-z]{3}|^[A-Z]?[a-z]{3,}$/.test(text))
    .map((text) => text.slice(0, 120))"""
OVERFLOW = """() => [document.documentElement.scrollWidth, window.innerWidth]"""
CUT_CODE = """() => [...document.querySelectorAll("article div.highlight pre")]
    .filter((e) => e.scrollWidth > e.clientWidth + 1)
    .filter((e) => !getComputedStyle(e).backgroundImage.includes("gradient"))
    .map((e) => e.textContent.slice(0, 40))"""
EAGER = """() => [...document.querySelectorAll("article img")]
    .filter((e) => e.getAttribute("loading") !== "lazy")
    .filter((e) => !e.closest(".segedu-frames, .segedu-live"))
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
class Tab:
    """Where one page after the other is opened."""

    page: Page
    address: str
    requested: list[str] = field(default_factory=list)  # since it was emptied
    faults: list[str] = field(default_factory=list)  # external and failed requests, errors

    def __post_init__(self) -> None:
        self.browser = self.page.context.new_cdp_session(self.page)
        self.page.on("request", self._request)
        self.page.on("response", self._response)
        self.page.on("requestfailed", self._failed)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"script error: {error}"))

    def _request(self, sent) -> None:
        self.requested.append(sent.url)
        if not sent.url.startswith((self.address, "data:")):
            self.faults.append(f"external request {sent.url}")

    def _response(self, received) -> None:
        if received.status >= 400:
            self.faults.append(f"{received.status} for {received.url}")

    def _failed(self, failed) -> None:
        if failed.url in self.requested:  # not one that an earlier page left
            self.faults.append(f"failed request {failed.url}")

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console {message.type}: {message.text}")

    def leave(self) -> None:
        """Leave the open page, so that the next one finds nothing of it.

        Chromium asks for each declared font that it still holds in memory, whether the page uses it
        or not; without its cache it forgets them.
        """
        self.page.goto("about:blank")  # ends what the page still asks for
        for off in (True, False):
            self.browser.send("Network.setCacheDisabled", {"cacheDisabled": off})
        self.requested.clear()
        self.faults.clear()

    def open(self, name: str) -> None:
        """Open a page of the site, with its formulas set."""
        self.page.goto(self.address + name, wait_until="load")
        self.page.evaluate(MATH_READY)


@dataclass
class Visit:
    """An open page."""

    tab: Tab
    site: Path
    name: str  # path from the top of the site
    language: str  # what <html lang> must say
    judged: set[str]  # kinds of elements whose colours were good on other pages
    kinds: set[str] = field(default_factory=set)  # of elements whose colours are judged on this one
    has_axe: bool = False

    @property
    def page(self) -> Page:
        """The page in the browser."""
        return self.tab.page

    @cached_property
    def edition(self) -> Path:
        """The folder of the page's edition."""
        first = self.name.split("/")[0]
        return self.site / first if first in ("en", "zh") else self.site

    def mark_new_kinds(self) -> bool:
        """Mark an element of each kind that was not judged before; whether there is one."""
        new = self.page.evaluate(MARK_KINDS, [*self.judged])
        self.kinds.update(new)
        return bool(new)

    def violations(self, options: dict) -> Iterator[str]:
        """The complaints of axe-core, apart from what is known of the theme."""
        if not self.has_axe:
            self.page.evaluate(AXE)
            self.page.evaluate(JUDGE_MARKED, [*COLOUR_RULES.items()])
            self.has_axe = True
        for rule in self.page.evaluate(RUN_AXE, AXE_OPTIONS | options)["violations"]:
            for node in rule["nodes"]:
                known = any(rule["id"] == r and part in node["html"] for r, part in KNOWN_IN_THEME)
                if not known:
                    yield f"axe {rule['id']}: {node['html'][:120]}"


# ---- at one width


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


def names_what_can_be_followed(visit: Visit) -> Iterator[str]:
    """No link, button or picture lost its name when the other language was left out."""
    yield from (f"has no name: {element}" for element in visit.page.evaluate(NAMELESS))


def names_in_its_language(visit: Visit) -> Iterator[str]:
    """What buttons and pictures are called is said in the language of a monolingual edition."""
    if visit.edition != visit.site:
        foreign = visit.page.evaluate(FOREIGN_NAMES, visit.language)
        yield from (f"named in another language: {text}" for text in foreign)


def is_light(visit: Visit) -> Iterator[str]:
    """A page with its scripts, styles and fonts is small, and so are its figures."""
    visit.page.wait_for_load_state("networkidle")
    total, figures = weight(visit)
    if total > MAX_PAGE:
        yield f"{total / 1000:.0f} kB, allowed {MAX_PAGE / 1000:.0f}"
    if figures > MAX_FIGURES:
        yield f"figures {figures / 1000:.0f} kB, allowed {MAX_FIGURES / 1000:.0f}"


def weight(visit: Visit) -> tuple[int, int]:
    """Compressed bytes of a page with its scripts, styles and fonts; bytes of its figures."""
    document = visit.site / visit.name
    address, own = visit.tab.address, visit.tab.address + visit.name
    body = document.read_bytes()
    asked = {url for url in visit.tab.requested if url.startswith(address)} - {own}
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


def has_the_numbers_of_the_other(visit: Visit) -> Iterator[str]:
    """The tables of an English page hold the numbers of the Chinese one."""
    if visit.edition != visit.site / "en":
        return
    chinese = visit.site / "zh" / Path(visit.name).relative_to("en")
    yield from unequal_tables(
        (visit.site / visit.name).read_text("utf-8"), chinese.read_text("utf-8")
    )


def unequal_tables(english: str, chinese: str) -> Iterator[str]:
    """The cells of tables whose numbers differ from those of the same cell of another page."""
    pages = [list(map(cells_of, TABLE.findall(page))) for page in (english, chinese)]
    sizes = [list(map(len, tables)) for tables in pages]
    if sizes[0] != sizes[1]:
        yield f"cells of its tables: {sizes[0]} in English, {sizes[1]} in Chinese"
        return
    for one, other in zip(*(chain.from_iterable(tables) for tables in pages), strict=True):
        if set(NUMBER.findall(one)) != set(NUMBER.findall(other)):
            yield f"other numbers in English than in Chinese: {one!r}, {other!r}"


def cells_of(table: str) -> list[str]:
    """The texts of the cells of a table."""
    return [unescape(TAG.sub("", cell)).strip() for cell in CELL.findall(table)]


TABLE = re.compile(r"<table.*?</table>", re.S)
CELL = re.compile(r"<t[hd]\b[^>]*>(.*?)(?=</?t[hdr]\b|</t)", re.S)
TAG = re.compile(r"<[^>]*>")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?!-D)")  # in Chinese 3-D is a word


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
    yield from (f"{problem} ({width} px)" for problem in complaints(visit.page, visit.tab.address))


# ---- by axe-core


def is_accessible(visit: Visit) -> Iterator[str]:
    """What axe-core finds: in the structure of the bilingual edition, in the colours of each."""
    with suppress(TimeoutError):  # what never becomes so is found by axe-core
        visit.page.wait_for_function(TAB_STOPS, timeout=3000)
    visit.page.evaluate(WITHOUT_DRAWINGS)
    marked = visit.mark_new_kinds()
    if visit.edition == visit.site:
        yield from visit.violations({"rules": {rule: {"enabled": False} for rule in COLOUR_RULES}})
    if marked:
        visit.page.evaluate(ONLY_MARKED)
        yield from visit.violations(COLOURS)


def has_contrast(visit: Visit) -> Iterator[str]:
    """What axe-core finds in the colours of what is left of the page, if a kind is new."""
    if visit.mark_new_kinds():
        yield from visit.violations(COLOURS)


Check = Callable[[Visit], Iterator[str]]
VIEWS: tuple[tuple[tuple[int, int], str, tuple[Check, ...]], ...] = (
    ((390, 844), "light", (fits_a_phone, shows_that_code_goes_on, is_well_laid_out)),
    (
        (1280, 800),
        "light",
        (
            speaks_its_language,
            sets_its_formulas,
            loads_figures_late,
            names_what_can_be_followed,
            names_in_its_language,
            has_the_numbers_of_the_other,
            is_well_laid_out,
            is_light,
            is_accessible,  # the last: it empties the page
        ),
    ),
    ((1280, 800), "dark", (has_contrast,)),
)


def look_at(tab: Tab, site: Path, name: str, language: str, judged: set[str]) -> list[str]:
    """Opens a page, looks at it in all views, and says what is wrong with it.

    `judged` are the kinds of elements whose colours were good on another page; those of a good page
    are added.
    """
    page, visit = tab.page, Visit(tab, site, name, language, judged)
    problems: list[str] = []
    tab.leave()  # an empty page takes another size at once
    for number, ((width, height), scheme, checks) in enumerate(VIEWS):
        if scheme == "dark" and not visit.kinds:
            continue  # what looks like other pages when it is light does so when it is dark
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        if number == 0:
            tab.open(name)
            page.add_style_tag(content=AT_ONCE)
        found = [problem for check in checks for problem in check(visit)]
        problems += [f"{problem} ({scheme}, {width} px)" for problem in found]
    page.wait_for_load_state("networkidle")  # late requests and errors are among the faults, too
    problems += tab.faults
    if not problems:
        judged.update(visit.kinds)
    return problems
