"""What networks that run in the page need beside the pages: onnxruntime-web, and their files.

The runtime (MIT) comes from its registry by ``npm``, in one version with one checksum, and is kept
in the user's cache with the networks, which are written from the weights in the package.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "onnxruntime-web-1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
LICENSE = Path(__file__).parent / "licenses" / f"{PACKAGE}.txt"
WEIGHTS = ROOT / "segedu" / "models" / "trained"
FOLDER = "_static/live"  # in the site, once for all editions
EXPORT = """
import sys
from pathlib import Path
from segedu.engine.export import half_onnx
from segedu.engine.export_clicks import click_files, part_paths
from segedu.files import write_bytes
from segedu.models import get_model, list_models
model, weights, target = sys.argv[1:]
network = get_model(model, weights=weights)
if list_models()[model].task == "promptable":
    for part, data in click_files(network).items():
        write_bytes(part_paths(target)[part], data)
else:
    write_bytes(target, half_onnx(network))
Path(target).with_suffix(".whole").touch()
"""
NETWORK = re.compile(r'data-network="([\w/]+)" data-sha256="(\w+)"')


def cache() -> Path:
    """The folder in which downloads and networks are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segedu"


def kept() -> Path | None:
    """The folder of the runtime's files, if they were fetched."""
    folder = cache() / PACKAGE
    return folder if all((folder / name).is_file() for name in FILES) else None


def fetch() -> str:
    """Fetch the runtime, if it is not in the cache.

    Returns:
        Nothing, or why it is not there, in one line.
    """
    if kept():
        return ""
    if not (npm := shutil.which("npm")):
        return "npm is not installed"
    name, _, version = PACKAGE.rpartition("-")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{name}@{version}", "--silent", "--fetch-retries=0"]
        try:
            subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=300)
            archive = Path(folder, f"{PACKAGE}.tgz")
            data = archive.read_bytes()
        except (OSError, subprocess.SubprocessError):
            return f"npm could not fetch {name}@{version}"
        if hashlib.sha256(data).hexdigest() != SHA256:
            return f"{archive.name} is not the file that was expected (sha256)"
        unpack(archive, cache() / PACKAGE)
    return ""


def unpack(archive: Path, target: Path) -> None:
    """Put the files of the runtime into a folder, which appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=target.parent) as folder,
        tarfile.open(archive) as package,
    ):
        whole = Path(folder, target.name)
        whole.mkdir()
        for name in FILES:
            source = package.extractfile(f"package/dist/{name}")
            assert source is not None
            (whole / name).write_bytes(source.read())
        shutil.rmtree(target, ignore_errors=True)
        try:
            whole.rename(target)
        except OSError:  # another build was faster
            if not kept():
                raise


def network(name: str) -> list[Path]:
    """The file of a network with weights of the package, such as ``scenes/unet``, or its two.

    They are written again when the weights, the networks or the exporter have changed.
    """
    sources = [
        ROOT / "segedu" / "engine" / "export.py",
        ROOT / "segedu" / "engine" / "export_clicks.py",
        *sorted((ROOT / "segedu" / "models").rglob("*.py")),
        WEIGHTS / f"{name}.pt",
        ROOT / "requirements.txt",
    ]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    target = cache() / "networks" / digest[:16] / f"{name}.onnx"
    if not target.with_suffix(".whole").exists():
        which, model = name.split("/")
        command = [sys.executable, "-c", EXPORT, model, which, str(target)]
        subprocess.run(command, cwd=ROOT, check=True)
    return sorted(target.parent.glob(f"{target.stem}.*onnx"))


def copy_to(site: Path) -> None:
    """Put the runtime with its licence, and the networks of the pages, beside the pages.

    Raises:
        RuntimeError: if a page shows a network whose weights have changed since.
    """
    runtime, target = kept(), site / FOLDER
    if runtime is None:
        return
    networks = {
        found
        for page in site.rglob("*.html")
        for found in NETWORK.findall(page.read_text(encoding="utf-8"))
    }
    if not networks:
        return
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(runtime / name, target / name)
    shutil.copyfile(LICENSE, target / "LICENSE.txt")
    for name, sha256 in sorted(networks):
        weights = WEIGHTS / f"{name}.pt"
        if hashlib.sha256(weights.read_bytes()).hexdigest() != sha256:
            raise RuntimeError(
                f"{name}: a page shows an answer of other weights than the package has; execute "
                "its chapter again"
            )
        for file in network(name):
            copy = target / name.rpartition("/")[0] / file.name
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, copy)
