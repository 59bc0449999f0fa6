import io
import json
import re
from base64 import b64decode
from html import unescape

import numpy as np
import pytest
import torch
from PIL import Image

from segedu import viz
from segedu.data import scenes
from segedu.models import get_model
from segedu.models.trained import TrainedWeights
from segedu.viz.clicks import COLOR, ZOOM, Clicking, live_clicks
from segedu.viz.explorers import LIVE

SIZE = (48, 64)
TRAINED = TrainedWeights("0" * 64, 0, None, (), (), {}, "", {}, file="scenes/sam_tiny")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = get_model("sam_tiny", image_size=64, width=32, embed_width=32, layers=1).eval()
    network.trained = TRAINED
    return network


@pytest.fixture(scope="module")
def scene():
    return scenes.generate(3, scenes.SceneConfig(size=SIZE, noise=0.0))


@pytest.fixture
def images(scene):
    return {"first ｜ 甲": (scene.image, scene.instances.masks)}


def test_a_click_asks_for_three_masks_and_further_ones_mend_the_chosen_one(network, scene):
    clicking = Clicking(network, scene.image)
    assert not clicking.mask.any() and clicking.mask.shape == SIZE
    image = torch.from_numpy(scene.image.copy()).permute(2, 0, 1)[None] / 255
    first = clicking.click(30, 20)
    with torch.no_grad():
        wanted = network(image, points=torch.tensor([[[[30.0, 20]]]]), labels=torch.tensor([[[1]]]))
    np.testing.assert_array_equal(first.masks, wanted.logits[0, 0] > 0)
    assert first.chosen == wanted.iou[0, 0].argmax()
    other = (first.chosen + 1) % 3
    clicking.choose(other)
    np.testing.assert_array_equal(clicking.mask, first.masks[other])
    second = clicking.click(5, 7, label=0)
    with torch.no_grad():
        wanted = network(
            image,
            points=torch.tensor([[[[30.0, 20], [5, 7]]]]),
            labels=torch.tensor([[[1, 0]]]),
            masks=wanted.low_res[:, :, other],
            multimask=False,
        )
    np.testing.assert_array_equal(second.masks, wanted.logits[0, 0] > 0)
    clicking.undo()
    np.testing.assert_array_equal(clicking.mask, first.masks[other])
    clicking.clear()
    clicking.undo()  # of nothing
    assert not clicking.turns


def test_the_iou_is_that_with_the_object_clicked_on_first(network, scene):
    clicking, masks = Clicking(network, scene.image), scene.instances.masks
    number = masks.reshape(len(masks), -1).sum(1).argmax()
    y, x = np.argwhere(masks[number])[0]
    clicking.click(int(x), int(y))
    clicking.click(0, 0, label=0)
    both, either = (clicking.mask & masks[number]).sum(), (clicking.mask | masks[number]).sum()
    assert clicking.iou(masks) == pytest.approx(both / either)
    clicking.clear()
    assert np.isnan(clicking.iou(masks))
    nowhere = np.argwhere(~masks.any(0))[0]
    clicking.click(int(nowhere[1]), int(nowhere[0]))
    assert np.isnan(clicking.iou(masks))


