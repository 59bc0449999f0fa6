"""Recorded results are read from anywhere in the repository, and missed with one line."""

from segedu.files import read_json
from segedu.teaching import recorded


def test_a_chapter_reads_what_the_repository_holds(monkeypatch, tmp_path):
    chapter = tmp_path / "chapters" / "02-semantic"
    results = tmp_path / "book" / "results"
    chapter.mkdir(parents=True)
    results.mkdir(parents=True)
    (results / "demo.json").write_text('{"unet": 1}')
    monkeypatch.chdir(chapter)
    assert recorded("demo.json") == read_json(results / "demo.json") == {"unet": 1}


def test_a_notebook_alone_says_that_it_has_none(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert recorded("demo.json") == {}
    english, chinese = capsys.readouterr().out.split(" ｜ ")
    assert "demo.json" in english and "demo.json" in chinese
