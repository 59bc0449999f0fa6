import io
import json
import re
from base64 import b64decode
from html import unescape
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segedu import viz
from segedu.data import scenes
from segedu.models import get_model
from segedu.viz import live_frame
from segedu.viz.explorers import LIVE
from segedu.viz.live_figures import BRUSH, OUTSIDE, SLIDERS, Hounsfield, changed

COLORS = {f"{c.name} ｜ {c.name_zh}": c.color for c in scenes.CLASSES}
CONFIG = scenes.SceneConfig(size=(64, 96), noise=0.0)
WINDOW = Hounsfield(-1350, 650, level=-600, width=1500)


@pytest.fixture(scope="module")
def network():
    return get_model("unet", weights="scenes")


@pytest.fixture(scope="module", autouse=True)
def pictures_are_encoded_once():
    """Of the same few pictures each figure would spend a second on making them small."""
    encode, known = live_frame.data_uri, {}

    def remember(pixels: np.ndarray) -> str:
        key = pixels.shape, pixels.tobytes()
        if key not in known:
            known[key] = encode(pixels)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_frame, "data_uri", remember)
        yield


@pytest.fixture(scope="module")
def pictures():
    first, second = (scenes.generate(seed, CONFIG) for seed in (3, 115))
    car = next(s["id"] for s in first.segments_info if s["category_id"] == 8)
    empty = scenes.generate(3, CONFIG, without=car)
    layer = viz.Layer(first.panoptic == car, empty.image, empty.semantic)
    return {
        "first ｜ 甲": (first.image, first.semantic, layer),
        "second ｜ 乙": (second.image, second.semantic),
    }


def parts(html):
    """Names of the hidden images and what they hold."""
    found = re.findall(r'data-part="([^"]+)" src="data:image/\w+;base64,([^"]+)"', html)
    return [(name, np.asarray(Image.open(io.BytesIO(b64decode(data))))) for name, data in found]


def test_a_figure_is_one_self_contained_fragment(network, pictures):
    shown = viz.live({"U-Net": network}, pictures, COLORS, sliders=("brightness", "noise"))
    html = shown._repr_html_()
    assert "<script" not in html and not re.search(r"\sid=", html)
    assert not re.search(r"(?:src|href)=\"(?!data:)", html)
    assert (
        html == viz.live({"U-Net": network}, pictures, COLORS, sliders=("brightness", "noise")).html
    )
    assert repr(shown) == "LiveFigure('U-Net')"
    # until a script shows them, the button and all that moves are hidden, the picture is not
    assert '<div class="segedu-live-stage" hidden>' in html
    assert re.search(r'data-control="start" hidden>', html)
    assert html.index("segedu-pictures") < html.index("segedu-live-stage")
    assert len(html) < 150_000


def test_the_pixels_and_labels_are_exact(network, pictures):
    found = parts(viz.live({"U-Net": network}, pictures, COLORS).html)
    names = ["image", "truth", "mask", "image-without", "truth-without", "image", "truth"]
    assert [name for name, _ in found] == names
    (image, truth, layer), (second, second_truth) = pictures.values()
    wanted = [image, truth, layer.mask * 255, layer.image, layer.truth, second, second_truth]
    for (name, got), want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=name)


def test_the_still_picture_is_the_networks_answer(network, pictures):
    (image, truth, _), *_ = pictures.values()
    normal = (
        torch.from_numpy(image).permute(2, 0, 1) / 255
        - torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    ) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        labels = network(normal[None])[0].argmax(0)
    answer = viz.overlay(image, labels, [*COLORS.values()])
    panels = viz.pictures([image, answer], ["first ｜ 甲", "U-Net"], columns=2, legend=COLORS)
    assert panels.html in viz.live({"U-Net": network}, pictures, COLORS).html
    assert (labels.numpy() == truth).mean() > 0.8  # it draws well


def test_it_says_which_file_it_needs(network, pictures):
    html = viz.live({"U-Net": network}, pictures, COLORS, target=8).html
    [(name, sha256)] = re.findall(r'data-network="([^"]+)" data-sha256="(\w+)"', html)
    assert (name, sha256) == ("scenes/unet", network.trained.sha256)
    about = json.loads(unescape(re.search(r'data-about="([^"]+)"', html)[1]))
    assert about["target"] == 8 and about["colors"][8] == list(scenes.CLASSES[8].color)
    mean, std = json.loads(unescape(re.search(r'data-norm="([^"]+)"', html)[1]))
    assert tuple(mean) == network.trained.mean and tuple(std) == network.trained.std


