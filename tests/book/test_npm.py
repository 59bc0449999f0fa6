"""Files from the registry of npm: the right ones, or one line that says why not."""

import npm
import pytest
from runtime import RUNTIME
from slides import REVEAL

PACKAGE = REVEAL


def test_without_npm_the_build_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(npm.shutil, "which", lambda name: None)
    assert PACKAGE.kept() == []
    assert PACKAGE.fetch() == "npm is not installed"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 1", "npm could not fetch reveal.js@"),
        (f"echo other > {PACKAGE.title}.tgz", "is not the file that was expected"),
    ],
)
def test_what_the_registry_gives_is_checked(monkeypatch, tmp_path, script, said):
    program = tmp_path / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(npm.shutil, "which", lambda name: str(program))
    assert said in PACKAGE.fetch()
    assert PACKAGE.kept() == []


@pytest.mark.parametrize("package", [RUNTIME, REVEAL], ids=lambda package: package.name)
def test_its_licence_stands_in_the_repository(package):
    assert "Permission is hereby granted" in package.license.read_text()
