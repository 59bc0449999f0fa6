"""Runs a notebook the way a reader's machine does: alone in an empty folder, without the network.

`execute` starts this file as a program of its own, so that the network can be taken away from it
and from the kernel: by an empty network namespace where the system allows one, and in any case by
Python sockets that refuse to leave the machine.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OFFLINE = """\
import socket
_connect = socket.socket.connect
def connect(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"the network is off: {address}")
    return _connect(self, address)
socket.socket.connect = connect
"""


def execute(notebook: Path, site: Path, python: Path | None = None, timeout: int = 300) -> dict:
    """Run a copy of a notebook in an empty folder.

    Args:
        notebook: the stored notebook; it is not touched.
        site: folder that holds an installed segedu; nothing else of the repository is importable.
        python: the kernel's Python, this one if not given.
        timeout: seconds per cell.

    Returns:
        The executed notebook.

    Raises:
        RuntimeError: a cell failed; the message holds its traceback.
    """
    with tempfile.TemporaryDirectory(prefix="alone") as home:  # short: sockets have short names
        empty, own = Path(home, "empty"), Path(home, "own")
        for folder in (empty, own):
            folder.mkdir()
        (own / "sitecustomize.py").write_text(OFFLINE)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV_"))}
        environment |= {
            "PYTHONPATH": os.pathsep.join(map(str, (site, own))),
            "JUPYTER_PATH": str(own),
            "IPYTHONDIR": str(own),
            "TQDM_DISABLE": "1",
        }
        command = [*_without_network(), sys.executable, __file__, notebook.resolve()]
        command += [python or sys.executable, home, timeout]
        done = subprocess.run(
            list(map(str, command)), cwd=empty, env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{notebook.name} does not run alone:\n{done.stderr[-3000:]}")
        return json.loads((own / "executed.ipynb").read_text(encoding="utf-8"))


def _without_network() -> list[str]:
    """A command prefix for an empty network namespace, or nothing where there is none."""
    prefix = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare"):
        return []
    return prefix if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0 else []


def _run_here(notebook: Path, python: str, home: Path, timeout: int) -> None:
    """Run the notebook in a kernel that is reached by files, not by the network."""
    import nbformat
    from nbclient import NotebookClient
    from traitlets.config import Config

    kernel = home / "own" / "kernels" / "alone"
    kernel.mkdir(parents=True)
    start = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    specification = {"argv": start, "display_name": "alone", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(specification))
    content = nbformat.read(notebook, as_version=4)
    client = NotebookClient(
        content,
        kernel_name="alone",
        timeout=timeout,
        config=Config({"KernelManager": {"transport": "ipc", "ip": str(home / "ipc")}}),
        resources={"metadata": {"path": str(home / "empty")}},
    )
    client.execute()
    nbformat.write(content, home / "own" / "executed.ipynb")


if __name__ == "__main__":
    _run_here(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
