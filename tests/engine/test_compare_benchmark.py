"""The table of all networks: who is in it, what is trained again, and what a row holds."""

import json
import sys

import pytest
import torch

from benchmarks import compare, race, semantic
from segedu.files import read_json
from segedu.models import comparison, cost, get_model, list_models


def test_each_semantic_network_is_of_another_family_and_costs_about_as_much():
    entries = [*semantic.NETWORKS.values(), *compare.OTHERS.values()]
    families = [list_models()[entry.name].builder for entry in entries]
    assert len(set(families)) == len(entries)
    for name, entry in compare.OTHERS.items():
        macs = cost(semantic.build(entry, 12), semantic.Budget().size).macs
        assert 50e6 < macs < 90e6, name


def test_only_what_is_missing_or_has_changed_is_trained(monkeypatch):
    asked, kept = [], []

    def trained(entry, budget):
        asked.append(entry.title)
        row = {"model": entry.name, "settings": entry.settings, "runs": [{"mean_iou": 0.5}]}
        return json.loads(json.dumps(row))

    monkeypatch.setattr(semantic, "compare", trained)
    found = {}

    def train(only=()):
        asked.clear()
        compare.train_missing(found, list(only), semantic.Budget(), lambda: kept.append(len(found)))
        return asked

    everyone = [entry.title for entry in compare.OTHERS.values()]
    assert train() == everyone and kept == list(range(1, len(everyone) + 1))
    assert train() == []
    assert train(["hrnet"]) == ["HRNet"]
    found["enet"]["settings"]["base_width"] = 1
    del found["setr"]
    assert train() == ["ENet", "SETR"]


def test_rows_hold_the_scores_of_the_records():
    record = read_json(race.RESULTS / "semantic.json")["networks"]
    rows = compare.semantic_rows(record, "semantic.json")
    assert list(rows) == list(record)
    for name, row in rows.items():
        assert row["scores"]["mean_iou"] == [run["mean_iou"] for run in record[name]["runs"]]
        assert len(row["scores"]["boundary_iou"]) == len(row["camvid_mean_iou"]) == 3
    weights = read_json(race.RESULTS / "weights.json")
    objects = compare.object_rows()
    assert {row["task"] for row in objects.values()} == {"instance", "panoptic"}
    for name, row in objects.items():
        assert all(value == [weights[name][key]] for key, value in row["scores"].items())


@pytest.mark.parametrize("name", ["panoptic_fpn_tiny", "maskformer_tiny", "mask2former_tiny"])
def test_a_network_for_objects_is_asked_with_its_weights_and_priced(name):
    row = compare.object_rows()[name]
    model, run = compare.runner(row)
    (found,) = run()
    assert found["panoptic_seg"].shape == (compare.SIZE, compare.SIZE)
    assert len(found["segments_info"]) > 3  # an untrained network finds hardly anything
    price = compare.price(row, model, run)
    assert price["parameters"] == sum(p.numel() for p in model.parameters())
    assert price["macs"] > 1e8 and price["peak_bytes"] > 1e6


def test_quick_measures_and_writes_no_file(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare.py", "--quick"])
    monkeypatch.setattr(compare, "write_json", lambda *_: pytest.fail("a file was written"))
    monkeypatch.setattr(semantic, "try_rates", lambda rates, judge: dict.fromkeys(rates, 0.0))
    threads = torch.get_num_threads()
    try:
        compare.main()
    finally:
        torch.set_num_threads(threads)
    shown = capsys.readouterr().out
    assert shown.startswith("enet [") and shown.count("yolact_tiny") == len(compare.CLOCKS)


def test_what_was_measured_is_of_these_networks():
    result = read_json(compare.FILE)
    trained = [name for name in compare.OTHERS if name not in result["missing"]]
    assert list(result["trained"]) == trained
    names = [*semantic.NETWORKS, *trained, *compare.OBJECTS]
    assert list(result["networks"]) == names
    for name in trained:
        entry, row = compare.OTHERS[name], result["trained"][name]
        assert (row["model"], row["settings"]) == (entry.name, compare.stored(entry.settings))
        scores = {float(lr): score for lr, score in row["mean_iou_by_lr"].items()}
        assert min(scores) < row["lr"] == max(scores, key=scores.get) < max(scores)
    for row in result["networks"].values():
        if row["task"] == "semantic":
            network = get_model(row["model"], 12, **row["settings"])
            assert cost(network, result["size"])[:3] == (
                row["parameters"],
                row["macs"],
                row["activations"],
            )
        assert set(row["ms"]) == ({"1"} if result["note"] else {"1", "2"})


def test_the_package_holds_what_was_recorded():
    result = read_json(compare.FILE)
    assert read_json(comparison.FILE) == compare.short(result)
    assert comparison.machine() == result["machine"]
    everyone = comparison.networks()
    assert len(everyone) == len(result["networks"]) == len({one.title for one in everyone})
    assert [one.task for one in everyone] == sorted(
        (one.task for one in everyone), key=list(comparison.METRIC).index
    )
    record = result["networks"]["unet"]
    (unet,) = (one for one in everyone if one.title == "U-Net")
    assert unet.scores == tuple(record["scores"]["mean_iou"]) and len(unet.camvid) == 3
    assert unet.megabytes == pytest.approx(record["peak_bytes"] / 1e6, abs=0.01)
    best = comparison.networks("instance")
    assert [one.score for one in best] == sorted((one.score for one in best), reverse=True)
    with pytest.raises(ValueError, match="task must be one of .*, got 'volume'"):
        comparison.networks("volume")
