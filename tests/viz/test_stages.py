"""Stages that are found by watching: what is known from the papers must come out."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from segedu.models import get_model
from segedu.viz.stages import find_stages
from tests.viz.published import build, drawn

# name -> depth (levels of 2) and skips: pairs of stages that the paper's figure joins
NETWORKS = {
    "unet": (4, {("encoder.0", "decoder.3"), ("encoder.3", "decoder.0")}),
    "unet_plus_plus": (4, {("nodes.0_0", "nodes.0_4"), ("nodes.1_1", "nodes.1_3")}),
    "fcn8s_vgg16": (5, {("score.1", "+"), ("score.2", "+")}),
    "segnet_vgg16": (4, {("encoder.0", "decoder.4"), ("encoder.3", "decoder.1")}),  # indices
    "pspnet_resnet50": (3, {("backbone.layer4", "classifier.1")}),
    "deeplab_v3_plus_resnet50": (4, {("project", "decoder")}),
    "semantic_fpn_resnet50": (5, {("fpn.inner_blocks.2", "+"), ("fpn.inner_blocks.3", "+")}),
    "fc_densenet56": (5, {("pool.0", "cat"), ("cat", "up.3")}),
    "enet": (3, {("down1", "up5"), ("down2", "up4")}),
    "segformer_b0": (5, {(f"project.{i}", "fuse") for i in range(4)}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_and_skips_of_published_networks(name):
    depth, skips = NETWORKS[name]
    stages = drawn(name).stages
    assert stages[0].kind == "input" and stages[0].shape == (3, 192, 192)
    assert stages[-1].kind == "output" and stages[-1].shape == (5, 192, 192)
    assert max(stage.level for stage in stages) == depth
    assert 5 <= sum(stage.kind == "stage" for stage in stages) <= 25  # to be drawn
    edges = {(stages[s].name, stage.name) for stage in stages for s in stage.sources}
    assert skips <= edges
    for number, stage in enumerate(stages):
        assert all(source < number for source in stage.sources)
        assert stage.kind == "input" or stage.sources


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "unet_plus_plus"])
def test_all_parameters_stand_in_one_stage(name):
    model = build(name)
    found = sum(stage.parameters for stage in drawn(name).stages)
    auxiliary = [part for key, part in model.named_children() if "aux" in key]
    unused = sum(p.numel() for part in auxiliary for p in part.parameters())
    assert found == sum(p.numel() for p in model.parameters()) - unused


def test_shapes_of_u_net_are_those_of_its_figure():
    stages = find_stages(build("unet"), (192, 96))
    shapes = {stage.name: stage.shape for stage in stages}
    assert shapes["encoder.0"] == (64, 192, 96)
    assert shapes["encoder.4"] == (1024, 12, 6)
    assert shapes["decoder.0"] == (512, 24, 12)


def test_valid_convolutions_keep_their_rows():
    with torch.device("meta"):
        model = get_model("unet_valid", 2)
    stages = find_stages(model, 572, in_channels=1)
    assert stages[-1].shape == (2, 388, 388) and stages[-1].level == 0
    assert [s.level for s in stages[1:-2]] == [0, 1, 2, 3, 4, 3, 2, 1, 0]


class Residual(nn.Module):
    """A sum, a gate and a pooled branch, put together outside of all modules."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1))
        self.unused = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.first(x)
        self.unused(x)
        y = F.relu(x + self.second(x))
        return y * self.gate(y)


def test_operations_between_modules_are_joins_and_dead_ends_are_left_out():
    model = Residual()
    stages = find_stages(model, 16)
    assert [stage.name for stage in stages] == ["", "first", "second", "+", "gate", "×", ""]
    assert [stage.sources for stage in stages[1:]] == [[0], [1], [1, 2], [3], [3, 4], [5]]
    assert stages[4].shape == (4, 1, 1)
    assert not model.first.weight.is_meta and model.training


def test_small_layers_are_one_stage_and_like_blocks_are_counted():
    def block():
        return nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())

    stem = [nn.Conv2d(3, 8, 2, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(nn.Sequential(*stem, block(), block()))
    stem, blocks = (stage for stage in find_stages(model, 32) if stage.kind == "stage")
    assert (stem.name, stem.level, stem.layers) == ("0.0", 1, 1)
    assert (blocks.name, blocks.level, blocks.layers) == ("0.4", 2, 2)
    assert stem.parameters + blocks.parameters == sum(p.numel() for p in model.parameters())


def test_maps_that_all_go_into_each_other_are_a_stage_each():
    with torch.device("meta"):
        model = get_model("hrnet_w18", 5, modules=(1, 1, 1), blocks=1)
    stages = find_stages(model, 192)
    last = {stage.name: stage for stage in stages if stage.name.startswith("stages.2")}
    assert [stage.level for stage in last.values()] == [2, 3, 4, 5]
    assert [stage.shape[0] for stage in last.values()] == [18, 36, 72, 144]
    before = [number for number, stage in enumerate(stages) if stage.name.startswith("stages.1")]
    assert all(stage.sources == before for stage in last.values())


def test_a_module_may_give_more_than_its_map():
    class WithNumbers(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 2, stride=2)

        def forward(self, x):
            x = self.conv(x)
            return x.mean((2, 3)), x, x.amax((2, 3))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = WithNumbers(), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            mean, x, top = self.body(x)
            return self.head(x) * (mean + top).mean()

    stages = find_stages(Network(), 8)
    assert [(stage.name, stage.shape) for stage in stages[1:3]] == [
        ("body", (4, 4, 4)),
        ("head", (2, 4, 4)),
    ]
    assert stages[3].name == "×" and stages[3].sources == [1, 2]


def test_a_network_without_a_map_is_refused():
    with pytest.raises(ValueError, match="no map of logits"):
        find_stages(nn.Sequential(nn.Flatten(), nn.Linear(3 * 7 * 8, 2)), (7, 8))
