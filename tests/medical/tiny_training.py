"""A tiny project on scans, trained in processes that a test may kill.

``python -m tests.medical.tiny_training DATA`` reads folders from its input and forks a process for
each. It trains there, going on from what is there, logs each epoch's loss to
``losses.txt`` as it comes, and leaves history and weights in ``result.json``.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segedu.engine import load_checkpoint
from segedu.medical.config import ProjectConfig
from segedu.medical.project import train
from segedu.medical.scans import write_decathlon
from segedu.medical.volume import Volume
from tests.engine.toy_training import serve

CONFIG = ProjectConfig(
    base_width=2,
    stages=2,
    patch=(4, 8, 8),
    epochs=10,
    patches=4,
    batch_size=2,
    shares=(0.4, 0.3, 0.3),
)


def write_scans(data: Path) -> None:
    """Three scans of noise around a bright block."""
    rng = np.random.default_rng(0)
    scans = []
    for number in range(3):
        mask = np.zeros((6, 10, 10), np.uint8)
        mask[2:4, 3:7, 3:7] = 1
        image = (100 * mask + rng.normal(0, 10, mask.shape)).astype(np.float32)
        scans.append((f"scan_{number}", Volume(image), Volume(mask)))
    write_decathlon(data, scans, CONFIG.classes)


def main(data: Path, out: Path) -> None:
    """Train for a few epochs, going on from what is there."""
    torch.set_num_threads(1)

    def log(record: dict[str, Any]) -> None:
        with open(out / "losses.txt", "a") as file:
            file.write(f"{record['epoch']} {record['loss'].hex()}\n")

    history = train(data, out, CONFIG, resume=True, device="cpu", on_epoch=log)
    weights = {name: _weights(out / name) for name in ("best.pt", "last.pt")}
    result = {"records": history.records, **weights}
    (out / "result.json").write_text(json.dumps(result))


def _weights(path: Path) -> list[float]:
    return torch.cat([t.flatten() for t in load_checkpoint(path)["model"].values()]).tolist()


if __name__ == "__main__":
    serve(lambda out: main(Path(sys.argv[1]), out))
