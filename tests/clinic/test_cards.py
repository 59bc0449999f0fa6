"""Cards hold every answer and every number that they were given, and refuse to have gaps."""

import re

import pytest

from segedu.clinic import examine_datasets
from segedu.clinic.cards import DATA_QUESTIONS, MODEL_QUESTIONS, data_sheet, model_card
from segedu.data import scenes

RESULT = {
    "command": "python -m segedu evaluate --checkpoint best.pt",
    "dataset": "scenes",
    "split": "test",
    "images": 12,
    "seconds": 1.5,
    "machine": {"device": "cpu (a processor)"},
    "mean_iou": 0.61239,
    "pixel_accuracy": None,
    "iou": {"sky": 0.9, "car|van": None},
    "training": {
        "model": "unet",
        "settings": {"base_width": 4},
        "parameters": 12345,
        "command": "python -m segedu train",
        "epoch": 3,
    },
}


def answers(questions):
    return {name: f"answer to {name}" for name in questions}


def test_a_data_sheet_has_what_was_said_and_counted():
    found = examine_datasets({"train": scenes.SceneDataset(4, scenes.SceneConfig(32))}).to_dict()
    sheet = data_sheet(answers(DATA_QUESTIONS), found)
    for name, heading in DATA_QUESTIONS.items():
        assert f"## {heading}\n\nanswer to {name}\n" in sheet
    shares = [float(share) for share in re.findall(r"\| (\d+\.\d\d)% \|", sheet)]
    counts = found["splits"]["train"]["classes"]
    assert len(shares) == sum(1 for count in counts if count["images"])
    assert sum(shares) == pytest.approx(100, abs=0.01 * len(shares))
    assert f"**{found['verdict']}**" in sheet
    assert all(finding["message"] in sheet for finding in found["findings"])


def test_a_model_card_has_scores_with_intervals_and_says_how_they_came_about():
    scores = {"intervals": {"mean_iou": [0.58, 0.64]}}
    card = model_card(answers(MODEL_QUESTIONS), RESULT, scores)
    for line in (
        "| mean_iou | 0.6124 | 0.5800 – 0.6400 |",
        "| sky | 0.9000 |",
        "| car\\|van | – |",
        "| network ｜ 网络 | unet (base_width=4) |",
        "| parameters ｜ 参数量 | 12,345 |",
        "| training ｜ 训练 | `python -m segedu train` |",
    ):
        assert line + "\n" in card
    assert "seconds" not in card
    assert "| mean_iou | 0.6124 | – |" in model_card(answers(MODEL_QUESTIONS), RESULT)


@pytest.mark.parametrize("gap", [None, " "])
def test_a_card_with_a_gap_is_refused(gap):
    given = answers(MODEL_QUESTIONS) | {"risks": gap or ""}
    with pytest.raises(ValueError, match=r"each of use, not_for.*; missing: risks$"):
        model_card(given, RESULT)
