"""Ours against fixtures of reference implementations that are not on a package index."""

import pytest
import torch
from torch import nn

from segedu.models import get_model
from segedu.models.attention import DANetHead, NonLocal2d
from segedu.models.panoptic_deeplab import (
    Maps,
    PanopticDeepLab,
    Weighting,
    group_objects,
    make_targets,
    merge,
    panoptic_losses,
)
from segedu.models.yolact import YOLACT
from segedu.models.yolact.loss import Objects, yolact_losses
from segedu.models.yolact.network import NAMES
from segedu.models.yolact.parts import Output
from tests.parity.closed_form import (
    CIRCLES,
    blank,
    by_prefix,
    check,
    compare,
    discs,
    fill,
    images,
    in_float64,
    load,
    noisy,
    panoptic_discs,
    together,
)


@pytest.fixture(scope="module", autouse=True)
def float64():
    with in_float64():
        yield


def test_unet_equals_milesial():
    check("unet", blank(get_model, "unet", 2))


# 4uiiurz1 declares the encoder column first, then the columns of nested nodes: our order too.
def test_unet_plus_plus_equals_4uiiurz1():
    check("unet_plus_plus", blank(get_model, "unet_plus_plus", 2))


def test_unet_plus_plus_heads_equal_4uiiurz1():
    fixture = load("unet_plus_plus_deep")
    model = fill(blank(get_model, "unet_plus_plus", 2, deep_supervision=True))
    with torch.no_grad():
        heads = model.forward_heads(images(tuple(fixture["input_shape"])))
    compare(torch.cat(heads[::-1]), fixture)  # theirs are shallowest first


# Full-size VGG-16, 134 million parameters each: the reference has fixed widths.
# Its 8s declares score_fr, score_pool3, score_pool4, upscore2, upscore8, upscore_pool4.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("stride", "last"),
    [
        (32, ["score.0", "upsample.0"]),
        (16, ["score.0", "score.1", "upsample.0", "upsample.1"]),
        (8, ["score.0", "score.2", "score.1", "upsample.0", "upsample.2", "upsample.1"]),
    ],
)
def test_fcn_equals_wkentaro(stride, last):
    model = blank(get_model, f"fcn{stride}s_vgg16", 5, paper_padding=True)
    order = by_prefix(model, ["stages", "head", *last])
    check(f"fcn{stride}s_vgg16", model, order)


def test_segnet_equals_say4n():
    # its decoder is written with transposed convolutions of stride 1
    model = blank(get_model, "segnet_vgg16", 5)
    convolutions = [
        name
        for name, tensor in model.state_dict().items()
        if name.startswith("decoder") and tensor.ndim == 4
    ]
    check("segnet_vgg16", model, transposed=convolutions)


@pytest.mark.slow  # 99 and 118 million parameters, 3x3 convolutions of 512 channels
@pytest.mark.parametrize("name", ["refinenet_resnet50", "refinenet_resnet101"])
def test_refinenet_equals_drsleep(name):
    model = blank(get_model, name, 5)
    order = ["backbone"]
    for i in range(4):
        order += [f"reduce.{i}", f"blocks.{i}.adapt"]
        order += [f"blocks.{i}.fusion.fine"] if i else []
        order += [f"blocks.{i}.pooling", f"blocks.{i}.output"]
        order += [f"blocks.{i + 1}.fusion.coarse"] if i < 3 else []
    check(name, model, by_prefix(model, [*order, "classifier"]))


@pytest.mark.parametrize("name", ["pspnet_resnet50", "pspnet_resnet101"])
def test_pspnet_equals_semseg(name):
    check(name, blank(get_model, name, 5))


@pytest.mark.parametrize("name", ["deeplab_v3_plus_resnet50", "deeplab_v3_plus_resnet101"])
def test_deeplab_v3_plus_equals_vainf(name):
    check(name, blank(get_model, name, 5, separable=False, decoder_convs=1))


def test_fc_densenet_equals_bfortuner():
    check("fc_densenet103", blank(get_model, "fc_densenet103", 5))


def test_non_local_equals_alexhex7():
    model = blank(NonLocal2d, 32, subsample=True)
    check("non_local", model, by_prefix(model, ["g", "out", "theta", "phi"]))


def test_danet_head_equals_junfu():
    fixture = load("danet_head")
    model = blank(DANetHead, 64, 5)
    order = ["position.0", "channel.0", "position.1", "channel.1", "position.2", "channel.2"]
    # theirs scores position, channel, sum
    order += ["classifiers.1", "classifiers.2", "classifiers.0"]
    # and registers gamma, a parameter of the module itself, before its convolutions: so does ours
    fill(model, by_prefix(model, order))
    with torch.no_grad():
        outputs = model(images(tuple(fixture["input_shape"])))
    compare(torch.cat(outputs), fixture)


def test_hrnet_equals_the_authors():
    check("hrnet_w18", blank(get_model, "hrnet_w18", 5))


def test_enet_equals_davidtvs():
    check("enet", blank(get_model, "enet", 5))


@torch.no_grad()
def all_outputs(name, model, order=None):
    """Logits and auxiliary logits, with every layer in eval mode."""
    fill(model, order)
    model.training = True  # of the network alone, not of its layers
    return torch.cat(model(images(tuple(load(name)["input_shape"]))))


