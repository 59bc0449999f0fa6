"""The end of `make test`: the tests and the chapters that took longest.

`python -m tests.slowest REPORT.xml ...` reads the reports that pytest has written.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

MOST = 10


def durations(reports: Iterable[Path]) -> tuple[Counter[str], Counter[str]]:
    """Seconds per test and per chapter; a chapter's are those of all its cells."""
    tests, chapters = Counter(), Counter()
    for report in reports:
        for case in ElementTree.parse(report).iter("testcase"):
            place, name = case.get("classname", ""), case.get("name", "")
            if ".ipynb" in place:
                chapters[f"{place} ({report.stem})"] += float(case.get("time", 0))
            else:
                tests[f"{place}::{name}"] += float(case.get("time", 0))
    return tests, chapters


def table(title: str, seconds: Counter[str]) -> str:
    """The first lines of a ranking; nothing where there is nothing to rank."""
    lines = [f"{duration:7.1f} s  {name}" for name, duration in seconds.most_common(MOST)]
    return "\n".join([f"== {title} ==", *lines]) if lines else ""


def main(reports: list[str]) -> None:
    """Command line."""
    tests, chapters = durations(path for path in map(Path, reports) if path.exists())
    print(table("The slowest tests", tests), table("The slowest chapters", chapters), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
