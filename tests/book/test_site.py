"""Every page of every edition in a real browser: the miniature book, then the book itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import serve
from playwright.sync_api import Browser, Page

from tests.book.page_checks import MAX_FIGURES, MAX_PAGE, look_at, pages_of, watch, weight

pytestmark = pytest.mark.browser

EDITIONS = {"": "en", "en": "en", "zh": "zh-CN"}  # folder: language of the page


@dataclass
class Built:
    """A built book: where it is stored and where it is served."""

    folder: Path
    address: str
    chapter: str  # a page with formulas, figures and an explorer


@pytest.fixture(
    scope="module",
    # the book itself is slow: it is built, and all its pages are opened in three ways
    params=["miniature", pytest.param("site", marks=pytest.mark.slow)],
)
def built(request: pytest.FixtureRequest) -> Iterator[Built]:
    folder: Path = request.getfixturevalue(request.param)
    chapters = sorted(folder.glob("chapters/*/*.html"))
    with_explorer = [page for page in chapters if "segedu-frames" in page.read_text("utf-8")]
    chapter = str(with_explorer[0].relative_to(folder))
    with serve(folder) as address:
        yield Built(folder, address, chapter)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1360, "height": 900})
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("folder", EDITIONS)
def test_every_page_is_sound(built, browser, folder):
    context = browser.new_context()
    problems = [
        problem
        for name in pages_of(built.folder, folder)
        for problem in look_at(context, built.address, name, EDITIONS[folder])
    ]
    context.close()
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("folder", EDITIONS)
def test_pages_are_light(built, page, folder):
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))

    def load(name: str) -> tuple[list[str], bytes]:
        page.goto("about:blank")
        requested.clear()
        page.goto(built.address + name, wait_until="networkidle")
        resources = {url for url in requested if url.startswith(built.address)}
        resources.discard(built.address + name)
        return sorted(resources), (built.folder / name).read_bytes()

    problems = []
    for name in pages_of(built.folder, folder):
        total, figures = weight(load, built.folder, name)
        if total > MAX_PAGE:
            problems.append(f"{name}: {total / 1000:.0f} kB, allowed {MAX_PAGE / 1000:.0f}")
        if figures > MAX_FIGURES:
            problems.append(f"{name}: figures {figures / 1000:.0f} kB")
    assert not problems, "\n".join(problems)


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


@pytest.mark.parametrize("folder", EDITIONS)
@pytest.mark.parametrize("word", ["概率图", "掩膜", "mask"])
def test_search_finds_words(built, page, folder, word):
    if folder == "en" and word != "mask":
        pytest.skip("the English edition has no Chinese words")
    seen = watch(page, built.address)
    prefix = f"{folder}/" if folder else ""
    page.goto(f"{built.address}{prefix}search.html?q={word}", wait_until="load")
    page.wait_for_selector("ul.search li a", timeout=20_000)
    page.wait_for_load_state("networkidle")
    links = page.eval_on_selector_all("ul.search li a", "(all) => all.map((a) => a.href)")
    assert any("/chapters/" in link for link in links), links
    assert not seen


@pytest.mark.parametrize("folder", EDITIONS)
def test_an_explorer_follows_the_mouse(built, page, folder):
    seen = watch(page, built.address)
    prefix = f"{folder}/" if folder else ""
    page.goto(f"{built.address}{prefix}{built.chapter}", wait_until="networkidle")
    explorer = page.locator(".segedu-frames").first
    slider = explorer.locator("input[type=range]")
    slider.scroll_into_view_if_needed()
    page.wait_for_load_state("networkidle")
    shown = """(explorer) => {
        const of = [...explorer.querySelectorAll(".segedu-frame")].findIndex((e) => !e.hidden);
        const image = explorer.querySelectorAll(".segedu-frame img")[of];
        return [of, image.complete && image.naturalWidth > 0];
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
    assert not seen


def test_a_bad_page_is_noticed(browser, tmp_path):
    """The checks of a page can fail: one page with everything that they look for."""
    (tmp_path / "bad.html").write_text(
        '<!doctype html><html lang="de"><title>bad</title><main><h1>Bad</h1><article>'
        '<p class="math">\\(x\\)</p><img src="missing.png"><div style="width:800px">wide</div>'
        '<script src="https://example.invalid/x.js"></script><script>throw Error("no")</script>'
        "</article></main></html>"
    )
    context = browser.new_context()
    with serve(tmp_path) as address:
        problems = "\n".join(look_at(context, address, "bad.html", "en"))
    context.close()
    for complaint in (
        *("external request", "404 for", "script error", "lang='de'", "formula not set"),
        *("not loaded lazily", "axe image-alt", "scrolls sideways"),
    ):
        assert complaint in problems, problems
