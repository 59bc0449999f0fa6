"""Every page of every edition in a real browser: the miniature book, then the book itself."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import serve
from editions import ROOT
from playwright.sync_api import Browser, BrowserContext, Page

from tests.book.page_checks import (
    MAX_PAGE,
    Tab,
    look_at,
    pages_in,
    pages_of,
    unequal_tables,
)

pytestmark = pytest.mark.browser

EDITIONS = {"": "en", "en": "en", "zh": "zh-CN"}  # folder: language of the page
CONTENTS = {"miniature": Path(__file__).parent / "fixture/_toc.yml", "site": ROOT / "_toc.yml"}
# The book itself is slow: it is built, and all its pages are opened.
BOOKS = ["miniature", pytest.param("site", marks=pytest.mark.slow)]
PAGES = [
    pytest.param(book, folder, name, id=f"{book}-{folder or 'both'}-{name.removesuffix('.html')}")
    for book, contents in CONTENTS.items()
    for folder in EDITIONS
    for name in pages_in(contents)
]


@dataclass
class Built:
    """A built book: where it is stored and where it is served."""

    folder: Path
    address: str
    pages: list[str]  # what an edition must have

    @property
    def chapter(self) -> str:
        """A page with formulas, figures and an explorer."""
        chapters = sorted(self.folder.glob("chapters/*/*.html"))
        with_explorer = [page for page in chapters if "segedu-frames" in page.read_text("utf-8")]
        return str(with_explorer[0].relative_to(self.folder))


@pytest.fixture(scope="module", params=BOOKS)
def built(request: pytest.FixtureRequest) -> Iterator[Built]:
    folder: Path = request.getfixturevalue(request.param)
    with serve(folder) as address:
        yield Built(folder, address, pages_in(CONTENTS[request.param]))


@pytest.fixture
def width() -> int:
    return 1360


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for all tabs, so that what they share is fetched once."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture(scope="module")
def tab(built: Built, context: BrowserContext) -> Iterator[Tab]:
    page = context.new_page()
    yield Tab(page, built.address)
    page.close()


@pytest.fixture(scope="module")
def judged() -> set[str]:
    """The kinds of elements whose colours were found good; all editions share the style sheets."""
    return set()


@pytest.mark.parametrize(("built", "folder", "name"), PAGES, indirect=["built"])
def test_a_page_is_sound(built, tab, judged, folder, name):
    path = f"{folder}/{name}" if folder else name
    problems = look_at(tab, built.folder, path, EDITIONS[folder], judged)
    assert not problems, f"{path}: " + "\n".join(problems)


@pytest.mark.parametrize("folder", EDITIONS)
def test_an_edition_has_the_pages_of_its_contents(built, folder):
    prefix = f"{folder}/" if folder else ""
    assert pages_of(built.folder, folder) == [f"{prefix}{name}" for name in built.pages]


@pytest.mark.parametrize("folder", EDITIONS)
def test_the_entry_leads_to_the_first_page(built, page, folder):
    prefix = f"{folder}/" if folder else ""
    page.goto(f"{built.address}{prefix}index.html")
    page.wait_for_url(f"{built.address}{prefix}book/intro.html")


def click(page: Page, text: str) -> None:
    """A real mouse click on an edition; playwright's own would scroll the page first."""
    box = page.locator(".edition-switch a", has_text=text).bounding_box()
    with page.expect_navigation(wait_until="load"):
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


TOP = "(id) => document.getElementById(id).getBoundingClientRect().top"


