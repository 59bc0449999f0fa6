"""The ranking at the end of `make test`."""

from tests.slowest import durations, main, table

UNIT = """<testsuites><testsuite>
<testcase classname="tests.ops.test_nms" name="test_quick" time="0.2"/>
<testcase classname="tests.ops.test_nms" name="test_late" time="7.5"><failure/></testcase>
</testsuite></testsuites>"""
CELLS = """<testsuites><testsuite>
<testcase classname="chapters.02-semantic.01-fcn.ipynb" name="ipynb::Cell 0" time="2.25"/>
<testcase classname="chapters.02-semantic.01-fcn.ipynb" name="ipynb::Cell 1" time="8.0"/>
<testcase classname="chapters.02-semantic.02-unet.ipynb" name="ipynb::Cell 0" time="9.0"/>
</testsuite></testsuites>"""


def test_cells_add_up_to_chapters(tmp_path, capsys):
    unit, cells = tmp_path / "unit.xml", tmp_path / "check-notebooks.xml"
    unit.write_text(UNIT)
    cells.write_text(CELLS)
    tests, chapters = durations([unit, cells])
    assert tests == {
        "tests.ops.test_nms::test_quick": 0.2,
        "tests.ops.test_nms::test_late": 7.5,
    }
    assert list(chapters.values()) == [10.25, 9.0]
    main([str(unit), str(cells), str(tmp_path / "a part that did not run.xml")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "== The slowest tests ==" and lines[3] == "== The slowest chapters =="
    assert lines[1].endswith("7.5 s  tests.ops.test_nms::test_late")
    assert "01-fcn" in lines[4] and "10.2 s" in lines[4]


def test_ten_are_shown_and_nothing_of_nothing():
    from collections import Counter

    assert len(table("t", Counter({str(n): n for n in range(20)})).splitlines()) == 11
    assert table("t", Counter()) == ""
