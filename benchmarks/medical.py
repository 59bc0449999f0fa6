"""Resampling, surface metrics and sliding windows beside MONAI and SimpleITK, on a drawn CT.

    python benchmarks/medical.py             # 61 slices of 161 x 161, a network on 64 x 96 x 96
    python benchmarks/medical.py --quick     # small, no file

All do the same work and their results are compared before they are timed. What differs is said
where it is compared.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from monai.transforms import Spacing
from torch import Tensor, nn

from benchmarks import race
from segedu.engine import sliding_window
from segedu.files import write_json
from segedu.medical.phantom import Phantom, PhantomConfig, generate
from segedu.medical.volume import Volume
from segedu.metrics import surface_distances
from segedu.models import get_model

Race = Callable[[dict[str, Callable[[], object]], int], dict[str, dict]]
SPACING, WANTED = (3.0, 1.3, 1.3), (2.0, 1.7, 1.7)  # mm; no new voxel half-way between two old ones
TOLERANCE_MM = 2.0  # of the surface Dice


def draw(quick: bool) -> Phantom:
    """A chest, drawn coarsely and then called as finely sampled as a real one."""
    shape = (21, 61, 61) if quick else (61, 161, 161)
    spacing = (12.0, 5.2, 5.2) if quick else (4.0, 2.0, 2.0)
    drawn = generate(0, PhantomConfig(shape, spacing, supersample=1))
    image, lungs = (Volume(v.array, SPACING) for v in (drawn.image, drawn.lungs))
    return drawn._replace(image=image, lungs=lungs)


def by_itk(volume: Volume, grid: Volume, interpolator: int) -> Callable[[], np.ndarray]:
    """Resampling by SimpleITK, which gives x before y before z; images are made beforehand."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing[::-1])
    how = [interpolator, grid.origin, grid.spacing[::-1], (1, 0, 0, 0, 1, 0, 0, 0, 1), 0.0]

    def run() -> np.ndarray:
        result = sitk.Resample(image, grid.shape[::-1], sitk.Transform(), *how)
        return sitk.GetArrayFromImage(result)

    return run


def by_monai(volume: Volume, mode: str, dtype: type) -> Callable[[], np.ndarray]:
    image = MetaTensor(
        torch.from_numpy(volume.array)[None], torch.diag(torch.tensor((*SPACING, 1)))
    )
    change = Spacing(WANTED, mode=mode, dtype=dtype)
    return lambda: change(image).numpy()[0]


def resampling(drawn: Phantom, rounds: int, compare: Race) -> dict:
    """To another spacing, on the grid of MONAI's Spacing: the first voxel keeps its centre."""
    image = drawn.image.with_array(drawn.image.array.astype(np.float32))
    shape = [
        round((n - 1) * s / w) + 1 for n, s, w in zip(image.shape, SPACING, WANTED, strict=True)
    ]
    grid = Volume(np.broadcast_to(np.False_, shape), WANTED)
    result = {"from": image.shape, "to": grid.shape}
    cases = {
        # SimpleITK reckons in float64 and rounds at the end; MONAI's default does so too
        "linear": (image, "bilinear", sitk.sitkLinear, 0.01),
        "nearest": (drawn.lungs, "nearest", sitk.sitkNearestNeighbor, 0),
    }
    for name, (volume, mode, interpolator, tolerance) in cases.items():
        labels = name == "nearest"
        candidates = {
            "segedu": lambda v=volume, n=labels: v.resample_to(grid, labels=n).array,
            "MONAI Spacing, float64 (default)": by_monai(volume, mode, np.float64),
            "MONAI Spacing, float32": by_monai(volume, mode, np.float32),
            "SimpleITK Resample": by_itk(volume, grid, interpolator),
        }
        ours = candidates["segedu"]().astype(float)
        for peer, run in candidates.items():
            # in float32 MONAI's grid_sample places a voxel to 1e-5 of its neighbour's distance only
            allowed = 0.5 if peer.endswith("float32") and not labels else tolerance
            assert np.abs(ours - run()).max() <= allowed, (name, peer)
        result[name] = compare(candidates, rounds)
        race.show(f"resampling, {name}", result[name])
    return result


