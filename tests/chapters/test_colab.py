"""What segedu asks for is there on Colab already, so that installing it changes nothing."""

import json
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.chapters.prose import ROOT

COLAB = json.loads(Path(__file__).with_name("colab_versions.json").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def refused(dependencies: list[str], versions: dict[str, str]) -> list[str]:
    """Dependencies that are absent from, or do not admit, a set of installed versions."""
    have = {canonicalize_name(name): version for name, version in versions.items()}
    problems = []
    for requirement in map(Requirement, dependencies):
        version = have.get(canonicalize_name(requirement.name))
        if version is None:
            problems.append(f"{requirement.name} is not installed")
        elif version not in requirement.specifier:
            problems.append(f"{requirement} does not admit {version}")
    return problems


def test_the_table_says_whose_and_when():
    assert COLAB["source"].startswith("https://") and COLAB["date"] == "2026-08-19"


def test_every_runtime_dependency_admits_colab():
    assert refused(PROJECT["dependencies"], COLAB["packages"]) == []


@pytest.mark.parametrize("extra", ["photos", "notebook", "tensorboard"])
def test_extras_admit_colab(extra):
    assert refused(PROJECT["optional-dependencies"][extra], COLAB["packages"]) == []


def test_python_is_admitted():
    assert COLAB["python"] in SpecifierSet(PROJECT["requires-python"])


def test_there_are_lower_bounds_only():
    every = [*PROJECT["dependencies"], *sum(PROJECT["optional-dependencies"].values(), [])]
    requirements = [Requirement(text) for text in every if not text.startswith("segedu")]
    for requirement in requirements:
        assert {bound.operator for bound in requirement.specifier} == {">="}, requirement


@pytest.mark.parametrize(
    ("dependency", "problem"),
    [
        ("numpy<2.1", "numpy<2.1 does not admit 2.1.3"),
        ("torch>=2.12", "torch>=2.12 does not admit 2.11.0"),
        ("Pillow==13.0.0", "Pillow==13.0.0 does not admit 11.3.0"),
        ("monai>=1.0", "monai is not installed"),
    ],
)
def test_a_trap_is_noticed(dependency, problem):
    assert refused([dependency], COLAB["packages"]) == [problem]
