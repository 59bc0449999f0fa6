"""How long a network takes in a page of the book, and in PyTorch: one run, answers by turns.

    python benchmarks/live.py            # a minute: real Chromium, one thread each
    python benchmarks/live.py --quick    # two answers, no file

The page is one figure of `segedu.viz.live` with the U-Net of the pages; its answer counts from the
pixels that the network sees to the picture that shows the classes. PyTorch's counts from the same
pixels to the logits. Both take turns, so that other work of the machine meets both alike.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from playwright.sync_api import Page, sync_playwright
from torch import nn

from benchmarks.race import RESULTS
from book import runtime
from book.browser import FLAGS, find_chromium, serve
from segedu import viz
from segedu.data import scenes
from segedu.files import write_json
from segedu.machine import describe
from segedu.models import get_model

SIZE = (128, 192)
ANSWERS, FIRST = 40, 5  # the first ones are slower, in both, and do not count
PAGE = """<!doctype html><meta charset="utf-8"><body data-edition="both">{}
<script defer src="_static/book.js"></script>"""
ASK = """async () => {
    const figure = document.querySelector(".segedu-live").segeduLive;
    const begun = performance.now();
    await figure.answer(figure.answers[0]);
    return performance.now() - begun;
}"""


class Times(NamedTuple):
    """Milliseconds of each answer."""

    page: list[float]
    torch: list[float]

    @property
    def ratio(self) -> float:
        """How many times as long the page takes, in the middle of all turns."""
        return median(page / here for page, here in zip(*self, strict=True))


@torch.inference_mode()
def by_turns(page: Page, network: nn.Module, answers: int = ANSWERS) -> Times:
    """The times of a page in which the first figure runs, and of its network.

    Args:
        page: the figure's picture has the sides `SIZE`.
        network: in ``eval()``.
        answers: how many of each, after the `FIRST` ones.
    """
    image = torch.rand(1, 3, *SIZE)
    times = Times([], [])
    for number in range(FIRST + answers):
        in_page = page.evaluate(ASK)
        begun = time.perf_counter()
        network(image)
        here = 1000 * (time.perf_counter() - begun)
        if number >= FIRST:
            times.page.append(in_page)
            times.torch.append(here)
    return times


def write_site(site: Path, network: nn.Module) -> None:
    """One page with one figure, and the files that it needs."""
    scene = scenes.generate(0, scenes.SceneConfig(size=SIZE))
    colors = {f"{c.name} ｜ {c.name_zh}": c.color for c in scenes.CLASSES}
    html = viz.live({"U-Net": network}, {"a ｜ 甲": (scene.image, scene.semantic)}, colors).html
    html = html.replace("<div ", f'<div data-files="{runtime.FOLDER}/" ', 1)
    (site / "index.html").write_text(PAGE.format(html), encoding="utf-8")
    runtime.copy_to(site)
    for name in ("book.js", "live.js", "live-brush.js"):
        shutil.copy(runtime.ROOT / "book" / "static" / name, site / "_static")


def measure(network: nn.Module, answers: int) -> tuple[Times, str]:
    """The times of both, and the browser's version."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        write_site(Path(folder), network)
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        page = browser.new_page()
        with serve(Path(folder)) as address:
            page.goto(address)
            page.click('[data-control="start"]')
            page.wait_for_selector(".segedu-live-stage:not([hidden])", timeout=120_000)
            times = by_turns(page, network, answers)
        version = browser.version
        browser.close()
    return times, version


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two answers, no file")
    quick = parser.parse_args().quick
    if problem := runtime.fetch() or ("" if find_chromium() else "Chromium is not installed"):
        sys.exit(f"A network cannot run in a page here: {problem}")
    torch.set_num_threads(1)
    network = get_model("unet", weights="scenes").eval()
    times, version = measure(network, 2 if quick else ANSWERS)
    result: dict[str, Any] = {
        "command": "python benchmarks/live.py",
        "machine": describe("cpu"),
        "browser": f"Chromium {version}",
        "runtime": runtime.PACKAGE,
        "network": network.trained.file,
        "size": list(SIZE),
        "answers": len(times.page),
        "page_ms": {"median": round(median(times.page), 1), "shortest": round(min(times.page), 1)},
        "torch_ms": {
            "median": round(median(times.torch), 1),
            "shortest": round(min(times.torch), 1),
        },
        "ratio": round(times.ratio, 2),
        "ratio_of_shortest": round(min(times.page) / min(times.torch), 2),
    }
    print(result)
    if not quick:
        print(write_json(RESULTS / "live.json", result))


if __name__ == "__main__":
    main()