def surfaces(drawn: Phantom, rounds: int, compare: Race) -> dict:
    """Distances between a lung and the same lung a few voxels away, as all of them define it.

    HD95 is the larger of the two directed percentiles, MONAI's definition; ours by default pools
    both directions. Every MONAI function finds the surfaces and their distances anew.
    """
    target = torch.from_numpy(drawn.lungs.array == 1)
    pred = target.roll((1, 3, -2), (0, 1, 2))
    batch = {"y_pred": pred[None, None], "y": target[None, None], "spacing": SPACING}
    batch["include_background"] = True

    def ours(hd95_only: bool) -> tuple[float, ...]:
        found = surface_distances(pred, target, SPACING)
        hd95 = found.percentile(95, "max")
        if hd95_only:
            return (hd95,)
        return hd95, found.hausdorff(), found.average(), found.dice(TOLERANCE_MM)

    def monai(hd95_only: bool) -> tuple[Tensor, ...]:
        hd95 = compute_hausdorff_distance(**batch, percentile=95)
        if hd95_only:
            return (hd95,)
        return (
            hd95,
            compute_hausdorff_distance(**batch),
            compute_average_surface_distance(**batch, symmetric=True),
            compute_surface_dice(**batch, class_thresholds=[TOLERANCE_MM]),
        )

    assert np.allclose(ours(False), [x.item() for x in monai(False)], rtol=1e-5)
    result = {"mask_voxels": int(target.sum())}
    for name, only in {"HD95": True, "HD95, HD, ASSD, surface Dice": False}.items():
        candidates = {
            "segedu": functools.partial(ours, only),
            "MONAI": functools.partial(monai, only),
        }
        result[name] = compare(candidates, rounds)
        race.show(name, result[name])
    return result


def windows(quick: bool, rounds: int, compare: Race) -> dict:
    """Half-overlapping windows with Gaussian weights over a volume.

    Both get a model that answers with probabilities, as MONAI averages what it is given. MONAI
    raises weights to 1e-3 at least, which in 3-D is most of a window; ours go on falling, as
    nnU-Net's do. So the results are compared with our weights given to MONAI, and ``difference``
    is the largest one with its own.
    """
    size, window = ((24, 40, 40), (16, 32, 32)) if quick else ((64, 96, 96), (32, 64, 64))
    image = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    network = get_model("nnunet", 3, base_width=4, stages=3, dimensions=3).eval()
    distances = [(torch.arange(n) - (n - 1) / 2) / (n / 8) for n in window]
    weights = torch.exp(-sum(x**2 for x in torch.meshgrid(*distances, indexing="ij")) / 2)
    result = {"volume": size, "window": window, "overlap": 0.5, "difference": {}}
    models = {"3-D nnU-Net of width 4": network, "1 x 1 x 1 convolution": nn.Conv3d(1, 3, 1)}
    for name, model in models.items():

        def answer(x: Tensor, model: nn.Module = model) -> Tensor:
            return model(x).softmax(1)

        def ours(at_once: int, answer: Callable = answer) -> Tensor:
            how = {"overlap": 0.5, "activation": nn.Identity(), "at_once": at_once}
            return sliding_window(answer, image, window, **how)

        def theirs(batch: int, answer: Callable = answer, **more: Tensor) -> Tensor:
            how = (batch, answer, 0.5, "gaussian", 0.125)
            return sliding_window_inference(image, window, *how, **more)

        with torch.inference_mode():
            assert (ours(1) - theirs(1, roi_weight_map=weights)).abs().max() < 1e-5
            result["difference"][name] = round((ours(1) - theirs(1)).abs().max().item(), 4)
            candidates = {
                "segedu": functools.partial(ours, 1),
                "MONAI": functools.partial(theirs, 1),
                "segedu, 4 windows at once": functools.partial(ours, 4),
                "MONAI, 4 windows at once": functools.partial(theirs, 4),
            }
            result[name] = compare(candidates, rounds)
        race.show(f"sliding window, {name}", result[name])
    return result


def main() -> None:
    parser = race.command_line(__doc__, "small data, no file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="processor's time, not the wall's")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    compare = functools.partial(race.race, clock=clock)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(torch.get_num_threads())
    drawn = draw(arguments.quick)
    result = {
        "machine": race.busy_machine(),
        "clock": clock.__name__,
        "resampling": resampling(drawn, arguments.rounds, compare),
        "surfaces": surfaces(drawn, arguments.rounds, compare),
        "windows": windows(arguments.quick, arguments.rounds, compare),
    }
    if not arguments.quick:
        print(write_json(race.RESULTS / "medical_benchmark.json", result))


if __name__ == "__main__":
    main()
