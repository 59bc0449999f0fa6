"""What a web server needs besides the pages: a page for wrong addresses, and a map of the site."""

from __future__ import annotations

from pathlib import Path
from string import Template
from urllib.parse import urlsplit
from xml.etree import ElementTree

SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
XHTML = "http://www.w3.org/1999/xhtml"
LANGUAGES = {"": "x-default", "en": "en", "zh": "zh-CN"}  # of the editions, by folder

NOT_FOUND = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not found · 没有这一页</title>
<style>
  :root { color-scheme: light dark; font: 1.1rem/1.6 sans-serif; }
  main { max-width: 34rem; margin: 18vh auto 0; padding: 0 1.5rem; }
</style>
<main>
  <h1>Not found · <span lang="zh-CN">没有这一页</span></h1>
  <p>This page does not exist, or not any more. The book begins at its
  <a href="${base}en/index.html">first page</a>.</p>
  <p lang="zh-CN">这一页不存在，或者已经移走。请从
  <a href="${base}zh/index.html">首页</a>开始阅读。</p>
</main>
</html>
""")


def for_servers(site: Path, folders: list[str], address: str) -> None:
    """Add ``.nojekyll``, ``404.html`` and, where the address is known, ``sitemap.xml`` to a site.

    Args:
        site: folder of the built site.
        folders: of the editions inside the site; the first is the site itself, "".
        address: where the site is published, ending in a slash; may be empty.
    """
    (site / ".nojekyll").touch()  # GitHub's Jekyll would leave out the folders _static and _images
    base = urlsplit(address).path or "/"  # the page is shown at any address, at any depth
    (site / "404.html").write_text(NOT_FOUND.substitute(base=base), encoding="utf-8")
    if address:
        (site / "sitemap.xml").write_bytes(sitemap(site, folders, address))


def sitemap(site: Path, folders: list[str], address: str) -> bytes:
    """Every page of every edition, each with the addresses of the same page in the others."""
    ElementTree.register_namespace("", SITEMAP)
    ElementTree.register_namespace("xhtml", XHTML)
    root = ElementTree.Element(f"{{{SITEMAP}}}urlset")
    pages = [
        path.relative_to(site).as_posix()
        for path in sorted([*site.glob("book/*.html"), *site.glob("chapters/**/*.html")])
    ]
    prefixes = [f"{folder}/" if folder else "" for folder in folders]
    for page in pages:
        for prefix in prefixes:
            url = ElementTree.SubElement(root, f"{{{SITEMAP}}}url")
            ElementTree.SubElement(url, f"{{{SITEMAP}}}loc").text = f"{address}{prefix}{page}"
            for folder, other in zip(folders, prefixes, strict=True):
                ElementTree.SubElement(
                    url,
                    f"{{{XHTML}}}link",
                    rel="alternate",
                    hreflang=LANGUAGES[folder],
                    href=f"{address}{other}{page}",
                )
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
