"""The service under load: 8 clients for a minute, and hostile requests meanwhile.

    python benchmarks/serve.py            # writes book/results/serve.json; three minutes
    python benchmarks/serve.py --quick    # three seconds, no file

An untrained U-Net of 16 channels answers scenes of 192 x 256 pixels in PNG files. A client sends
the next one as soon as it has its answer, so that the service is never idle. The hostile requests
come one after the other in a second minute of the same load.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image

from benchmarks import race
from segedu.cli import main as command
from segedu.data.scenes import CLASSES, SceneConfig, generate
from segedu.engine import save_checkpoint
from segedu.files import write_json
from segedu.models import get_model
from segedu.serve.limits import Limits

CLIENTS, SECONDS, PICTURES = 8, 60.0, 16
SETTINGS = {"base_width": 16, "depth": 4}
SIZE = (192, 256)
MIB = 2**20


class Load(NamedTuple):
    """What clients saw in some seconds."""

    statuses: Counter[int]
    milliseconds: list[float]
    """Of the answers with status 200."""
    wrong: int
    """Answers that were not the expected mask, up to `ROUNDING` of its pixels."""
    memory: list[int]
    """Bytes that the service held, once a second."""
    worked: float
    """Seconds that threads of the service ran."""
    waited: float
    """Seconds that threads of the service were ready to run, but other programs had the cores."""


#: Share of pixels that may differ: where two classes are equal but for the last digits.
ROUNDING = 1e-3


@contextlib.contextmanager
def service(file: Path, *more: str) -> Iterator[tuple[int, int]]:
    """``segedu serve`` in a process of its own; yields its port and the number of the process."""
    arguments = [sys.executable, "-m", "segedu", "serve", str(file), "--port", "0", *more]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        yield port_of(process), process.pid
    finally:
        process.terminate()
        status = process.wait(60)
    if status:
        raise RuntimeError(f"the service ended with status {status}")


def port_of(process: subprocess.Popen[str]) -> int:
    """The port that ``segedu serve`` prints when it is ready.

    Raises:
        RuntimeError: if it ended before that.
    """
    for line in process.stdout:
        if found := re.search(r"http://[\d.]+:(\d+)/", line):
            return int(found[1])
    raise RuntimeError(f"the service ended with status {process.wait(60)}")


def load(
    port: int, pid: int, bodies: Sequence[bytes], masks: Sequence[np.ndarray], seconds: float
) -> Load:
    """Clients that ask without a pause, for some seconds.

    Args:
        port: of the service.
        pid: of its process.
        bodies: PNG files, sent in turn.
        masks: the answer to each of them.
        seconds: how long.
    """
    statuses: Counter[int] = Counter()
    times: list[float] = []
    wrong: list[int] = []
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            number = (number + 1) % len(bodies)
            start = time.perf_counter()
            connection.request("POST", "/predict", bodies[number], {"Content-Type": "image/png"})
            answer = connection.getresponse()
            body = answer.read()
            statuses[answer.status] += 1
            if answer.status == 200:
                times.append(1000 * (time.perf_counter() - start))
                found = np.asarray(Image.open(io.BytesIO(body)))
                wrong.append(int((found != masks[number]).mean() > ROUNDING))
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    before = scheduled(pid)
    for thread in threads:
        thread.start()
    memory = []
    while time.monotonic() < end:
        memory.append(resident(pid))
        time.sleep(1)
    for thread in threads:
        thread.join()
    worked, waited = (now - old for now, old in zip(scheduled(pid), before, strict=True))
    return Load(statuses, times, sum(wrong), memory, worked, waited)


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return os.sysconf("SC_PAGE_SIZE") * pages


def scheduled(pid: int) -> tuple[float, float]:
    """Seconds that the threads of a process have run, and that they were ready and had to wait."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    rows = [[int(word) / 1e9 for word in task.read_text().split()] for task in tasks]
    return sum(row[0] for row in rows), sum(row[1] for row in rows)


