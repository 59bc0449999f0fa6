"""Networks that run in the page, in a real browser: they compute what PyTorch computes."""

import base64
import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import runtime
import torch
from axe_playwright_python.sync_playwright import Axe
from browser import serve
from editions import ROOT
from PIL import Image
from playwright.sync_api import Browser, Locator, Page
from scipy import ndimage
from self_contained import lazy_figures

from benchmarks.live import by_turns
from benchmarks.weights import NETWORKS
from book import front_picture
from segedu import viz
from segedu.data import scenes
from segedu.models import get_model
from segedu.viz.live_figures import OUTSIDE, SLIDERS, Hounsfield, changed
from tests.book.page_checks import OVERFLOW, Tab

WINDOW = Hounsfield(-1350, 650, level=-600, width=1500)
CT = np.dstack([np.arange(256, dtype=np.uint8).repeat(64).reshape(128, 128)] * 3)  # every grey
COLORS = {f"{c.name} ｜ {c.name_zh}": c.color for c in scenes.CLASSES}
STATIC = ROOT / "book" / "static"
PAGE = """<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8"><title>x</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<link rel="stylesheet" href="_static/book.css"><style>:root {{ --pst-color-background: {ground} }}
html {{ background: {ground}; color: var(--pst-color-text-base) }}</style>
<body data-edition="{edition}"><main class="bd-article"><h1>x</h1>{figures}</main>
<script defer src="_static/book.js"></script></html>"""


@pytest.fixture(scope="module")
def network():
    return get_model("unet", weights="scenes").eval()


@pytest.fixture(scope="module")
def scene():
    return scenes.generate(3, scenes.SceneConfig(size=(128, 192), noise=0.0))


@pytest.fixture(scope="module")
def folder(network, scene, tmp_path_factory) -> Path:
    """A site of four figures: one network, two, a CT, and paint that counts; light and dark."""
    if problem := runtime.RUNTIME.fetch():
        pytest.skip(f"onnxruntime-web is not to be had: {problem}")
    site: Path = tmp_path_factory.mktemp("live")
    shutil.copytree(STATIC, site / "_static")
    person = next(s["id"] for s in reversed(scene.segments_info) if s["category_id"] == 9)
    empty = scenes.generate(3, scenes.SceneConfig(size=(128, 192), noise=0.0), without=person)
    layer = viz.Layer(scene.panoptic == person, empty.image, empty.semantic)
    other = scenes.generate(115, scenes.SceneConfig(size=(128, 192), noise=0.0))
    figures = {
        "one": viz.live(
            {"U-Net": network},
            {
                "a ｜ 甲": (scene.image, scene.semantic, layer),
                "b ｜ 乙": (other.image, other.semantic),
            },
            COLORS,
            brushes={"red ｜ 红": np.full((8, 8, 3), (200, 30, 30), np.uint8)},
            tools=("blur", "noise"),
            sliders=tuple(name for name in SLIDERS if name != "threshold"),
        ),
        "two": viz.live(
            {"one ｜ 甲": network, "two ｜ 乙": network},
            {"a ｜ 甲": (scene.image, scene.semantic)},
            COLORS,
            sliders=("threshold",),
            target=8,
        ),
        "counted": viz.live(
            {"U-Net": network},
            {"a ｜ 甲": (scene.image, scene.semantic)},
            COLORS,
            target=8,
            count_paint=True,
        ),
        "ct": viz.live(
            {"U-Net": network},
            {"a ｜ 甲": (CT, np.zeros(CT.shape[:2], np.uint8))},
            COLORS,
            window=WINDOW,
        ),
    }
    for name, figure in figures.items():
        html = figure.html.replace("<div class=", '<div data-files="_static/live/" class=', 1)
        for theme, ground in (("light", "#fffdf9"), ("dark", "#15191b")):
            page = PAGE.format(theme=theme, ground=ground, edition="both", figures=html)
            (site / f"{name}-{theme}.html").write_text(page, encoding="utf-8")
    runtime.copy_to(site)
    return site


@pytest.fixture(scope="module")
def address(folder) -> Iterator[str]:
    with serve(folder) as address:
        yield address


@pytest.fixture(scope="module")
def running(browser: Browser, address: str) -> Iterator[Page]:
    """The page with one network, which runs."""
    context = browser.new_context(viewport={"width": 900, "height": 900})
    page = context.new_page()
    page.goto(f"{address}one-light.html")
    press(page)
    yield page
    context.close()


@pytest.fixture
def live(running: Page) -> Page:
    """The same with its first picture, as it was, and its first brush."""
    for control in ("picture", "brush"):
        running.locator(f'label:has([data-control="{control}"])').first.click()
    running.click('[data-control="reset"]')
    settle(running)
    return running


def press(page: Page) -> Locator:
    """The figure of a page, running."""
    page.click('[data-control="start"]')
    page.wait_for_selector(".segedu-live-stage:not([hidden])", timeout=60_000)
    return page.locator(".segedu-live")


def hint_of(page: Page, url: str) -> Locator:
    """What to do first, which is not said before the network runs."""
    page.goto(url)
    hint = page.locator(".segedu-live-hint")
    page.wait_for_selector(".segedu-live.is-ready")
    assert hint.is_hidden()
    press(page)
    return hint


STILL = """() => [...document.querySelectorAll(".segedu-live canvas")].every((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.every((value, i) => i % 4 !== 3 || value === 255);
})"""


def shows_its_still(page: Page) -> bool:
    """Whether all panels are drawn, though no network runs."""
    page.wait_for_function(STILL)
    return page.locator(".segedu-live-stage[hidden] canvas").first.is_visible()


def colours_of(place: Locator) -> np.ndarray:
    """Pixels in the middle of what is seen, (H, W, 3)."""
    shot = np.asarray(Image.open(io.BytesIO(place.screenshot())).convert("RGB"), int)
    return shot[4:-4, 4:-4]


def settle(page: Page) -> None:
    page.wait_for_function("() => !document.querySelector('.segedu-live').segeduLive.busy")


ARRAY = """(name) => {
    const figure = document.querySelector(".segedu-live").segeduLive;
    const array = name === "logits" ? figure.answers[0].logits : figure[name];
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) {
        text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    }
    const { height, width } = figure.picture;
    return [btoa(text), height, width];
}"""