def test_everything_is_named_in_both_languages(network, pictures):
    html = viz.live(
        {"U-Net": network}, pictures, COLORS, tools=("blur", "noise"), sliders=tuple(SLIDERS)
    ).html
    texts = re.sub(r'<span class="lang-(en|zh)".*?</span>', "", html)
    # what is left are values and the names of networks
    assert "pixels that changed class" in html and "dashed line" in html  # a unit, and its mark
    left = {text.strip() for text in re.findall(r">([^<>]+)<", texts)} - {"", "U-Net", "–"}
    assert left <= {f"{about.start}" for about in (BRUSH, *SLIDERS.values())}
    assert html.count('type="radio"') == 2 + 5  # grey, blur, noise, take away, move
    for label in re.findall(r'aria-label="([^"]+)"', html):
        assert "｜" in label or label == "U-Net"


def test_what_can_be_moved_is_named(network, pictures):
    html = viz.live({"U-Net": network}, pictures, COLORS).html
    assert re.search("move the car</span> <span [^>]*>移动汽车</span>", html)
    (image, truth, layer), (other, its_truth) = pictures.values()
    tree = its_truth == 7
    both = {"a": (image, truth, layer), "b": (other, its_truth, viz.Layer(tree, other, its_truth))}
    html = viz.live({"U-Net": network}, both, COLORS).html
    assert "move the car/tree" in html and "移动汽车/树" in html
    alone = viz.live({"U-Net": network}, {"b": (other, its_truth)}, COLORS).html
    assert 'data-tool="move"' not in alone


def test_it_says_whether_painted_pixels_count(network, pictures):
    hidden = viz.live({"U-Net": network}, pictures, COLORS, target=8).html
    counted = viz.live({"U-Net": network}, pictures, COLORS, target=8, count_paint=True).html
    for html, counts, help_text in (
        (hidden, False, "Painted pixels do not count"),
        (counted, True, "Painted pixels count, too"),
    ):
        about = json.loads(unescape(re.search(r'data-about="([^"]+)"', html)[1]))
        assert about["countPaint"] is counts
        assert html.count("Painted pixels") == 1 and help_text in html


def test_the_legend_names_what_can_be_seen(network, pictures):
    def legend(**options: Any) -> str:
        shown = options.pop("pictures", pictures)
        html = viz.live({"U-Net": network}, shown, COLORS, **options).html
        still, running = html.split("segedu-live-stage")
        for text in re.findall("<span class=.lang-en. lang=.en.>[^<]+", still)[-3:]:
            assert text in running  # what colours mean is said before and while it runs
        return running

    assert "hit: car, found" in legend(target=8) and "命中：找到的汽车" in legend(target=8)
    assert "miss: car, not found" in legend(target=8)

    assert "ignored" not in legend(target=8)  # else grey paint would be taken for it
    image, truth = pictures["second ｜ 乙"]
    border = truth.copy()
    border[0] = 255
    assert "ignored" in legend(target=8, pictures={"a": (image, border)})
    assert "outside the picture" not in legend()
    assert "outside the picture" in legend(sliders=("scale",))


def test_in_the_dark_a_brush_shows_its_colours_as_they_are(network, pictures):
    html = viz.live({"U-Net": network}, pictures, COLORS).html
    marks = re.findall("<img[^>]*data-pattern[^>]*>", html)
    assert marks and all('class="dark-light"' in mark for mark in marks)


def test_a_number_below_zero_has_a_minus(network, pictures):
    html = viz.live({"U-Net": network}, pictures, COLORS, window=WINDOW).html
    assert "<output>−600</output>" in html and 'value="-600"' in html


def test_of_each_canvas_there_is_a_still_picture(network, pictures):
    for networks in ({"U-Net": network}, {"a ｜ 甲": network, "b ｜ 乙": network}):
        html = viz.live(networks, pictures, COLORS).html
        still, running = html.split("segedu-live-stage")
        assert still.count("<img") == running.count("<canvas") == 1 + len(networks)


def test_no_two_controls_have_one_name(network, pictures):
    html = viz.live(
        {"U-Net": network},
        pictures,
        COLORS,
        tools=("blur", "noise"),
        sliders=tuple(SLIDERS),
        window=WINDOW,
    ).html
    for language in ("en", "zh"):
        chips = re.findall(rf'<label[^>]*>.*?class="lang-{language}"[^>]*>([^<]+)<', html)
        assert len(chips) == len(set(chips)) > 10


