"""Submissions that attack the grader: each gets exactly its points, and nothing outside changes."""

import hashlib
import os
import shutil
import time
from pathlib import Path

import pytest

from segedu.teaching.grading import collect, grade_all
from segedu.teaching.sandbox import Limits, Sandbox, SandboxError, no_processes
from tests.teaching.submissions import RIGHT_FUNCTION, RIGHT_NUMBER, Class, small_assignment

pytestmark = pytest.mark.skipif(
    not shutil.which("bwrap"), reason="bubblewrap is not installed: apt-get install bubblewrap"
)

SECONDS = 10 + os.getpid() / 2**24  # no other process of the tests starts workers with it
LIMITS = Limits(seconds=SECONDS, total_seconds=120)

EQUAL = """
class Equal(float):
    def __eq__(self, other): return True
    def __le__(self, other): return True
    def __sub__(self, other): return Equal(0)
    def __rsub__(self, other): return Equal(0)
    def __abs__(self): return Equal(0)
    def __float__(self): return self
    __hash__ = float.__hash__
"""
SHOWN = {572: 388, 571: 0, 574: 0, 578: 0, 188: 4, 204: 20, 700: 516, 172: 0}

# The answer to exercise 1 (2 points), that to exercise 2 (4 points), the points.
EVERY = {
    "right": (RIGHT_NUMBER, RIGHT_FUNCTION, 6),
    "wrong": ("answer = 76", "def answer(side):\n    return side", 0),
    "unanswered": ("answer = ...", "def answer(side):\n    ...", 0),
    "knows the inputs shown": (RIGHT_NUMBER, f"answer = {SHOWN}.get", 2),
    "no syntax": (RIGHT_NUMBER, "def answer(side) return 3", 2),
    "raises": ("1 / 0", RIGHT_FUNCTION, 4),
    "loops": ("while True: pass", RIGHT_FUNCTION, 4),
    "loops when called": (RIGHT_NUMBER, "def answer(side):\n    while True: pass", 2),
    "loops against the alarm": (
        RIGHT_NUMBER,
        "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True: pass",
        2,
    ),
    "exits": (RIGHT_NUMBER, "import os\nos._exit(0)", 2),
    "exits at once": ("import os\nos._exit(0)", RIGHT_FUNCTION, 0),
    "takes all memory": ("import torch\nx = torch.ones(40 * 2**30)", RIGHT_FUNCTION, 4),
    "takes the disk": (
        "with open('/tmp/x', 'wb') as f:\n    for _ in range(99): f.write(bytes(2**20))",
        RIGHT_FUNCTION,
        4,
    ),
    "forks": (
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        break",
        RIGHT_FUNCTION,
        4,
    ),
    "kills": ("import os\nos.kill(-1, 9)", RIGHT_FUNCTION, None),  # itself, at most
    "writes outside": (
        "for path in ({0!r}, '/etc/passwd', '/root/x', '/usr/x', '/x'):\n"
        "    try:\n        open(path, 'a').write('x')\n    except OSError:\n        pass",
        RIGHT_FUNCTION,
        4,
    ),
    "reads the secret": ("answer = open({1!r}).read()", RIGHT_FUNCTION, 4),
    "reads the checks": (
        "from segedu.teaching.checks.unet import *\nanswer = 140",
        "from segedu.teaching.checks.unet import valid_output_size as answer",
        0,
    ),
    "uses the network": (
        "import urllib.request\nanswer = urllib.request.urlopen('http://1.1.1.1', timeout=3)",
        RIGHT_FUNCTION,
        4,
    ),
    "is equal to all": (
        f"{EQUAL}\nanswer = Equal(3)",
        f"{EQUAL}\ndef answer(s): return Equal(3)",
        0,
    ),
    "changes what is built in": (
        "import builtins, math\nbuiltins.abs = lambda x: 0\nmath.isclose = lambda *a, **k: True\n"
        "import segedu.teaching.checking as c\nc.expect_number = lambda *a, **k: None\nanswer = 1",
        "def answer(side): return 1",
        0,
    ),
    "drops assertions": (
        "import ast\nclass Drop(ast.NodeTransformer):\n"
        "    def visit_Assert(self, node): return None\n"
        "get_ipython().ast_transformers.append(Drop())\nanswer = 1",
        "def answer(side): assert False",
        0,
    ),
    "speaks for the worker": (
        "import os\nfor stream in range(3, 30):\n    try:\n        os.write(stream, b'x' * 999)\n"
        "    except OSError:\n        pass\nanswer = 1",
        RIGHT_FUNCTION,
        0,
    ),
    "returns what is no array": ("answer = object()", "def answer(side): return open", 0),
}