def array(page: Page, name: str) -> np.ndarray:
    """What the page has: ``seen`` (H, W, 3), ``logits`` (C, H, W), others (H, W)."""
    settle(page)
    text, height, width = page.evaluate(ARRAY, name)
    kind = np.float32 if name == "logits" else np.uint8
    shape = {"seen": (height, width, 3), "logits": (-1, height, width)}
    return np.frombuffer(base64.b64decode(text), kind).reshape(shape.get(name, (height, width)))


def seen(page: Page) -> np.ndarray:
    """What the network sees, uint8 (H, W, 3)."""
    return array(page, "seen")


def logits(network, image: np.ndarray) -> torch.Tensor:
    mean, std = (
        torch.tensor(v)[:, None, None] for v in (network.trained.mean, network.trained.std)
    )
    with torch.no_grad():
        return network(
            ((torch.from_numpy(image.copy()).permute(2, 0, 1) / 255 - mean) / std)[None]
        )[0]


def agree(page: Page, network) -> None:
    """The page's network and PyTorch's say the same of the same pixels."""
    wanted = logits(network, seen(page))
    found = torch.from_numpy(array(page, "logits").copy())
    assert (found - wanted).abs().max() <= 1e-3 * wanted.abs().max()
    assert (found.argmax(0) == wanted.argmax(0)).float().mean() >= 0.999


DRAWN = """() => {
    const { answers } = document.querySelector(".segedu-live").segeduLive;
    return answers.map(({ canvas, labels }) => {
        const { width, height } = canvas;
        return [[...labels], [...canvas.getContext("2d").getImageData(0, 0, width, height).data]];
    });
}"""


