"""What must hold on every page of a built edition; each check returns its complaints."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

OTHER_FILES = {"_static", "_sources", "index.html", "404.html"}
MAX_PAGE = 700_000  # bytes, compressed, without the page's own figures
MAX_FIGURES = 800_000  # bytes

# Violations in the theme's own parts, which no page of ours can mend: (rule, part of the element).
KNOWN_IN_THEME = (
    ("region", "logo__title"),  # the title in the side bar stands outside a landmark
)
# With `preload`, axe would itself ask for the style sheets' imports, at wrong addresses.
AXE_OPTIONS = {"resultTypes": ["violations"], "preload": False}

UNSET_MATH = """() => [...document.querySelectorAll("article .math")]
    .filter((e) => !e.querySelector("mjx-container") || e.querySelector("mjx-merror"))
    .map((e) => e.textContent.slice(0, 60))"""
MATH_READY = "async () => { await window.MathJax?.startup?.promise; }"
OVERFLOW = """() => [document.documentElement.scrollWidth, window.innerWidth]"""
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


def violations(page: Page) -> list[str]:
    """What axe-core finds, apart from what is known of the theme."""
    found = []
    for rule in Axe().run(page, options=AXE_OPTIONS).response["violations"]:
        for node in rule["nodes"]:
            known = any(rule["id"] == r and part in node["html"] for r, part in KNOWN_IN_THEME)
            if not known:
                found.append(f"axe {rule['id']}: {node['html'][:120]}")
    return found


def look_at(context: BrowserContext, address: str, name: str, language: str) -> list[str]:
    """Opens a page wide, dark and narrow, and says what is wrong with it."""
    page = context.new_page()
    problems = watch(page, address)
    page.set_viewport_size({"width": 1360, "height": 900})
    page.emulate_media(color_scheme="light")
    page.goto(address + name, wait_until="networkidle")
    page.evaluate(MATH_READY)
    lang = page.evaluate("document.documentElement.lang")
    if lang != language:
        problems.append(f"<html lang={lang!r}>, expected {language!r}")
    problems += [f"formula not set: {text}" for text in page.evaluate(UNSET_MATH)]
    problems += [f"not loaded lazily: {image}" for image in page.evaluate(EAGER)]
    problems += violations(page)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(400)  # the theme fades from light to dark
    problems += [f"{violation} (dark)" for violation in violations(page)]
    page.set_viewport_size({"width": 390, "height": 844})
    needed, available = page.evaluate(OVERFLOW)
    if needed > available:
        problems.append(f"scrolls sideways at 390 px: {needed} px")
    page.close()
    return [f"{name}: {problem}" for problem in problems]


Load = Callable[[str], tuple[list[str], bytes]]  # name of a page -> its resources, its source


def weight(load: Load, site: Path, name: str) -> tuple[int, int]:
    """Compressed bytes of a page with its scripts, styles and fonts; bytes of its figures."""
    resources, body = load(name)
    total, figures = len(gzip.compress(body)), 0
    for resource in resources:
        data = (site / unquote(urlsplit(resource).path).lstrip("/")).read_bytes()
        if "/_images/" in resource:
            continue
        total += len(data if resource.endswith(("woff", "woff2", "png")) else gzip.compress(data))
    for image in set(re.findall(rb'_images/([^"#?]+)"', body)):
        folder = next(part for part in ("en", "zh", "") if name.startswith(part))
        figures += (site / folder / "_images" / image.decode()).stat().st_size
    return total, figures
