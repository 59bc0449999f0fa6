"""A place where the code of a submission may do what it likes: no network, no files, no time.

`Sandbox` starts `segedu.teaching.worker` in bubblewrap: it sees Python, the package without its
checks, and an empty folder in memory; it has no network, no other processes and none of its own;
time, memory and files are limited. A container does as well; a plain process only for code that
one trusts. Only values of `segedu.teaching.wire` come out.
"""

import builtins
import os
import platform
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

import segedu
from segedu.teaching import wire

PACKAGE = Path(segedu.__file__).resolve().parent
WORKER = ["-m", "segedu.teaching.worker"]
START_SECONDS = 120.0  # to import torch, on a busy machine
GRACE_SECONDS = 10.0  # after a submission's own alarm, which it may have switched off
MISSING = (
    "bubblewrap is not installed (apt-get install bubblewrap): install it, give --container a "
    "command, or --trust the submissions"
)


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        seconds: for one cell, or one call of a function.
        total_seconds: for everything.
        memory: bytes of address space.
        files: bytes of all files together.
        processes: how many, where the machine cannot forbid them all.
    """

    seconds: float = 20.0
    total_seconds: float = 120.0
    memory: int = 8 * 2**30
    files: int = 64 * 2**20
    processes: int = 64


class SandboxError(RuntimeError):
    """The sandbox is gone: out of time, killed, or it sent what is no message."""


def bubblewrap(limits: Limits) -> list[str]:
    """The command that runs a Python in bubblewrap; its seccomp filter is on file descriptor 9.

    Raises:
        FileNotFoundError: it is not installed.
    """
    if not shutil.which("bwrap"):
        raise FileNotFoundError(MISSING)
    checks = PACKAGE / "teaching" / "checks"
    inside = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "agg",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(PACKAGE.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TQDM_DISABLE": "1",
    }
    seen = ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/fonts"]
    seen += [str(Path(sys.base_prefix).resolve()), str(Path(sys.prefix).resolve()), str(PACKAGE)]
    folder = ["--size", str(limits.files), "--tmpfs"]
    command = [
        *("prlimit", f"--as={limits.memory}", f"--fsize={limits.files}"),
        *(f"--nproc={limits.processes}", "--core=0"),
        *("bwrap", "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000"),
        *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"),
        *("--proc", "/proc", "--dev", "/dev", *folder, "/tmp"),
    ]
    for path in seen:
        command += ["--ro-bind-try", path, path]
    command += [*folder, str(checks), "--chdir", "/tmp"]
    for path in (str(checks), "/dev", "/"):  # only /tmp can be written to
        command += ["--remount-ro", path]
    for name, value in inside.items():
        command += ["--setenv", name, value]
    if no_processes():
        command += ["--seccomp", "9"]
    return [*command, str(Path(sys.prefix).resolve() / "bin" / "python")]


def no_processes() -> bytes:
    """A seccomp filter (classic BPF) by which threads start and processes do not.

    Limits of the number of processes do not hold for the administrator, as whom graders often run.
    Empty for processors that are not known here.
    """
    numbers = {  # architecture; clone, clone3; what only starts processes
        "x86_64": (0xC000003E, 56, 435, (57, 58)),
        "aarch64": (0xC00000B7, 220, 435, ()),
    }
    if platform.machine() not in numbers:
        return b""
    architecture, clone, clone3, forks = numbers[platform.machine()]
    load, equal, above, bits, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, not_permitted, no_such_call = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
    program = [
        (load, 0, 0, 4),
        (equal, 1, 0, architecture),
        (give, 0, 0, kill),
        (load, 0, 0, 0),
        (above, 0, 1, 0x40000000),  # the other numbering of x86-64
        (give, 0, 0, not_permitted),
        (equal, 0, 1, clone3),  # its flags cannot be read; C libraries then use clone
        (give, 0, 0, no_such_call),
    ]
    for number in forks:
        program += [(equal, 0, 1, number), (give, 0, 0, not_permitted)]
    program += [
        (equal, 1, 0, clone),
        (give, 0, 0, allow),
        (load, 0, 0, 16),
        (bits, 0, 1, 0x00010000),  # CLONE_THREAD
        (give, 0, 0, allow),
        (give, 0, 0, not_permitted),
    ]
    return b"".join(struct.pack("<HBBI", *step) for step in program)


class Sandbox:
    """A submission's Python, behind walls.

    Args:
        limits: what it may use.
        container: command that starts a Python inside a container, with its standard input and
            output; else bubblewrap.
        trust: a plain process, without any walls.

    Raises:
        FileNotFoundError: bubblewrap is not installed and nothing else was chosen.
        OSError: it does not start.
    """

    def __init__(
        self, limits: Limits, *, container: tuple[str, ...] = (), trust: bool = False
    ) -> None:
        self.limits = limits
        self._walls = (
            list(container) if container else [sys.executable] if trust else bubblewrap(limits)
        )
        self._filter = b"" if container or trust else no_processes()
        self.failure = ""  # why it is gone

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()  # where a plain process works
        command = [*self._walls, *WORKER, str(self.limits.seconds)]
        folder = Path(self._folder.name)
        if self._filter:
            (folder / "filter").write_bytes(self._filter)
            command = ["sh", "-c", 'exec "$@" 9<filter', "sh", *command]
        environment = os.environ | {"MPLBACKEND": "agg", "PYTHONPATH": str(PACKAGE.parent)}
        with (folder / "said").open("wb") as said:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        self._end = time.monotonic() + START_SECONDS
        try:
            self._answer(self._end)
        except SandboxError as error:
            said = (folder / "said").read_text(errors="replace").strip().split("\n")[-1]
            self.__exit__()
            raise OSError(f"the sandbox does not start: {error} ({said})") from None
        self._end = time.monotonic() + self.limits.total_seconds
        return self

    def __exit__(self, *error: object) -> None:
        self._kill()
        self._folder.cleanup()

    def run(self, source: str) -> str:
        """Execute a cell; returns the kind and the message of what it raised, or nothing."""
        try:
            self._ask({"run": source})
        except SandboxError:
            raise
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def get(self, expression: str) -> Any:
        """A value; a function is one that is called inside.

        Raises:
            Exception: what evaluating it raised, as a built-in exception.
        """
        value = self._ask({"get": expression})
        if value is not wire.FUNCTION:
            return value
        return lambda *arguments: self._ask({"call": expression, "arguments": [*arguments]})

    def keep(self, key: str) -> None:
        """Note what all names of the notebook mean now."""
        self._ask({"keep": key})

    def restore(self, key: str) -> None:
        """Bring back what `keep` noted."""
        self._ask({"restore": key})

    def _ask(self, request: dict[str, Any]) -> Any:
        if self.failure:
            raise SandboxError(self.failure)
        end = min(self._end, time.monotonic() + self.limits.seconds + GRACE_SECONDS)
        try:
            self._write(wire.pack(request), end)
        except (SandboxError, OSError) as error:
            self._fail(error)
        return self._answer(end)

    def _answer(self, end: float) -> Any:
        try:
            tree, body = wire.sizes(self._read(wire.HEAD, end))
            answer = wire.unpack(self._read(tree, end), self._read(body, end))
            if not isinstance(answer, dict) or not answer.keys() & {"ok", "error"}:
                raise SandboxError("it sent what is no answer")
        except (SandboxError, wire.WireError, OSError) as error:
            self._fail(error)
        if "error" in answer:
            raise _builtin(answer["error"])(str(answer.get("message", "")))
        return answer["ok"]

    def _fail(self, error: Exception) -> NoReturn:
        self.failure = str(error)
        self._kill()
        raise SandboxError(self.failure) from None

    def _write(self, message: bytes, end: float) -> None:
        stream, rest = self._process.stdin.fileno(), memoryview(message)
        os.set_blocking(stream, False)
        while rest:
            self._wait([], [stream], end)
            try:
                rest = rest[os.write(stream, rest[: 2**16]) :]
            except BrokenPipeError:
                raise SandboxError(self._gone()) from None

    def _read(self, count: int, end: float) -> bytes:
        stream, parts = self._process.stdout.fileno(), bytearray()
        while len(parts) < count:
            self._wait([stream], [], end)
            part = os.read(stream, min(count - len(parts), 2**20))
            if not part:
                raise SandboxError(self._gone())
            parts += part
        return bytes(parts)

    def _wait(self, read: list[int], write: list[int], end: float) -> None:
        left = end - time.monotonic()
        if left <= 0 or not any(select.select(read, write, [], left)):
            raise SandboxError("out of time")

    def _gone(self) -> str:
        return f"it ended by itself, with status {self._process.wait()}"

    def _kill(self) -> None:
        """End it and all that it started; in bubblewrap the kernel does so with the first one."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


def _builtin(kind: Any) -> type[Exception]:
    """The built-in exception of that name, so that a name cannot say anything else."""
    found = getattr(builtins, str(kind), RuntimeError)
    return found if isinstance(found, type) and issubclass(found, Exception) else RuntimeError
