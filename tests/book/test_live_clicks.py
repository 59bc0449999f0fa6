"""A promptable network in the page, in a real browser: it answers clicks as PyTorch does."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import runtime
import torch
from axe_playwright_python.sync_playwright import Axe
from browser import serve
from playwright.sync_api import Browser, Page

from segedu import viz
from segedu.data import scenes
from segedu.engine.export_clicks import click_files
from segedu.models import get_model
from segedu.models.trained import TrainedWeights
from segedu.viz.clicks import COLOR, MAX_CLICKS, Clicking, live_clicks
from tests.book.page_checks import OVERFLOW, Tab
from tests.book.test_live import (
    PAGE,
    ROOM,
    STATIC,
    heap,
    hint_of,
    press,
    settle,
    shows_its_still,
)

pytestmark = pytest.mark.browser
SIZE = (96, 128)


@pytest.fixture(scope="module")
def network():
    """Random weights, as half precision holds them: what they answer does not matter here."""
    torch.manual_seed(1)
    network = get_model("sam_tiny").eval()
    state = {key: value.half().float() for key, value in network.state_dict().items()}
    network.load_state_dict(state)
    network.trained = TrainedWeights("0" * 64, 0, None, (), (), {}, "", {}, file="scenes/sam_tiny")
    return network


@pytest.fixture(scope="module")
def scene():
    return scenes.generate(3, scenes.SceneConfig(size=SIZE, noise=0.0))


@pytest.fixture(scope="module")
def other():
    return scenes.generate(115, scenes.SceneConfig(size=(128, 112), noise=0.0))


@pytest.fixture(scope="module")
def address(network, scene, other, tmp_path_factory) -> Iterator[str]:
    """A site with one figure, light and dark."""
    if problem := runtime.RUNTIME.fetch():
        pytest.skip(f"onnxruntime-web is not to be had: {problem}")
    site: Path = tmp_path_factory.mktemp("clicks")
    shutil.copytree(STATIC, site / "_static")
    files = site / runtime.FOLDER
    (files / "scenes").mkdir(parents=True)
    for file in runtime.RUNTIME.kept():
        shutil.copy(file, files)
    for part, data in click_files(network).items():
        (files / "scenes" / f"sam_tiny.{part}.onnx").write_bytes(data)
    pictures = {"a ｜ 甲": scene, "b ｜ 乙": other}
    html = live_clicks(network, {k: (s.image, s.instances.masks) for k, s in pictures.items()}).html
    html = html.replace("<div class=", '<div data-files="_static/live/" class=', 1)
    for theme, ground in (("light", "#fffdf9"), ("dark", "#15191b")):
        text = PAGE.format(theme=theme, ground=ground, edition="both", figures=html)
        (site / f"{theme}.html").write_text(text, encoding="utf-8")
    with serve(site) as address:
        yield address


@pytest.fixture(scope="module")
def running(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 900, "height": 900})
    page = context.new_page()
    page.goto(f"{address}light.html")
    press(page)
    yield page
    context.close()


@pytest.fixture
def live(running: Page) -> Page:
    """The page with its first picture, without clicks."""
    running.locator('label:has([data-control="picture"])').first.click()
    running.locator('label:has([data-control="sign"])').first.click()
    settle(running)
    running.evaluate("document.querySelector('.segedu-live').segeduLive.clear()")
    running.evaluate("document.querySelector('.segedu-live').segeduLive.ask()")
    settle(running)
    return running


def click(page: Page, x: int, y: int, size: tuple[int, int] = SIZE, button: str = "left") -> None:
    """On the middle of a pixel of the picture."""
    box = page.locator('[data-panel="picture"]').bounding_box()
    place = {
        "x": (x + 0.5) / size[1] * box["width"],
        "y": (y + 0.5) / size[0] * box["height"],
    }
    page.locator('[data-panel="picture"]').click(position=place, button=button)
    settle(page)


ANSWER = """() => {
    const figure = document.querySelector(".segedu-live").segeduLive;
    const answer = figure.answers.at(-1);
    return {
        logits: answer.logits.map((map) => [...map]), ious: answer.ious, chosen: answer.chosen,
        clicks: figure.clicks.map(({ x, y, label }) => [x, y, label]),
    };
}"""


def agree(page: Page, clicking: Clicking) -> None:
    """The page's last answer is PyTorch's, who clicked alike."""
    found, turn = page.evaluate(ANSWER), clicking.turns[-1]
    assert found["clicks"] == [list(turn[:3]) for turn in clicking.turns]
    assert found["chosen"] == turn.chosen
    logits = np.reshape(found["logits"], turn.masks.shape)
    assert ((logits > 0) == turn.masks).mean() >= 0.999
    places = torch.tensor([[[turn[:2] for turn in clicking.turns]]]).float()
    labels = torch.tensor([[[turn.label for turn in clicking.turns]]])
    prompts = {"points": places, "labels": labels}
    if len(clicking.turns) > 1:
        before = clicking.turns[-2]
        prompts["masks"] = before.logits[before.chosen][None, None]
    with torch.no_grad():
        wanted = clicking.network.segment(
            clicking.embedding, turn.masks.shape[1:], **prompts, multimask=len(turn.masks) == 3
        )
    wanted_logits = wanted.logits[0, 0].numpy()
    assert np.abs(logits - wanted_logits).max() <= 1e-3 * np.abs(wanted_logits).max()
    np.testing.assert_allclose(found["ious"], turn.ious, atol=1e-3)


def shown(page: Page) -> dict[str, str]:
    texts = page.evaluate(
        "[...document.querySelectorAll('[data-shows]')].map((e) => [e.dataset.shows, e.innerText])"
    )
    return dict(texts)


def test_nothing_is_loaded_before_the_button_is_pressed(page, address):
    tab = Tab(page, address)
    page.goto(f"{address}light.html", wait_until="networkidle")
    assert not any(name in url for url in tab.requested for name in ("live.js", "onnx"))
    press(page)
    asked = " ".join(tab.requested)
    for name in ("live-clicks.js", "sam_tiny.encoder.onnx", "sam_tiny.decoder.onnx"):
        assert name in asked
    assert "live-brush.js" not in asked
    assert tab.faults == []  # among them requests to elsewhere


def test_clicks_are_answered_as_pytorch_answers_them(live, network, scene):
    clicking, masks = Clicking(network, scene.image), scene.instances.masks
    assert shown(live) == {"estimate": "–", "iou": "–", "clicks": "0"}
    y, x = map(int, np.argwhere(masks[-1]).mean(0))
    click(live, x, y)
    first = clicking.click(x, y)
    agree(live, clicking)
    texts = live.locator(".segedu-live-masks b").all_inner_texts()
    assert texts == [f"{max(iou, 0):.2f}" for iou in first.ious]
    other = (first.chosen + 1) % 3
    live.locator(".segedu-live-masks label").nth(other).click()
    settle(live)
    clicking.choose(other)
    agree(live, clicking)
    iou = clicking.iou(masks)
    assert shown(live) == {
        "estimate": f"{max(first.ious[other], 0):.2f}",
        "iou": "–" if np.isnan(iou) else f"{iou:.2f}",
        "clicks": "1",
    }
    click(live, 100, 20, button="right")  # beside it
    clicking.click(100, 20, label=0)
    agree(live, clicking)
    live.locator("label", has_text="beside it").click()
    click(live, 30, 80)
    clicking.click(30, 80, label=0)
    agree(live, clicking)
    choices = live.locator(".segedu-live-masks")
    assert choices.is_visible() and choices.locator("input:disabled").count() == 3  # one is left
    assert choices.locator("input:checked").get_attribute("value") == str(other + 1)
    assert "line-through" not in choices.locator("span").first.evaluate(
        "(text) => getComputedStyle(text).textDecoration"
    )
    for _ in range(2):
        live.click('[data-control="undo"]')
        clicking.undo()
    settle(live)
    agree(live, clicking)
    assert live.locator(".segedu-live-masks input:checked").get_attribute("value") == str(other + 1)
    live.click('[data-control="reset"]')
    settle(live)
    assert shown(live)["clicks"] == "0"
    assert live.locator('[data-control="undo"]').is_disabled()


def test_the_mask_is_drawn_as_in_the_book(live, network, scene):
    clicking = Clicking(network, scene.image)
    click(live, 64, 48)
    clicking.click(64, 48)
    pixels = live.evaluate(
        """() => {
        const { image } = document.querySelector(".segedu-live").segeduLive;
        return [...image.data];
    }"""
    )
    wanted = viz.overlay_instances(scene.image, clicking.mask[None], [COLOR])
    assert np.abs(np.reshape(pixels, (*SIZE, 4))[..., :3] - wanted.astype(int)).max() <= 1


def helped(page: Page) -> str:
    return page.locator("[data-help]:visible").inner_text()


def test_a_first_click_beside_all_objects_is_named(live, scene):
    nothing = ~scene.instances.masks.any(0)
    y, x = map(int, np.argwhere(nothing)[0])
    click(live, x, y)
    assert "No object is under" in helped(live) and "没有点中物体" in helped(live)
    assert shown(live)["iou"] == "–"
    live.click('[data-control="undo"]')
    settle(live)
    assert "No object" not in helped(live)
    y, x = map(int, np.argwhere(~nothing)[0])
    click(live, x, y)
    assert "Which of the three" in helped(live)


def test_a_minus_before_any_plus_says_what_to_do(live, scene):
    y, x = map(int, np.argwhere(scene.instances.masks[-1]).mean(0))
    assert "Click on an object" in helped(live)
    live.locator("label", has_text="beside it").click()
    assert "Begin with +" in helped(live) and "请先选 +" in helped(live)
    click(live, x, y)
    assert "Only − so far" in helped(live) and "到现在只有 −" in helped(live)
    assert shown(live)["iou"] == "–"
    click(live, x, y, button="right")  # another one
    assert "Only − so far" in helped(live)
    live.locator("label", has_text="on the object").click()
    click(live, x, y)
    assert "Something missing?" in helped(live)
    assert shown(live)["iou"] != "–"


def test_what_to_do_first_goes_away_with_the_first_click(page, address):
    hint = hint_of(page, f"{address}light.html")
    assert "Click on an object" in hint.inner_text()
    click(page, 64, 48)
    assert hint.is_hidden()


@pytest.mark.parametrize("control", ["reset", "picture"])
def test_a_new_beginning_clicks_on_the_object(live, control):
    live.locator("label", has_text="beside it").click()
    click(live, 64, 48)
    if control == "reset":
        live.click('[data-control="reset"]')
    else:
        live.locator("label", has_text="b 乙").click()
    settle(live)
    assert live.locator('[data-control="sign"]').first.is_checked()


def test_no_expected_iou_is_shown_below_zero(live):
    live.evaluate(
        """() => {
        const figure = document.querySelector(".segedu-live").segeduLive;
        const { decode } = figure;
        figure.decode = async (...given) => {
            const answer = await decode.apply(figure, given);
            return { ...answer, ious: [-0.04, -0.001, -0.2], chosen: 1 };
        };
    }"""
    )
    try:
        click(live, 64, 48)
        assert shown(live)["estimate"] == "0.00"
        assert live.locator(".segedu-live-masks b").all_inner_texts() == ["0.00"] * 3
    finally:
        live.evaluate("delete document.querySelector('.segedu-live').segeduLive.decode")


def test_the_true_outline_is_drawn_from_the_first_click_on(live, scene):
    top = scene.instances.masks[-1]  # nothing lies on it
    y, x = map(int, np.argwhere(top)[len(np.argwhere(top)) // 2])
    drawn = """(places) => {
        const { canvas } = document.querySelector(".segedu-live").segeduLive;
        const context = canvas.getContext("2d");
        return places.map(([y, x]) => [...context.getImageData(3 * x, 3 * y + 1, 1, 1).data]);
    }"""
    edge = np.argwhere(top & ~np.roll(top, 1, 1))  # their left side is outside
    edge = edge[(np.abs(edge - (y, x)).max(1) > 4) & (edge[:, 1] > 0)]  # no click hides it
    assert len(edge) > 3
    edge = edge[:8]
    white = []
    for _ in range(2):
        pixels = np.array(live.evaluate(drawn, edge.tolist()))
        white.append((pixels[:, :3] == 255).all(1).mean())
        click(live, x, y)
    assert white[0] < 0.5 and white[1] == 1


def test_another_picture_of_other_sides(live, network, other):
    live.locator("label", has_text="b 乙").click()
    settle(live)
    clicking = Clicking(network, other.image)
    click(live, 20, 100, size=other.image.shape[:2])
    clicking.click(20, 100)
    agree(live, clicking)


def test_clicks_that_come_faster_than_answers_all_count(live, network, scene):
    live.evaluate(
        """() => {
        const figure = document.querySelector(".segedu-live").segeduLive;
        for (const n of [1, 2, 3]) figure.click({ x: 20 * n + 0.5, y: 50.5 }, n % 2);
        figure.undo();
        figure.click({ x: 90.5, y: 50.5 }, 1);
    }"""
    )
    settle(live)
    clicking = Clicking(network, scene.image)
    for x, label in ((20, 1), (40, 0), (90, 1)):
        clicking.click(x, 50, label)
    agree(live, clicking)


def test_it_works_without_a_mouse(live, network, scene):
    live.locator('[data-panel="picture"]').focus()
    keys = live.locator(".segedu-live-keys")
    live.keyboard.press("ArrowLeft")
    assert keys.is_visible()
    assert "Enter clicks" in keys.inner_text() and "回车点击" in keys.inner_text()
    for key in ("ArrowDown", "Enter", "ArrowUp", "ArrowUp", "-"):
        live.keyboard.press(key)
    settle(live)
    assert keys.is_hidden()
    clicking = Clicking(network, scene.image)
    clicking.click(60, 52)
    clicking.click(60, 44, label=0)
    agree(live, clicking)
    live.keyboard.press("Backspace")
    settle(live)
    clicking.undo()
    agree(live, clicking)


def test_a_finger_clicks_and_nothing_below_moves(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(f"{address}light.html", wait_until="networkidle")  # with its fonts
    page.wait_for_selector(".segedu-live.is-ready")
    room = page.evaluate(ROOM)
    page.tap('[data-control="start"]')
    page.wait_for_selector(".segedu-live-stage:not([hidden])", timeout=60_000)
    assert page.evaluate(ROOM) == room
    page.locator('[data-panel="picture"]').tap(position={"x": 100, "y": 100})
    settle(page)
    assert shown(page)["clicks"] == "1"
    assert page.evaluate(ROOM) == room
    needed, available = page.evaluate(OVERFLOW)
    assert needed <= available
    assert page.locator('[data-panel="picture"]').bounding_box()["width"] >= 200
    context.close()


def test_many_clicks_leave_nothing_behind(live):
    many = """async (rounds) => {
        const figure = document.querySelector(".segedu-live").segeduLive;
        for (let round = 0; round < rounds; round++) {
            figure.clear();
            for (let n = 0; n < 25; n++) {
                figure.click({ x: (5 * n) % 127, y: 30 + n }, n % 2);
                await figure.ask();
                while (figure.busy) await new Promise((done) => setTimeout(done, 1));
            }
        }
        return figure.clicks.length;
    }"""
    assert live.evaluate(many, 1) == MAX_CLICKS  # more are refused
    assert "Twenty clicks" in helped(live)
    before = heap(live)
    live.evaluate(many, 4)
    assert heap(live) < before + 10  # MB; the answers to twenty clicks are 2


def test_a_damaged_file_is_named(page, address):
    page.route("**/sam_tiny.decoder.onnx", lambda route: route.fulfill(body="no network"))
    page.goto(f"{address}light.html")
    page.click('[data-control="start"]')
    page.locator('[data-says="damaged"]').wait_for(state="visible", timeout=60_000)
    assert shows_its_still(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_accessible_while_it_runs_and_nothing_below_moves(page, address, theme):
    page.goto(f"{address}{theme}.html", wait_until="networkidle")  # with its fonts
    page.wait_for_selector(".segedu-live.is-ready")
    room = page.evaluate(ROOM)
    press(page)
    click(page, 64, 48)
    assert page.evaluate(ROOM) == room
    violations = Axe().run(page, ".segedu-live").response["violations"]
    assert [(v["id"], v["nodes"][0]["html"][:200]) for v in violations] == []