def test_fast_scnn_equals_tramac():
    model = blank(get_model, "fast_scnn", 5, aux_loss=True)
    model.downsample[0][0].padding = (0, 0)  # theirs is not padded, unlike table 1 of the paper
    compare(all_outputs("fast_scnn", model), load("fast_scnn"))


@pytest.mark.parametrize("name", ["bisenet_v1", "bisenet_v2"])
def test_bisenet_equals_coincheung(name):
    compare(all_outputs(name, blank(get_model, name, 5)), load(name))


# mmsegmentation declares position codes before patches, and the scores of a head before its layers.
@pytest.mark.parametrize("decoder", ["naive", "pup", "mla"])
def test_setr_equals_mmsegmentation(decoder):
    model = blank(get_model, f"setr_{decoder}", 5, size="tiny", image_size=64, channels=32)
    heads = {f"aux_classifiers.{i}.": head for i, head in enumerate(model.aux_classifiers)}
    order = ["backbone.class_token", "backbone.encoder.pos", "backbone."]
    order += ["aggregate.norms", "aggregate.project", "aggregate.smooth"]
    for prefix, head in {"classifier.": model.classifier, **heads}.items():
        scores = f"{prefix}{len(head) - 1}." if isinstance(head, nn.Sequential) else prefix
        order += [scores, prefix, "aggregate.enlarge"]
    name = f"setr_{decoder}"
    compare(all_outputs(name, model, by_prefix(model, order)), load(name))


@pytest.fixture(scope="module")
def yolact():
    """Network, its output and the anchors for the image of the fixtures."""
    model = blank(YOLACT, 81)
    # theirs has the stages before the stem, the protonet before the pyramid, its FPN upside down
    fill(model, by_prefix(model, ["backbone.layer", "backbone.", "protonet", *NAMES.values()]))
    for block in model.pyramid.fpn.inner_blocks:
        block[0].weight.data /= 1000  # as in the fixture
    with torch.no_grad():
        output, anchors = model.network(images((1, 3, 138, 138)))
    return model, output, anchors


def test_yolact_equals_dbolya(yolact):
    _, output, anchors = yolact
    anchors = torch.cat([(anchors[:, :2] + anchors[:, 2:]) / 2, anchors[:, 2:] - anchors[:, :2]], 1)
    compare(together([*output, anchors]), load("yolact_output"))


def test_yolact_losses_equal_dbolya(yolact):
    _, output, anchors = yolact
    masks, boxes = discs(138, CIRCLES)
    boxes /= 138
    objects = Objects(boxes[:2], torch.tensor([1, 18]), masks[:2].double())
    losses = yolact_losses(output, anchors, [objects], [boxes[2:]])  # the third is a crowd
    compare(torch.stack([*losses.values()]), load("yolact_losses"))


@torch.no_grad()
def test_yolact_detections_equal_dbolya(yolact):
    model, output, anchors = yolact
    found = model.detect(Output(*(part[0] for part in output)), anchors, (120, 150))
    covered = (found["masks"][:, 0] > 0.5).double().mean((1, 2))
    # theirs counts classes from 0 and cuts coordinates to whole pixels
    parts = [found["labels"] - 1.0, found["scores"], found["boxes"].long().double(), covered]
    compare(together(parts), load("yolact_detections"))


THINGS = (11, 17)


@pytest.fixture(scope="module")
def panoptic_maps():
    model = fill(blank(PanopticDeepLab, 19))  # declared in their order
    for last in (model.semantic_head, model.center_head, model.offset_head):
        last[1].weight.data /= 1000  # as in the fixture
    with torch.no_grad():
        return model.network(images((1, 3, 129, 129)))


@pytest.fixture(scope="module")
def panoptic_target():
    ids, info = panoptic_discs()
    return make_targets({"panoptic_seg": ids, "segments_info": info}, THINGS, small_area=400)


def test_panoptic_deeplab_equals_bowenc(panoptic_maps):
    compare(together([*panoptic_maps]), load("panoptic_deeplab_output"))


def test_panoptic_deeplab_losses_equal_bowenc(panoptic_maps, panoptic_target):
    target, weighting = (
        kind(*(part[None] for part in parts))
        for kind, parts in zip((Maps, Weighting), panoptic_target, strict=True)
    )
    losses = panoptic_losses(panoptic_maps, target, weighting)
    compare(torch.stack([*losses.values()]), load("panoptic_deeplab_losses"))


def test_panoptic_deeplab_targets_equal_bowenc(panoptic_target):
    parts = [part.double() for parts in panoptic_target for part in parts]
    compare(together(parts), load("panoptic_deeplab_targets"))


def test_panoptic_deeplab_merge_equals_bowenc(panoptic_target):
    target, _ = panoptic_target
    (logits,), (heat,), (offset,) = noisy(target.semantic, target.center, target.offset)
    group, objectness = group_objects(logits.argmax(0), heat[0], offset, THINGS)
    result = merge(logits, group, objectness, THINGS, stuff_area=300)
    # ids are free: compare the class and the area of each pixel's segment
    ids, info = result["panoptic_seg"], result["segments_info"]
    category = torch.tensor([0, *(segment["category_id"] + 1 for segment in info)])
    area = torch.tensor([(ids == 0).sum(), *(segment["area"] for segment in info)])
    parts = [category[ids.long()][None].double(), area[ids.long()][None].double()]
    compare(together(parts), load("panoptic_deeplab_merge"))
