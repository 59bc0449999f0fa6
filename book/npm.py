"""Files of packages that pages load in a browser: from their registry by ``npm``, once.

A package has one version with one checksum; what is needed of it is kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple


def cache() -> Path:
    """The folder in which downloads and networks are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segedu"


class NpmPackage(NamedTuple):
    """A package, and the files of it that are needed."""

    name: str
    version: str
    sha256: str  #: of the archive
    files: tuple[str, ...]  #: paths in the package

    @property
    def title(self) -> str:
        """Name and version, as the archive is called."""
        return f"{self.name}-{self.version}"

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return cache() / "npm" / self.title

    @property
    def license(self) -> Path:
        """Its licence, a file of this repository."""
        return Path(__file__).parent / "licenses" / f"{self.title}.txt"

    def kept(self) -> list[Path]:
        """The files, in the order of `files`; none, if they were not fetched."""
        found = [self.folder / file for file in self.files]
        return found if all(path.is_file() for path in found) else []

    def fetch(self) -> str:
        """Fetch the package, if it is not in the cache.

        Returns:
            Nothing, or why it is not there, in one line.
        """
        if self.kept():
            return ""
        if not (npm := shutil.which("npm")):
            return "npm is not installed"
        command = [npm, "pack", f"{self.name}@{self.version}", "--silent", "--fetch-retries=0"]
        with tempfile.TemporaryDirectory() as folder:
            try:
                subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=300)
                archive = Path(folder, f"{self.title}.tgz")
                data = archive.read_bytes()
            except (OSError, subprocess.SubprocessError):
                return f"npm could not fetch {self.name}@{self.version}"
            if hashlib.sha256(data).hexdigest() != self.sha256:
                return f"{archive.name} is not the file that was expected (sha256)"
            self._unpack(archive)
        return ""

    def _unpack(self, archive: Path) -> None:
        """Put the files into the cache: the folder appears whole or not at all."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=self.folder.parent) as folder,
            tarfile.open(archive) as package,
        ):
            whole = Path(folder, self.title)
            for file in self.files:
                source = package.extractfile(f"package/{file}")
                assert source is not None
                (whole / file).parent.mkdir(parents=True, exist_ok=True)
                (whole / file).write_bytes(source.read())
            shutil.rmtree(self.folder, ignore_errors=True)
            try:
                whole.rename(self.folder)
            except OSError:  # another build was faster
                if not self.kept():
                    raise