def test_a_ct_is_seen_through_its_window(network, pictures):
    hu = np.linspace(-1500, 1000, 64 * 96).reshape(64, 96)
    grey = WINDOW.grey(hu)
    assert (grey[0, 0], grey[-1, -1]) == (0, 255)
    wanted = 255 * ((hu + 600) / 1500 + 0.5).clip(0, 1)
    seen, _ = changed(np.dstack([grey] * 3), np.zeros((64, 96), np.uint8), window=WINDOW)
    inside = (hu > -1350) & (hu < 650)
    assert np.abs(seen[..., 0] - wanted)[inside].max() <= 6  # a grey value is 8 HU
    narrow = WINDOW._replace(level=40, width=400)
    seen, _ = changed(np.dstack([grey] * 3), np.zeros((64, 96), np.uint8), window=narrow)
    assert (seen[hu < -180] == 0).all() and (seen[(hu > 260)] == 255).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"networks": {}}, "networks must be one or two, got 0"),
        ({"networks": {"a": torch.nn.Identity()}}, "a has no weights of the package"),
        ({"images": {}}, "images is empty"),
        (
            {"images": {"a": (np.zeros((64, 64, 3), np.uint8), np.zeros((64, 65)))}},
            "truth of a must",
        ),
        (
            {"images": {"a": (np.zeros((64, 72, 3), np.uint8), np.zeros((64, 72)))}},
            "multiples of 16",
        ),
        ({"images": {"a": (np.zeros((64, 512, 3), np.uint8), np.zeros((64, 512)))}}, "up to 256"),
        ({"colors": {"a": (0, 0, 0)}}, "each of the 12 classes of U-Net, got 1"),
        ({"sliders": ("tint",)}, "sliders must be some of .*; got 'tint'"),
        ({"tools": ("hammer",)}, "tools must be some of blur, noise; got 'hammer'"),
        ({"target": 12}, r"target must be a class, 0\.\.11; got 12"),
        ({"window": Hounsfield(0, 0, 40, 400)}, r"window must have low < high and a width above 0"),
        ({"window": Hounsfield(-1350, 650, 40, 0)}, r"window must have low < high and a width"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(network, pictures, change, said):
    call = {"networks": {"U-Net": network}, "images": pictures, "colors": COLORS} | change
    with pytest.raises(ValueError, match=said) as error:
        viz.live(**call)
    assert "\n" not in str(error.value)


def test_with_a_kernel_it_is_a_widget(monkeypatch, network, pictures):
    ipywidgets = pytest.importorskip("ipywidgets")
    monkeypatch.setenv(LIVE, "1")
    widget = viz.live({"U-Net": network}, pictures, COLORS, sliders=("brightness", "threshold"))
    assert isinstance(widget, ipywidgets.interactive)
    names = [child.description for child in widget.children[:-1]]
    assert sorted(names) == sorted([SLIDERS["brightness"].name, SLIDERS["threshold"].name])
    widget = viz.live({"U-Net": network}, pictures, COLORS, window=WINDOW)
    assert [child.value for child in widget.children[:-1]] == [-600, 1500]


def test_sliders_at_their_start_change_nothing(pictures):
    image, truth, _ = pictures["first ｜ 甲"]
    start = {name: about.start for name, about in SLIDERS.items() if name != "threshold"}
    for got, want in zip(changed(image, truth, **start), (image, truth), strict=True):
        np.testing.assert_array_equal(got, want)


def test_sliders_do_what_they_are_called(pictures):
    image, truth, _ = pictures["first ｜ 甲"]
    darker, _ = changed(image, truth, brightness=0.5)
    assert np.abs(darker - image / 2.0).max() <= 0.5
    back, _ = changed(changed(image, truth, hue=40)[0], truth, hue=-40)
    assert np.median(np.abs(back.astype(int) - image)) <= 1
    smooth, _ = changed(image, truth, blur=2)
    assert np.diff(smooth.astype(int), axis=0).std() < np.diff(image.astype(int), axis=0).std() / 2
    grainy, _ = changed(image // 2 + 64, truth, noise=10)
    assert (grainy - (image // 2 + 64.0)).std() == pytest.approx(10, rel=0.05)
    large, labels = changed(image, truth, scale=2)
    np.testing.assert_array_equal(large[::2, ::2], image[16:48, 24:72])
    np.testing.assert_array_equal(labels[1::2, 1::2], truth[16:48, 24:72])
    small, labels = changed(image, truth, scale=0.5, brightness=0.5, noise=5, blur=1)
    np.testing.assert_array_equal(labels[16:48, 24:72], truth[1::2, 1::2])
    outside = np.ones(truth.shape, bool)
    outside[16:48, 24:72] = False
    assert (labels[outside] == 255).all() and not (labels[~outside] == 255).any()
    assert (small[outside] == OUTSIDE).all()  # whatever the other sliders do
