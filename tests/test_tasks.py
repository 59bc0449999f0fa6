"""The tasks: what they make of samples, networks and results, and that `fit` serves them all."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from segedu.data.scenes import CLASSES as scene_classes
from segedu.data.scenes import SceneConfig, SceneDataset
from segedu.data.transforms import instances
from segedu.engine import evaluate, fit, load_checkpoint, make_loader
from segedu.files import read_json
from segedu.losses import CrossEntropyLoss
from segedu.metrics import AveragePrecision, PanopticQuality, SemanticMetrics
from segedu.models import get_model, list_models
from segedu.tasks import Instance, Panoptic, Promptable, Semantic, as_instances, as_panoptic
from tests import sharing
from tests.engine.test_resume import finish, result, start
from tests.engine.toy_training import Stripes, toy_model
from tests.toy_objects import Clicked, Detector, Squares, train

CLASSES = ("tree", "car", "person", "sign", "animal")
SCENE = SceneConfig(size=64)
NARROW = {"base_width": 8}
QUERIES = {"width": 32, "num_queries": 8, "num_layers": 1}
NETWORKS = {
    "mask_rcnn_tiny": {"base_width": 4, "channels": 8, "box_width": 8, "mask_width": 8},
    "yolact_tiny": NARROW,
    "panoptic_fpn_tiny": {"base_width": 4, "channels": 8, "width": 8},
    "panoptic_deeplab_tiny": NARROW,
    "embedding_tiny": NARROW,
    "maskformer_tiny": NARROW | QUERIES,
    "mask2former_tiny": NARROW | QUERIES | {"num_points": 64},
}
DETECTORS = ("mask_rcnn_tiny", "yolact_tiny")
THINGS = {c: c > 0 for c in range(len(CLASSES) + 1)}  #: of instances
ALL_CLASSES = {c.id: c.isthing for c in scene_classes}


def scenes(task: str, count: int = 2) -> SceneDataset:
    return SceneDataset(count, SCENE, seed=3, task=task, transforms=instances())


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    things = {} if name in DETECTORS else {"things": range(1, 1 + len(CLASSES))}
    return get_model(name, 1 + len(CLASSES), **NETWORKS[name], **things)


def test_samples_turn_into_the_other_kind_and_back():
    for sample in scenes("instance", 4):
        there = as_panoptic(sample)
        assert there["panoptic_seg"].min() > 0  # what is no object is background, not void
        back = as_instances(there)
        visible = [s["category_id"] for s in there["segments_info"] if s["isthing"]]
        assert back["labels"].tolist() == visible
        assert sum(s["area"] for s in there["segments_info"]) == there["panoptic_seg"].numel()
        # of overlapping objects the later is seen: each mask lies in the one it was made of
        assert all(
            any(bool((own | mask).equal(own)) for own in sample["masks"].as_subclass(Tensor))
            for mask in back["masks"]
        )
        assert as_panoptic(there) is there and as_instances(sample) is sample
    with pytest.raises(ValueError, match="masks and labels, or panoptic_seg.*got image"):
        as_panoptic({"image": 1})
    with pytest.raises(ValueError, match="boxes and labels, or panoptic_seg.*got image"):
        as_instances({"image": 1})


def test_instances_without_boxes_get_those_of_their_masks():
    sample = scenes("instance")[0]
    bare = {key: sample[key] for key in ("image", "masks", "labels")}
    torch.testing.assert_close(as_instances(bare)["boxes"], Tensor(sample["boxes"]))
    assert "boxes" not in bare
    with pytest.raises(ValueError, match="must have boxes and labels.*got image, labels"):
        as_instances({key: sample[key] for key in ("image", "labels")})
    boxes_alone = {key: sample[key] for key in ("image", "boxes", "labels")}
    with pytest.raises(ValueError, match="must have masks.*got image, boxes, labels"):
        Promptable().update(Promptable().metric(), [], [boxes_alone])


def test_reading_a_network_as_a_task_asks_for_leaves_it_as_it_was():
    model = build("maskformer_tiny").eval()
    assert model.task == "panoptic"
    (result,) = Instance().predict(model, [scenes("instance")[0]])
    assert "boxes" in result and model.task == "panoptic"


class Oracle(nn.Module):
    """Knows the samples and answers with them, as a panoptic network or as a detector does."""

    def __init__(self, samples, panoptic: bool) -> None:
        super().__init__()
        self.samples, self.place = list(samples), 0
        self.weight = nn.Parameter(torch.zeros(()))
        if panoptic:
            self.things = (1,)

    def forward(self, images: list[Tensor]) -> list[dict]:
        found = self.samples[self.place : self.place + len(images)]
        self.place += len(images)
        if not hasattr(self, "things"):
            return [s | {"scores": torch.ones(len(s["labels"]))} for s in map(as_instances, found)]
        found = [as_panoptic(sample) for sample in found]
        return [
            s | {"segments_info": [i | {"score": 0.9} for i in s["segments_info"]]} for s in found
        ]


@pytest.mark.parametrize("data", ["instance", "panoptic"])
@pytest.mark.parametrize("panoptic", [True, False])
def test_the_truth_scores_one(data, panoptic):
    samples = [as_instances(as_panoptic(s)) for s in scenes("instance", 3)]  # without overlap
    if data == "panoptic":
        samples = scenes("panoptic", 3)
    loader = make_loader(samples, 2, collate_fn=list)
    scores = evaluate(Oracle(samples, panoptic), loader, task=Instance())
    assert scores["AP"] == 1 and "loss" not in scores
    assert evaluate(Oracle(samples, panoptic), loader, task=Instance("bbox"))["AP50"] == 1
    things = THINGS if data == "instance" else ALL_CLASSES
    if panoptic:
        assert evaluate(Oracle(samples, True), loader, task=Panoptic(things))["pq"] == 1
    else:
        with pytest.raises(ValueError, match="Oracle finds objects only.*Instance"):
            evaluate(Oracle(samples, False), loader, task=Panoptic(things))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_for_objects_learns_instances_and_is_judged(name):
    """By average precision, and by panoptic quality if it makes maps, on the same samples."""
    loader = make_loader(scenes("instance"), 2, collate_fn=Instance().collate)
    model = build(name)
    history = fit(
        model, loader, epochs=2, task=Instance(), val_loader=loader, metric=AveragePrecision()
    )
    assert history["loss"][1] < history["loss"][0]
    assert all(0 <= ap <= 1 for ap in history["val_AP"]) and "val_loss" not in history.records[0]
    if name not in DETECTORS:
        scores = evaluate(model, loader, task=Panoptic(THINGS))
        assert 0 <= scores["pq"] <= 1


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - set(DETECTORS)))
def test_every_panoptic_network_learns_panoptic_samples(name):
    data = scenes("panoptic")
    torch.manual_seed(0)
    things = [c for c, isthing in ALL_CLASSES.items() if isthing]
    model = get_model(name, data.num_classes, **NETWORKS[name], things=things)
    task = Panoptic(ALL_CLASSES)
    loader = make_loader(data, 2, collate_fn=task.collate)
    history = fit(model, loader, epochs=6, task=task, val_loader=loader)
    assert history["loss"][-1] < history["loss"][0]
    assert all(0 <= pq <= 1 for pq in history["val_pq"])


def test_a_toy_detector_learns_its_squares():
    records, model = train(epochs=8)
    assert records[-1]["val_AP"] > 0.9 > records[0]["val_AP"]
    assert not model.training


def test_best_epoch_resume_average_and_patience_serve_instances(tmp_path):
    whole, reference = train(tmp_path / "whole", epochs=4, ema_decay=0.8, amp=True)
    scores = [record["val_AP"] for record in whole]

    def interrupt(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    settings = {"epochs": 4, "ema_decay": 0.8, "amp": True}
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", on_epoch=interrupt, **settings)
    records, model = train(tmp_path / "cut", resume=True, **settings)
    assert [r["loss"] for r in records] == [r["loss"] for r in whole]
    for a, b in zip(model.parameters(), reference.parameters(), strict=True):
        assert torch.equal(a, b)
    best = load_checkpoint(tmp_path / "whole" / "best.pt")
    assert len(best["history"]) == 1 + scores.index(max(scores))
    records, _ = train(epochs=9, patience=1)
    assert len(records) < 9


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes leave behind; a third has to import torch for them, and forks."""
    folder = tmp_path_factory.mktemp("two")
    finish(start(folder, ("-m",), "tests.toy_objects"))
    return folder


