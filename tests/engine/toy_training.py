"""A tiny data set and model, and a training that tests start as a process of its own.

``python toy_training.py FOLDER`` (or under torchrun) trains, logs each epoch's loss to
``FOLDER/losses.txt`` as it comes, and leaves the scores in ``FOLDER/result.json``.
``python toy_training.py --serve`` reads folders from its input and forks a process for each.
"""

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

from segedu.engine import fit, make_loader
from segedu.engine.distributed import rank
from segedu.metrics import SemanticMetrics

LOSS = nn.CrossEntropyLoss()


class Stripes(Dataset):
    """Bright rows on a dark ground, (3,8,8) images whose brightness is the class; easy to learn."""

    def __init__(self, length: int = 12, noise: bool = False) -> None:
        self.length, self.noise = length, noise

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        rows = (torch.arange(8) + index) % (2 + index % 3) == 0
        mask = rows[:, None].repeat(1, 8).long()  # (8,8)
        image = mask.float().repeat(3, 1, 1) * 2 - 0.5  # (3,8,8)
        if self.noise:  # augmentation: a random number of this epoch and sample
            image = image + 0.3 * torch.randn(image.shape)
        return {"image": image, "mask": mask}


def toy_model(dropout: float = 0.0) -> nn.Module:
    """The same small weights at every call; group normalisation, which does not mix samples."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.GroupNorm(2, 8),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(8, 2, 1),
        )


def train(folder: Path, dropout: float) -> None:
    """Train for a few epochs, going on from what is there."""
    torch.set_num_threads(1)
    model = toy_model(dropout)

    def log(record: dict) -> None:
        if rank() == 0:
            with open(folder / "losses.txt", "a") as file:
                file.write(f"{record['epoch']} {record['loss'].hex()}\n")

    history = fit(
        model,
        make_loader(Stripes(16, noise=True), 8, shuffle=True, seed=5),
        LOSS,
        epochs=6,
        optimizer=torch.optim.AdamW(model.parameters(), lr=0.01),
        # 7 samples: two processes get unequal shares of the validation
        val_loader=make_loader(Stripes(7), 2),
        metric=SemanticMetrics(2),
        device="cpu",
        checkpoint_dir=folder,
        resume=True,
        on_epoch=log,
        seed=5,
    )
    if rank() == 0:
        weights = torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()
        result = {"records": history.records, "weights": weights}
        (folder / "result.json").write_text(json.dumps(result))


def main(folder: Path) -> None:
    """Dropout draws by rank, so it is for one process only."""
    train(folder, dropout=0.0 if "WORLD_SIZE" in os.environ else 0.3)


def serve(train: Callable[[Path], None]) -> None:
    """Train in processes that need not import anything: prints each one's number, then its status.

    This process never trains itself: the threads of a training, and the locks that they hold, do
    not survive a fork, and its children would wait for them for ever.
    """
    importlib.import_module("torch._dynamo")  # what the first step of an optimizer imports
    gc.collect()
    gc.freeze()  # else each process copies, page by page, what its collector looks at
    while line := sys.stdin.readline():
        number = os.fork()
        if number == 0:
            train(Path(line.strip()))
            os._exit(0)
        print(number, flush=True)
        print(os.waitpid(number, 0)[1], flush=True)


if __name__ == "__main__":
    serve(main) if sys.argv[1] == "--serve" else main(Path(sys.argv[1]))
