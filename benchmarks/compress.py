"""Smaller and faster: eight bits, pruned channels, a teacher; what each costs and brings.

    python benchmarks/compress.py            # writes book/results/compress.json; 5 minutes
    python benchmarks/compress.py --quick    # seconds of training, no file

The teacher is a U-Net of width 16, trained on scenes of 64 x 64 pixels and judged on others. Times
are those of one thread and one picture; all candidates of a network take turns in one process, and
the processor's time is counted, which other programs disturb less.
"""

from __future__ import annotations

import copy
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from onnxruntime import quantization
from torch import Tensor, nn
from torch.nn.utils import prune

from benchmarks import race
from segedu.compress import Distillation, prune_channels, quantize
from segedu.data import scenes
from segedu.data.transforms import MEAN, STD
from segedu.engine import predict_labels, seed_everything, train
from segedu.engine.deployed import Deployed
from segedu.engine.export import INPUT, export_onnx
from segedu.files import write_json
from segedu.losses import CrossEntropyLoss
from segedu.metrics import score
from segedu.models import cost, get_model

CLASSES = [entry.name for entry in scenes.CLASSES]
TEACHER, STUDENT = {"base_width": 16, "depth": 4}, {"base_width": 8, "depth": 4}
#: Whose speed is measured; the accuracy only of the first, which is trained.
NETWORKS = {"unet": TEACHER, "lraspp_mobilenet_v3": {}, "bisenet_v1": {}}
#: Of the channels, in multiples that fill a register: less than half of the multiplications stay.
SHARE, MULTIPLE = 0.5, 16
UNEVEN = 0.3  # the same for half of them without regard to registers
ZERO = 0.8  # of the weights
UNSTRUCTURED = (0.5, ZERO)
CALIBRATION = 16  # pictures
ROUNDS = 15


class Budget(NamedTuple):
    """Scenes, and passes through them."""

    size: int = 64
    train: int = 256
    val: int = 64
    batch_size: int = 8
    lr: float = 5e-3
    teacher: int = 12
    student: int = 6
    tuning: int = 2
    seeds: tuple[int, ...] = (0, 1, 2)


def about(name: str) -> dict[str, Any]:
    """What the files say of themselves."""
    return {
        "task": "semantic",
        "network": name,
        "classes": CLASSES,
        "colors": [list(entry.color) for entry in scenes.CLASSES],
        "channels": 3,
        "mean": list(MEAN),
        "std": list(STD),
        "image_size": None,
        "segedu": "benchmark",
    }


class Study:
    """Trainings and judgements on the same scenes."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.train_set, self.val_set = scenes.splits(budget.train, budget.val, budget.size)
        self.truth = torch.stack([sample["mask"] for sample in self.val_set])
        painted = scenes.SceneConfig(size=budget.size)
        # Those of `train_set` and `val_set`: seeds 0 and 1 of `splits`.
        self.pictures = scenes.SceneDataset(budget.train, painted, 0)
        self.unseen = scenes.SceneDataset(budget.val, painted, 1)

    def train(
        self, build: Callable[[], nn.Module], epochs: int, seed: int, **task: Any
    ) -> nn.Module:
        """A network after some passes."""
        task = task or {"loss": CrossEntropyLoss()}
        settings = {"batch_size": self.budget.batch_size, "lr": self.budget.lr, "seed": seed}
        return train(build, self.train_set, epochs=epochs, **settings, **task)[0]

    def judge(self, model: nn.Module) -> float:
        """Mean IoU on the unseen scenes."""
        return self._score(predict_labels(model, self.val_set))

    def judge_file(self, file: Path) -> float:
        """Mean IoU of an exported network."""
        network = Deployed(file, 1)
        labels = [torch.from_numpy(network(sample["image"]).labels) for sample in self.unseen]
        return self._score(torch.stack(labels).long())

    def _score(self, labels: Tensor) -> float:
        return round(score(labels, self.truth, len(CLASSES))["mean_iou"], 4)

    def over_seeds(self, run: Callable[[int], nn.Module]) -> dict[str, Any]:
        """Mean IoU of a training for each seed, with mean and deviation."""
        found = [self.judge(run(seed)) for seed in self.budget.seeds]
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        return {
            "mean_iou": found,
            "mean": round(statistics.mean(found), 4),
            "deviation": round(spread, 4),
        }


def export(model: nn.Module, file: Path, size: int) -> Path:
    """A network in a file."""
    return export_onnx(model, file, about(file.stem), size=(size, size)).path


def dynamic(source: Path, target: Path) -> Path:
    """Eight bits whose ranges are found while it runs."""
    logging.disable(logging.WARNING)  # of advice
    quantization.quantize_dynamic(source, target, weight_type=quantization.QuantType.QUInt8)
    return target


def speeds(models: Mapping[str, nn.Module], study: Study, folder: Path) -> dict[str, Any]:
    """Times of a network (``whole``) and of what was made of it, in PyTorch and onnxruntime."""
    size = study.budget.size
    pictures = [study.pictures[i]["image"] for i in range(CALIBRATION)]
    files = {
        f"{name}, onnx": export(m, folder / f"{name}.onnx", size) for name, m in models.items()
    }
    whole = files["whole, onnx"]
    files["int8"] = quantize(whole, folder / "int8.onnx", pictures)
    files["dynamic int8"] = dynamic(whole, folder / "dynamic.onnx")
    image = torch.randn(1, 3, size, size)
    candidates: dict[str, Callable[[], object]] = {}
    for name, model in models.items():
        candidates[f"{name}, eager"] = _eager(model, image)
    for name, file in files.items():
        candidates[name] = _in_onnxruntime(file, image)
    found = race.race(candidates, ROUNDS, time.process_time)
    fp32 = found["whole, onnx"]["median_ms"]
    for name, row in found.items():
        row["over_onnx"] = round(row["median_ms"] / fp32, 2)
        if name in files:
            row["kilobytes"] = round(files[name].stat().st_size / 1000)
    price = {name: cost(model, (size, size)).macs for name, model in models.items()}
    for name, macs in price.items():
        found[f"{name}, eager"]["macs"] = round(macs / price["whole"], 3)
    return found


def _eager(model: nn.Module, image: Tensor) -> Callable[[], object]:
    model.eval()

    @torch.no_grad()
    def run() -> object:
        return model(image)

    return run


def _in_onnxruntime(file: Path, image: Tensor) -> Callable[[], object]:
    session, pixels = Deployed(file, 1).session, image.numpy()
    return lambda: session.run(None, {INPUT: pixels})


def sparse(model: nn.Module, share: float) -> nn.Module:
    """A copy in which the smallest weights of all convolutions are zero."""
    model = copy.deepcopy(model)
    convolutions = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    weights = [(module, "weight") for module in convolutions]
    prune.global_unstructured(weights, prune.L1Unstructured, amount=share)
    for module in convolutions:
        prune.remove(module, "weight")
    return model


def pruning(teacher: nn.Module, study: Study, example: Tensor) -> dict[str, Any]:
    """Half of the multiplications: before and after tuning, against a start from nothing."""
    size, budget = (study.budget.size,) * 2, study.budget
    small = prune_channels(teacher, example, SHARE, multiple=MULTIPLE)
    before, after = cost(teacher, size), cost(small, size)

    def from_nothing(seed: int) -> nn.Module:
        return study.train(lambda: _begun_anew(small), budget.tuning, seed)

    return {
        "share": SHARE,
        "multiple": MULTIPLE,
        "macs": round(after.macs / before.macs, 3),
        "parameters": round(after.parameters / before.parameters, 3),
        "untuned": study.judge(small),
        "tuned": study.over_seeds(
            lambda seed: study.train(lambda: copy.deepcopy(small), budget.tuning, seed)
        ),
        "from_nothing": study.over_seeds(from_nothing),
        "unstructured": {str(share): study.judge(sparse(teacher, share)) for share in UNSTRUCTURED},
    }


def _begun_anew(model: nn.Module) -> nn.Module:
    """A copy with new weights."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model


