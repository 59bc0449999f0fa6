"""A tiny detector and a training of it that tests start as a process of its own.

``python -m tests.toy_objects FOLDER`` trains for `Instance` in two processes and leaves scores and
weights in ``FOLDER/result.json``, what each process has in ``FOLDER/kept-RANK.json``, and what it
makes of the networks of `tests.sharing` in ``FOLDER/networks-RANK.json``.
"""

import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from segedu.engine import Semantic, Task, fit, make_loader, seed_everything
from segedu.engine.distributed import rank
from segedu.losses import AdaptiveFocalLoss
from segedu.models import get_model
from segedu.models.sam import Masks
from segedu.ops import masks_to_boxes
from segedu.tasks import Instance, Promptable
from tests import sharing
from tests.engine.toy_training import Stripes, toy_model


class Squares(Dataset):
    """One bright square on a dark ground in each image (3,12,12), which is an object of class 1."""

    def __init__(self, length: int = 12) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        mask = torch.zeros(12, 12, dtype=torch.bool)
        top, left = index % 4, index // 2 % 5
        mask[top : top + 5 + index % 3, left : left + 6] = True
        image = 0.2 + 0.6 * mask.float().repeat(3, 1, 1) + 0.1 * torch.randn(3, 12, 12)
        masks = mask[None]
        return {
            "image": image,
            "masks": masks,
            "boxes": masks_to_boxes(masks),
            "labels": torch.ones(1, dtype=torch.int64),
        }


class Detector(nn.Module):
    """Takes what is bright for one object; its loss is a mean over images."""

    def __init__(self) -> None:
        super().__init__()
        self.net = toy_model()

    def forward(self, images: list[Tensor], targets: list[dict] | None = None) -> Any:
        logits = [self.net(image[None])[0, 1] for image in images]  # (H,W) each
        if self.training:
            masks = [target["masks"][0].float() for target in targets]
            pairs = zip(logits, masks, strict=True)
            parts = [F.binary_cross_entropy_with_logits(*pair) for pair in pairs]
            return {
                "loss_mask": torch.stack(parts).mean(),
                "loss_size": 0.01 * torch.stack(logits).mean(),
            }
        found = [(x > 0)[None] if bool((x > 0).any()) else (x > x.max() - 1)[None] for x in logits]
        return [
            {
                "boxes": masks_to_boxes(mask),
                "labels": torch.ones(1, dtype=torch.int64),
                "scores": x.sigmoid().max()[None],
                "masks": mask,
            }
            for mask, x in zip(found, logits, strict=True)
        ]


class Clicked(nn.Module):
    """Answers every prompt with what has been clicked on so far: a square around each click."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.asked: list[dict] = []

    def embed(self, images: Tensor) -> Tensor:
        return images

    def segment(
        self, embeddings, size, *, points=None, labels=None, boxes=None, masks=None, multimask=True
    ):
        given = {"points": points, "labels": labels, "boxes": boxes, "masks": masks}
        self.asked.append(given | {"multimask": multimask})
        count = 3 if multimask else 1
        y, x = torch.arange(size[0])[:, None], torch.arange(size[1])
        logits = torch.full((len(points[0]), *size), -1.0)
        for row, places, signs in zip(logits, points[0], labels[0], strict=True):
            for place, sign in zip(places, signs, strict=True):
                near = torch.maximum((x - place[0]).abs(), (y - place[1]).abs()) <= 2
                row[near & (sign >= 0)] = 2.0 * sign - 1
        logits = logits[None, :, None].repeat(1, 1, count, 1, 1)
        return Masks(logits, torch.zeros(1, len(points[0]), count), logits[..., ::4, ::4])


def train(folder: Path | None = None, **settings: Any) -> tuple[list[dict[str, Any]], nn.Module]:
    """A short training; records and network."""
    torch.set_num_threads(1)
    model, task = Detector(), Instance()
    loaders = [
        make_loader(Squares(size), batch, shuffle=shuffle, seed=3, collate_fn=task.collate)
        for size, batch, shuffle in ((16, 4, True), (7, 2, False))
    ]
    history = fit(
        model,
        loaders[0],
        task=task,
        val_loader=loaders[1],
        optimizer=torch.optim.AdamW(model.parameters(), lr=0.02),
        device="cpu",
        checkpoint_dir=folder,
        seed=3,
        **({"epochs": 4} | settings),
    )
    return history.records, model


SMALL = {"base_width": 4, "channels": 8, "box_width": 8, "mask_width": 8}
NETWORKS = (
    (lambda: get_model("mask_rcnn_tiny", 2, **SMALL), Instance()),
    (lambda: get_model("sam_tiny", image_size=32, layers=1), Promptable(2)),
)


def uneven(build: Callable[[], nn.Module], task: Task) -> list[float]:
    """Weights after a step in which only one of two processes has an object to learn from."""
    some = Squares(1)[0]
    none = {key: value if key == "image" else value[:0] for key, value in some.items()}
    loader = make_loader([some, none], 2, shuffle=True, collate_fn=task.collate)
    seed_everything(0)
    model = build()
    fit(model, loader, task=task, epochs=2, device="cpu")
    return [p.double().sum().item() for p in model.parameters()]


def main(folder: Path) -> None:
    """Train for `Instance`, with statistics of batches, and where processes see other parts."""
    records, model = train(folder)
    if rank() == 0:
        weights = torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()
        (folder / "result.json").write_text(json.dumps({"records": records, "weights": weights}))
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    task = Semantic(AdaptiveFocalLoss())
    loader = make_loader(Stripes(8, noise=True), 4, shuffle=True)
    fit(network, loader, task=task, epochs=2, device="cpu", ema_decay=0.5)
    kept = [b.tolist() for module in (network, task) for b in module.buffers()]
    kept += [uneven(*pair) for pair in NETWORKS]
    (folder / f"kept-{rank()}.json").write_text(json.dumps(kept))
    (folder / f"networks-{rank()}.json").write_text(json.dumps(sharing.main()))


def in_two_processes(work: Callable[[Path], None], folder: Path) -> bool:
    """Whether two processes end well that know of each other as torchrun tells, but import nothing.

    If one of them fails, the other, which may wait for it, is killed.
    """
    importlib.import_module("torch._dynamo")  # else an optimizer's first step does: seconds
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    numbers = set()
    for place in ("0", "1"):
        number = os.fork()
        if number == 0:
            os.environ.update(told, RANK=place, LOCAL_RANK=place)
            work(folder)
            os._exit(0)
        numbers.add(number)
    well = True
    while numbers:
        number, status = os.wait()
        numbers.remove(number)
        if status:
            well = False
            for other in numbers:
                os.kill(other, signal.SIGKILL)
    return well


if __name__ == "__main__":
    sys.exit(not in_two_processes(main, Path(sys.argv[1])))
