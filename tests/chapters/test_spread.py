"""What is written beside an expected value is what the runs gave."""

from tests.chapters.spread import RUNS, Run, entry


def test_runs_cover_threads_processors_and_seeds():
    assert len(RUNS) == len({*RUNS}) >= 5
    assert RUNS[0] == Run(threads=1, elsewhere=False, seed=0)
    for choices in zip(*RUNS, strict=True):
        assert len({*choices}) > 1
    assert len({run.seed for run in RUNS}) == 3


def test_each_value_stands_with_what_was_seen():
    values = [0.5, 0.48, 0.51, 0.5, 0.9, 0.1]
    seen = {run: {"iou": value, "n": 3} for run, value in zip(RUNS, values, strict=True)}
    assert entry(seen) == [
        "    iou: 0.5 ±  # 0.48 to 0.51 in 4 runs; seed 1: 0.9; seed 2: 0.1",
        "    n: 3 ±  # 3 to 3 in 4 runs; seed 1: 3; seed 2: 3",
    ]