@pytest.mark.slow
def test_two_processes_equal_one_for_instances_and_agree_on_all_they_keep(two, tmp_path):
    records, model = train(tmp_path / "one")
    got = result(two)
    weights = torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()
    assert got["weights"] == pytest.approx(weights, rel=1e-4, abs=1e-6)
    for a, b in zip(records, got["records"], strict=True):
        for key in ("loss", "val_AP", "val_AP50", "val_AR100"):
            assert b[key] == pytest.approx(a[key], rel=1e-6), key
    for what in ("kept", "networks"):
        first, second = ((two / f"{what}-{i}.json").read_text() for i in (0, 1))
        assert first == second and "NaN" not in first


@pytest.mark.slow
def test_two_processes_equal_one_for_every_network_of_objects(two):
    expected, got = sharing.main(), read_json(two / "networks-0.json")
    assert got.keys() == expected.keys()
    # faster_rcnn is Mask R-CNN without masks; of the others some are wider, or on another backbone
    builders = {info.builder.split(".")[0] for info in map(list_models().get, sharing.NETWORKS)}
    objects = [info for info in list_models().values() if info.task in ("instance", "panoptic")]
    assert {info.builder.split(".")[0] for info in objects} == builders
    for name, numbers in expected.items():
        assert got[name] == pytest.approx(numbers, rel=1e-10, abs=1e-12), name


