"""Environments for tests, without segedu and with it as pip installs it; proof of no change."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HELD = ("torch", "torchvision", "numpy", "PIL", "matplotlib", "ipywidgets")


def package_source(folder: Path) -> Path:
    """A copy of what a distribution of segedu is built from; building leaves traces in the copy."""
    without_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "segedu", folder / "segedu", ignore=without_caches)
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "README.md").write_text("segedu\n")
    return folder


def installed(folder: Path) -> Path:
    """A folder that holds segedu as pip installs it, and nothing else."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--target", folder / "site", package_source(folder / "source")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder / "site"


def without_segedu(folder: Path) -> Path:
    """The Python of an environment in which everything of this one is importable but segedu."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "python"], check=True)
    shared = folder / "shared"
    shared.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "segedu" not in entry.name and entry.suffix != ".pth":
            (shared / entry.name).symlink_to(entry)
    site = next((folder / "python").glob("lib/python*/site-packages"))
    (site / "shared.pth").write_text(f"{shared}\n")
    return folder / "python" / "bin" / "python"


def fingerprint() -> list[tuple[str, int, int]]:
    """Name, size and time of the files that tell whether a package was replaced."""
    purelib = Path(sysconfig.get_path("purelib"))
    files = [p for name in HELD for p in (purelib / name).glob("*.py")]
    files += [p for name in HELD for p in (purelib / name).glob("lib/*.so")]
    files += [p for name in HELD for p in purelib.glob(f"{name}-*.dist-info/RECORD")]
    assert len(files) > len(HELD)
    return [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(files)]
