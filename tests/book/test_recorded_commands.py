"""Every result was recorded by commands that still exist: training and judging."""

import json
import shlex

import pytest

from benchmarks import (
    active_learning,
    batch_sizes,
    beyond,
    camvid,
    clicks,
    compress,
    data_hunger,
    dense_head,
    imbalance,
    labels_saved,
    leak,
    loading,
    panoptic,
    real_time,
    region_losses,
    scales,
    semantic,
    serve,
    surfaces,
    weak_labels,
    weights,
)
from segedu.cli import datasets, parser, specs
from segedu.medical.__main__ import command_parser
from segedu.models import cost, get_model, list_models
from tests.book.conftest import ROOT

FILES = ("camvid", "instance", "medical", "scales", "weights")
RECORDS = {
    f"{file}: {name}": record
    for file in FILES
    for name, record in json.loads(
        (ROOT / "book" / "results" / f"{file}.json").read_text(encoding="utf-8")
    ).items()
}
PARSERS = {"segedu": parser, "segedu.medical": command_parser}


def parsed(command):
    """The options of a command; one that is not allowed ends the test."""
    python, dash_m, module, *arguments = shlex.split(command)
    assert (python, dash_m) == ("python", "-m")
    return PARSERS[module]().parse_args(arguments)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_names_the_commands_that_repeat_it(name, monkeypatch):
    monkeypatch.delenv("SEGEDU_DATA", raising=False)  # whose value a command would take
    record = RECORDS[name]
    train, judge = parsed(record["training"]["command"]), parsed(record["command"])
    data = str(train.data)
    painted = getattr(train, "layout", None) == "scenes"
    assert painted or data.startswith(("$SEGEDU_DATA/", "runs/"))  # no folder of one machine
    if name.startswith("medical"):
        assert judge.run_folder == train.out and judge.data == train.data
        return
    assert judge.checkpoint.rpartition("/")[0] == train.out
    assert list_models()[train.model].task in datasets.LEARNT
    specs.parse(train.optimizer, "--optimizer", tuple(specs.OPTIMIZERS))
    specs.parse(train.schedule, "--schedule", specs.SCHEDULES)
    recorded = record["training"].get("losses", [])
    assert len(recorded) in (0, train.epochs)


def test_the_networks_compared_on_scenes_are_those_of_the_package():
    recorded = json.loads((ROOT / "book/results/semantic.json").read_text(encoding="utf-8"))
    size = recorded["budget"]["size"]
    for entry in recorded["networks"].values():
        network = get_model(entry["model"], 12, **entry["settings"])
        price = cost(network, (size, size))
        assert (price.parameters, price.macs) == (entry["parameters"], entry["macs"])
        scores = {float(lr): score for lr, score in entry["mean_iou_by_lr"].items()}
        assert entry["lr"] == max(scores, key=scores.get)
        assert min(scores) < entry["lr"] < max(scores)  # else others might do better


@pytest.mark.parametrize("network", semantic.NETWORKS)
def test_the_runs_on_camvid_are_those_of_the_script(network):
    entry = semantic.NETWORKS[network]
    kept = {
        name.removeprefix(f"camvid: {entry.name}/"): (record["training"]["command"], record)
        for name, record in RECORDS.items()
        if name.startswith(f"camvid: {entry.name}/seed")
    }
    trials = {name.split("/")[1]: found for name, (_, found) in kept.items() if "/lr" in name}
    scores = {float(lr.removeprefix("lr")): found["mean_iou"] for lr, found in trials.items()}
    best = max(scores, key=scores.get)
    assert min(scores) < best < max(scores)  # else others might do better
    for seed in camvid.SEEDS:
        train, record = kept.pop(f"seed{seed}/test")
        assert train == camvid.training(entry, seed, best)
        assert record["command"] == camvid.judgement(entry, seed, best, "test")
        assert 0 < record["mean_boundary_iou"] < record["mean_iou"]
    for lr in scores:
        train, record = kept.pop(f"seed{camvid.SEEDS[0]}/lr{lr:g}/val")
        assert train == camvid.training(entry, camvid.SEEDS[0], lr)
        assert record["command"] == camvid.judgement(entry, camvid.SEEDS[0], lr, "val")
    assert not kept
    options = parsed(train)
    assert (options.model, dict(options.set)) == (entry.name, entry.settings)


