"""Prints one PDF per language: the pages of its edition one by one, by a headless Chromium, joined.

    python book/print.py [--out DIR] [en] [zh]

The editions are brought up to date first, as by `make book`. Pages are numbered through, an outline
lists parts, chapters and sections, and links between chapters lead to their place in the file.
Needs a Chromium (131 or newer, on the PATH or named by the environment variable CHROMIUM) and a
Chinese font.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urldefrag

import yaml
from browser import FLAGS, find_chromium, serve
from editions import EDITIONS, ROOT, build_site
from pikepdf import Array, Dictionary, Name, Object, ObjectStreamMode, OutlineItem, Pdf, Stream
from playwright.sync_api import Browser, Page, Route, sync_playwright

PATIENCE = 300_000  # milliseconds to load or to print one page of the site
SCALE = 0.8  # letters of ten points
LIMIT = 40e6  # bytes of a PDF
PAPER = """html {{ counter-reset: page {printed}; }}
@page {{
  size: A4;
  margin: 18mm 16mm;
  @bottom-center {{ content: counter(page); color: #666; font: 9pt sans-serif; }}
}}
.bd-main .bd-content {{ margin-inline: 0; }}
.bd-article h1:first-of-type {{ display: block !important; }}
#jb-print-docs-body {{ display: none !important; }}
div.highlight pre {{ font-size: 0.76rem; }}"""
# Before a page is printed, colours are light, hints and solutions open and drawn (else Chromium may
# leave their room empty), formulas set and pictures loaded. Chromium keeps only the places that the
# page itself links to, so it gets a link to each.
READY = """async () => {
  document.documentElement.dataset.theme = "light";
  const folds = document.querySelectorAll("details:not(.hide), .tag_solution > details");
  for (const fold of folds) fold.open = true;
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  await (window.MathJax?.startup?.promise ?? Promise.resolve());
  for (const image of document.images) image.loading = "eager";
  await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
  const places = document.body.appendChild(document.createElement("nav"));
  places.hidden = true;
  for (const { id } of document.querySelectorAll(".bd-article [id]")) {
    places.appendChild(document.createElement("a")).href = "#" + id;
  }
}"""
# What the side bar of every page lists: [part, [[chapter, address], …]], …; first the front page.
CONTENTS = """() => [...document.querySelectorAll("nav.bd-links ul.bd-sidenav")].map((list) => [
  list.previousElementSibling?.textContent.trim(),
  [...list.querySelectorAll("a")].map((link) => [link.textContent.trim(), link.href]),
])"""
# What a page lists of itself: [section, address], ….
SECTIONS = """() => [...document.querySelectorAll("#jb-print-toc nav > ul > li > a")].map(
  (link) => [link.textContent.trim(), link.href])"""


class Book:
    """The file that grows by one page of the site at a time."""

    def __init__(self) -> None:
        self.pdf = Pdf.new()
        self._places: dict[str, Array] = {}  # by address

    def add(self, address: str, printed: bytes) -> None:
        """Adds a page of the site, which is several of paper."""
        start = len(self.pdf.pages)
        with Pdf.open(io.BytesIO(printed)) as piece:
            numbers = {page.objgen: start + i for i, page in enumerate(piece.pages)}
            for page in piece.pages:  # a place on the same page is named like one elsewhere
                for mark in page.obj.get("/Annots", ()):
                    if "/Dest" in mark:
                        place = f"{address}#{str(mark.Dest)[1:]}"
                        mark.A = Dictionary(S=Name.URI, URI=place)
                        del mark.Dest
            self.pdf.pages.extend(piece.pages)
            for name, (page, *where) in piece.Root.get("/Dests", {}).items():
                place = Array([self.pdf.pages[numbers[page.objgen]].obj, *where])
                self._places[f"{address}#{unquote(name[1:])}"] = place
        self._places[address] = Array([self.pdf.pages[start].obj, Name.Fit])

    def place(self, address: str) -> Array | None:
        """Where `address` stands: the place that it names, or else its page; None: nowhere here."""
        address = unquote(address)
        return self._places.get(address, self._places.get(urldefrag(address).url))

    def finish(self, site: str, outline: list[OutlineItem], target: Path) -> None:
        """Leads the links into `site` to their places, those to its other files nowhere; saves."""
        for page in self.pdf.pages:
            marks = list(page.obj.get("/Annots", ()))
            for mark in marks:
                address = str(mark.get("/A", {}).get("/URI", ""))
                if address.startswith(site):
                    del mark.A
                    if place := self.place(address):
                        mark.Dest = place
            page.obj.Annots = Array([mark for mark in marks if "/A" in mark or "/Dest" in mark])
        with self.pdf.open_outline() as opened:
            opened.root.extend(outline)
        self.pdf.Root.PageMode = Name.UseOutlines
        self.pdf.docinfo["/Title"] = outline[0].title
        share_streams(self.pdf)
        self.pdf.save(target, object_stream_mode=ObjectStreamMode.generate)


def share_streams(pdf: Pdf) -> None:
    """Each page of the site came with letters and masks of its own; keeps one of equal ones."""
    kept: dict[bytes, Object] = {}

    def share(owner: Object, name: str) -> None:
        if isinstance(stream := owner.get(name), Stream):
            owner[name] = kept.setdefault(stream.read_raw_bytes(), stream)

    for thing in pdf.objects:
        if not isinstance(thing, Dictionary | Stream):
            continue
        share(thing, "/ToUnicode")
        share(thing, "/SMask")
        if "/Resources" not in thing:  # else equal drawings could name unlike things
            for name in thing.get("/CharProcs", {}):
                share(thing.CharProcs, name)


def set_formulas_only(route: Route) -> None:
    """Of the scripts, paper needs that of the formulas alone."""
    if "/mathjax/" in route.request.url:
        route.continue_()
    else:
        route.abort()


def print_edition(browser: Browser, site: Path, edition: str, front: str, target: Path) -> int:
    """Prints an edition of the book in the folder `site`, whose front page is `front`.

    Returns:
        The number of its pages.

    Raises:
        RuntimeError: a file is missing in `site`, or the PDF is larger than the limit.
    """
    book, outline, missing = Book(), [], []
    with serve(site) as address:
        page = browser.new_page(color_scheme="light")
        page.set_default_timeout(PATIENCE)
        page.route(re.compile(r"\.js(\?|$)"), set_formulas_only)
        page.on("response", lambda r: missing.append(r.url) if r.status >= 400 else None)
        page.goto(f"{address}{EDITIONS[edition][0]}/{front}.html")
        for part, chapters in page.evaluate(CONTENTS):
            items = [print_chapter(page, book, *chapter) for chapter in chapters]
            if part:
                outline.append(OutlineItem(part, items[0].destination))
                outline[-1].children += items
            else:
                outline += items
        page.close()
    if missing:
        raise RuntimeError(f"not printed, these files are missing: {', '.join(missing)}")
    book.finish(address, outline, target)
    if (size := target.stat().st_size) > LIMIT:
        raise RuntimeError(f"{target} has {size / 1e6:.1f} MB, allowed: {LIMIT / 1e6:.0f} MB")
    return len(book.pdf.pages)


def print_chapter(page: Page, book: Book, title: str, address: str) -> OutlineItem:
    """Adds the page of the site at `address` to the book and gives its line of the outline."""
    page.goto(address, wait_until="load")
    page.evaluate(READY)
    page.add_style_tag(content=PAPER.format(printed=len(book.pdf.pages)))
    book.add(address, page.pdf(prefer_css_page_size=True, print_background=True, scale=SCALE))
    print(f"  {len(book.pdf.pages):5} pages  {title}", flush=True)
    item = OutlineItem(title, book.place(address))
    item.is_closed = True
    item.children += [OutlineItem(name, book.place(at)) for name, at in page.evaluate(SECTIONS)]
    return item


def print_book(languages: list[str], out: Path, chromium: str) -> None:
    """Brings the site up to date and prints its editions in `languages` into the folder `out`."""
    site = build_site(ROOT, ROOT / "_build")
    front = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["root"]
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for language in languages:
            start = time.monotonic()
            print(f"Printing the {EDITIONS[language][1]} edition", flush=True)
            target = out / f"segedu-{language}.pdf"
            pages = print_edition(browser, site, language, front, target)
            size, took = target.stat().st_size / 1e6, time.monotonic() - start
            print(f"  {target}: {pages} pages, {size:.1f} MB, {took:.0f} s", flush=True)
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
    try:
        print_book(languages, arguments.out, chromium)
    except RuntimeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