def test_the_drawing_shows_mask_and_clicks(network, scene):
    clicking = Clicking(network, scene.image)
    clicking.click(30, 20)
    drawn = clicking.draw()
    assert drawn.shape == (SIZE[0] * ZOOM, SIZE[1] * ZOOM, 3)
    assert tuple(drawn[20 * ZOOM + ZOOM // 2, 30 * ZOOM + ZOOM // 2]) == (
        255,
        255,
        255,
    )  # the middle of a plus
    wanted = viz.overlay_instances(scene.image, clicking.mask[None], [COLOR])
    far = np.ones(SIZE, bool)
    far[15:26, 25:36] = False  # of the click
    np.testing.assert_array_equal(drawn[::ZOOM, ::ZOOM][far], wanted[far])


def test_a_figure_is_one_self_contained_fragment_in_two_languages(network, images):
    shown = live_clicks(network, images)
    html = shown._repr_html_()
    assert html == live_clicks(network, images).html
    assert "<script" not in html and not re.search(r"\sid=", html)
    assert not re.search(r"(?:src|href)=\"(?!data:)", html)
    assert '<div class="segedu-live-stage" hidden>' in html
    assert html.index("segedu-pictures") < html.index("segedu-live-stage")
    assert len(html) < 150_000
    found = re.findall(r'data-network="([^"]+)" data-sha256="(\w+)"', html)
    assert found == [("scenes/sam_tiny", "0" * 64)]
    about = json.loads(unescape(re.search(r'data-about="([^"]+)"', html)[1]))
    assert about["color"] == list(COLOR) and about["zoom"] == ZOOM
    texts = re.sub(r'<span class="lang-(en|zh)".*?</span>', "", html)
    left = {text.strip() for text in re.findall(r">([^<>]+)<", texts)} - {"", "–", "+", "−"}
    assert left == set()
    for label in re.findall(r'aria-label="([^"]+)"', html):
        assert "｜" in label


def test_the_pixels_and_objects_are_exact(network, scene, images):
    html = live_clicks(network, images).html
    found = dict(re.findall(r'data-part="([^"]+)" src="data:image/\w+;base64,([^"]+)"', html))
    image, objects = (
        np.asarray(Image.open(io.BytesIO(b64decode(found[part])))) for part in ("image", "objects")
    )
    np.testing.assert_array_equal(image, scene.image)
    for number, mask in enumerate(scene.instances.masks, start=1):
        np.testing.assert_array_equal(objects == number, mask)


def test_the_still_picture_is_the_answer_to_a_click_into_the_largest_object(network, scene, images):
    from segedu.ops import center_clicks

    masks = torch.from_numpy(scene.instances.masks)
    (place,) = center_clicks(masks[masks.flatten(1).sum(1).argmax()][None]).int().tolist()
    clicking = Clicking(network, scene.image)
    clicking.click(*place)
    names = ["one click ｜ 一次点击", *(f"mask {n} ｜ 掩膜 {n}" for n in (1, 2, 3))]
    stack = clicking.turns[0].masks
    masks = [viz.overlay_instances(scene.image, mask[None], [COLOR]) for mask in stack]
    html = live_clicks(network, images).html
    assert viz.pictures([clicking.draw(), *masks], names, columns=2).html in html
    assert html.count("<canvas") == 4  # one for each


def test_the_iou_is_with_the_object_under_the_first_plus(network, scene):
    clicking, masks = Clicking(network, scene.image), scene.instances.masks
    y, x = map(int, np.argwhere(masks[-1])[0])
    clicking.click(x, y, label=0)
    assert np.isnan(clicking.iou(masks))
    clicking.click(x, y)
    assert 0 <= clicking.iou(masks) <= 1


def test_with_a_kernel_it_is_a_widget(monkeypatch, network, scene, images):
    ipywidgets = pytest.importorskip("ipywidgets")
    monkeypatch.setenv(LIVE, "1")
    widget = live_clicks(network, images)
    assert isinstance(widget, ipywidgets.VBox)
    picture, across, down, buttons, which, text = widget.children
    before = picture.value
    across.value, down.value = 30, 20
    assert picture.value != before  # the cross has moved
    on, beside, undo, clear = buttons.children
    on.click()
    assert text.value.startswith("clicks ｜ 点击次数: 1; ") and "IoU with the obj" in text.value
    assert len(which.options) == 3
    other = (which.value + 1) % 3
    before = picture.value
    which.value = other
    assert picture.value != before
    beside.click()
    assert ": 2; " in text.value and len(which.options) == 1
    undo.click()
    assert which.value == other  # as it was chosen
    clear.click()
    assert ": 0; " in text.value


def test_clicks_on_a_figure_of_matplotlib_ask(network, scene):
    import matplotlib.pyplot as plt
    from matplotlib.backend_bases import MouseEvent

    figure, axes = plt.subplots()
    clicking = Clicking(network, scene.image)
    clicking.on(axes)
    for (x, y), button in (((30.5, 20.5), 1), ((5.2, 7.9), 3)):
        place = axes.transData.transform((x, y))
        event = MouseEvent("button_press_event", figure.canvas, *place, button)
        figure.canvas.callbacks.process("button_press_event", event)
    assert [turn[:3] for turn in clicking.turns] == [(30, 20, 1), (5, 7, 0)]
    plt.close(figure)


def test_what_does_not_fit_is_refused_in_one_line(network, scene, images):
    def refused(kind, said, *call):
        with pytest.raises(kind, match=said) as error:
            live_clicks(*call)
        assert "\n" not in str(error.value)

    refused(
        TypeError, "must be promptable, such as sam_tiny, got Identity", torch.nn.Identity(), {}
    )
    refused(ValueError, "no weights of the package", get_model("sam_tiny"), images)
    refused(ValueError, "images is empty", network, {})
    large = np.zeros((96, 128, 3), np.uint8)
    refused(
        ValueError,
        "longer side of a must be the network's 64",
        network,
        {"a": (large, large[None])},
    )
    image, masks = scene.image, scene.instances.masks
    refused(ValueError, r"masks of a must be \(N, 48, 64\)", network, {"a": (image, masks[0])})
    refused(ValueError, "nothing to click on", network, {"a": (image, masks & False)})
    clicking = Clicking(network, image)
    with pytest.raises(ValueError, match="must be a pixel of 64 x 48, got 64, 0"):
        clicking.click(64, 0)
    with pytest.raises(ValueError, match="label must be 1"):
        clicking.click(0, 0, label=2)
    with pytest.raises(ValueError, match="one of the 0 masks, got 0"):
        clicking.choose(0)
