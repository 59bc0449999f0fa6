"""The faults of the run that the clinic's exercise hands out come to light one by one."""

import torch

from segedu import checkup
from segedu.teaching import check
from segedu.teaching.checks.clinic import unknown_run


def test_each_fault_hides_the_next():
    run = unknown_run()
    found = [*checkup(**run).kinds]
    run["loader"] = [{**batch, "mask": batch["mask"] - 1} for batch in run["loader"]]
    found += checkup(**run).kinds
    run["optimizer"] = torch.optim.AdamW(run["model"].parameters(), 0.01)
    found += checkup(**run).kinds
    assert check("clinic-4", found)
    del run["step"]
    assert checkup(**run).kinds == ()
