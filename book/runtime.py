"""What networks that run in the page need beside the pages: onnxruntime-web, and their files.

The runtime (MIT) comes from its registry by ``npm``, in one version with one checksum, and is kept
in the user's cache with the networks, which are written from the weights in the package.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from npm import NpmPackage, cache

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = NpmPackage(
    "onnxruntime-web",
    "1.30.0",
    "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
    ("dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"),
)
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
    runtime, target = RUNTIME.kept(), site / FOLDER
    if not runtime:
        return
    networks = {
        found
        for page in site.rglob("*.html")
        for found in NETWORK.findall(page.read_text(encoding="utf-8"))
    }
    if not networks:
        return
    target.mkdir(parents=True, exist_ok=True)
    for file in runtime:
        shutil.copyfile(file, target / file.name)
    shutil.copyfile(RUNTIME.license, target / "LICENSE.txt")
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
