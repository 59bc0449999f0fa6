"""Loading pictures: decoded anew, kept in memory, mapped from a file; augmented one by one or not.

    python benchmarks/loading.py            # writes book/results/loading.json; two minutes
    python benchmarks/loading.py --quick    # one round, no file

Scenes of 512 x 768 pixels lie in JPEG and PNG files, with masks in PNG files, and are read as
`segedu train` reads them: in batches of 8 crops of 256 x 256 pixels. One thread per process. In one
process the processor's time is taken, with workers that of the clock.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import race
from segedu.data import open_dataset, scenes
from segedu.data.decoded import Decoded
from segedu.data.transforms import FinishBatch, ScaleAndCrop, training
from segedu.data.views import Cached, Transformed
from segedu.engine import make_loader
from segedu.files import write_json

PICTURES, SIZE, CROP, BATCH_SIZE, ROUNDS = 16, (512, 768), 256, 8, 5


def write(folder: Path) -> dict[str, Dataset]:
    """The same scenes in files of two kinds, as `segedu train` opens them."""
    drawn = [scenes.generate(seed, scenes.SceneConfig(SIZE)) for seed in range(PICTURES)]
    found = {}
    for ending in ("jpg", "png"):
        for part in ("images", "masks"):
            (folder / ending / part).mkdir(parents=True)
        for seed, scene in enumerate(drawn):
            image = folder / ending / "images" / f"{seed}.{ending}"
            Image.fromarray(scene.image).save(image, quality=90)
            Image.fromarray(scene.semantic).save(folder / ending / "masks" / f"{seed}.png")
        classes = [c.name for c in scenes.CLASSES]
        found[ending] = open_dataset("folders", folder / ending, "all", classes=classes)
    return found


def per_second(times: dict[str, dict]) -> dict[str, dict[str, float]]:
    """Pictures per second, and how many times those of the first candidate."""
    first = next(iter(times.values()))["median_ms"]
    return {
        name: {
            "pictures_per_s": round(1e3 * PICTURES / row["median_ms"], 1),
            "ratio": round(first / row["median_ms"], 2),
        }
        for name, row in times.items()
    }


def epoch(loader: DataLoader, finish: Callable[[Any], Any] = lambda batch: batch) -> None:
    """Take every batch, and finish it."""
    for batch in loader:
        finish(batch)


def sources(whole: Dataset, folder: Path, workers: int, rounds: int) -> dict[str, dict]:
    """An epoch of crops from files, memory and a mapped file."""
    candidates = {"files": whole, "cached": Cached(whole), "decoded": Decoded(whole, folder)}
    crops = ScaleAndCrop(CROP, (0.5, 2.0))
    loaders = {
        name: make_loader(Transformed(data, crops), BATCH_SIZE, shuffle=True, num_workers=workers)
        for name, data in candidates.items()
    }
    runs = {name: partial(epoch, loader) for name, loader in loaders.items()}
    clock = time.perf_counter if workers else time.process_time
    return per_second(race.race(runs, rounds, clock))


def augmentation(whole: Dataset, rounds: int) -> dict[str, dict]:
    """An epoch from memory: samples augmented one by one, and crops that are finished together."""
    kept, finish = Cached(whole), FinishBatch()

    def loader(transform: Any) -> Any:
        return make_loader(Transformed(kept, transform), BATCH_SIZE, shuffle=True)

    by_sample, crops = loader(training(CROP)), loader(ScaleAndCrop(CROP, (0.5, 2.0)))
    runs = {
        "by_sample": partial(epoch, by_sample),
        "crops_and_batches": partial(epoch, crops, finish),
        "crops": partial(epoch, crops),
    }
    return per_second(race.race(runs, rounds, time.process_time))


def main() -> None:
    quick = race.command_line(__doc__, "one round, no file").parse_args().quick
    rounds = 1 if quick else ROUNDS
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        data = write(Path(name))
        found = {
            f"{ending}, {workers} workers": sources(whole, Path(name), workers, rounds)
            for ending, whole in data.items()
            for workers in (0, 2)
        }
        result = {
            "command": "python benchmarks/loading.py",
            "machine": race.busy_machine(),
            "pictures": PICTURES,
            "size": list(SIZE),
            "crop": CROP,
            "batch_size": BATCH_SIZE,
            "sources": found,
            "augmentation": augmentation(data["jpg"], rounds),
        }
    for title, rows in (*found.items(), ("augmentation", result["augmentation"])):
        race.show(title, rows)
    if not quick:
        print(write_json(race.RESULTS / "loading.json", result))


if __name__ == "__main__":
    main()
