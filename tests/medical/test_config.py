import pytest

from segedu.medical.config import ProjectConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "lbfgs"}, "optimizer must be one of"),
        ({"base_width": "abc"}, "base_width must be a whole number, such as 16, got 'abc'"),
        ({"epochs": 2.5}, "epochs must be a whole number"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"lr": "fast"}, "lr must be a number"),
        ({"patch": "abc"}, "patch must be a whole number for each place, in brackets"),
        ({"spacing": ("a", 1, 1)}, "spacing must be a number for each place"),
        ({"classes": "lung"}, "classes must be a word for each place"),
        ({"augment": 1}, "augment must be True or False"),
        ({"amp": "yes"}, "amp must be True or False, got 'yes'"),
        ({"schedule": "linear"}, "schedule must be one of"),
        ({"intensity": "ct"}, "intensity must be one of"),
        ({"patch": (8, 8)}, "patch must be three"),
        ({"classes": ("background",)}, "classes must name"),
        ({"lesions": ("background",)}, r"lesions must be among .* \('foreground',\)"),
        ({"spacing": (1.0,)}, "spacing must be"),
        ({"shares": (0.5, 0.5)}, "shares must be three"),
        ({"largest": ("background",)}, r"largest must be among .* \('foreground',\)"),
        ({"lesions": ("foreground",), "largest": ("foreground",)}, "there may be several"),
        ({"intensity": ("mr", "ct")}, "intensity must be one of"),
        ({"channels": 3, "intensity": ("mr", "lung")}, "one for each of 3, got"),
        ({"channels": -1}, "channels must not be negative"),
        ({"folds": 1}, "folds must be 0 or at least 2, got 1"),
        ({"fold": 1}, r"fold must be in 0\.\.0, got 1"),
        ({"folds": 3, "fold": 3}, r"fold must be in 0\.\.2, got 3"),
        ({"folds": 3, "splits": "splits.json"}, "give folds or splits, not both"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ProjectConfig(**settings)


@pytest.mark.parametrize("text", ["[]", '{"colour": 1}', '{"patch": 3}'])
def test_a_damaged_configuration_is_named(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="config.json is no configuration"):
        ProjectConfig.load(tmp_path / "config.json")


def test_a_configuration_that_is_not_json_is_named(tmp_path):
    (tmp_path / "config.json").write_text("")
    with pytest.raises(ValueError, match="config.json: not a readable JSON file"):
        ProjectConfig.load(tmp_path / "config.json")
