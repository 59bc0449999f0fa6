"""Sphinx extension: the tables of times and scores, from the records in ``book/results``.

``{measured} results/losses.json`` is a table of all races in that record, with the machine below.
A race is the same work done by ``segedu`` and by others, in rounds that went through all in turn.
Words of the records are said in both languages by ``book/measured.yml``.

``{compared} semantic`` is a table of the networks for that task, as `segedu.models.comparison`
tells of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from yaml_file import LOADER

from segedu.languages import BAR, LANGUAGES, halves
from segedu.models import comparison

WORDS = "book/measured.yml"
OURS = "segedu"
LEVELS = ("losses", "models")  # of a record, that say nothing


class Race(NamedTuple):
    """The same work, done by several."""

    work: tuple[str, ...]  #: keys of the record that lead to it
    milliseconds: float  #: of `segedu`, the median
    ratios: dict[str, float]  #: how many times as long the others took, the median of the rounds


def races(record: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[Race]:
    """All races of a record."""
    parts = {key: value for key, value in record.items() if isinstance(value, dict)}
    times = {key: value for key, value in parts.items() if "median_ms" in value}
    if OURS in times:
        ours = times.pop(OURS)
        work = tuple(key for key in path if key not in LEVELS)
        ratios = {key: value["ratio"] / ours["ratio"] for key, value in times.items()}
        yield Race(work, ours["median_ms"], ratios)
        return
    if "peer" in record:  # our network and a library's, called ours and theirs
        name = record["peer"].split(":")[0] + ("\\*" if record.get("difference") else "")
        parts = {
            key: {OURS: value["ours"], name: value["theirs"]}
            for key, value in parts.items()
            if isinstance(value.get("ours"), dict)
        }
    for key, value in parts.items():
        yield from races(value, (*path, key))


def machines(record: Mapping[str, Any]) -> set[tuple[str, str]]:
    """What ran the races and which clock it went by, as ``(description, clock)``."""
    found = set()
    if "machine" in record:
        machine = record["machine"]
        found.add((described(machine), record["clock"]))
    for value in record.values():
        if isinstance(value, dict):
            found |= machines(value)
    return found


def described(machine: Mapping[str, Any]) -> str:
    """A machine, and how many programs wanted its cores just before, in both languages."""
    name, torch, load = machine.get("cpu") or machine["device"], machine["torch"], machine["load"]
    cores, threads = machine["cores"], machine["threads"]
    return (
        f"{name}, {cores} cores, threads: {threads}, load {load}, torch {torch} {BAR} "
        f"{name}，{cores} 个核心，线程数 {threads}，负载 {load}，torch {torch}"
    )


class Measured(SphinxDirective):
    """``{measured} FILE``: a record of races, relative to the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Builds the table, and a line on the machine."""
        _, path = self.env.relfn2path(self.arguments[0])
        words_file = Path(self.env.srcdir, WORDS)
        for file in (path, words_file):
            self.env.note_dependency(str(file))
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        self.words = yaml.load(words_file.read_text(encoding="utf-8"), LOADER)
        found = list(races(record))
        if not found:
            raise self.error(f"measured: {self.arguments[0]} holds no race with {OURS!r}")
        head = [self.words[key] for key in ("work", "segedu, ms", "others")]
        lines = [row(head), "|---|--:|---|"]
        for race in found:
            others = [
                joined([self.said(name), f"{ratio:.2f}×"], " ")
                for name, ratio in race.ratios.items()
            ]
            work, time = joined(map(self.said, race.work)), f"{race.milliseconds:,.1f}"
            lines.append(row([work, time, joined(others)]))
        for machine, clock in sorted(machines(record)):
            lines += ["", joined([machine, self.words[clock]])]
        return self.parse_text_to_nodes("\n".join(lines))

    def said(self, key: str) -> str:
        """A key of the record, in both languages where it holds words."""
        return self.words.get(key, f"`{key}`" if "_" in key else key)


HEAD = (
    "network ｜ 网络",
    "weights, M ｜ 参数，百万",
    "MACs, M",
    "ms ｜ 毫秒",
    "MB",
)
SCORE = {
    "semantic": "mean IoU, % ｜ 平均 IoU，%",
    "instance": "AP, % ｜ AP，%",
    "panoptic": "PQ, % ｜ PQ，%",
}


class Compared(SphinxDirective):
    """``{compared} TASK``: what the networks for a task cost and reach, the best first."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Builds the table; a score is the mean of its trainings."""
        task = self.arguments[0]
        self.env.note_dependency(str(comparison.FILE))
        try:
            found = comparison.networks(task)
        except ValueError as error:
            raise self.error(f"compared: {error}") from error
        lines = [row([*HEAD, SCORE[task]]), "|---" + "|--:" * len(HEAD) + "|"]
        lines += [row([network.title, *numbers(network)]) for network in found]
        lines += ["", described(comparison.machine())]
        return self.parse_text_to_nodes("\n".join(lines))


def numbers(network: comparison.Measured) -> list[str]:
    """The cells beside its name."""
    times = [network.ms, network.ms_two_threads]
    return [
        f"{network.parameters / 1e6:.2f}",
        f"{network.macs / 1e6:,.0f}",
        "; ".join(f"{time:.1f}" for time in times if time is not None),
        f"{network.megabytes:.1f}",
        f"{100 * network.score:.1f}",
    ]


def row(cells: Iterable[str]) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def joined(texts: Iterable[str], between: str = " · ") -> str:
    """Texts one after the other, each half by itself: ``a · b ｜ 甲 · 乙``."""
    split = [halves(text) or dict.fromkeys(LANGUAGES, text) for text in texts]
    english, chinese = (between.join(one[language] for one in split) for language in LANGUAGES)
    return english if english == chinese else f"{english} {BAR} {chinese}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.add_directive("measured", Measured)
    app.add_directive("compared", Compared)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