def drawn(page: Page, shape: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Labels (H, W) of each network, and the picture (H, W, 3) that shows them."""
    settle(page)
    return [
        (np.reshape(labels, shape), np.reshape(pixels, (*shape, 4))[..., :3])
        for labels, pixels in page.evaluate(DRAWN)
    ]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """With the mouse, from and to places given as shares of the picture."""
    box = page.locator('[data-panel="picture"]').bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=5)
    page.mouse.up()
    settle(page)


def number(page: Page, name: str) -> float:
    settle(page)
    shown = page.locator(f'[data-shows="{name}"]').first.inner_text()
    return float(shown.split(" → ")[-1].replace(",", ""))


def number_before(page: Page, name: str) -> float:
    """Of the untouched picture."""
    settle(page)
    return float(page.locator(f'[data-shows="{name}"]').first.inner_text().split(" → ")[0])


pytestmark = pytest.mark.browser


def test_nothing_is_loaded_before_the_button_is_pressed(page, address):
    tab = Tab(page, address)
    page.goto(f"{address}one-light.html", wait_until="networkidle")
    names = {url.removeprefix(address) for url in tab.requested if not url.startswith("data:")}
    others = {name for name in names if not name.startswith("_static/fonts/")}
    assert others == {"one-light.html", "_static/book.css", "_static/book.js"}
    page.wait_for_selector(".segedu-live.is-ready canvas")
    press(page)
    assert "_static/live/scenes/unet.onnx" in "".join(tab.requested)
    assert tab.faults == []  # among them requests to elsewhere


def test_the_network_in_the_page_is_the_one_of_the_package(live, network, scene):
    np.testing.assert_array_equal(seen(live), scene.image)
    agree(live, network)
    assert number(live, "changed") == 0
    labels = logits(network, scene.image).argmax(0).numpy()
    ious = [
        ((labels == k) & (scene.semantic == k)).sum() / union
        for k in range(12)
        if (union := ((labels == k) | (scene.semantic == k)).sum())
    ]
    assert number(live, "iou") == pytest.approx(np.mean(ious), abs=0.0051)


def test_the_answer_is_drawn_as_in_the_book(live, scene):
    [(labels, picture)] = drawn(live, scene.semantic.shape)
    wanted = viz.overlay(scene.image, labels, [*COLORS.values()])
    assert np.abs(picture - wanted).max() <= 1


def test_what_is_painted_is_seen_and_changes_the_answer(live, network, scene):
    drag(live, (0.3, 0.6), (0.6, 0.6))
    image = seen(live)
    painted = (image != scene.image).any(-1)
    assert painted.sum() > 500
    assert (image[painted] == (200, 30, 30)).all()
    agree(live, network)
    after = logits(network, image).argmax(0).numpy()
    before = logits(network, scene.image).argmax(0).numpy()
    assert number(live, "changed") == pytest.approx(((before != after) & ~painted).sum(), abs=2)
    live.locator("label", has_text="take paint away").click()
    drag(live, (0.3, 0.6), (0.6, 0.6))
    np.testing.assert_array_equal(seen(live), scene.image)
    assert number(live, "changed") == 0


def test_blur_and_noise_can_be_painted(live, network, scene):
    for name in ("blur", "noise"):
        live.locator("[role=radiogroup] label", has_text=name).click()
        drag(live, (0.4, 0.5), (0.5, 0.5))
        assert (seen(live) != scene.image).any(-1).sum() > 200
        agree(live, network)
        live.click('[data-control="reset"]')
        np.testing.assert_array_equal(seen(live), scene.image)


def test_as_it_was_paints_again_and_numbers_say_what_they_are_compared_with(live):
    shown = live.locator('[data-shows="iou"]')
    assert "→" not in shown.inner_text()
    live.locator("label", has_text="noise").first.click()
    drag(live, (0.02, 0.03), (0.02, 0.03))  # a corner of the sky
    first, now = shown.inner_text().split(" → ")
    assert first == now  # both without the paint
    live.locator("label", has_text="take paint away").click()
    live.click('[data-control="reset"]')
    settle(live)
    assert "→" not in shown.inner_text()
    drag(live, (0.3, 0.6), (0.6, 0.6))
    assert array(live, "painted").any()


def test_an_object_is_moved(live, network, scene):
    live.locator("label", has_text="move the person").click()
    drag(live, (0.5, 0.5), (0.25, 0.5))
    image = seen(live)
    person = next(s for s in reversed(scene.segments_info) if s["category_id"] == 9)
    mask = scene.panoptic == person["id"]
    rows, columns = np.nonzero(mask)
    there = columns - min(48, columns.min())  # it stays in the picture
    np.testing.assert_array_equal(image[rows, there], scene.image[rows, columns])
    assert (array(live, "truth")[rows, there] == 9).all()
    agree(live, network)
    drag(live, (0.1, 0.9), (0.9, 0.1))
    drag(live, (0.1, 0.9), (0.9, 0.1))
    there = rows - rows.min(), columns + 191 - columns.max()  # as far up and right as it goes
    np.testing.assert_array_equal(seen(live)[there], scene.image[rows, columns])


WHITE = """() => {
    const canvas = document.querySelector('[data-panel="picture"]');
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
        count += data[i] === 255 && data[i + 1] === 255 && data[i + 2] === 255;
    }
    return count;
}"""


def test_what_can_be_moved_is_outlined_and_where_nothing_can_the_tool_is_off(live):
    tool = live.locator("label", has_text="move the person")
    live.mouse.move(0, 0)  # no brush in the picture
    none = live.evaluate(WHITE)
    assert tool.get_attribute("title") == ""
    said = live.locator("[data-help]:visible")
    assert "Paint here" in said.inner_text()
    tool.click()
    settle(live)
    assert live.evaluate(WHITE) > none + 20
    assert "white outline" in said.inner_text() and "Paint stays" not in said.inner_text()
    looks = "(label) => getComputedStyle(label).opacity"
    assert tool.evaluate(looks) == "1"
    live.locator("label", has_text="b 乙").click()
    settle(live)
    assert tool.locator("input").is_disabled()
    assert float(tool.evaluate(looks)) < 1
    assert "nothing in this picture can be moved" in tool.get_attribute("title")
    assert "Paint here" in said.inner_text()
    drag(live, (0.3, 0.6), (0.6, 0.6))  # the first brush paints again
    assert array(live, "painted").any()


def test_an_object_is_moved_and_outlined_in_a_picture_of_another_size(live, scene):
    person = next(s for s in reversed(scene.segments_info) if s["category_id"] == 9)
    rows, columns = np.nonzero(scene.panoptic == person["id"])
    live.locator("label", has_text="move the person").click()
    live.locator('input[data-control="scale"]').fill("0.5")
    drag(live, (0.5, 0.5), (0.5, 0.4))
    moved = np.unique(np.nonzero(array(live, "object"))[0])
    shift = round(0.1 * 128) / 0.5  # a pixel on the screen is two of the picture
    up = min(shift, rows.min())
    wanted = (rows[[0, -1]] - up - 64) * 0.5 + 64
    assert np.abs(moved[[0, -1]] - wanted).max() <= 2
    truth = array(live, "truth")
    assert (truth[array(live, "object") > 0] == 9).all()


def test_where_the_object_is_out_of_view_the_help_says_so(live):
    said = live.locator("[data-help]:visible")
    live.locator("label", has_text="move the person").click()
    drag(live, (0.98, 0.5), (0.02, 0.5))  # to the border
    assert "white outline" in said.inner_text()
    live.locator('input[data-control="scale"]').fill("2")
    settle(live)
    assert not array(live, "object").any()
    assert "make the picture smaller" in said.inner_text() and "缩小图片" in said.inner_text()
    live.locator('input[data-control="scale"]').fill("1")
    settle(live)
    assert "white outline" in said.inner_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [("brightness", 0.4), ("hue", 60), ("blur", 2), ("scale", 1.5), ("scale", 0.6)],
)
def test_sliders_do_what_python_does(live, network, scene, name, value):
    live.locator(f'input[data-control="{name}"]').fill(str(value))
    wanted, truth = changed(scene.image, scene.semantic, **{name: value})
    assert np.abs(seen(live).astype(int) - wanted).max() <= 1
    np.testing.assert_array_equal(array(live, "truth"), truth)
    agree(live, network)
    assert live.locator(f'input[data-control="{name}"] + output').inner_text() == str(value)


def test_outside_of_a_small_picture_nothing_counts(live, network, scene):
    live.locator('input[data-control="scale"]').fill("0.5")
    image, (height, width) = seen(live), scene.semantic.shape
    inside = np.zeros((height, width), bool)
    inside[32:96, 48:144] = True
    assert (image[~inside] == OUTSIDE).all()
    labels = logits(network, image).argmax(0).numpy()
    truth, before = (
        array.repeat(1, 0)[1::2, 1::2]
        for array in (scene.semantic, logits(network, scene.image).argmax(0).numpy())
    )
    small = labels[inside].reshape(truth.shape)
    assert number(live, "changed") == pytest.approx((small != before).sum(), abs=3)
    ious = [
        ((small == k) & (truth == k)).sum() / union
        for k in range(12)
        if (union := ((small == k) | (truth == k)).sum())
    ]
    assert number(live, "iou") == pytest.approx(np.mean(ious), abs=0.0061)
    live.click('label:has([data-control="marks"])')
    [(_, picture)] = drawn(live, (height, width))
    assert (picture[~inside] == OUTSIDE).all()  # no class has its colour there
    live.click('label:has([data-control="marks"])')


def test_what_changed_is_outlined(live, scene):
    drag(live, (0.3, 0.6), (0.6, 0.6))
    assert number(live, "changed") > 20
    [(labels, marked)] = drawn(live, scene.semantic.shape)
    box = live.locator('label:has([data-control="marks"])')
    box.click()
    [(_, plain)] = drawn(live, scene.semantic.shape)
    wanted = viz.overlay(seen(live), labels, [*COLORS.values()])
    assert np.abs(plain - wanted).max() <= 1
    line = (marked != plain).any(-1)
    assert np.isin(marked[line], (0, 255)).all() and line.sum() > 50
    box.click()
    [(_, again)] = drawn(live, scene.semantic.shape)
    np.testing.assert_array_equal(again, marked)
    live.click('[data-control="reset"]')
    [(labels, untouched)] = drawn(live, scene.semantic.shape)
    wanted = viz.overlay(scene.image, labels, [*COLORS.values()])
    assert np.abs(untouched - wanted).max() <= 1


def paint_over(page: Page, mask: np.ndarray) -> None:
    """Paint with the first brush where a class is."""
    rows, columns = np.nonzero(mask)
    page.evaluate(
        """(places) => {
        const figure = document.querySelector(".segedu-live").segeduLive;
        figure.values.size = 6;
        for (const [x, y] of places) figure.stroke(x, y, x, y);
        return figure.ask();
    }""",
        [[int(x), int(y)] for x, y in zip(columns, rows, strict=True)],
    )


@pytest.mark.parametrize("name", ["counted", "two"])
def test_painted_pixels_count_where_the_figure_says_so(page, address, scene, name):
    page.goto(f"{address}{name}-light.html")
    press(page)
    truth = scene.semantic == 8
    before = number(page, "recall")
    [(old, _), *_] = drawn(page, truth.shape)
    columns = np.arange(truth.shape[1])
    half = truth & (columns < np.median(np.nonzero(truth)[1]))
    paint_over(page, half)
    painted = array(page, "painted").astype(bool)
    (labels, picture), *_ = drawn(page, truth.shape)
    counts = np.ones_like(truth) if name == "counted" else ~painted
    hits = (labels == 1) & truth & counts
    assert number(page, "recall") == pytest.approx(hits.sum() / (truth & counts).sum(), abs=0.0051)
    old_hits = (old == 1) & truth & counts  # the numbers before the arrow are of the same pixels
    assert number_before(page, "recall") == pytest.approx(
        old_hits.sum() / (truth & counts).sum(), abs=0.0051
    )
    said = page.locator("[data-help]:visible").inner_text()
    if name == "counted":
        assert "Painted pixels count" in said
        assert number(page, "recall") < before - 0.2  # grey is no car: it was lost
        wanted = viz.binary_errors(seen(page), labels, truth)
    else:
        assert "do not count" in said
        picture, wanted = picture[painted], seen(page)[painted]  # no miss has its colour there
    assert np.abs(picture - wanted).max() <= 1


def test_a_hidden_mistake_is_no_better_answer(page, address, scene):
    page.goto(f"{address}two-light.html")
    press(page)
    truth = scene.semantic == 8
    [(old, _), *_] = drawn(page, truth.shape)
    untouched = number(page, "recall")
    paint_over(page, truth & (old == 0))
    painted = array(page, "painted").astype(bool)
    (labels, _), *_ = drawn(page, truth.shape)
    for name, found in (("before", old == 1), ("now", labels == 1)):
        hits, wanted = (found & truth & ~painted).sum(), (truth & ~painted).sum()
        union = ((found | truth) & ~painted).sum()
        shown = number_before if name == "before" else number
        assert shown(page, "recall") == pytest.approx(hits / wanted, abs=0.0051)
        assert shown(page, "class-iou") == pytest.approx(hits / union, abs=0.0051)
    assert number_before(page, "recall") > untouched  # its misses are hidden, too


def test_numbers_of_a_moved_object_are_compared_with_its_old_truth(live, network, scene):
    untouched = number(live, "iou")
    live.locator("label", has_text="move the person").click()
    drag(live, (0.5, 0.5), (0.25, 0.5))
    assert number_before(live, "iou") == untouched


def test_what_is_loaded_is_shown_until_it_is_there(page, address):
    waiting = []
    page.route("**/scenes/unet.onnx", lambda route: waiting.append(route))
    page.goto(f"{address}one-light.html")
    bar = page.locator(".segedu-live progress")
    assert bar.is_hidden()
    page.click('[data-control="start"]')
    page.locator('[data-says="loading"]').wait_for(state="visible")
    page.wait_for_function("document.querySelector('progress').value > 14")  # the runtime
    assert bar.is_visible() and page.locator('[data-control="start"]').is_disabled()
    waiting.pop().continue_()
    page.wait_for_selector(".segedu-live-stage:not([hidden])", timeout=60_000)
    assert bar.is_hidden()


PANELS = """() => [...document.querySelectorAll(".segedu-live canvas")].map((canvas) => {
    const { x, y, width, height } = canvas.getBoundingClientRect();
    return [x, y + scrollY, width, height].map(Math.round);
})"""
GREEN = """() => {
    const all = [...document.querySelectorAll(".segedu-live canvas")];
    return all.map((canvas) => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return Array.from({ length: 40 }, (_, i) => data[4 * 401 * i + 1]);
    });
}"""


@pytest.mark.parametrize("width", [390, 900])
@pytest.mark.parametrize("name", ["one", "two", "ct"])
def test_before_it_runs_it_looks_as_it_will(page, address, name):
    page.goto(f"{address}{name}-light.html", wait_until="networkidle")  # with its fonts
    page.wait_for_function(STILL)
    places, greens = page.evaluate(PANELS), np.array(page.evaluate(GREEN), int)
    start = page.locator('[data-control="start"]').bounding_box()
    under = places[0][1] + places[0][3]
    assert 0 <= start["y"] - under < 40  # the button is below the picture to paint on
    off = page.locator(".segedu-live-controls").evaluate("(part) => part.inert")
    press(page)
    assert page.evaluate(PANELS) == places
    now = np.array(page.evaluate(GREEN), int)
    # the same pictures in the same order, but for how many colours a still has
    assert (np.abs(greens - now) > 40).mean() < 0.1
    assert off and not page.locator(".segedu-live-controls").evaluate("(part) => part.inert")


FAR = "<p style='height: 6000px'>x</p>"


@pytest.fixture(scope="module")
def far(folder) -> Path:
    """A figure far down a page, as the build writes it: its pictures are files that wait."""
    images = folder / "_images"
    images.mkdir(exist_ok=True)
    for theme in ("light", "dark"):
        page = (folder / f"one-{theme}.html").read_text(encoding="utf-8")
        context = {"body": page, "pathto": lambda name, _: name}
        app = SimpleNamespace(srcdir=folder, outdir=folder, env=SimpleNamespace(images={}))
        lazy_figures(app, "page", "page.html", context, None)
        body = (
            context["body"]
            .replace("<h1>x</h1>", f"<h1>x</h1>{FAR}")
            .replace("</main>", f"{FAR}</main>")
        )
        assert body.count('loading="lazy"') > 4 and "data:image" not in body
        (folder / f"far-{theme}.html").write_text(body, encoding="utf-8")
    return folder


def are_seen(stills: Locator) -> bool:
    """Whether there are two, and pictures in them: not one colour, nor those of a border alone."""
    shots = [colours_of(place) for place in stills.all() if place.is_visible()]
    return len(shots) == 2 and all(len(np.unique(s.reshape(-1, 3), axis=0)) > 20 for s in shots)


@pytest.mark.parametrize(
    ("theme", "width", "scripts", "disk"),
    [  # every two of the choices meet
        ("light", 390, True, False),
        ("light", 1280, False, True),
        ("dark", 390, False, False),
        ("dark", 1280, True, True),
        ("dark", 390, True, True),
        ("light", 1280, False, False),
    ],
)
def test_far_down_a_page_the_stills_stand_there(browser, far, address, theme, width, scripts, disk):
    context = browser.new_context(
        viewport={"width": width, "height": 844}, java_script_enabled=scripts
    )
    page = context.new_page()
    start = f"{far.as_uri()}/" if disk else address
    page.goto(f"{start}far-{theme}.html", wait_until="load")
    for _ in range(14):
        page.mouse.wheel(0, 400)
        page.wait_for_timeout(20)
    stills = page.locator(".segedu-live-panels canvas" if scripts else ".segedu-live-still img")
    stills.first.scroll_into_view_if_needed()
    for _ in range(50):  # however long it takes to fetch them
        if are_seen(stills):
            break
        page.wait_for_timeout(200)
    page.wait_for_timeout(400)  # and they still stand there after a while
    assert are_seen(stills)
    context.close()


def test_what_to_do_first_is_said_until_it_is_done(page, address):
    hint = hint_of(page, f"{address}one-light.html")
    assert "mouse or finger" in hint.inner_text() and "鼠标或手指" in hint.inner_text()
    page.locator("label", has_text="noise").first.click()  # a brush: still to be used
    assert hint.is_visible()
    box, picture = hint.bounding_box(), page.locator('[data-panel="picture"]').bounding_box()
    under = picture["y"] + picture["height"]
    assert box["y"] > under - picture["height"] / 8  # at the border, it hides nothing above
    assert box["y"] + box["height"] <= under
    drag(page, (0.4, 0.5), (0.5, 0.5))
    assert hint.is_hidden()


def at(page: Page, x: int, y: int) -> dict[str, float]:
    """Where a pixel of a picture 192 wide is on the page, from the corner of a panel."""
    scale = page.locator('[data-panel="picture"]').bounding_box()["width"] / 192
    return {"x": (x + 0.5) * scale, "y": (y + 0.5) * scale}


def test_the_class_at_the_pointer_is_named(live):
    name, (answer, picture) = live.locator(".segedu-live-class"), live.locator("canvas").all()[::-1]
    live.mouse.move(0, 0)
    assert name.is_hidden()
    names, shape = [*COLORS], seen(live).shape[:2]
    [(labels, _)] = drawn(live, shape)
    plain = ndimage.maximum_filter(labels, 5) == ndimage.minimum_filter(labels, 5)
    plain[:, :4] = plain[:, -4:] = False  # the corners are round
    places = np.argwhere(plain)
    for y, x in places[[0, 183, len(places) // 2, -184, -1]].tolist():
        for panel in (answer, picture):
            panel.hover(position=at(live, x, y), force=True)
            assert name.inner_text().split() == names[labels[y, x]].replace("｜", "").split()
            box, around = name.bounding_box(), answer.bounding_box()
            assert around["x"] - 1 <= box["x"]
            assert box["x"] + box["width"] <= around["x"] + around["width"] + 1
    live.mouse.move(0, 0)
    assert name.is_hidden()
    picture.focus()  # the keyboard begins in the middle
    for key, (x, y) in (("ArrowLeft", (92, 64)), ("ArrowDown", (92, 68))):
        live.keyboard.press(key)
        assert name.inner_text().split() == names[labels[y, x]].replace("｜", "").split()
    live.locator("label", has_text="move the person").click()
    picture.focus()
    live.keyboard.press("ArrowLeft")
    assert "move it" in picture.get_attribute("aria-label")
    [(labels, _)] = drawn(live, shape)
    pixels = np.argwhere(array(live, "object"))
    wanted = names[labels[tuple(pixels[len(pixels) // 2])]]  # of what is moved
    assert name.inner_text().split() == wanted.replace("｜", "").split()
    live.locator('input[data-control="scale"]').fill("0.5")
    settle(live)
    answer.hover(position=at(live, 5, 5), force=True)
    assert "outside the picture" in name.inner_text()
    live.click('[data-control="reset"]')
    settle(live)
    assert name.is_hidden() and live.locator(".segedu-live-help", has_text="Paint stays").count()


def test_what_is_less_than_all_does_not_read_one(live):
    shown = live.evaluate(
        """async () => {
        const { rounded, signed } = await import("./_static/live.js");
        const shares = [1, 0.9999, 0.9962, 0.994, 0.5, NaN].flatMap((share) => rounded(share));
        return [...shares, ...rounded(0.99, 0.9962), signed("-600"), signed("4")];
    }"""
    )
    # two that are compared have equally many digits
    assert shown == ["1.00", "0.999", "0.996", "0.99", "0.50", "–", "0.990", "0.996", "−600", "4"]


def test_a_label_speaks_the_languages_of_the_edition(live):
    said = live.evaluate(
        """async () => {
        const { label } = await import("./_static/live.js"), { dataset } = document.body;
        const before = dataset.edition;
        const texts = ["both", "en", "zh"].map((edition) => {
            dataset.edition = edition;
            return label(["a", "甲"]);
        });
        dataset.edition = before;
        return texts;
    }"""
    )
    assert said == ["a ｜ 甲", "a", "甲"]


@pytest.mark.parametrize("width", [390, 900])
def test_sliders_stand_in_a_column(page, address):
    page.goto(f"{address}one-light.html")
    page.wait_for_selector(".segedu-live.is-ready")
    sliders = page.locator("input[type=range]").all()
    places = {(round(s.bounding_box()["x"]), round(s.bounding_box()["width"])) for s in sliders}
    assert len(sliders) > 4 and len(places) == 1


LINES = """() => {
    const box = (part) => part.getBoundingClientRect();
    const [english, chinese] = document.querySelectorAll('[data-control="start"] span');
    const values = [...document.querySelectorAll("[data-shows]")];
    return [
        box(english).bottom - box(chinese).top,
        ...values.map((value) => box(value).bottom - box(value.previousElementSibling).bottom),
    ];
}"""


@pytest.mark.parametrize("width", [390])
def test_each_language_of_the_button_has_a_line_and_numbers_end_their_names(page, address):
    page.goto(f"{address}one-light.html")
    page.wait_for_selector(".segedu-live.is-ready")
    between, *below = page.evaluate(LINES)
    assert between <= 1 and np.abs(below).max() <= 4


@pytest.mark.parametrize("width", [390])
def test_the_page_stays_where_it_is_if_the_picture_is_seen(page, address):
    page.goto(f"{address}one-light.html")
    page.locator("h1").evaluate("(title) => (title.style.height = '1200px')")
    panel = page.locator('[data-panel="picture"]')
    panel.evaluate("(picture) => scrollTo(0, picture.getBoundingClientRect().top + 30)")
    before = page.evaluate("scrollY")  # a little of it is above the window
    press(page)
    page.wait_for_timeout(300)
    assert page.evaluate("scrollY") == before > 500


ROOM = """() => {
    const { offsetTop, offsetHeight } = document.querySelector(".segedu-live");
    return [offsetTop, offsetHeight, document.documentElement.scrollHeight];
}"""


@pytest.mark.parametrize("width", [390, 900])
@pytest.mark.parametrize("name", ["one", "two", "ct"])
def test_nothing_below_moves_when_it_starts(page, address, name):
    page.goto(f"{address}{name}-light.html", wait_until="networkidle")  # with its fonts
    page.wait_for_selector(".segedu-live.is-ready")
    before = page.evaluate(ROOM)
    assert page.locator('[data-control="start"]').is_visible()
    press(page)
    assert page.evaluate(ROOM) == before


@pytest.mark.parametrize("width", [390, 900])
@pytest.mark.parametrize("name", ["one", "two"])
def test_long_numbers_move_nothing(page, address, name):
    page.goto(f"{address}{name}-light.html")
    press(page)
    before = page.evaluate(ROOM)
    fits = page.evaluate(
        """() => [...document.querySelectorAll("[data-shows]")].map((place) => {
            place.textContent = place.dataset.shows === "changed" ? "65,536" : "0.997 → 0.998";
            const text = document.createRange();
            text.selectNodeContents(place);
            return text.getBoundingClientRect().width <= place.getBoundingClientRect().width;
        })"""
    )
    assert all(fits)
    assert page.evaluate(ROOM) == before


def test_the_brush_has_the_size_of_its_slider(live, scene):
    places = {}
    for size in (4, 36):
        live.locator('input[data-control="size"]').fill(str(size))
        drag(live, (0.3, 0.5), (0.3, 0.5))
        painted = array(live, "painted").sum()
        radius = size / 200 * scene.image.shape[0]
        assert painted == pytest.approx(np.pi * radius**2, rel=0.2)
        places[size] = painted
        live.click('[data-control="reset"]')
    assert places[36] > 50 * places[4]


def test_a_mouse_shows_what_the_brush_will_cover(live):
    def pixels() -> list[int]:
        return live.evaluate(
            """() => {
            const canvas = document.querySelector('[data-panel="picture"]');
            const context = canvas.getContext("2d");
            return [...context.getImageData(0, 0, canvas.width, canvas.height).data];
        }"""
        )

    live.mouse.move(0, 0)
    before = pixels()
    live.locator('[data-panel="picture"]').hover()
    assert pixels() != before
    live.mouse.move(0, 0)
    assert pixels() == before
    live.locator("label", has_text="take paint away").click()
    drag(live, (0.5, 0.5), (0.5, 1.05))  # a stroke that ends outside, but not far
    assert pixels() == before


def test_a_brush_for_a_ct_looks_like_its_paint(page, address):
    page.goto(f"{address}ct-light.html")
    press(page)
    for level in (-600, -200):
        page.locator('input[data-control="level"]').fill(str(level))
        drag(page, (0.5, 0.5), (0.5, 0.5))
        (paint,) = np.unique(seen(page)[array(page, "painted") > 0])
        shown = colours_of(page.locator("[role=radiogroup] img"))
        assert np.abs(shown - int(paint)).max() <= 1


def test_a_ct_is_seen_through_the_window_of_the_sliders(page, address, network):
    page.goto(f"{address}ct-light.html")
    press(page)
    for level, width in ((-600, 1500), (40, 400), (-600, 300)):
        page.locator('input[data-control="level"]').fill(str(level))
        page.locator('input[data-control="width"]').fill(str(width))
        window = WINDOW._replace(level=level, width=width)
        wanted, _ = changed(CT, np.zeros(CT.shape[:2], np.uint8), window=window)
        assert np.abs(seen(page).astype(int) - wanted).max() <= 1
        agree(page, network)


def test_noise_has_the_deviation_of_its_slider(live, scene):
    live.locator('input[data-control="noise"]').fill("20")
    inside = (scene.image > 80) & (scene.image < 175)  # nothing is cut off
    assert (seen(live) - scene.image.astype(float))[inside].std() == pytest.approx(20, rel=0.05)


def test_another_picture_is_chosen(live, network):
    drag(live, (0.3, 0.6), (0.6, 0.6))
    live.locator("label", has_text="b 乙").click()
    wanted = scenes.generate(115, scenes.SceneConfig(size=(128, 192), noise=0.0))
    np.testing.assert_array_equal(seen(live), wanted.image)
    assert number(live, "changed") == 0
    agree(live, network)


def test_it_works_without_a_mouse(page, address, network, scene):
    page.goto(f"{address}one-light.html")
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.dataset.control") != "start":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".segedu-live-stage:not([hidden])", timeout=60_000)
    page.wait_for_function("document.activeElement.dataset.panel === 'picture'")
    keys = page.locator(".segedu-live-keys")
    assert "space or Enter paints" in keys.inner_text() and "回车" in keys.inner_text()
    assert keys.is_visible() and page.locator(".segedu-live-hint").is_hidden()
    for key in ("ArrowLeft", "ArrowDown", " ", "ArrowLeft", "Enter"):
        before = array(page, "painted").sum()
        page.keyboard.press(key)
        assert (array(page, "painted").sum() > before) == (key in " Enter")
    assert keys.is_hidden()
    painted = (seen(page) != scene.image).any(-1)
    assert 200 < painted.sum() < 900
    agree(page, network)


def test_the_network_is_asked_when_the_picture_changes_and_not_else(live):
    live.evaluate(
        """() => {
        const figure = document.querySelector(".segedu-live").segeduLive, { answer } = figure;
        figure.asked = 0;
        figure.answer = (...given) => ((figure.asked += 1), answer.apply(figure, given));
    }"""
    )

    def asked() -> int:
        settle(live)
        return live.evaluate("document.querySelector('.segedu-live').segeduLive.asked")

    live.locator('[data-panel="picture"]').focus()
    live.keyboard.press("ArrowLeft")
    live.locator("label", has_text="move the person").click()
    assert asked() == 0
    live.locator('[data-panel="picture"]').focus()
    live.keyboard.press("ArrowLeft")  # moves the object now
    assert asked() == 1
    live.locator('[data-control="brush"]').first.check(force=True)
    live.locator('[data-panel="picture"]').focus()
    live.keyboard.press(" ")
    assert asked() == 2
    live.evaluate("delete document.querySelector('.segedu-live').segeduLive.answer")


TOOLS_IN_SIGHT = """() => {
    const box = document.querySelector(".segedu-live-tools").getBoundingClientRect();
    return box.top >= 0 && box.bottom <= innerHeight;
}"""
IN_SIGHT = """() => {
    const box = document.querySelector('[data-panel="picture"]').getBoundingClientRect();
    return box.top >= 0 && box.bottom <= innerHeight;
}"""


def test_a_finger_shows_what_the_brush_covers(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(f"{address}one-light.html")
    press(page)
    finger = """(kind) => {
        const canvas = document.querySelector('[data-panel="picture"]');
        const box = canvas.getBoundingClientRect();
        canvas.setPointerCapture = () => {}; // of a finger that is none
        canvas.dispatchEvent(new PointerEvent(kind, {
            pointerId: 5, pointerType: "touch", clientX: box.left + 100, clientY: box.top + 100,
        }));
        return document.querySelector(".segedu-live").segeduLive.cursor !== null;
    }"""
    assert page.evaluate(finger, "pointerdown")
    assert page.evaluate(finger, "pointermove")
    assert not page.evaluate(finger, "pointerup")
    assert page.locator(".segedu-live-class").is_visible()  # of the place that it touched last
    context.close()


def test_a_finger_paints(browser, address, scene):
    # Without motion: a tap of playwright's would stop the page on its way.
    size = {"width": 390, "height": 844}
    context = browser.new_context(viewport=size, has_touch=True, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{address}one-light.html")
    page.locator("h1").evaluate("(title) => (title.style.height = '1200px')")  # a long page
    page.tap('[data-control="start"]')
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")  # while it is loaded
    page.wait_for_selector(".segedu-live-stage:not([hidden])", timeout=60_000)
    page.wait_for_function(IN_SIGHT)
    page.locator('[data-panel="picture"]').tap(position={"x": 100, "y": 100})
    assert (seen(page) != scene.image).any(-1).sum() > 200
    for control in page.locator(".segedu-live-stage :is(input[type=range], label)").all():
        assert control.bounding_box()["height"] >= 24
    page.wait_for_function(TOOLS_IN_SIGHT)  # the page may still be on its way
    needed, available = page.evaluate(OVERFLOW)
    assert needed <= available
    canvases = [canvas.bounding_box() for canvas in page.locator("canvas").all()]
    assert min(box["width"] for box in canvases) >= 200
    assert canvases[-1]["y"] + canvases[-1]["height"] - canvases[0]["y"] <= 844  # both in sight
    context.close()


def test_the_threshold_trades_precision_for_recall(page, address, network, scene):
    page.goto(f"{address}two-light.html")
    press(page)
    probability = logits(network, scene.image).softmax(0)[8].numpy()
    truth = scene.semantic == 8
    for threshold in (0.5, 0.1, 0.9):
        page.locator('input[data-control="threshold"]').fill(str(threshold))
        found = probability >= threshold
        hits = (found & truth).sum()
        assert number(page, "precision") == pytest.approx(hits / found.sum(), abs=0.0051)
        assert number(page, "recall") == pytest.approx(hits / truth.sum(), abs=0.0051)
    for labels, picture in drawn(page, truth.shape):
        wanted = viz.binary_errors(scene.image, labels, truth)
        assert np.abs(picture - wanted).max() <= 1
    y, x = np.argwhere((labels == 1) & truth)[0]
    page.locator("canvas").last.hover(position=at(page, x, y))
    said = page.locator(".segedu-live-class").all_inner_texts()
    assert len(said) == 2 and all("hit: car" in text for text in said)
    numbers = page.locator('[data-shows="precision"]').all_inner_texts()
    assert len(numbers) == 2 and numbers[0] == numbers[1]  # both networks answer


@pytest.mark.parametrize("damage", ["missing", "damaged"])
@pytest.mark.parametrize("name", ["scenes/unet.onnx", "ort-wasm-simd-threaded.wasm"])
def test_a_file_that_is_not_as_it_was_is_named(page, address, name, damage):
    broken = {"status": 404} if damage == "missing" else {"body": "no network"}
    page.route(f"**/{name}", lambda route: route.fulfill(**broken))
    page.goto(f"{address}one-light.html")
    page.click('[data-control="start"]')
    message = page.locator(f'[data-says="{damage}"]')
    message.wait_for(state="visible", timeout=60_000)
    assert shows_its_still(page)
    page.unroute(f"**/{name}")
    if damage == "missing":
        press(page)  # what was missing has come: the next press works


@pytest.mark.parametrize(
    "lack", ["delete globalThis.WebAssembly", "WebAssembly.validate = () => false"]
)
def test_a_browser_that_cannot_do_it_is_told_so(page, address, lack):
    page.add_init_script(lack)
    page.goto(f"{address}one-light.html")
    page.click('[data-control="start"]')
    page.locator('[data-says="unable"]').wait_for(state="visible")
    assert shows_its_still(page)


def test_opened_from_disk_it_says_what_to_do(page, folder):
    page.goto((folder / "one-light.html").as_uri())
    assert page.locator('[data-control="start"]').is_disabled()
    said = page.inner_text('[role="status"]')
    assert "python -m http.server" in said and "http://localhost:8000" in said
    assert shows_its_still(page)


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_while_it_runs(page, address, name, theme):
    page.goto(f"{address}{name}-{theme}.html")
    press(page)
    violations = Axe().run(page, ".segedu-live").response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in violations] == []


def heap(page: Page) -> float:
    """What a page uses after its garbage is collected, in MB."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    found = session.send("Runtime.getHeapUsage")
    session.detach()
    return (found["usedSize"] + found.get("backingStorageSize", 0)) / 1e6


