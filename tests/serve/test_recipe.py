"""The container's recipe: its commands, run outside of a container, and what it promises."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.serve import port_of
from segedu.serve.limits import Limits
from tests.serve.hostile import image
from tests.serve.serving import ask, predict, until
from tests.serve.test_service import exported

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "book" / "recipes" / "serve"
STEPS = re.sub(r"\\\n\s*", "", (RECIPE / "Dockerfile").read_text(encoding="utf-8"))
CONTAINER = yaml.safe_load((RECIPE / "compose.yaml").read_text(encoding="utf-8"))["services"][
    "segedu"
]


def step(name):
    """What stands behind the only line of the Dockerfile that begins so."""
    (found,) = re.findall(rf"^{name}\s+(.*)$", STEPS, re.MULTILINE)
    return found


def read_only():
    """The beginning of a command that can write to /tmp alone, where the system allows that."""
    walls = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    walls += ["--tmpfs", "/run", "--bind", "/tmp", "/tmp", "--die-with-parent"]
    able = shutil.which("bwrap") and not subprocess.run([*walls, "true"], check=False).returncode
    return walls if able else []


@pytest.mark.slow  # starts the service
def test_the_commands_of_the_container_work_outside_of_one(tmp_path):
    file = exported(tmp_path)
    python, *entry = json.loads(step("ENTRYPOINT"))
    model, *options = json.loads(step("CMD"))
    assert (python, model) == ("python", "/models/model.onnx")
    assert options == ["--host", "0.0.0.0", "--port", step("EXPOSE")]
    options = ["--host", "0.0.0.0", "--port", "0"]
    command = [*read_only(), sys.executable, *entry, str(file), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    check = json.loads(step("HEALTHCHECK").partition("CMD ")[2])
    try:
        port = port_of(process)
        until(lambda: ask(port, "GET", "/health")[0] == 200, 60)
        healthy = [sys.executable, *(part.replace(":8000/", f":{port}/") for part in check[1:])]
        assert healthy[1:] != check[1:] and subprocess.run(healthy, check=False).returncode == 0
        assert predict(port, image(), answer="overlay")[0] == 200
    finally:
        process.terminate()
        process.wait(60)
    assert subprocess.run(healthy, check=False, capture_output=True).returncode != 0


def test_what_is_copied_and_pinned_is_there():
    for sources in re.findall(r"^COPY (.+) \S+$", STEPS, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = [word for word in shlex.split(step("RUN")) if "==" in word]
    assert len(pinned) == 2 and set(pinned) <= set(pins)


def test_the_container_has_no_more_than_it_needs():
    assert CONTAINER["read_only"] and CONTAINER["cap_drop"] == ["ALL"]
    assert all(volume.endswith(":ro") for volume in CONTAINER["volumes"])
    assert "no-new-privileges:true" in CONTAINER["security_opt"] and CONTAINER["mem_limit"]
    assert CONTAINER["command"] == json.loads(step("CMD"))  # to which options are added
    assert step("USER").isdigit() and int(step("USER")) > 0
    build = CONTAINER["build"]
    context = (RECIPE / build["context"]).resolve()
    assert context == ROOT and context / build["dockerfile"] == RECIPE / "Dockerfile"
    (port,) = CONTAINER["ports"]
    assert port == f"127.0.0.1:{step('EXPOSE')}:{step('EXPOSE')}"


def test_what_has_begun_may_end_before_the_container_is_killed():
    seconds = int(CONTAINER["stop_grace_period"].removesuffix("s"))
    assert seconds > Limits().upload + Limits().answer + 1


class WithReset(yaml.SafeLoader):
    """YAML in which Compose's ``!reset`` takes away what another file says."""


WithReset.add_constructor("!reset", lambda loader, node: loader.construct_sequence(node))


def test_the_proxy_and_the_services_behind_it_agree():
    text = (RECIPE / "replicas.yaml").read_text(encoding="utf-8")
    services = yaml.load(text, WithReset)["services"]
    assert services["segedu"] == {"ports": []}  # only the proxy can be reached
    proxy = services["proxy"]
    assert proxy["ports"] == CONTAINER["ports"]
    source, target, mode = proxy["volumes"][0].split(":")
    assert (RECIPE / source).is_file() and target.endswith("default.conf") and mode == "ro"
    rules = (RECIPE / source).read_text(encoding="utf-8")
    port = step("EXPOSE")
    assert f"server segedu:{port} " in rules and f"listen {port};" in rules
    assert int(re.search(r"client_max_body_size (\d+)m;", rules)[1]) * 2**20 == Limits().body
    assert int(re.search(r"proxy_read_timeout (\d+)s;", rules)[1]) > Limits().answer
    assert "http_429 non_idempotent" in rules
