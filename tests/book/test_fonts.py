"""The fonts that a browser uses on machines with Chinese fonts only, with none, with all."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest
from browser import FLAGS, serve
from fontTools.ttLib import TTFont
from playwright.sync_api import Browser

from tests.book.conftest import ROOT

pytestmark = pytest.mark.browser

Fonts = dict[str, set[tuple[str, bool]]]
CHINESE = "Noto Sans CJK SC"
MATPLOTLIB = Path(matplotlib.get_data_path(), "fonts", "ttf")
PAGE = """<!doctype html><html lang="en" data-theme="light"><meta charset="utf-8">
<link rel="stylesheet" href="_static/book.css"><style>
body {font-family: var(--pst-font-family-base)} code {font-family: var(--pst-font-family-monospace)}
</style><p id="latin">The chapter’s “mask” – 4 × 4 → 2</p>
<p id="strong"><b>Bold</b></p><p id="slanted"><em>Slanted</em></p>
<code id="code">iou = 0.5  # → 1</code><p id="han" lang="zh-CN" class="lang-zh">掩膜“概率”</p>
<code id="code-han">掩膜</code></html>"""


def chinese_font(target: Path, family: str) -> None:
    """A Chinese font as a machine has it: the one of the figures under another name."""
    font = TTFont(ROOT / "segedu/viz/fonts/SegeduSansSC-Regular.otf")
    for record in font["name"].names:
        if record.nameID in (1, 4):
            record.string = family
    font.save(target)


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], Path]:
    """Makes a fontconfig file of a machine that has these families alone."""
    store = tmp_path_factory.mktemp("fonts")
    chinese_font(store / "Sans.otf", CHINESE)
    chinese_font(store / "Mono.otf", "Noto Sans Mono CJK SC")
    for name in ("DejaVuSans", "DejaVuSansMono"):
        shutil.copy(MATPLOTLIB / f"{name}.ttf", store)

    def machine(names: list[str]) -> Path:
        folder = tmp_path_factory.mktemp("machine")
        for name in names:
            shutil.copy(store / name, folder)
        config = folder / "fonts.conf"
        config.write_text(
            f"<fontconfig><dir>{folder}</dir><cachedir>{folder}/cache</cachedir></fontconfig>"
        )
        return config

    return machine


def used(browser: Browser, chromium: str, config: Path, site: Path) -> Fonts:
    """Fonts of each paragraph of PAGE: (family, whether it came with the page)."""
    page_of_fonts = site / "fonts.html"
    page_of_fonts.write_text(PAGE, encoding="utf-8")
    environment = os.environ | {"FONTCONFIG_FILE": str(config)}
    result = {}
    with serve(site) as address:
        machine = browser.browser_type.launch(
            executable_path=chromium, args=list(FLAGS), env=environment
        )
        page = machine.new_page()
        page.goto(address + "fonts.html", wait_until="networkidle")
        page.evaluate("() => document.fonts.ready")
        session = page.context.new_cdp_session(page)
        session.send("DOM.enable")
        session.send("CSS.enable")
        root = session.send("DOM.getDocument")["root"]["nodeId"]
        for name in ("latin", "strong", "slanted", "code", "han", "code-han"):
            found = session.send("DOM.querySelector", {"nodeId": root, "selector": f"#{name}"})
            node = {"nodeId": found["nodeId"]}
            shown = session.send("CSS.getPlatformFontsForNode", node)["fonts"]
            result[name] = {(font["familyName"], font["isCustomFont"]) for font in shown}
        machine.close()
    page_of_fonts.unlink()  # other tests look at the same site
    return result


MACHINES = {
    "Chinese fonts only": (["Sans.otf", "Mono.otf"], {(CHINESE, False)}),
    "no Chinese font": (["DejaVuSans.ttf", "DejaVuSansMono.ttf"], {("Segedu Sans SC", True)}),
    "all": (
        ["Sans.otf", "Mono.otf", "DejaVuSans.ttf", "DejaVuSansMono.ttf"],
        {(CHINESE, False)},
    ),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_machine_shows_the_same_fonts(machine, fonts, browser, chromium, miniature):
    names, han = MACHINES[machine]
    shown = used(browser, chromium, fonts(names), miniature)
    sans, mono = {("Book Sans", True)}, {("Book Mono", True)}
    assert shown["latin"] == shown["strong"] == shown["slanted"] == sans
    assert shown["code"] == mono
    assert shown["han"] == han
    in_code = {("Noto Sans Mono CJK SC", False)} if "Mono.otf" in names else han
    assert shown["code-han"] == in_code


def test_without_our_fonts_code_is_still_of_one_width(
    fonts, browser, chromium, miniature, tmp_path
):
    """A page whose fonts a browser refuses to load, as Firefox does on some file systems."""
    site = tmp_path / "site"
    (site / "_static").mkdir(parents=True)
    shutil.copy(miniature / "_static" / "book.css", site / "_static")
    shown = used(browser, chromium, fonts(MACHINES["all"][0]), site)
    assert shown["code"] == {("DejaVu Sans Mono", False)}


def test_the_web_fonts_are_small(miniature):
    size = {path.name: path.stat().st_size for path in miniature.rglob("_static/fonts/*.woff2")}
    assert size.pop("SegeduSansSC.woff2") <= 600_000
    assert len(size) == 4 and sum(size.values()) <= 150_000
    assert (miniature / "_static" / "fonts" / "OFL.txt").is_file()
