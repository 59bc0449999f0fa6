"""``quantize``: the file, how alike it is, and that `serve` and `monitor` take it."""

import json
import re

import pytest

from segedu.cli import main
from tests.cli.test_predict import CLASSES
from tests.monitor.test_monitor import clouds, export

for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package)

from segedu.cli.quantize import agreement  # noqa: E402
from segedu.engine.deployed import Deployed  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return export(tmp_path_factory.mktemp("quantize"), 12)


def quantized(folder, out, *more, pictures="then"):
    source = [str(folder / "n.onnx"), str(folder / pictures)]
    return main(["quantize", *source, "--out", str(out), *map(str, more)])


def test_the_file_is_smaller_of_the_same_contract_and_can_be_watched(folder, tmp_path, capsys):
    out = tmp_path / "int8.onnx"
    assert quantized(folder, out, "--reference", folder / "then") == 0
    text = capsys.readouterr().out
    assert "ranges measured on 10 pictures; in 2 others" in text
    assert "the statistics of 12 pictures" in text
    share = float(re.search(r"([\d.]+)% of the pixels keep their class", text)[1])
    assert 80 < share < 100
    assert out.stat().st_size < 0.6 * (folder / "n.onnx").stat().st_size
    whole, small = Deployed(folder / "n.onnx", 1), Deployed(out, 1)
    assert small.about["precision"] == "int8" and small.contract.classes == tuple(CLASSES)
    assert small.contract._replace(reference=None) == whole.contract._replace(reference=None)
    assert small.contract.reference["numbers"] != whole.contract.reference["numbers"]
    now, page = clouds(tmp_path / "now", 12, 1), tmp_path / "drift.html"
    assert main(["monitor", str(out), str(now), "--out", str(page)]) == 0
    assert "no drift" in capsys.readouterr().out and page.exists()


@pytest.mark.slow  # starts a service
def test_it_is_served_and_what_the_service_keeps_is_watched(folder, tmp_path, capsys):
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        pytest.importorskip(package)
    from segedu.cli.serve import writer
    from segedu.serve.sample import Sample
    from tests.serve.serving import kept_by, predict, running, until

    out, kept = tmp_path / "int8.onnx", tmp_path / "today.jsonl"
    assert quantized(folder, out, "--reference", folder / "then") == 0
    network = Deployed(out, 1)
    with running(network, sample=Sample(writer(network, kept), 1)) as (port, service):
        for file in sorted(clouds(tmp_path / "now", 12, 1).iterdir()):
            status, _, body = predict(port, file.read_bytes(), answer="rle")
            assert status == 200 and json.loads(body)["height"] == 42
        until(lambda: kept_by(service) == 12)
    command = ["monitor", str(out), str(kept), "--out", str(tmp_path / "drift.html")]
    assert main(command) == 0
    assert "12 pictures against 12: no drift" in capsys.readouterr().out
    command[1] = str(
        folder / "n.onnx"
    )  # of the same classes: its numbers are others, not its names
    assert main(command) in (0, 1)


def test_few_pictures_measure_and_compare(folder, tmp_path, capsys):
    clouds(folder / "few", 2, 3)
    assert quantized(folder, tmp_path / "int8.onnx", pictures="few") == 0
    assert "measured on 2 pictures; in the same, " in capsys.readouterr().out


def test_agreement_counts_pixels(folder):
    class Says:
        def __init__(self, *labels):
            self.labels = labels

        def __call__(self, picture):
            return type("Found", (), {"labels": self.labels[picture]})

    import numpy as np

    first = Says(np.zeros((2, 2)), np.ones((1, 4)))
    second = Says(np.zeros((2, 2)), np.array([[1, 1, 0, 0]]))
    assert agreement(first, second, [0, 1]) == 0.75


def test_mistakes(folder, tmp_path, capsys):
    def refused(*arguments):
        capsys.readouterr()
        assert main(["quantize", *map(str, arguments)]) == 2
        text = capsys.readouterr().err
        assert text.startswith("segedu: error: ") and text.count("\n") == 1, text
        return text

    network, seen, out = folder / "n.onnx", folder / "then", tmp_path / "int8.onnx"
    assert "must end in .onnx" in refused(network, seen, "--out", tmp_path / "int8.pt")
    text = refused(network, seen, "--out", network, "--force")
    assert "is the file that is quantized" in text
    assert "no such file" in refused(tmp_path / "none.onnx", seen, "--out", out)
    assert "no such file" in refused(network, tmp_path / "none", "--out", out)
    few = clouds(tmp_path / "few", 3, 0)
    text = refused(network, seen, "--out", out, "--reference", few)
    assert "--reference: 10 pictures are needed at least, got 3" in text and not out.exists()
    assert quantized(folder, out) == 0
    assert "is there already: --force replaces it" in refused(network, seen, "--out", out)
    assert quantized(folder, out, "--force") == 0
    again = tmp_path / "again.onnx"
    assert "is quantized already" in refused(out, seen, "--out", again)
    page = ["monitor", str(out), str(seen), "--out", str(tmp_path / "d.html")]
    assert main(page) == 2
    assert "or quantize with this option" in capsys.readouterr().err