def test_the_switcher_keeps_page_and_section(built, page):
    page.goto(built.address + built.chapter, wait_until="networkidle")
    ids = page.evaluate(
        '() => [...document.querySelectorAll("article > section section[id]")].map((s) => s.id)'
    )
    target = ids[len(ids) // 2]
    page.evaluate("(id) => document.getElementById(id).scrollIntoView()", target)
    page.wait_for_timeout(300)
    for text, folder in (("中文", "zh/"), ("English", "en/"), ("双语", "")):
        click(page, text)
        assert page.url == f"{built.address}{folder}{built.chapter}#{target}"
        page.wait_for_load_state("networkidle")
        assert -100 <= page.evaluate(TOP, target) <= 600  # in sight, also at the end of the page


def test_the_switcher_at_the_top_adds_nothing(built, page):
    page.goto(built.address + built.chapter, wait_until="networkidle")
    click(page, "English")
    assert page.url == f"{built.address}en/{built.chapter}"


LATE_FONT = """async () => {
    const [script] = document.querySelectorAll("script[src*='book.js']");
    const font = new FontFace("Late", `url(${new URL("fonts/BookMono.woff2", script.src)})`);
    document.fonts.add(font);
    const code = [...document.querySelectorAll("article pre")].find((e) => e.tabIndex === -1);
    code.id = "code";
    code.style.width = "20px";
    await font.load();
    return code.tabIndex;
}"""


def test_code_that_a_late_font_makes_wider_is_reached_by_the_keyboard(built, page):
    page.goto(built.address + built.chapter, wait_until="networkidle")
    page.wait_for_timeout(500)  # the theme looks again 0.3 s after the last change
    assert page.evaluate(LATE_FONT) == -1
    page.wait_for_function("document.getElementById('code').tabIndex === 0")


@pytest.mark.parametrize("folder", EDITIONS)
@pytest.mark.parametrize("word", ["概率", "掩膜", "mask"])
def test_search_finds_words(built, page, folder, word):
    if folder == "en" and word != "mask":
        pytest.skip("the English edition has no Chinese words")
    tab = Tab(page, built.address)
    prefix = f"{folder}/" if folder else ""
    page.goto(f"{built.address}{prefix}search.html?q={word}", wait_until="load")
    page.wait_for_selector("ul.search li a", timeout=20_000)
    page.wait_for_load_state("networkidle")
    links = page.eval_on_selector_all("ul.search li a", "(all) => all.map((a) => a.href)")
    assert any("/chapters/" in link for link in links), links
    assert not tab.faults


@pytest.mark.parametrize("folder", EDITIONS)
def test_an_explorer_follows_the_mouse(built, page, folder):
    tab = Tab(page, built.address)
    prefix = f"{folder}/" if folder else ""
    page.goto(f"{built.address}{prefix}{built.chapter}", wait_until="networkidle")
    explorer = page.locator(".segedu-frames").first
    slider = explorer.locator("input[type=range]")
    slider.scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")
    shown = """(explorer) => {
        const frames = [...explorer.querySelectorAll(".segedu-frame")];
        const of = frames.findIndex((frame) => !frame.hidden);
        const picture = frames[of].querySelector("img, svg");
        const loaded = picture.tagName === "IMG" ? picture.complete && picture.naturalWidth > 0
                                                 : picture.getBBox().width > 0;
        return [of, loaded];
    }"""
    arrived = f"(explorer) => ({shown})(explorer)[1]"
    page.wait_for_function(arrived, arg=explorer.element_handle())
    first, loaded = explorer.evaluate(shown)
    assert loaded
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, middle, steps=4)
    page.mouse.move(box["x"] + box["width"] - 2, middle, steps=4)
    page.mouse.up()
    page.wait_for_load_state("networkidle")
    page.wait_for_function(arrived, arg=explorer.element_handle())
    last, loaded = explorer.evaluate(shown)
    count = explorer.locator(".segedu-frame").count()
    assert last == count - 1 != first and loaded
    assert not tab.faults


def test_a_kind_of_element_is_judged_on_the_first_page_that_has_it(context, tmp_path):
    for name, colour in (("good", "#222"), ("pale", "#eee")):
        (tmp_path / f"{name}.html").write_text(
            f"<!doctype html><html lang=en><link rel=icon href=data:,><title>x</title>"
            f"<main><h1>x</h1>"
            f"<p class={name} style='color:{colour};background:white'>a word</p></main>"
        )
    judged: set[str] = set()
    with serve(tmp_path) as address:
        tab = Tab(context.new_page(), address)
        assert look_at(tab, tmp_path, "good.html", "en", judged) == []
        assert [kind for kind in judged if "P good" in kind]
        assert look_at(tab, tmp_path, "good.html", "en", judged) == []
        before = set(judged)
        for _ in range(2):  # a page with a fault is judged again, wherever its like is met
            found = look_at(tab, tmp_path, "pale.html", "en", judged)
            assert any("axe color-contrast" in fault for fault in found)
    assert judged == before


@pytest.mark.parametrize(
    ("article", "fault"),
    [
        (
            "<style>p:nth-child(4) { color: #eee }</style><p>dark</p><p>dark</p><p>pale</p>",
            "axe color-contrast: <p",
        ),
        (
            "<p><em>dark</em> <a href='#x'>blue</a></p><p><em>dark words beside</em> "
            "<a href='#x' style='color:#333; text-decoration:none'>dark</a></p>",
            "axe link-in-text-block: <a",
        ),
    ],
)
def test_colours_are_judged_where_they_stand(context, tmp_path, article, fault):
    """Axe-core looks at a page of which most is left out, but nothing moves or loses its like."""
    (tmp_path / "page.html").write_text(
        "<!doctype html><html lang=en><link rel=icon href=data:,><title>x</title>"
        "<style>body { color: #111; background: white }</style>"
        f"<main id=x><h1>x</h1><article>{article}</article></main></html>"
    )
    with serve(tmp_path) as address:
        found = look_at(Tab(context.new_page(), address), tmp_path, "page.html", "en", set())
    assert found and all(problem.startswith(fault) for problem in found)


