"""The recipes for several machines: their commands are read as the launchers would read them."""

import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import config_from_args, parse_args

from segedu.cli import parser
from segedu.engine import load_checkpoint
from tests.cli.own_data import QUICK, TINY_SEMANTIC, write

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "book" / "recipes" / "train"
SCRIPTS = sorted(RECIPES.glob("*.sh"))
OURS = ["--layout", "coco", "--data", "my data", "--out", "runs/objects"]
TOLD = {"MAIN": "node1", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2"}
TOLD |= {"SLURM_JOB_ID": "17", "SLURM_CPUS_PER_TASK": "32", "GPUS": "4"}


def programs(folder: Path, **texts: str) -> str:
    """A PATH on which programs do what these lines of bash say."""
    for name, text in texts.items():
        program = folder / name
        program.write_text(f"#!/usr/bin/env bash\n{text}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def launched(script: Path, folder: Path) -> list[str]:
    """What the script gives to torchrun."""
    path = programs(
        folder,
        torchrun=r'printf "%s\n" "$@"',
        srun='[ "$SRUN_CPUS_PER_TASK" = 32 ] && exec "$@"',
        scontrol="printf 'node1\\nnode2\\n'",
    )
    run = subprocess.run(
        ["bash", script, *OURS],
        env={**os.environ, **TOLD, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.splitlines()


def understood(arguments: list[str]):
    """What torchrun and then ``segedu train`` make of it; a wrong option ends the test."""
    ours = parse_args(arguments)
    assert ours.module and ours.training_script == "segedu"
    train = parser().parse_args(ours.training_script_args)
    assert train.run.__module__ == "segedu.cli.train"
    assert (train.layout, str(train.data), train.out) == tuple(OURS[1::2])
    return ours, train


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_correct_bash(script):
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n") and "set -euo pipefail" in text
    (example,) = re.findall(r"^#   (?:MAIN=\S+ )?(?:bash|sbatch) (\S+)", text, re.MULTILINE)
    assert ROOT / example == script
    if shutil.which("shellcheck"):
        assert subprocess.run(["shellcheck", script], check=False).returncode == 0


def test_one_machine(tmp_path):
    ours, _ = understood(launched(RECIPES / "one-machine.sh", tmp_path))
    assert ours.standalone and ours.nproc_per_node == "4"


@pytest.mark.parametrize(("name", "job"), [("two-machines", "segedu"), ("slurm", "17")])
def test_two_machines_meet_at_the_first(name, job, tmp_path):
    ours, train = understood(launched(RECIPES / f"{name}.sh", tmp_path))
    ours.nproc_per_node = "4"  # `gpu` counts those of this machine
    config, _, _ = config_from_args(ours)
    assert (config.min_nodes, config.max_nodes, config.nproc_per_node) == (2, 2, 4)
    assert (config.rdzv_backend, config.rdzv_endpoint) == ("c10d", "node1:29400")
    assert config.run_id == job
    assert train.resume == (name == "slurm")


def test_slurm_starts_one_launcher_on_each_machine():
    lines = (RECIPES / "slurm.sh").read_text().splitlines()
    said = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", "\n".join(lines), re.MULTILINE))
    assert said["nodes"] == "2" and said["ntasks-per-node"] == "1"
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    last = max(i for i, line in enumerate(lines) if line.startswith("#SBATCH"))
    assert last < first  # SLURM reads no further than to the first command


def test_the_job_of_kubernetes_has_what_the_operator_wants():
    job = yaml.safe_load((RECIPES / "pytorchjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    assert re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    assert job["spec"].keys() == {"nprocPerNode", "pytorchReplicaSpecs"}
    machines = job["spec"]["pytorchReplicaSpecs"]
    assert machines.keys() == {"Master", "Worker"} and machines["Master"]["replicas"] == 1
    for machine in machines.values():
        assert machine.keys() == {"replicas", "restartPolicy", "template"}
        assert machine["restartPolicy"] in ("Always", "OnFailure", "Never", "ExitCode")
        pod = machine["template"]["spec"]
        (container,) = pod["containers"]
        assert container["name"] == "pytorch"
        assert job["spec"]["nprocPerNode"] == str(
            container["resources"]["limits"]["nvidia.com/gpu"]
        )
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
        launcher, *arguments = container["command"]
        assert launcher == "torchrun"
        ours = parse_args([*arguments, *container["args"]])
        assert ours.module and ours.training_script == "segedu"
        train = parser().parse_args(ours.training_script_args)
        assert train.resume and str(train.data).startswith("/data/")
        assert train.out.startswith("/data/")


@pytest.mark.slow  # two launchers, each of which starts a training
def test_two_launchers_of_one_machine_train_together(tmp_path):
    """Both halves of ``two-machines.sh``, with the same program on the PATH."""
    torchrun = f'exec {sys.executable} -m torch.distributed.run "$@"'
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    told = {"MAIN": "127.0.0.1", "PORT": str(port), "GPUS": "1", "TQDM_DISABLE": "1"}
    told |= {"PATH": programs(tmp_path, torchrun=torchrun), "PYTHONPATH": str(ROOT)}
    told |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    out = tmp_path / "run"
    options = ["--data", str(write(tmp_path / "data")), "--classes", "background", "thing"]
    options += ["--val-split", "0.25", *QUICK, *TINY_SEMANTIC, "--device", "cpu", "--out", str(out)]
    command = ["bash", str(RECIPES / "two-machines.sh"), *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    machines = [
        subprocess.Popen(command, env={**os.environ, **told}, cwd=ROOT, **pipes) for _ in range(2)
    ]
    try:
        said = [machine.communicate(timeout=240)[0] for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert [machine.returncode for machine in machines] == [0, 0], "\n".join(said)[-3000:]
    assert sorted("best epoch 1" in text for text in said) == [False, True]
    assert load_checkpoint(out / "last.pt")["config"]["epochs"] == 1