def state(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc")
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def workers() -> list[str]:
    """Processes of this test that are still there."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes()
        except OSError:
            continue
        if f"segedu.teaching.worker\0{SECONDS}".encode() in command:
            found.append(command.decode())
    return found


def left() -> list[str]:
    """Those that do not go: the kernel ends what a killed one started a moment after it."""
    end = time.monotonic() + 20
    while (found := workers()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


FEW = ("loops when called", "forks", "writes outside")


@pytest.mark.slow  # submissions, each in a new Python with torch
def test_a_few_attacks_get_their_points_and_change_nothing(tmp_path):
    judge_attacks({name: EVERY[name] for name in FEW}, tmp_path)


@pytest.mark.weekly
def test_every_attack_gets_its_points_and_changes_nothing(tmp_path):
    judge_attacks(EVERY, tmp_path)


def judge_attacks(attacks, tmp_path):
    assignment = small_assignment(tmp_path / "hw1")
    (tmp_path / "gradebook.db").write_text("precious")
    students = Class(tmp_path / "submissions", tmp_path / "hw1")
    places = tmp_path / "gradebook.db", tmp_path / "hw1" / "assignment.json"
    for name, (number, function, _) in attacks.items():
        for place, path in enumerate(places):
            number = number.replace(f"{{{place}!r}}", repr(str(path)))
        students.hand_in(name, number, function)
    package = Path(__file__).resolve().parents[2] / "segedu" / "teaching"
    before = state(tmp_path) | state(package)
    home = sorted(os.listdir(Path.home()))
    grades = grade_all(assignment, collect(assignment, students.folder), LIMITS)
    got = {each.student: each.points for each in grades}
    wanted = {name: points for name, (_, _, points) in attacks.items() if points is not None}
    assert {name: got[name] for name in wanted} == wanted
    assert state(tmp_path) | state(package) == before
    assert sorted(os.listdir(Path.home())) == home
    assert left() == []


@pytest.mark.slow  # starts a Python with torch
def test_a_sandbox_sees_next_to_nothing():
    with Sandbox(Limits(seconds=SECONDS)) as box:
        box.run("import os\nhere = {f: os.listdir(f) for f in ('/', '/tmp', '/proc')}")
        here = box.get("here")
        assert "home" not in here["/"] and "var" not in here["/"]
        assert box.get("os.path.exists('/etc/passwd')") is False
        assert sum(name.isdigit() for name in here["/proc"]) <= 3
        assert box.get("sorted(k for k in os.environ if 'SEGEDU' in k or 'TOKEN' in k)") == []
        assert box.run("open('/work', 'w')").startswith(("OSError", "IsADirectoryError"))
        assert box.run("open('/dev/shm/x', 'w')").startswith("OSError")
        assert box.run("open('/tmp/x', 'w').write('mine')") == ""
        if no_processes():
            assert box.run("os.fork()").startswith("PermissionError")
            assert box.run("os.posix_spawn('/bin/true', ['true'], {})").startswith("Perm")
        threads = "import threading\nt = threading.Thread(target=lambda: None)\nt.start()\nt.join()"
        assert box.run(threads) == ""
        box.run("k = 1\ndef f():\n    return k")
        box.keep("first")
        box.run("k = 2")
        assert box.get("f")() == 2
        box.restore("first")
        assert box.get("f")() == 1
        with pytest.raises(SandboxError, match="it ended by itself"):
            box.run("os._exit(3)")
        with pytest.raises(SandboxError):
            box.get("1")
    assert left() == []
