"""What a server and a search engine find beside the pages."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from editions import EDITIONS
from launch import site_url
from publishing import for_servers
from sphinx.errors import ExtensionError

FOLDERS = [folder for folder, _, _ in EDITIONS.values()]
FIRST = "chapters/01-part/01-first.html"


def test_a_site_without_an_address_has_no_site_map(miniature):
    assert (miniature / ".nojekyll").exists()
    assert not (miniature / "sitemap.xml").exists()
    page = (miniature / "404.html").read_text(encoding="utf-8")
    assert 'href="/en/index.html"' in page and 'href="/zh/index.html"' in page


def test_the_site_map_names_every_page_in_every_edition(tmp_path):
    for folder in FOLDERS:
        for page in ("book/intro.html", FIRST):
            path = tmp_path / folder / page
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    address = "https://teacher.example/fork/"
    for_servers(tmp_path, FOLDERS, address)
    root = ElementTree.parse(tmp_path / "sitemap.xml").getroot()
    urls = {
        url[0].text: {link.get("hreflang"): link.get("href") for link in url[1:]} for url in root
    }
    assert set(urls) == {
        f"{address}{prefix}{page}"
        for prefix in ("", "en/", "zh/")
        for page in ("book/intro.html", FIRST)
    }
    assert urls[f"{address}zh/{FIRST}"] == {
        "x-default": f"{address}{FIRST}",
        "en": f"{address}en/{FIRST}",
        "zh-CN": f"{address}zh/{FIRST}",
    }
    assert 'href="/fork/en/index.html"' in (tmp_path / "404.html").read_text(encoding="utf-8")


def alternates(page: str) -> dict[str, str]:
    return dict(re.findall(r'<link rel="alternate" hreflang="([^"]+)" href="([^"]+)"', page))


def test_pages_name_their_other_editions(miniature: Path):
    page = (miniature / "en" / FIRST).read_text(encoding="utf-8")
    links = alternates(page)
    assert links.keys() == {"x-default", "en", "zh-CN"} and "canonical" not in page
    for language, folder in (("x-default", ""), ("en", "en"), ("zh-CN", "zh")):
        target = (miniature / "en" / FIRST).parent / links[language]
        assert target.resolve() == (miniature / folder / FIRST).resolve()


def test_published_pages_name_full_addresses(fork):
    page = (fork / FIRST).read_text(encoding="utf-8")
    address = "https://teacher.example/fork/"
    assert alternates(page)["zh-CN"] == f"{address}zh/{FIRST}"
    assert f'<link rel="canonical" href="{address}en/{FIRST}"' in page


@pytest.mark.parametrize("url", ["teacher.example/fork", "https://x y/z", "javascript:alert(1)"])
def test_a_malformed_site_address_is_refused(url):
    with pytest.raises(ExtensionError, match="SEGEDU_SITE_URL: got .*, allowed"):
        site_url({"SEGEDU_SITE_URL": url})
