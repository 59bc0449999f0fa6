"""Each check of the layout notices a page that breaks its rule."""

import shutil

import pytest
from browser import serve

from tests.book.layout_checks import CHECKS, ICON_FONT, complaints

pytestmark = pytest.mark.browser

BROKEN = {
    "lines may be torn by justification": '<p style="text-align:justify">一行</p>',
    "a name is broken at its hyphen": '<p style="width:4ch">The U-Net</p>',
    "a table is cut": "<div style='width:80px'><table><td>aaaaaaaaaaaaaaaaaaaaa</table></div>",
    "a word of a table is broken": '<table style="table-layout:fixed;width:60px">'
    '<td style="overflow-wrap:anywhere">parameters</table>',
    "a Chinese word of a table is broken": '<table style="table-layout:fixed;'
    'width:30px"><td>准确率</table>',
    "the number of a wide formula is out of sight": '<div class="math" style="width:60px;'
    'display:flex;overflow:auto;background:linear-gradient(red, white)">'
    '<span style="flex:none;width:90px">x</span><span class="eqno">(1)</span></div>',
    "a wide formula does not scroll visibly": '<div class="math" style="width:60px;'
    'overflow:auto"><span style="display:block;width:90px">x</span></div>',
    "a wide formula begins out of sight": '<div class="math" style="width:60px;display:flex;'
    'flex-direction:row-reverse;overflow:auto;background:linear-gradient(red, white)">'
    '<span style="flex:none;width:90px">x</span></div>',
    "a wide drawing does not say that it scrolls": '<div class="segedu-architecture">'
    '<div tabindex="0" style="width:60px;overflow:auto"><svg width="90"></svg></div></div>',
    "a slider has the colour of the browser": '<input type="range">',
    "a space beside a full-width mark": "<p><b>标题。</b> 正文</p>",
    "the other language in code, output or figure": "<script>document.body.dataset.edition = 'en'"
    '</script><div class="cell_output"><pre>轮次</pre></div>',
    "blank icon f999": "<style>h1::before{font-family:'Font Awesome 6 Free';"
    "content:'\\f999'}</style><h1>x</h1>",
}
GOOD = """<p>The U-Net，见 <b>标题。</b>正文</p><div style="width:80px"><table><td>a</table></div>
<div class="math" style="width:60px;overflow:auto;background:linear-gradient(red, white)">
<span style="display:block;width:90px">x</span></div>"""


@pytest.fixture
def told(browser, miniature, tmp_path):
    """Gives the complaints about an article."""
    target = tmp_path / ICON_FONT
    target.parent.mkdir(parents=True)
    shutil.copy(miniature / ICON_FONT, target)
    page = browser.new_page()

    def tell(article: str) -> list[str]:
        (tmp_path / "page.html").write_text(
            f'<!doctype html><meta charset="utf-8"><article>{article}</article>', encoding="utf-8"
        )
        with serve(tmp_path) as address:
            page.goto(address + "page.html")
            return complaints(page, address)

    yield tell
    page.close()


def test_a_good_page_passes(told):
    assert told(GOOD) == []


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_page_is_noticed(told, rule):
    found = told(BROKEN[rule])
    assert found and all(complaint.startswith(rule) for complaint in found)


@pytest.mark.parametrize(
    "broken",
    [
        "<svg><text>training loss</text></svg>",
        "<svg aria-label='a ｜ 甲'></svg>",
        '<div class="segedu-pictures"><figcaption>colour table</figcaption></div>',
    ],
)
def test_english_in_the_chinese_edition_is_noticed(told, broken):
    edition = "<script>document.body.dataset.edition = 'zh'</script>"
    assert told(edition + "<svg><text>FCN-8s</text><text>轮次</text></svg>") == []
    [complaint] = told(edition + broken)
    assert complaint.startswith("the other language")


@pytest.mark.parametrize(
    ("edition", "hidden"),
    [
        ("en", '<span class="lang-zh">色表</span>'),
        ("zh", '<span class="lang-en">the colour table</span>'),
    ],
)
def test_what_the_style_sheet_hides_is_not_the_other_language(told, edition, hidden):
    page = f"<script>document.body.dataset.edition = '{edition}'</script><div class='cell_output "
    page += f"segedu-pictures'><figcaption>{hidden}</figcaption></div>"
    assert told(page) == []
    complaints = told(page.replace("lang-", "shown-"))
    assert complaints and all(each.startswith("the other language") for each in complaints)


def test_every_check_is_tried():
    assert CHECKS.keys() < BROKEN.keys()


def test_a_picture_grows_on_click_and_shrinks_again(browser, miniature):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    with serve(miniature) as address:
        page.goto(address + "en/chapters/01-part/02-second.html")
        picture = page.locator(".segedu-pictures img").first
        widths = [picture.bounding_box()["width"]]
        for _ in range(2):
            picture.click()
            widths.append(picture.bounding_box()["width"])
    page.close()
    assert widths[0] == widths[2] >= 200 and widths[1] > 2 * widths[0]


def test_on_a_phone_two_pictures_can_be_compared_and_one_enlarged(browser, miniature):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    with serve(miniature) as address:
        page.goto(address + "en/chapters/01-part/02-second.html")
        first, second = (page.locator(".segedu-pictures img").nth(i) for i in range(2))
        before = [picture.bounding_box() for picture in (first, second)]
        first.click()
        after = [picture.bounding_box() for picture in (first, second)]
    page.close()
    assert before[0]["y"] == before[1]["y"] and before[0]["width"] == before[1]["width"] > 150
    assert after[0]["width"] > 300 and after[1]["y"] > after[0]["y"] + after[0]["height"]
