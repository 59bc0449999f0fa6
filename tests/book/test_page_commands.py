"""What the pages tell a reader to type: commands that exist, and a client that gets its mask."""

import re
import shlex
import threading
import urllib.error

import numpy as np
import pytest

from segedu.cli import parser
from tests.book.conftest import ROOT

PAGES = ("book/how-to-run.md", "book/to-a-service.md", "README.md")


def blocks(page, language):
    """The pieces of code of a page in a language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(page):
    """The arguments of every ``segedu`` of a page."""
    code = "".join(blocks(page, "bash")).replace("\\\n", " ")
    words = [shlex.split(line, comments=True) for line in code.splitlines()]
    return [arguments for name, *arguments in filter(None, words) if name == "segedu"]


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist_with_their_options(page):
    found = commands(page)
    assert len(found) >= 6
    for arguments in found:
        try:
            parser().parse_args(arguments)
        except SystemExit:
            pytest.fail(f"{page}: segedu {shlex.join(arguments)}")


def test_the_way_to_a_service_names_its_steps_in_their_order():
    found = [arguments[0] for arguments in commands("book/to-a-service.md")]
    steps = ["check", "train", "evaluate", "export", "quantize", "evaluate", "serve", "monitor"]
    assert found == ["project", *steps]


def test_the_client_of_the_page_gives_up_after_some_longer_and_longer_pauses(monkeypatch):
    (code,) = blocks("book/to-a-service.md", "python")
    names, pauses, asked = {}, [], []
    exec(code, names)
    monkeypatch.setattr(names["time"], "sleep", pauses.append)

    def refuse(status, headers):
        def answer(request, timeout):
            asked.append(status)
            raise urllib.error.HTTPError(request.full_url, status, "", headers, None)

        asked.clear()
        monkeypatch.setattr(names["urllib"].request, "urlopen", answer)
        with pytest.raises(urllib.error.HTTPError):
            names["mask_of"](b"a picture")
        return len(asked)

    assert refuse(503, {"Retry-After": "1"}) == 5 and pauses == [1, 2, 4, 8]
    assert refuse(503, {"Retry-After": None}) == 1  # of a proxy, or a stop
    assert refuse(413, {"Retry-After": None}) == 1 and len(pauses) == 4


def test_the_client_of_the_page_gets_its_mask_and_waits_for_a_full_service(tmp_path):
    for package in ("onnx", "onnxruntime", "fastapi", "uvicorn", "prometheus_client"):
        pytest.importorskip(package)
    from segedu.serve.limits import Limits
    from tests.serve import hostile
    from tests.serve.serving import running, until
    from tests.serve.test_service import Held, as_array, exported, predict

    (code,) = blocks("book/to-a-service.md", "python")
    names = {}
    exec(code, names)
    network, picture = Held(exported(tmp_path)), hostile.image(seed=1)
    found = []
    with running(network, Limits(queue=1)) as (port, service):
        url = f"http://127.0.0.1:{port}/predict"
        first = threading.Thread(target=predict, args=(port, picture))
        first.start()
        until(lambda: service.open == 1)

        def ask():
            found.append(names["mask_of"](picture, "image/png", url))

        second = threading.Thread(target=ask)
        second.start()
        refused = {"status": "429"}
        until(lambda: service.registry.get_sample_value("segedu_requests_total", refused))
        network.gate.set()
        first.join()
        second.join()
        wanted = as_array(predict(port, picture)[2])
    assert np.array_equal(found[0], wanted) and found[0].shape == (24, 32)
