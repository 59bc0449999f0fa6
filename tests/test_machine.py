import os
import platform

import pytest
import torch

import segedu
from segedu import machine
from segedu.engine import load_checkpoint, save_checkpoint
from segedu.files import read_json, write_json


def test_says_what_ran_here(tmp_path):
    found = machine.describe()
    assert found.pop("device").startswith("cpu (")
    assert found == {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "segedu": segedu.__version__,
    }


def test_can_be_kept_in_json_and_in_a_checkpoint(tmp_path):
    found = machine.describe(torch.device("cpu"))
    assert read_json(write_json(tmp_path / "x.json", found)) == found
    save_checkpoint(tmp_path / "x.pt", {"machine": found})
    assert load_checkpoint(tmp_path / "x.pt")["machine"] == found


@pytest.mark.gpu
def test_names_the_gpu():
    assert machine.describe("cuda")["device"] == f"cuda ({torch.cuda.get_device_name()})"