def test_the_runs_at_one_scale_and_at_many_are_those_of_the_script():
    names = {f"{name}/{view}": (name, view) for name in scales.TRAININGS for view in scales.VIEWS}
    record = result("scales")
    assert record.keys() == names.keys()
    for entry, (name, view) in names.items():
        assert record[entry]["training"]["command"] == scales.training(name)
        assert record[entry]["command"] == scales.judgement(name, view)


@pytest.mark.parametrize("network", weights.NETWORKS)
def test_the_weights_are_trained_by_the_commands_of_the_script(network):
    options = parsed(weights.training(network))
    num_classes = None if options.task == "promptable" else 12
    get_model(options.model, num_classes, **dict(options.set))  # which takes them
    record = result("weights").get(network)
    if record is not None:  # the others are yet to be trained
        trained = weights.at_once(record["training"]["command"])
        assert (trained, record["command"]) == (
            weights.training(network),
            weights.judgement(network),
        )
        assert [epoch["epoch"] for epoch in record["curve"]] == list(range(1, options.epochs + 1))


def result(name):
    return json.loads((ROOT / f"book/results/{name}.json").read_text(encoding="utf-8"))


def test_the_losses_compared_are_those_of_the_scripts():
    rare, region, surface = map(result, ("imbalance", "region_losses", "surfaces"))
    budget = imbalance.Budget()
    assert rare["budget"] == budget._asdict() | {"seeds": list(budget.seeds)}
    assert rare["lr"] == imbalance.LEARNING_RATE
    assert (list(rare["short"]), tuple(rare["long"])) == (list(imbalance.METHODS), imbalance.LONG)
    assert region["budget"].items() >= region_losses.BUDGET.items()
    assert list(region["runs"]) == list(region_losses.LOSSES)
    runs = [*rare["short"].values(), *rare["long"].values(), *region["runs"].values()]
    assert {len(seeds) for seeds in runs} == {3}
    assert [run["seed"] for run in surface["runs"]] == [0, 1, 2, 3, 4]
    for run in surface["runs"]:
        assert list(run["begun"]) == list(run["continued"]) == list(surfaces.LOSSES)


def test_the_learning_rates_compared_are_those_of_the_script():
    record = result("batch_sizes")
    assert record["budget"]["epochs"] == batch_sizes.EPOCHS
    assert record["budget"]["seeds"] == list(batch_sizes.SEEDS)
    assert list(record["mean_iou"]) == list(batch_sizes.RATES)
    for name, rates in batch_sizes.RATES.items():
        for workers in batch_sizes.WORKERS:
            runs = record["mean_iou"][name][str(workers)]
            assert tuple(map(float, runs)) == rates
            assert {len(scores) for scores in runs.values()} == {len(batch_sizes.SEEDS)}


def test_the_networks_compared_by_their_scenes_are_those_of_the_script():
    record, budget = result("data_hunger"), data_hunger.Budget()
    lists = {key: list(value) for key, value in budget._asdict().items() if type(value) is tuple}
    assert record["budget"] == budget._asdict() | lists
    assert list(record["networks"]) == list(data_hunger.NETWORKS)
    for name, run in record["networks"].items():
        entry = data_hunger.NETWORKS[name]
        assert (run["model"], {**run["settings"]}) == (entry.model, as_stored(entry.settings))
        parameters = sum(p.numel() for p in data_hunger.build(entry).parameters())
        assert run["parameters"] == parameters
        scores = {float(lr): score for lr, score in run["mean_iou_by_lr"].items()}
        assert min(scores) < run["lr"] == max(scores, key=scores.get) < max(scores)
        assert {len(seeds) for seeds in run["mean_iou"].values()} == {len(budget.seeds)}
        assert {f"{n} scenes, {budget.steps} steps" for n in budget.scenes} <= {*run["mean_iou"]}


def as_stored(settings):
    return json.loads(json.dumps(settings))


def test_codes_that_are_not_trained_stay_zero():
    model = data_hunger.build(data_hunger.NETWORKS["setr"], codes=False)
    codes = model.backbone.encoder.pos_embedding
    assert not codes.any() and not codes.requires_grad
    assert data_hunger.build(data_hunger.NETWORKS["setr"]).backbone.encoder.pos_embedding.any()