def test_many_strokes_leave_nothing_behind(live):
    strokes = """async (count) => {
        const figure = document.querySelector(".segedu-live").segeduLive;
        for (let n = 0; n < count; n++) {
            figure.stroke(n % 190, 20, n % 190, 100);
            await figure.ask();
        }
    }"""
    live.evaluate(strokes, 20)
    before = heap(live)
    live.evaluate(strokes, 200)
    assert heap(live) < before + 10  # MB; one answer is 1.2


def test_an_answer_takes_little_more_than_pytorchs(live, network, record_property):
    times = by_turns(live, network, answers=12)
    # the shortest of each: what else the machine does makes others longer
    ratio = min(times.page) / min(times.torch)
    record_property("milliseconds in the page", min(times.page))
    record_property("ratio to PyTorch", ratio)
    assert ratio < 12  # about 3 on a quiet machine


SWATCH = """(image) => {
    const { padding, filter } = getComputedStyle(image);
    return [image.clientWidth, image.clientHeight, padding, filter];
}"""


@pytest.mark.slow  # the book is built
@pytest.mark.parametrize("folder", ["", "en", "zh"])
def test_it_runs_in_every_edition_of_the_book(site, page, folder):
    if not runtime.RUNTIME.kept():
        pytest.skip("onnxruntime-web is not to be had")
    pages = {
        path.relative_to(site).as_posix()
        for path in [
            *(site / folder).glob("book/*.html"),
            *(site / folder).glob("chapters/*/*.html"),
        ]
        if "segedu-live" in path.read_text(encoding="utf-8")
    }
    assert len(pages) >= 6
    # what leaving out a language changes, two pages show
    opened = sorted(pages)[: 2 if folder else None]
    with serve(site) as address:
        tab = Tab(page, address)
        for name in opened:
            tab.open(name)
            figure = press(page).first
            assert figure.locator("canvas").count() >= 2
            if figure.get_attribute("data-kind") == "clicks":
                figure.locator('[data-panel="picture"]').click()
            settle(page)
            page.evaluate("document.documentElement.dataset.theme = 'dark'")
            for swatch in figure.locator("[role=radiogroup] img").all():
                assert swatch.evaluate(SWATCH) == [20, 20, "0px", "none"], name
            shown = figure.locator("[data-shows]").all_inner_texts()
            assert shown[0][0].isdigit(), (name, shown)
            assert tab.faults == [], name


