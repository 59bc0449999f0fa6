"""Which notebooks must run again: a fingerprint of what decided the outputs that are stored.

`make notebooks` records for each chapter, in chapters/fingerprints.json, its code, its outputs, the
files of segedu and the recorded results that it read, and the pinned versions of the packages that
it loaded. Where one of them differs now, the chapter is stale. Prose, and modules that it does not
load, change nothing.

`python -m tests.chapters.fingerprints WHICH` prints the notebooks to execute, and says why on
stderr. WHICH is `all`, `stale`, `changed` (the stale ones and a quarter of the others, another one
every day), `eighth` (an eighth of all, another one every day), or words that paths must hold.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from segedu import files
from tests.chapters.prose import ROOT

FILE = "chapters/fingerprints.json"
CURE = "store it by `make notebooks CHAPTERS=changed`"


def notebooks(root: Path = ROOT) -> list[Path]:
    """All notebooks of the book, in its order."""
    found = sorted((root / "chapters").rglob("*.ipynb"))
    return [path for path in found if ".ipynb_checkpoints" not in path.parts]


def records(root: Path = ROOT) -> dict[str, dict]:
    """The recorded fingerprints, by the notebooks' paths from the root."""
    file = root / FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def fingerprint(notebook: dict, loaded: dict[str, list[str]], root: Path = ROOT) -> dict:
    """What decided the outputs of a notebook that has just been executed.

    Args:
        notebook: its JSON, with outputs.
        loaded: what `tests.chapters.loaded` reported from its kernel.
        root: the repository.
    """
    pinned = pins(root)
    return {
        "code": digest(code_of(notebook)),
        "outputs": digest(outputs_of(notebook)),
        "pins": {
            name: pinned[name]
            for name in sorted(map(canonicalize_name, loaded["packages"]))
            if name in pinned
        },
        "files": {name: digest((root / name).read_bytes()) for name in loaded["files"]},
    }


def record(root: Path, path: Path, loaded: dict[str, list[str]]) -> None:
    """Note the fingerprint of a notebook that has just been executed and stored.

    Those of notebooks that are there no more are left out.
    """
    name = path.relative_to(root).as_posix()
    content = json.loads(path.read_text(encoding="utf-8"))
    noted = records(root) | {name: fingerprint(content, loaded, root)}
    present = {path.relative_to(root).as_posix() for path in notebooks(root)}
    kept = {name: noted[name] for name in sorted(noted) if name in present}
    files.write_text(root / FILE, json.dumps(kept, indent=1) + "\n")


def edited(notebook: dict, record: dict | None) -> list[str]:
    """Why the outputs in a notebook cannot be those of its recorded execution."""
    if record is None:
        return ["has no fingerprint"]
    now = {"code": digest(code_of(notebook)), "outputs": digest(outputs_of(notebook))}
    return [f"its {part} changed" for part in now if now[part] != record[part]]


def outdated(record: dict, root: Path = ROOT) -> list[str]:
    """What has changed, since the recorded execution, in the files and pins that it rested on."""
    reasons = []
    for name, before in record["files"].items():
        if not (root / name).is_file():
            reasons.append(f"{name} is gone")
        elif digest((root / name).read_bytes()) != before:
            reasons.append(f"{name} changed")
    pinned = pins(root)
    for name, before in record["pins"].items():
        if pinned.get(name) != before:
            reasons.append(f"{name} {before} became {pinned.get(name, 'unpinned')}")
    return reasons


def stale(root: Path = ROOT) -> dict[str, list[str]]:
    """The notebooks whose stored outputs may no longer hold, each with the reasons."""
    recorded, found = records(root), {}
    for path in notebooks(root):
        name = path.relative_to(root).as_posix()
        record = recorded.get(name)
        reasons = edited(json.loads(path.read_text(encoding="utf-8")), record)
        reasons += outdated(record, root) if record else []
        if reasons:
            found[name] = reasons
    return found


def chosen(which: list[str], day: int, root: Path = ROOT) -> dict[str, str]:
    """The notebooks to execute, each with the reason.

    Args:
        which: as on the command line.
        day: counts days; every part of a rotation has its turn on consecutive days.

    Raises:
        ValueError: a word is in no path.
    """
    names = [path.relative_to(root).as_posix() for path in notebooks(root)]
    if which == ["all"]:
        return dict.fromkeys(names, "all")
    if which == ["eighth"]:
        return dict.fromkeys(turn(names, 8, day), "its turn today: an eighth")
    if which in (["stale"], ["changed"]):
        reasons = {name: shortened(why) for name, why in stale(root).items()}
        rest = [] if which == ["stale"] else turn(names, 4, day)
        rotating = dict.fromkeys(rest, "its turn today: a quarter")
        return {name: (rotating | reasons)[name] for name in names if name in rotating | reasons}
    if unknown := [word for word in which if not any(word in name for name in names)]:
        raise ValueError(f"CHAPTERS: no notebook's path holds {', '.join(unknown)}")
    return {name: "asked for" for name in names if any(word in name for word in which)}


def turn(names: list[str], parts: int, day: int) -> list[str]:
    """Those whose turn it is on a day: every `parts`-th name, the next one on the next day.

    Of fewer names than parts one has its turn, so that no day is without.
    """
    parts = min(parts, len(names) or 1)
    return [name for index, name in enumerate(names) if index % parts == day % parts]


def shortened(reasons: list[str], most: int = 3) -> str:
    """The first reasons, and how many there are beside them."""
    more = len(reasons) - most
    return "; ".join(reasons[:most]) + (f"; {more} more" if more > 0 else "")


# ---- what is compared


def digest(content: bytes | object) -> str:
    """A short hash of bytes, or of anything that JSON can hold."""
    if not isinstance(content, bytes):
        content = json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
    return hashlib.sha256(content).hexdigest()[:12]


def joined(value: object) -> object:
    """A value of a notebook's JSON; texts stored as lists of lines become one text."""
    if isinstance(value, dict):
        return {key: joined(inner) for key, inner in value.items()}
    if isinstance(value, list):
        lines = value and all(isinstance(inner, str) for inner in value)
        return "".join(value) if lines else [joined(inner) for inner in value]
    return value


def code_of(notebook: dict) -> list[object]:
    """The sources of the code cells."""
    return [joined(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]


def outputs_of(notebook: dict) -> list[object]:
    """The outputs of the code cells."""
    return [joined(c["outputs"]) for c in notebook["cells"] if c["cell_type"] == "code"]


def pins(root: Path = ROOT) -> dict[str, str]:
    """The pinned versions of requirements.txt."""
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    lines = [line.partition("#")[0].strip() for line in lines]
    requirements = [Requirement(line) for line in lines if line]
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in requirements}


def main(arguments: Iterable[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Print the notebooks to execute.")
    parser.add_argument("which", nargs="*", metavar="WHICH")
    which = parser.parse_args(arguments).which or ["all"]
    day = date.today().toordinal()
    try:
        names = chosen(which, day)
    except ValueError as error:
        sys.exit(str(error))
    print(f"{len(names)} of {len(notebooks())} notebooks", file=sys.stderr)
    for name, why in names.items() if which != ["all"] else ():
        print(f"  {name}: {why}", file=sys.stderr)
    print("\n".join(names))


if __name__ == "__main__":
    main()