def distillation(teacher: nn.Module, study: Study) -> dict[str, Any]:
    """The same student, as many steps: from labels, and with the teacher."""
    size, budget, loss = (study.budget.size,) * 2, study.budget, CrossEntropyLoss()
    parameters = [
        cost(get_model("unet", len(CLASSES), **s), size).parameters for s in (STUDENT, TEACHER)
    ]
    tasks = {
        "labels": {"loss": loss},
        "soft labels": {"task": Distillation(teacher, loss, len(CLASSES), weight=0.5)},
    }
    return {
        "parameters": round(parameters[0] / parameters[1], 3),
        **{
            name: study.over_seeds(
                lambda seed, task=task: study.train(
                    lambda: get_model("unet", len(CLASSES), **STUDENT), budget.student, seed, **task
                )
            )
            for name, task in tasks.items()
        },
    }


def main() -> None:
    quick = race.command_line(__doc__, "seconds of training, no file").parse_args().quick
    torch.set_num_threads(1)
    budget = Budget()
    if quick:
        budget = Budget(size=32, train=16, val=4, teacher=1, student=1, tuning=1, seeds=(0,))
    study = Study(budget)
    example = torch.zeros(1, 3, budget.size, budget.size)
    result: dict[str, Any] = {
        "command": "python benchmarks/compress.py",
        "machine": race.busy_machine(),
        "budget": budget._asdict(),
        "speed": {},
    }
    teacher = study.train(lambda: get_model("unet", len(CLASSES), **TEACHER), budget.teacher, 0)
    result["teacher"] = study.judge(teacher)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for network, settings in NETWORKS.items():
            seed_everything(0)
            whole = teacher if network == "unet" else get_model(network, len(CLASSES), **settings)
            models = {
                "whole": whole.eval(),
                "pruned": prune_channels(whole, example, SHARE, multiple=MULTIPLE),
                "pruned unevenly": prune_channels(whole, example, UNEVEN),
                f"{100 * ZERO:.0f} % of the weights zero": sparse(whole, ZERO),
            }
            result["speed"][network] = speeds(models, study, folder)
            race.show(network, result["speed"][network])
            if network == "unet":
                files = {"fp32": folder / "whole.onnx", "int8": folder / "int8.onnx"}
                result["mean_iou"] = {key: study.judge_file(file) for key, file in files.items()}
                print(result["teacher"], result["mean_iou"])
    result["pruning"] = pruning(teacher, study, example)
    print(result["pruning"])
    result["distillation"] = distillation(teacher, study)
    print(result["distillation"])
    if not quick:
        print(write_json(race.RESULTS / "compress.json", result))


if __name__ == "__main__":
    main()