def test_semantic_judges_by_itself_and_names_what_is_missing():
    loader = make_loader(Stripes(6), 3)
    task = Semantic(CrossEntropyLoss(), 2)
    history = fit(toy_model(), loader, epochs=2, task=task, val_loader=loader)
    assert {"val_loss", "val_mean_iou"} <= history.records[0].keys()
    scores = evaluate(toy_model(), loader, task=Semantic(num_classes=2))
    assert scores["mean_iou"] == evaluate(toy_model(), loader, SemanticMetrics(2))["mean_iou"]
    assert "loss" not in scores
    with pytest.raises(ValueError, match="Semantic needs a loss"):
        fit(toy_model(), loader, epochs=1, task=Semantic(num_classes=2))
    with pytest.raises(ValueError, match="either a loss.*or a task"):
        fit(toy_model(), loader, CrossEntropyLoss(), epochs=1, task=task)


@pytest.mark.parametrize("task", [Instance(), Panoptic(THINGS), Promptable()])
def test_a_loader_that_stacks_samples_is_named(task):
    loader = make_loader(Squares(2), 2)
    with pytest.raises(TypeError, match="list of samples, got dict.*collate_fn=task.collate"):
        fit(Detector(), loader, epochs=1, task=task)


def test_clicks_go_to_the_middle_of_the_object_and_then_of_the_error():
    masks = torch.zeros(2, 16, 24, dtype=torch.bool)
    masks[0, 2:7, 3:8] = True  # 5 x 5: one click finds it
    masks[1, 8:13, 2:12] = True  # 5 x 10: the second click finds the other half
    sample = {"image": torch.zeros(3, 16, 24), "masks": masks, "labels": torch.ones(2).long()}
    sample["boxes"] = torch.tensor([[3.0, 2, 8, 7], [2, 8, 12, 13]])
    model, task = Clicked(), Promptable(clicks=3)
    scores = evaluate(model, make_loader([sample], 1, collate_fn=task.collate), task=task)
    first, second, third = model.asked
    assert first["points"][0, 0].tolist() == [[5, 4]] and first["multimask"]
    assert first["masks"] is None and not second["multimask"]
    x, y = first["points"][0, 1, 0].tolist()
    assert y == 10 and x in range(4, 10)  # as deep as any: 3 pixels from the edge
    assert second["labels"][0].tolist() == [[1, -1], [1, 1]]  # the first object needs no more
    assert second["masks"].shape == (1, 2, 4, 6) and third["points"].shape == (1, 2, 3, 2)
    ious = [scores[f"iou_{number}"] for number in (1, 2, 3)]
    assert ious[0] == pytest.approx((1 + 25 / 50) / 2)
    assert ious[0] < ious[1] <= ious[2] == scores["mean_iou"]


def test_a_promptable_network_learns_from_simulated_clicks():
    torch.manual_seed(0)
    model, task = get_model("sam_tiny", image_size=64, layers=1), Promptable(clicks=2)
    loader = make_loader(scenes("instance"), 1, collate_fn=task.collate)
    history = fit(model, loader, epochs=4, task=task, val_loader=loader)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert {"val_iou_1", "val_iou_2"} <= history.records[0].keys()
    assert evaluate(model, loader, task=task)["mean_iou"] == history["val_mean_iou"][-1]


def test_images_without_objects_are_no_obstacle():
    sample = Squares(1)[0]
    empty = {
        "image": sample["image"],
        "masks": sample["masks"][:0],
        "boxes": sample["boxes"][:0],
        "labels": sample["labels"][:0],
    }
    big = {key: torch.zeros(3, 64, 64) if key == "image" else v for key, v in empty.items()}
    big["masks"] = torch.zeros(0, 64, 64, dtype=torch.bool)
    for task, model in (
        (Instance(), build("mask_rcnn_tiny")),
        (Instance(), build("embedding_tiny")),
        (Panoptic(THINGS), build("panoptic_deeplab_tiny")),
        (Promptable(2), get_model("sam_tiny", image_size=64, layers=1)),
    ):
        loader = make_loader([big, big], 2, collate_fn=task.collate)
        history = fit(model, loader, epochs=1, task=task, val_loader=loader, monitor="loss")
        assert history["loss"][0] >= 0


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="clicks and max_objects must be >= 1, got 0, 32"):
        Promptable(0)
    with pytest.raises(ValueError, match="iou_type must be"):
        Instance("polygon").metric()
    with pytest.raises(ValueError, match="categories must not be empty"):
        PanopticQuality({})


def test_the_seam_points_down():
    """The training loop does not know the tasks of objects."""
    engine = Path(__file__).parent.parent / "segedu" / "engine"
    assert all("import segedu.tasks" not in p.read_text() for p in engine.glob("*.py"))
    assert all("from segedu.tasks" not in p.read_text() for p in engine.glob("*.py"))