def prepare(folder: Path, size: tuple[int, int], settings: Mapping[str, Any]) -> Path:
    """An exported network, and pictures beside it with the masks of ``segedu predict``."""
    torch.manual_seed(0)
    model = get_model("unet", len(CLASSES), **settings)
    about = {"classes": [c.name for c in CLASSES], "colors": [list(c.color) for c in CLASSES]}
    state = {"model": model.state_dict(), "network": model.built_as, "config": about}
    save_checkpoint(folder / "best.pt", {**state, "history": []})
    (folder / "pictures").mkdir()
    for seed in range(PICTURES):
        picture = Image.fromarray(generate(seed, SceneConfig(size=size)).image)
        picture.save(folder / "pictures" / f"{seed:02d}.png")
    checkpoint = ["--checkpoint", str(folder / "best.pt")]
    run(["export", *checkpoint, "--out", str(folder / "unet.onnx")])
    run(["predict", str(folder / "pictures"), *checkpoint, "--out", str(folder / "out")])
    return folder / "unet.onnx"


def run(arguments: list[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        if command(arguments):
            raise RuntimeError(f"segedu {arguments[0]} failed")


def summary(seen: Load) -> dict[str, Any]:
    """The numbers of a load."""
    p50, p99 = (round(float(np.percentile(seen.milliseconds, q)), 1) for q in (50, 99))
    steady = seen.memory[len(seen.memory) // 6 :]  # after the first pictures
    return {
        "requests": seen.statuses.total(),
        "statuses": {str(status): count for status, count in sorted(seen.statuses.items())},
        "wrong": seen.wrong,
        "p50_ms": p50,
        "p99_ms": p99,
        "p99_over_p50": round(p99 / p50, 2),
        "worked_s": round(seen.worked, 1),
        "waited_s": round(seen.waited, 1),
        "memory_mib": round(max(steady) / MIB),
        "memory_change": round(max(steady) / min(steady) - 1, 3),
    }


def attack(port: int) -> Counter[str]:
    """The hostile requests of the tests, one after the other: how many ended how."""
    from tests.serve.hostile import requests
    from tests.serve.serving import answered

    outcomes: Counter[str] = Counter()
    for request, allowed in requests(Limits.body, Limits.pixels).values():
        try:
            status = answered(port, request)
        except TimeoutError:
            outcomes["hang"] += 1
            continue
        known = status in allowed or status == 429
        outcomes["answered" if status == 200 else "refused" if known else f"odd {status}"] += 1
    return outcomes


def main() -> None:
    quick = race.command_line(__doc__, "three seconds, no file").parse_args().quick
    seconds = 3.0 if quick else SECONDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = prepare(folder, SIZE, SETTINGS)
        names = sorted((folder / "pictures").iterdir())
        bodies = [name.read_bytes() for name in names]
        masks = [np.asarray(Image.open(folder / "out" / "mask" / name.name)) for name in names]
        with service(file) as (port, pid):
            load(port, pid, bodies, masks, seconds / 3)  # batches of every size, memory for them
            plain = load(port, pid, bodies, masks, seconds)
            attacked: list[Counter[str]] = []
            attacker = threading.Thread(target=lambda: attacked.append(attack(port)))
            attacker.start()
            besieged = load(port, pid, bodies, masks, seconds)
            attacker.join()
    result = {
        "command": "python benchmarks/serve.py",
        "machine": race.busy_machine(),
        "network": {"name": "unet", **SETTINGS, "size": list(SIZE)},
        "clients": CLIENTS,
        "seconds": seconds,
        "load": summary(plain),
        "load_under_attack": summary(besieged),
        "attack": dict(sorted(attacked[0].items())),
    }
    print(result)
    if not quick:
        print(write_json(race.RESULTS / "serve.json", result))


if __name__ == "__main__":
    main()
