"""The PDF of a language: numbered through, with an outline, and links that stay inside the file."""

import re
import shutil
from pathlib import Path

import print as printing
import pytest
from pypdf import PdfReader

FRONT = "book/intro"
OUTLINES = {
    "en": [
        "A miniature book",
        ["How to read"],
        "Part one",
        [
            "1. Masks and pixels",
            ["1.1. The idea", "1.2. Exercises"],
            "2. Smoothing",
            ["2.1. Experiment", "2.2. Summary"],
        ],
        "Appendix",
        ["Bibliography"],
    ],
    "zh": [
        "袖珍书",
        ["怎样阅读"],
        "第一部分",
        ["1. 掩膜与像素", ["1.1. 思路", "1.2. 练习"], "2. 平滑", ["2.1. 实验", "2.2. 小结"]],
        "附录",
        ["参考文献"],
    ],
}

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", params=["en", "zh"])
def printed(request, browser, miniature, tmp_path_factory):
    """The language, the book as another library reads it, and the count that printing told."""
    target = tmp_path_factory.mktemp("printed") / "book.pdf"
    pages = printing.print_edition(browser, miniature, request.param, FRONT, target)
    return request.param, PdfReader(target), pages


def texts(reader):
    return [page.extract_text() for page in reader.pages]


def flat(entries):
    for entry in entries:
        if isinstance(entry, list):
            yield from flat(entry)
        else:
            yield entry


def starts(reader):
    """The first page of each line of the outline, by its title."""
    return {e.title: reader.get_destination_page_number(e) for e in flat(reader.outline)}


def links(page):
    return [mark.get_object() for mark in page.get("/Annots", ())]


def test_pages_are_numbered_through(printed):
    _, reader, pages = printed
    numbers = [re.match(r"(\d+)\n", text) for text in texts(reader)]
    assert [n and int(n[1]) for n in numbers] == [*range(1, pages + 1)]
    assert pages >= 6


def test_the_outline_has_parts_chapters_and_sections_at_their_pages(printed):
    language, reader, _ = printed

    def titles(entries):
        return [titles(e) if isinstance(e, list) else e.title for e in entries]

    assert titles(reader.outline) == OUTLINES[language]
    assert reader.metadata.title == OUTLINES[language][0]
    found = starts(reader)
    first, second = OUTLINES[language][3][::2]
    assert 0 == found[OUTLINES[language][0]] < found[first] == found[OUTLINES[language][2]]
    assert found[first] < found[second]
    for chapter in (first, second):  # the text of a PDF may hold other code points that look alike
        number = chapter.split()[0]
        assert re.search(rf"^{re.escape(number)}", texts(reader)[found[chapter]], re.M)


def test_links_lead_to_places_in_the_file_or_out_of_the_site(printed):
    language, reader, pages = printed
    addresses = [str(m["/A"]["/URI"]) for p in reader.pages for m in links(p) if "/A" in m]
    assert not [address for address in addresses if "127.0.0.1" in address]
    marks = [mark for page in reader.pages for mark in links(page) if "/A" not in mark]
    numbers = {page.indirect_reference.idnum: n for n, page in enumerate(reader.pages)}
    assert {numbers[mark["/Dest"][0].idnum] for mark in marks} <= set(range(pages))
    # the figure of the first chapter that the second names
    first, second = OUTLINES[language][3][::2]
    found = starts(reader)
    to_figure, *_ = links(reader.pages[found[second]])
    where, kind, *_ = to_figure["/Dest"]
    assert kind == "/XYZ"
    assert found[first] < numbers[where.idnum] < found[second]
    assert re.search(r"(Fig\.|图)\s+1\.1", texts(reader)[numbers[where.idnum]])


def test_only_what_makes_sense_on_paper(printed):
    """The hint and the solution are there; a slider, the side bar and its search are not."""
    language, reader, _ = printed
    whole = "\n".join(texts(reader))
    hint, solution, slider = {
        "en": ("Hint", "Solution", "radius"),
        "zh": ("把两者都", "参考答案", "半径"),
    }[language]
    assert hint in whole and solution in whole and "0.6666666666666666" in whole
    assert not re.search(rf"^{slider}$", whole, re.M) and "Ctrl" not in whole


def test_a_file_over_the_limit_is_told(browser, miniature, tmp_path, monkeypatch):
    monkeypatch.setattr(printing, "LIMIT", 1e3)
    with pytest.raises(RuntimeError, match=r"book\.pdf has 0\.\d MB, allowed: 0 MB"):
        printing.print_edition(browser, miniature, "en", FRONT, tmp_path / "book.pdf")


def test_nothing_is_printed_where_a_picture_is_missing(browser, miniature, tmp_path):
    site = Path(shutil.copytree(miniature, tmp_path / "site"))
    pictures = sorted((site / "en" / "_images").iterdir())
    pictures[0].unlink()
    with pytest.raises(RuntimeError, match=f"are missing: .*{pictures[0].name}"):
        printing.print_edition(browser, site, "en", FRONT, tmp_path / "book.pdf")
    assert not (tmp_path / "book.pdf").exists()
