"""Prints one PDF per language: all pages of an edition in one, through a headless Chromium.

    python book/print.py [--out DIR] [en] [zh]

Needs a Chromium (on the PATH, or named by the environment variable CHROMIUM) and a Chinese font.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import yaml
from browser import FLAGS, find_chromium, serve
from editions import EDITIONS, ROOT, build_edition
from playwright.sync_api import sync_playwright

FOOTER = (
    '<div style="width:100%;font-size:8px;color:#666;text-align:center">'
    '<span class="pageNumber"></span></div>'
)
PATIENCE = 600_000  # milliseconds to load the page, which is the whole book
# Hints and solutions are open, formulas set and pictures loaded before the pages are printed.
READY = """async () => {
  const folds = document.querySelectorAll("details:not(.hide), .tag_solution > details");
  for (const fold of folds) fold.open = true;
  await (window.MathJax?.startup?.promise ?? Promise.resolve());
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
}"""


def print_pdf(folder: Path, page_name: str, target: Path, chromium: str) -> None:
    """Prints the page `page_name` of the site in `folder` to the file `target`."""
    with serve(folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(PATIENCE)
        missing: list[str] = []
        page.on("response", lambda r: missing.append(r.url) if r.status >= 400 else None)
        page.goto(address + page_name, wait_until="load")
        page.evaluate(READY)
        if missing:
            raise RuntimeError(f"not printed, these files are missing: {', '.join(missing)}")
        page.pdf(
            path=target,
            format="A4",
            print_background=True,
            margin={"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"},
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
            tagged=True,
            outline=True,
        )
        browser.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Print the book, one PDF per language.")
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help="en, zh (default: both)")
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "pdf")
    arguments = parser.parse_args()
    languages = arguments.languages or ["en", "zh"]
    if unknown := set(languages) - {"en", "zh"}:
        parser.error(f"language: got {', '.join(sorted(unknown))}, allowed: en, zh")
    chromium = find_chromium()
    if chromium is None:
        sys.exit("No Chromium found: install one (Debian: apt install chromium) or set CHROMIUM.")
    root = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["root"]
    arguments.out.mkdir(parents=True, exist_ok=True)
    for language in languages:
        print(f"Printing the {EDITIONS[language][1]} edition", flush=True)
        folder = build_edition(ROOT, arguments.out / "work", language, "singlehtml")
        target = arguments.out / f"segedu-{language}.pdf"
        # Sphinx writes the one page below book/ with addresses that hold at the top.
        shutil.copy2(folder / f"{root}.html", folder / "book.html")
        print_pdf(folder, "book.html", target, chromium)
        print(f"  {target} ({target.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
