"""The page of the service in a real browser: a picture in, what was found out."""

import pytest

for package in ("onnx", "onnxruntime", "fastapi", "uvicorn", "prometheus_client", "playwright"):
    pytest.importorskip(package)

from segedu.engine.deployed import Deployed  # noqa: E402
from tests.cli.test_predict import CLASSES, picture  # noqa: E402
from tests.serve.serving import running  # noqa: E402
from tests.serve.test_service import exported  # noqa: E402


@pytest.fixture(scope="module")
def shown(tmp_path_factory, browser):
    """A page of a service, the folder of its network, and what went wrong in it."""
    folder = tmp_path_factory.mktemp("page")
    file = exported(folder)
    picture(folder, "a.png", (120, 80))
    (folder / "text.png").write_text("no picture")
    with running(Deployed(file, 1)) as (port, _):
        page = browser.new_page(viewport={"width": 360, "height": 740})
        wrong, asked = [], []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://127.0.0.1:{port}/")
        yield page, folder, wrong, (asked, port)
        page.close()


@pytest.mark.browser
def test_a_picture_is_answered_in_both_languages(shown):
    page, folder, wrong, (asked, port) = shown
    page.set_input_files("input", folder / "a.png")
    page.wait_for_selector("#shown:not([hidden])", timeout=30_000)
    assert page.evaluate("document.querySelector('#shown').naturalWidth") == 120
    state = page.inner_text("#state")
    assert "ms in the service" in state and "服务用时" in state and "{" not in state
    names = [item.rsplit(" ", 2)[0] for item in page.inner_text("#found").splitlines() if item]
    assert names and set(names) <= set(CLASSES)
    assert wrong == []
    local = (f"http://127.0.0.1:{port}/", "blob:")
    assert all(url.startswith(local) for url in asked), asked


@pytest.mark.browser
def test_a_refusal_is_explained(shown):
    page, folder, wrong, _ = shown
    page.set_input_files("input", folder / "text.png")
    page.wait_for_selector("#state:has-text('415')")  # the page lets no test evaluate functions
    state = page.inner_text("#state")
    assert "Not a PNG, JPEG or WebP picture" in state and "不是 PNG" in state and wrong == []


@pytest.mark.browser
def test_the_page_fits_a_phone_and_passes_axe(shown):
    from axe_playwright_python.sync_playwright import Axe

    page, *_ = shown
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360
    results = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]})
    assert results.violations_count == 0, results.generate_report()
