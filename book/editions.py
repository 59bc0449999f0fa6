"""Builds the three editions of the book (双语, English, 中文) from the stored notebooks.

    python book/editions.py [--clean] [--out DIR]

Each edition is a plain `jupyter-book build` with its own configuration, derived from `_config.yml`.
They are built side by side and then nested: the bilingual edition at the top of the site, `en/` and
`zh/` inside it. MathJax is shared. An edition is rebuilt from nothing when anything changed that
Sphinx does not follow on every page (contents, configuration, extensions, a chapter's title);
otherwise only the changed pages are.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "ext"))

import runtime  # noqa: E402
from launch import site_url  # noqa: E402
from publishing import for_servers  # noqa: E402

SHARED_MATHJAX = "../../_static/mathjax/tex-chtml.js"  # from en/_static or zh/_static

# Without the check of addresses in notebooks' metadata, whose grammar takes seconds to load, and
# with fewer searches for garbage: document trees are millions of objects that stay. The first
# argument gives way to the edition that takes longest, where processors are fewer than editions.
JUPYTER_BOOK = """
import gc, os, sys
gc.set_threshold(100_000, 50, 50)
if hasattr(os, "nice"):
    os.nice(int(sys.argv.pop(1)))
sys.modules["rfc3987_syntax"] = None
from jupyter_book.cli.main import main
main()
"""

# Folder inside the site, name, language of Sphinx and the theme.
EDITIONS = {
    "both": ("", "双语", "en"),
    "en": ("en", "English", "en"),
    "zh": ("zh", "中文", "zh_CN"),
}
LONGEST = "both"


def derived_config(edition: str, *, in_site: bool) -> dict[str, Any]:
    """`_config.yml` for one edition, with paths that hold wherever the file is written.

    Args:
        edition: a key of `EDITIONS`.
        in_site: whether the other editions stand beside it; otherwise it stands alone.
    """
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    sphinx = config["sphinx"]
    sphinx["local_extensions"] = {
        name: str(ROOT / path) for name, path in sphinx["local_extensions"].items()
    }
    for key in ("templates_path", "html_static_path"):
        sphinx["config"][key] = [str(ROOT / path) for path in sphinx["config"][key]]
    config["logo"] = str(ROOT / config["logo"])
    config["html"]["favicon"] = str(ROOT / config["html"]["favicon"])
    folder, _, sphinx["config"]["language"] = EDITIONS[edition]
    sphinx["config"]["bilingual_edition"] = edition
    if in_site:
        sphinx["config"]["bilingual_editions"] = list(EDITIONS)
        if runtime.RUNTIME.kept():
            sphinx["config"]["live_files"] = f"{'../' if folder else ''}{runtime.FOLDER}/"
        if folder:
            sphinx["config"]["mathjax_path"] = SHARED_MATHJAX
    return config


def fingerprint(source: Path) -> str:
    """Changes with everything that can alter pages other than the one that was edited."""
    digest = hashlib.sha256()
    surroundings = [ROOT / "_config.yml", ROOT / "requirements.txt", source / "_toc.yml"]
    for folder in ("ext", "static", "templates"):
        surroundings += sorted((ROOT / "book" / folder).rglob("*"))
    surroundings += [
        Path(__file__),
        *sorted((source / "book").glob("*.bib")),
        source / "book" / "terminology.yml",
    ]
    for path in surroundings:
        if path.is_file() and path.suffix != ".pyc":
            digest.update(path.name.encode() + path.read_bytes())
    # Titles stand in the side bar of every page.
    for page in sorted([*source.glob("book/*.md"), *source.glob("chapters/**/*.ipynb")]):
        title = re.search(r'^\s*"?#\s[^"\n]*', page.read_text(encoding="utf-8"), re.M)
        digest.update(f"{page.relative_to(source)} {title and title[0]}".encode())
    for name in (
        "SEGEDU_REPOSITORY_URL",
        "GITHUB_REPOSITORY",
        "GITHUB_REF_NAME",
        "SEGEDU_SITE_URL",
    ):
        digest.update(os.environ.get(name, "").encode())
    digest.update(f"{runtime.RUNTIME.kept()}".encode())  # else the pages have no button
    return digest.hexdigest()


def build_edition(source: Path, work: Path, edition: str, builder: str = "html") -> Path:
    """Runs `jupyter-book build` for one edition and returns the folder of its pages.

    Raises:
        RuntimeError: the build failed or warned; the message holds what Sphinx said.
    """
    label, start = EDITIONS[edition][1], time.monotonic()
    output = work / f"{edition}-{builder}"
    output.mkdir(parents=True, exist_ok=True)
    config = output / "_config.yml"
    derived = derived_config(edition, in_site=builder == "html")
    config.write_text(yaml.safe_dump(derived, allow_unicode=True), encoding="utf-8")
    command = [sys.executable, "-c", JUPYTER_BOOK, "0" if edition == LONGEST else "3"]
    command += ["build", str(source), "-W"]
    command += ["--keep-going", "--config", str(config), "--path-output", str(output)]
    command += ["--builder", builder]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1", "SPHINX_NO_COLOR": "1"},
    )
    assert process.stdout is not None
    log: list[str] = []
    for line in process.stdout:
        line = re.sub(r"\x1b\[[0-9;]*[mK]", "", line).rstrip()
        if match := re.match(r"(reading sources|writing output)\.\.\. \[\s*(\d+)%\] (.+)", line):
            print(f"  {label:8}{match[1]:16}{match[2]:>4} %  {match[3]}", flush=True)
        elif line:
            log.append(line)
    if process.wait() != 0:
        complaints = [line for line in log if re.search("WARNING|ERROR|[Ee]rror:", line)]
        raise RuntimeError(
            f"The {label} edition was not built:\n" + "\n".join(complaints or log[-30:])
        )
    print(f"  {label:8}done in {time.monotonic() - start:.1f} s", flush=True)
    return output / "_build" / builder


def build_wheel(source: Path, target: Path) -> None:
    """Makes the package one file in the folder `target`, for a notebook that was downloaded alone.

    Raises:
        RuntimeError: pip could not build it; the message holds what pip said.
    """
    with tempfile.TemporaryDirectory() as folder:  # setuptools leaves traces where it builds
        copy = Path(folder)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source / "segedu", copy / "segedu", ignore=ignored)
        for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-text"):
            shutil.copy2(source / name, copy)
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
        done = subprocess.run(
            [*command, "--disable-pip-version-check", "-w", str(target), folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    if done.returncode:
        raise RuntimeError(f"The wheel of segedu was not built:\n{done.stdout[-2000:]}")


def build_site(source: Path, out: Path, *, clean: bool = False) -> Path:
    """Builds all editions of the book in `source` and returns the folder of the site."""
    work, site = out / "editions", out / "site"
    if problem := runtime.RUNTIME.fetch():
        print(f"Networks do not run in the pages, which keep their still pictures: {problem}.")
    stamp, current = work / "fingerprint", fingerprint(source)
    if clean or not stamp.exists() or stamp.read_text() != current:
        print("Building from nothing." if work.exists() else "First build.", flush=True)
        shutil.rmtree(work, ignore_errors=True)
    else:
        print("Rebuilding what changed.", flush=True)
    work.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(wheel := work / "wheel", ignore_errors=True)
    with ThreadPoolExecutor(len(EDITIONS)) as pool:
        builds = [pool.submit(build_edition, source, work, edition) for edition in EDITIONS]
        if (source / "pyproject.toml").exists():
            build_wheel(source, wheel)
        folders = [build.result() for build in builds]
    stamp.write_text(current)
    shutil.rmtree(site, ignore_errors=True)
    for folder, (inside, _, _) in zip(folders, EDITIONS.values(), strict=True):
        unneeded = shutil.ignore_patterns("reports", ".buildinfo", "objects.inv", "*macros.html")
        shutil.copytree(folder, site / inside, ignore=unneeded, dirs_exist_ok=True)
    runtime.copy_to(site)
    if wheel.exists():
        shutil.copytree(wheel, site, dirs_exist_ok=True)
    for_servers(site, [inside for inside, _, _ in EDITIONS.values()], site_url(os.environ))
    return site


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Build the three editions of the book.")
    parser.add_argument("--clean", action="store_true", help="build from nothing")
    parser.add_argument("--out", type=Path, default=ROOT / "_build", help="default: _build")
    arguments = parser.parse_args()
    start = time.monotonic()
    try:
        site = build_site(ROOT, arguments.out, clean=arguments.clean)
    except RuntimeError as error:
        sys.exit(str(error))
    shown = site.relative_to(Path.cwd()) if site.is_relative_to(Path.cwd()) else site
    print(f"Three editions in {time.monotonic() - start:.0f} s. Open {shown}/index.html")
    print("(or type `make serve`, and the search shows excerpts too).")


if __name__ == "__main__":
    main()