def test_the_weights_of_the_semantic_loss_are_those_of_the_script():
    record, budget = result("panoptic"), panoptic.Budget()
    lists = {key: list(getattr(budget, key)) for key in ("weights", "seeds")}
    assert record["budget"] == budget._asdict() | lists
    assert record["lr"] == panoptic.LEARNING_RATE
    assert [run["seed"] for run in record["runs"]] == lists["seeds"]
    for run in record["runs"]:
        assert [after["weight"] for after in run["after"]] == lists["weights"]


def test_the_labels_were_saved_by_the_script():
    record, budget = result("labels_saved"), labels_saved.Budget()
    assert record["budget"] == json.loads(json.dumps(budget._asdict()))
    assert record["lr"] == labels_saved.LEARNING_RATE
    assert list(record["mean_iou"]) == list(labels_saved.STARTS)
    for by_how in record["mean_iou"].values():
        for by_count in by_how.values():
            assert [*by_count] == [str(count) for count in budget.labels]
            assert all(len(scores) == len(budget.seeds) for scores in by_count.values())


def test_the_dense_heads_were_trained_by_the_script():
    record = result("dense_head")
    budget = dense_head.Budget()
    lists = {"steps": list(budget.steps), "seeds": list(budget.seeds)}
    assert record["budget"] == budget._asdict() | lists
    assert (record["lr"], record["batch"]) == (dense_head.LEARNING_RATE, dense_head.BATCH)
    names = [f"{start}/{loss}" for start in dense_head.STARTS for loss in dense_head.LOSSES]
    assert list(record["runs"]) == names
    for runs in record["runs"].values():
        steps = [[point["steps"] for point in points] for points in runs]
        assert steps == [list(budget.steps)] * len(budget.seeds)


def test_the_leak_was_measured_by_the_script():
    record = result("leak")
    budget = leak.Budget()
    assert record["budget"] == budget._asdict() | {"seeds": list(budget.seeds)}
    assert (record["data"], record["lr"]) == (leak.DATA, leak.LEARNING_RATE)
    assert list(record["by"]) == ["slice", "patient"]
    for runs in record["by"].values():
        assert len(runs) == len(budget.seeds)


def test_the_service_was_measured_by_the_script_and_held():
    record = result("serve")
    assert (record["clients"], record["seconds"]) == (serve.CLIENTS, serve.SECONDS)
    network = {"name": "unet", **serve.SETTINGS, "size": list(serve.SIZE)}
    assert record["network"] == network
    for load in (record["load"], record["load_under_attack"]):
        assert set(load["statuses"]) <= {"200", "429"} and load["wrong"] == 0
        assert load["memory_change"] <= 0.05
    assert set(record["attack"]) == {"answered", "refused"}
    assert sum(record["attack"].values()) >= 200


def test_loading_was_measured_by_the_script_and_decoding_once_pays():
    record = result("loading")
    assert (record["pictures"], record["size"]) == (loading.PICTURES, list(loading.SIZE))
    assert (record["crop"], record["batch_size"]) == (loading.CROP, loading.BATCH_SIZE)
    assert len(record["sources"]) == 4
    for rows in record["sources"].values():
        assert rows["cached"]["ratio"] > 2 and rows["decoded"]["ratio"] > 2
    assert record["augmentation"]["crops"]["ratio"] > 2  # what the loader is spared


def test_the_smaller_networks_were_measured_by_the_script_and_are_faster():
    record = result("compress")
    budget = compress.Budget()
    assert record["budget"] == budget._asdict() | {"seeds": list(budget.seeds)}
    assert list(record["speed"]) == list(compress.NETWORKS)
    for times in record["speed"].values():
        assert times["whole, eager"]["over_onnx"] >= 1.5
        assert times["pruned, eager"]["macs"] <= 0.5
        assert times["dynamic int8"]["over_onnx"] > 1
    scores = record["mean_iou"]
    assert scores["int8"] >= scores["fp32"] - 0.005
    assert len(record["pruning"]["tuned"]["mean_iou"]) == len(budget.seeds)
    assert record["distillation"]["parameters"] < 0.26