def test_the_files_are_small_and_licensed(folder):
    live = folder / runtime.FOLDER
    assert (live / "scenes" / "unet.onnx").stat().st_size <= 1.2e6
    size = sum(file.stat().st_size for file in live.rglob("*") if file.is_file())
    said = re.search(r"(\d+) MB", (folder / "one-light.html").read_text(encoding="utf-8"))
    assert round(size / 1e6) == int(said[1])
    assert "MIT License" in (live / "LICENSE.txt").read_text()
    program = live / runtime.RUNTIME.kept()[0].name
    assert f"v{runtime.RUNTIME.version}" in program.read_text()[:200]


def test_no_network_was_trained_on_what_it_is_shown():
    learnt = max(recipe.scenes for recipe in NETWORKS.values())
    cells = [
        "".join(cell["source"])
        for path in (ROOT / "chapters").glob("*/*.ipynb")
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    figures = [code for code in cells if "viz.live(" in code]
    seeds = [int(seed) for code in figures for seed in re.findall(r"scenes\.generate\((\d+)", code)]
    assert len(figures) >= 6 and len(seeds) >= 5
    assert min(*seeds, front_picture.LIVE_SEED) >= learnt


def test_the_front_page_shows_a_scene_as_it_is_painted(network):
    html = front_picture.LIVE.read_text(encoding="utf-8")
    again = front_picture.live_figure()
    assert html.count("<") == again.count("<")  # made by the same program
    assert f'data-sha256="{network.trained.sha256}"' in html
    scene = scenes.generate(front_picture.LIVE_SEED, front_picture.LIVE_CONFIG)
    for part, wanted in (("image", scene.image), ("truth", scene.semantic)):
        data = re.search(rf'data-part="{part}" src="data:image/\w+;base64,([^"]+)"', html)[1]
        found = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        np.testing.assert_array_equal(found, wanted)


def test_the_front_picture_is_the_scene_as_it_is_painted():
    file = io.BytesIO()
    Image.fromarray(front_picture.picture()).save(file, "WEBP", **front_picture.QUALITY)
    stored, again = (
        np.asarray(Image.open(source).convert("RGB")).astype(float)
        for source in (front_picture.TARGET, file)
    )
    assert np.abs(stored - again).mean() < 1  # of 255; another Pillow may round otherwise


def test_a_figure_of_other_weights_stops_the_build(folder, tmp_path):
    page = (folder / "one-light.html").read_text(encoding="utf-8")
    sha256 = hashlib.sha256((runtime.WEIGHTS / "scenes/unet.pt").read_bytes()).hexdigest()
    (tmp_path / "old.html").write_text(page.replace(sha256, 64 * "0"), encoding="utf-8")
    with pytest.raises(RuntimeError, match="scenes/unet: a page shows an answer of other weights"):
        runtime.copy_to(tmp_path)


def test_a_network_is_written_again_when_what_makes_it_changes(monkeypatch, tmp_path):
    files = ["engine/export.py", "engine/export_clicks.py", "models/yolact/network.py"]
    files += ["models/trained/scenes/unet.pt"]
    sources = [tmp_path / "requirements.txt", *(tmp_path / "segedu" / name for name in files)]
    for source in sources:
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("old")
    written = []

    def write(command: list[str], **_: object) -> None:
        written.append(Path(command[-1]))
        written[-1].parent.mkdir(parents=True)
        for suffix in (".onnx", ".whole"):
            written[-1].with_suffix(suffix).touch()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime, "ROOT", tmp_path)
    monkeypatch.setattr(runtime, "WEIGHTS", sources[-1].parent.parent)
    monkeypatch.setattr(runtime.subprocess, "run", write)
    for count, changed_source in enumerate([None, *sources], start=1):
        if changed_source:
            changed_source.write_text("new")
        assert runtime.network("scenes/unet") == runtime.network("scenes/unet") == [written[-1]]
        assert len(written) == count