def test_numbers_that_a_table_has_in_one_language_alone_are_noticed(context, tmp_path):
    row = "<table><tr><th>{}</th><td>1,000</td><td>{}</td></tr></table>"
    cells = {"en": ("three of 5", "0.81–0.9"), "zh": ("5 个中的三个", "0.81–0.9")}
    for edition, (name, range_) in cells.items():
        (tmp_path / edition).mkdir()
        for page, text in (("same", range_), ("other", range_ if edition == "zh" else "0.81")):
            (tmp_path / edition / f"{page}.html").write_text(
                "<!doctype html><html lang=en><link rel=icon href=data:,><title>x</title>"
                f"<main><h1>x</h1>{row.format(name, text)}</main></html>"
            )
    with serve(tmp_path) as address:
        tab = Tab(context.new_page(), address)
        same, other = (
            look_at(tab, tmp_path, f"en/{page}.html", "en", set()) for page in ("same", "other")
        )
    assert same == []
    assert other == [
        "other numbers in English than in Chinese: '0.81', '0.81–0.9' (light, 1280 px)"
    ]
    row = "<table><td>1</table>"
    assert list(unequal_tables(row, row + row)) == [
        "cells of its tables: [1] in English, [1, 1] in Chinese"
    ]


def test_a_page_weighs_the_same_after_others(context, tmp_path):
    """A font that only an earlier page uses is not among what a page needs."""
    face = (ROOT / "book/static/fonts/BookSans.woff2").read_bytes()
    families = [f"face{number}" for number in range(MAX_PAGE // len(face) + 1)]
    for family in families:
        (tmp_path / f"{family}.woff2").write_bytes(face)
    declared = [f"@font-face {{ font-family: {f}; src: url({f}.woff2) }}" for f in families]
    (tmp_path / "fonts.css").write_text("".join(declared))
    for file in tmp_path.iterdir():  # of old files a browser keeps copies
        os.utime(file, (0, 0))
    for name, used in (("first", families), ("second", ["serif"])):
        (tmp_path / f"{name}.html").write_text(
            "<!doctype html><html lang=en><link rel=icon href=data:,><title>x</title>"
            "<link rel=stylesheet href=fonts.css><main><h1>x</h1>"
            + "".join(f"<p style='font-family:{family}'>x</p>" for family in used)
            + "</main></html>"
        )
    with serve(tmp_path) as address:
        tab = Tab(context.new_page(), address)
        first, *seconds = [
            look_at(tab, tmp_path, name, "en", set())
            for name in ("first.html", "second.html", "second.html")
        ]
    assert any("kB, allowed 700" in problem for problem in first)
    assert seconds == [[], []]


def test_a_bad_page_is_noticed(context, tmp_path):
    """The checks of a page can fail: one page with everything that they look for."""
    (tmp_path / "_images").mkdir()
    (tmp_path / "_images/large.png").write_bytes(bytes(900_000))
    (tmp_path / "heavy.js").write_text("//" + random.Random(0).randbytes(800_000).hex())
    (tmp_path / "bad.html").write_text(
        '<!doctype html><html lang="de"><title>bad</title><main><h1>Bad</h1><article>'
        "<style>pre { color: black; background: white } @media (prefers-color-scheme: dark) "
        "{ body { background: black } }</style>"
        '<p class="math">\\(x\\)</p><img src="missing.png"><div style="width:800px">wide</div>'
        '<img loading="lazy" alt="" src="_images/large.png">'
        '<div class="highlight"><pre><span class="k">if</span><span class="n" style="color:'
        '#eee">pale</span></pre><pre style="overflow:auto">' + 200 * "x" + "</pre></div>"
        '<p style="color:#222">only on white</p>'
        '<script src="https://example.invalid/x.js"></script><script>throw Error("no")</script>'
        '<script src="heavy.js"></script></article></main></html>'
    )
    with serve(tmp_path) as address:
        tab = Tab(context.new_page(), address)
        problems = "\n".join(look_at(tab, tmp_path, "bad.html", "en", set()))
    for complaint in (
        *("external request", "404 for", "script error", "lang='de'", "formula not set"),
        *("not loaded lazily", "axe image-alt", "scrolls sideways", "kB, allowed 700"),
        *(
            "figures 900 kB",
            "code is cut without a sign: 'xxx",
            'axe color-contrast: <span class="n"',
            "only on white</p> (dark, 1280 px)",
        ),
    ):
        assert complaint in problems, problems