def test_the_clicks_were_given_by_the_script_to_three_answers():
    record = result("clicks")
    budget = clicks.Budget()
    lists = {"areas": list(budget.areas), "seeds": list(budget.seeds)}
    assert record["budget"] == budget._asdict() | lists
    assert list(record["tolerances"]) == [str(t) for t in clicks.TOLERANCES]
    assert record["tolerances"][str(record["tolerance"])] == max(record["tolerances"].values())
    assert len(record["clicks"]) == len(record["prompts"]) == len(budget.seeds)
    for answers, prompts in zip(record["clicks"], record["prompts"], strict=True):
        assert list(answers) == list(record["parameters"])
        assert prompts["click"] == answers["promptable"]["iou"][0] <= prompts["best_of_three"]
        assert len({found["objects"] for found in answers.values()}) == 1  # the same for all
        for found in answers.values():
            assert len(found["iou"]) == budget.clicks
            assert 1 <= found["noc_85"] <= found["noc_90"] <= budget.clicks
            areas = found["areas"].values()
            assert sum(area["objects"] for area in areas) == found["objects"]


def test_what_to_label_next_was_chosen_by_the_script():
    record = result("active_learning")
    budget = active_learning.Budget()
    lists = {"labelled": list(budget.labelled), "seeds": list(budget.seeds)}
    assert record["budget"] == budget._asdict() | lists
    assert record["knobs"]["crowded"] == active_learning.CROWDED
    for pool in ("alike", "mixed"):
        assert len(record[pool]) == len(budget.seeds)
        for run in record[pool]:
            assert list(run) == list(active_learning.WAYS)
            starts = {way: found["mean_iou"]["4"] for way, found in run.items()}
            assert len(set(starts.values())) == 1  # all ways begin with the same network
            for found in run.values():
                assert list(found["mean_iou"]) == [str(count) for count in budget.labelled]
                assert 0 <= found["from_the_end"] <= budget.labelled[-1]


def test_the_weak_labels_were_compared_by_the_script_at_equal_minutes():
    record = result("weak_labels")
    budget = weak_labels.Budget()
    lists = {"minutes": list(budget.minutes), "seeds": list(budget.seeds)}
    assert record["budget"] == budget._asdict() | lists
    assert record["times"] == vars(weak_labels.TIMES)
    assert record["classes"] == list(weak_labels.CLASSES)
    assert record["knobs"] == weak_labels.KNOBS
    assert {len(record[part]) for part in ("minutes", "further", "unlabelled")} == {3}
    for run in record["minutes"]:
        assert list(run) == list(weak_labels.KINDS)
        for rows in run.values():
            assert list(rows) == [str(minutes) for minutes in budget.minutes]
        for minutes in rows:  # the cheaper a label, the more scenes
            scenes = [run[kind][minutes]["scenes"] for kind in ("points", "boxes", "masks")]
            assert scenes == sorted(scenes, reverse=True)


def test_what_lies_beyond_the_image_was_measured_by_the_script():
    record = result("beyond")
    assert set(record) == set(beyond.PARTS)
    for name, (_, budget) in beyond.PARTS.items():
        settings = budget._asdict()
        if "seeds" in settings:
            settings["seeds"] = list(budget.seeds)
        assert record[name]["budget"] == settings
        assert record[name]["command"] == f"python benchmarks/beyond.py --part {name}"
    for followed in record["video"]["followed"].values():
        assert len(followed["clips"]) == beyond.Video().clips
    assert record["text"]["unseen"] == [" ".join(pair) for pair in beyond.UNSEEN]
    for runs in record["points"]["scores"].values():
        assert len(runs) == len(beyond.Points().seeds)


def test_the_networks_made_for_speed_were_measured_by_the_script():
    record = result("real_time")
    budget = real_time.Budget()
    assert record["budget"] == budget._asdict() | {"seeds": list(budget.seeds)}
    assert record["command"] == "python benchmarks/real_time.py"
    assert list(record["runs"]) == list(real_time.TRAINED)
    for runs in record["runs"].values():
        assert [found["seed"] for found in runs] == list(budget.seeds)
    entries = real_time.TRAINED | real_time.WIDE
    assert list(record["networks"]) == list(entries)
    for key, row in record["networks"].items():
        price = real_time.prices(entries[key], budget.size)
        assert {name: row[name] for name in price} == price
    assert record["rank_correlation"] == real_time.predictions(record["networks"])
