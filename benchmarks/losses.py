"""Losses beside their peers: forward and backward, time and peak memory.

    python benchmarks/losses.py            # 4 x 21 x 512 x 512 logits
    python benchmarks/losses.py --quick    # small, no memory

Every peer of a loss computes the same function or one of the same cost; where the values differ is
in tests/losses/test_against_peers.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch.nn import functional as F

from benchmarks import race
from segedu import losses
from segedu.files import write_json

CLASSES = 21
PEERS = ("kornia.losses", "monai.losses", "segmentation_models_pytorch.losses", "segedu.losses")


def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (4, 21, size, size) and a label map of smooth regions."""
    g = torch.Generator().manual_seed(0)
    noise = torch.randn(4, CLASSES, 6, 6, generator=g)
    target = F.interpolate(noise, size=(size, size), mode="bicubic").argmax(1)
    return torch.randn(4, CLASSES, size, size, generator=g).requires_grad_(), target


def candidates(size: int) -> dict[str, dict[str, Callable[[], object]]]:
    """Loss -> candidate -> a run of forward and backward; ours first."""
    import kornia.losses as kornia
    import monai.losses as monai
    import segmentation_models_pytorch.losses as smp

    logits, target = batch(size)
    channel = target[:, None]
    softmax = {"softmax": True, "to_onehot_y": True, "batch": True}
    smp_dice, smp_tversky = (
        smp.DiceLoss("multiclass"),
        smp.TverskyLoss("multiclass", alpha=0.3, beta=0.7),
    )
    smp_focal, smp_lovasz = smp.FocalLoss("multiclass"), smp.LovaszLoss("multiclass")
    monai_dice, monai_both = monai.DiceLoss(**softmax), monai.DiceCELoss(**softmax)
    monai_tversky = monai.TverskyLoss(alpha=0.3, beta=0.7, **softmax)
    monai_focal = monai.FocalLoss(use_softmax=True, to_onehot_y=True)
    combined = losses.CombinedLoss(
        {"ce": (losses.CrossEntropyLoss(), 1.0), "dice": (losses.DiceLoss(), 1.0)}
    )

    def focal_by_cross_entropy(z: torch.Tensor) -> torch.Tensor:
        ce = F.cross_entropy(z, target, reduction="none")
        return ((1 - torch.exp(-ce)) ** 2 * ce).mean()

    formulas = {
        "cross entropy": {
            "segedu": lambda z: losses.CrossEntropyLoss()(z, target),
            "torch F.cross_entropy": lambda z: F.cross_entropy(z, target),
        },
        "Dice": {
            "segedu": lambda z: losses.DiceLoss()(z, target),
            "monai": lambda z: monai_dice(z, channel),
            "kornia": lambda z: kornia.dice_loss(z, target),
            "smp": lambda z: smp_dice(z, target),
        },
        "Tversky": {
            "segedu": lambda z: losses.TverskyLoss()(z, target),
            "monai": lambda z: monai_tversky(z, channel),
            "kornia": lambda z: kornia.tversky_loss(z, target, 0.3, 0.7),
            "smp": lambda z: smp_tversky(z, target),
        },
        "focal": {
            "segedu": lambda z: losses.FocalLoss()(z, target),
            "by F.cross_entropy": focal_by_cross_entropy,
            "monai": lambda z: monai_focal(z, channel),
            "kornia": lambda z: kornia.focal_loss(z, target, None, 2.0, "mean"),
            "smp (sigmoid)": lambda z: smp_focal(z, target),
        },
        "cross entropy + Dice": {
            "segedu": lambda z: combined(z, target),
            "torch F.cross_entropy alone": lambda z: F.cross_entropy(z, target),
            "monai": lambda z: monai_both(z, channel),
            "smp": lambda z: smp_dice(z, target) + F.cross_entropy(z, target),
        },
        "Lovász softmax": {
            "segedu": lambda z: losses.LovaszSoftmaxLoss()(z, target),
            "kornia": lambda z: kornia.lovasz_softmax_loss(z, target),
            "smp": lambda z: smp_lovasz(z, target),
        },
    }

    def step(formula: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], object]:
        def run() -> None:
            logits.grad = None
            formula(logits).backward()

        return run

    return {loss: {n: step(f) for n, f in peers.items()} for loss, peers in formulas.items()}


def peak(loss: str, name: str, size: int) -> int:
    """Bytes that one candidate adds to the logits at its peak."""
    candidates(16)[loss][name]()  # loads whatever is loaded on first use
    return race.measure_peak(candidates(size)[loss][name])


def main() -> None:
    parser = race.command_line(__doc__, "small maps, no memory, no file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="processor's time, not the wall's")
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    size = 128 if arguments.quick else arguments.size
    result = {
        "machine": race.busy_machine(),
        "clock": clock.__name__,
        "logits": [4, CLASSES, size, size],
        "losses": {},
    }
    logits_bytes = 4 * CLASSES * size * size * 4
    for loss, peers in candidates(size).items():
        rows = race.race(peers, arguments.rounds, clock)
        if not arguments.quick:
            for name, row in rows.items():
                added = race.in_new_process(peak, (loss, name, size), PEERS)
                row["peak_over_logits"] = round(added / logits_bytes, 2)
        result["losses"][loss] = rows
        race.show(loss, rows)
    if not arguments.quick:
        print(write_json(race.RESULTS / "losses.json", result))


if __name__ == "__main__":
    main()
