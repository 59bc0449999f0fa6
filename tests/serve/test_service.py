"""The service: its answers are those of ``predict``; what it cannot answer it refuses and lives."""

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import signal
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from benchmarks.serve import port_of
from segedu.cli import main
from segedu.ops import rle
from tests.cli.test_predict import CLASSES, COLORS, checkpoint, picture
from tests.compress.networks import break_weights
from tests.serve import hostile
from tests.serve.serving import answered, ask, kept_by, predict, result, running, until

for package in ("onnx", "onnxruntime", "fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package)

from segedu import monitor  # noqa: E402
from segedu.cli.serve import writer  # noqa: E402
from segedu.engine.deployed import Deployed  # noqa: E402
from segedu.serve.batches import Batches  # noqa: E402
from segedu.serve.limits import SCALED_PIXELS, Limits  # noqa: E402
from segedu.serve.pictures import MAX_SCANS, read_picture  # noqa: E402
from segedu.serve.sample import Sample  # noqa: E402


def exported(folder, *more, **settings):
    """The file of an untrained network, beside its checkpoint."""
    if "name" not in settings:
        settings = {"base_width": 8} | settings  # of 2 all pixels would have one class
    checkpoint(folder, **settings)
    file = folder / "network.onnx"
    command = ["export", "--checkpoint", str(folder / "best.pt"), "--out", str(file)]
    assert main([*command, "--size", "64", "96", *more]) == 0
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    exported(folder)
    return folder


@pytest.fixture(scope="module")
def small(folder):
    """A service with low limits: its port, and itself."""
    limits = Limits(body=200_000, pixels=400_000, upload=1.0)
    with running(Deployed(folder / "network.onnx", 1), limits, idle=2.5) as (port, service):
        yield port, service


def as_array(png):
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image)


def predicted(folder, name):
    """What ``predict`` writes: mask and overlay, arrays."""
    command = ["predict", str(folder / name), "--checkpoint", str(folder / "best.pt")]
    assert main([*command, "--out", str(folder / "out"), "--force"]) == 0
    files = (folder / "out" / what / f"{name.split('.')[0]}.png" for what in ("mask", "overlay"))
    return tuple(as_array(file.read_bytes()) for file in files)


def turned():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


@pytest.mark.parametrize(
    "name, media, mode, saving",
    [
        ("a.png", "image/png", "RGB", {}),
        ("grey.png", "image/png", "L", {}),
        ("clear.png", "image/png", "RGBA", {}),
        ("turned.jpg", "image/jpeg", "RGB", {"exif": turned()}),
        ("web.webp", "image/webp", "RGB", {}),
    ],
)
def test_answers_are_those_of_predict(folder, small, name, media, mode, saving):
    picture(folder, name, (52, 39), mode, **saving)
    mask, overlay = predicted(folder, name)
    assert len(np.unique(mask)) > 1  # else all masks are alike
    sent = (folder / name).read_bytes()
    status, headers, body = predict(small[0], sent, media)
    assert (status, headers["content-type"]) == (200, "image/png")
    assert np.array_equal(as_array(body), mask)
    with Image.open(io.BytesIO(body)) as image:
        assert image.getpalette()[3:6] == COLORS[1]
    assert np.array_equal(as_array(predict(small[0], sent, media, "overlay")[2]), overlay)
    _, headers, body = predict(small[0], sent, media, "rle")
    content = json.loads(body)
    assert (content["height"], content["width"]) == mask.shape
    assert [entry["class"] for entry in content["found"]] == np.unique(mask).tolist()
    for entry in content["found"]:
        assert entry["name"] == CLASSES[entry["class"]]
        assert np.array_equal(rle.decode(entry["segmentation"]), mask == entry["class"])
        assert entry["share"] == pytest.approx((mask == entry["class"]).mean(), abs=1e-4)
    summary = [{k: v for k, v in e.items() if k != "segmentation"} for e in content["found"]]
    assert json.loads(headers["x-segedu-found"]) == summary


TWO_CLASSES = {"num_classes": 1, "config": {"classes": CLASSES[:2], "colors": COLORS[:2]}}
GREY = {"in_channels": 1, "config": {"mean": [0.4], "std": [0.2]}}
RGBA = {"in_channels": 4, "config": {"mean": [0.4] * 4, "std": [0.2] * 4}}


@pytest.mark.parametrize(
    "settings, mode",
    [
        (TWO_CLASSES, "RGB"),
        ({"config": {"image_size": [48, 64]}}, "RGB"),
        (GREY, "RGB"),
        (RGBA, "RGBA"),
    ],
)
def test_other_contracts_are_kept_as_well(tmp_path, settings, mode):
    file = exported(tmp_path, **settings)
    picture(tmp_path, "a.png", (90, 75), mode)
    mask, _ = predicted(tmp_path, "a.png")
    assert len(np.unique(mask)) > 1
    with running(Deployed(file, 1)) as (port, _):
        status, _, body = predict(port, (tmp_path / "a.png").read_bytes())
        plain = predict(port, hostile.image())
    assert status == 200 and np.array_equal(as_array(body), mask)
    assert plain[0] == (422 if mode == "RGBA" else 200)


@pytest.mark.parametrize("answer", ["xyz", "", "9" * 1000])
def test_an_unknown_answer_is_refused_in_one_line(small, answer):
    status, headers, body = predict(small[0], hostile.image(), answer=answer)
    assert status == 422 and headers["connection"] == "close"
    wanted = f"answer must be one of mask, rle, overlay, got {answer[:40]!r}"
    assert json.loads(body) == {"detail": wanted}
    assert 'segedu_requests_total{status="422"}' in ask(small[0], "GET", "/metrics")[2].decode()


@pytest.mark.slow  # exports a detector
def test_objects_are_those_of_predict(tmp_path):
    narrow = {"base_width": 4, "channels": 8, "box_width": 8, "mask_width": 8}
    settings = {"config": {"task": "instance"}, "box_score_thresh": 0.3} | narrow
    file = exported(tmp_path, name="mask_rcnn_tiny", **settings)
    picture(tmp_path, "a.png", (150, 80))
    mask, overlay = predicted(tmp_path, "a.png")
    wanted = json.loads((tmp_path / "out" / "instance.json").read_text())["annotations"]
    assert wanted  # else nothing is compared
    sent = (tmp_path / "a.png").read_bytes()
    with running(Deployed(file, 1)) as (port, _):
        assert (as_array(predict(port, sent)[2]) == mask).mean() > 0.999
        drawn = as_array(predict(port, sent, answer="overlay")[2])
        assert (drawn == overlay).mean() > 0.99
        found = json.loads(predict(port, sent, answer="rle")[2])["found"]
    assert [entry["class"] for entry in found] == [entry["category_id"] for entry in wanted]
    for entry, other in zip(found, wanted, strict=True):
        assert entry["score"] == pytest.approx(other["score"], abs=1e-3)
        same = rle.decode(entry["segmentation"]) == rle.decode(other["segmentation"])
        assert same.mean() > 0.999


def test_hostile_requests_are_refused_and_the_service_lives(small):
    port, service = small
    requests = hostile.requests(service.limits.body, service.limits.pixels)
    assert len(requests) >= 200
    wrong = {}
    for name, (request, allowed) in requests.items():
        status = answered(port, request)
        if status not in allowed:
            wrong[name] = status
    assert wrong == {}
    assert service.open == 0
    assert ask(port, "GET", "/health")[0] == 200


def test_the_repeated_passes_would_take_long():
    data = hostile.many_scans()
    assert (
        data.count(b"\xff\xda")
        > MAX_SCANS
        > hostile.image("JPEG", progressive=True).count(b"\xff\xda")
    )


@pytest.mark.slow  # waits for three time-outs
def test_slow_clients_are_cut_off(small):
    port, service = small
    body = hostile.post(hostile.image())
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(body[:-10])
        assert b" 408 " in client.recv(4096)  # the file did not arrive
    for start in (b"", b"GET /health HTTP/1.1\r\nHost:"):  # nor did the headers
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(start)
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(4096) == b""
    assert service.open == 0


def test_a_client_that_goes_away_leaves_nothing(small):
    port, service = small

    def counted(*statuses):
        """How many requests ended so; one whose client left early may have been answered."""
        found = ({"status": str(status)} for status in statuses)
        values = (service.registry.get_sample_value("segedu_requests_total", s) for s in found)
        return sum(value or 0 for value in values)

    gone, ended = counted(400), counted(200, 400)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(hostile.post(hostile.image())[:-10])
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(hostile.post(hostile.image()))
    until(lambda: counted(200, 400) == ended + 10)
    assert counted(400) >= gone + 5 and service.open == 0
    assert predict(port, hostile.image())[0] == 200


def test_of_every_second_picture_the_numbers_are_kept_and_nothing_else(folder, tmp_path):
    network, file = Deployed(folder / "network.onnx", 1), tmp_path / "numbers.jsonl"
    with running(network, sample=Sample(writer(network, file), 2)) as (port, service):
        for number in range(25):
            assert predict(port, hostile.image(seed=number))[0] == 200
            until(lambda due=(number + 1) // 2: kept_by(service) == due)
        text = ask(port, "GET", "/metrics")[2].decode()
    names, now = monitor.read_numbers(file)
    pictures = [torch.from_numpy(as_array(hostile.image(seed=i)).copy()) for i in range(1, 25, 2)]
    wanted = monitor.collect(network, [picture.permute(2, 0, 1) for picture in pictures])
    assert now.keys() == wanted.keys() and names == sorted(names) and len(names) == 12
    for name, values in wanted.items():  # sums in another order
        assert now[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name
    assert 'segedu_sampled_total{result="kept"} 12.0' in text


def test_bursts_wait_for_the_sample_and_what_is_left_out_is_counted_and_told(folder, capfd):
    """Else busy hours would have fewer pictures in it than quiet ones, and nobody would know."""
    gate, seen = threading.Event(), []

    def slowly(picture):
        gate.wait(20)
        seen.append(int(picture[0, 0, 0]))

    network = Deployed(folder / "network.onnx", 1)
    with running(network, sample=Sample(slowly, 1)) as (port, service):
        for number in range(8):
            assert predict(port, hostile.image(seed=number))[0] == 200
            if number == 0:  # it is being watched, the others wait
                until(lambda: not service._to_watch.qsize())
        gate.set()
        until(lambda: kept_by(service) == 5)
        assert kept_by(service, "skipped") == 3
    wanted = [int(as_array(hostile.image(seed=number))[0, 0, 0]) for number in range(5)]
    assert seen == wanted and len(set(wanted)) > 1
    told = capfd.readouterr().err
    assert told.count("\n") == 1 and "faster than their numbers are kept" in told


def test_a_full_disk_is_told_and_pictures_are_answered(folder, capfd):
    network = Deployed(folder / "network.onnx", 1)

    def refuse(picture):
        raise OSError("no space left")

    with running(network, sample=Sample(refuse, 1)) as (port, _):
        assert predict(port, hostile.image())[0] == 200
        failed = 'segedu_sampled_total{result="failed"} 1.0'
        until(lambda: failed in ask(port, "GET", "/metrics")[2].decode())
    assert capfd.readouterr().err == "segedu: a picture of the sample: no space left\n"


class Held(Deployed):
    """A network that waits until it may go on."""

    def __init__(self, file):
        super().__init__(file, 1)
        self.gate, self.sizes = threading.Event(), []

    def infer(self, pictures):
        self.sizes.append(len(pictures))
        assert self.gate.wait(30)
        return super().infer(pictures)


def at_once(port, bodies):
    """The statuses of several requests at once, in a list that fills."""
    found = []
    threads = [
        threading.Thread(target=lambda body=body: found.append(predict(port, body)[0]))
        for body in bodies
    ]
    for thread in threads:
        thread.start()
    return threads, found


def test_beyond_the_queue_requests_are_refused_and_those_in_it_share_batches(folder):
    network = Held(folder / "network.onnx")
    with running(network, Limits(queue=6, batch=4)) as (port, service):
        threads, found = at_once(port, [hostile.image(seed=i) for i in range(6)])
        until(lambda: sum(network.sizes) + len(service.batches) == 6)
        status, headers, body = predict(port, hostile.image())
        assert (status, headers["retry-after"]) == (429, "1") and b"wait already" in body
        network.gate.set()
        for thread in threads:
            thread.join()
        assert found == [200] * 6 and sum(network.sizes) == 6
        assert len(network.sizes) <= 3 and max(network.sizes) <= 4
        text = ask(port, "GET", "/metrics")[2].decode()
    assert 'segedu_requests_total{status="200"} 6.0' in text
    assert 'segedu_requests_total{status="429"} 1.0' in text
    assert "segedu_open_requests 0.0" in text
    assert "segedu_request_seconds_count 6.0" in text
    assert f"segedu_batch_size_count {float(len(network.sizes))}" in text


def test_large_pictures_are_refused_before_their_memory_is_taken(folder):
    """Four of the largest, of smaller ones as many as the queue holds."""
    network = Held(folder / "network.onnx")
    large, small = hostile.image(size=(60, 80)), hostile.image(size=(6, 8))
    with running(network, Limits(pixels=60 * 80, batch=1)) as (port, service):
        threads, found = at_once(port, [large] * 4)
        until(lambda: service.pixels == 4 * 60 * 80)
        status, headers, body = predict(port, large)
        assert (status, headers["retry-after"]) == (429, "1") and b"large pictures" in body
        assert predict(port, small)[0] == 429  # nor a small one beside them
        network.gate.set()
        for thread in threads:
            thread.join()
        assert found == [200] * 4 and service.pixels == 0
        network.gate.clear()
        threads, found = at_once(port, [small] * 9)
        until(lambda: service.pixels == 9 * 6 * 8)
        network.gate.set()
        for thread in threads:
            thread.join()
    assert found == [200] * 9


def test_a_file_with_too_many_bytes_gets_its_answer(small):
    """A client that reads no answer before it has sent all would see a connection reset."""
    port, service = small
    status, headers, body = predict(port, bytes(6 * service.limits.body))
    assert status == 413 and b"allowed are 200000 bytes" in body
    assert headers["connection"] == "close"


def test_who_waits_too_long_is_told_so(folder):
    network = Held(folder / "network.onnx")
    with running(network, Limits(answer=0.3)) as (port, service):
        status, headers, body = predict(port, hostile.image())
        assert status == 503 and b"no answer within 0.3 seconds" in body
        assert service.open == 0
        network.gate.set()


def test_a_picture_that_is_still_read_keeps_its_place_after_the_answer(folder, monkeypatch):
    """Else pictures that nobody waits for would fill the memory beside those in the queue."""
    gate = threading.Event()

    def slowly(data, channels, most):
        gate.wait(20)
        return read_picture(data, channels, most)

    monkeypatch.setattr("segedu.serve.service.read_picture", slowly)
    with running(Deployed(folder / "network.onnx"), Limits(answer=0.3, queue=1)) as (port, service):
        assert predict(port, hostile.image())[0] == 503
        assert service.open == 1 and service.pixels == 24 * 32
        assert predict(port, hostile.image())[0] == 429
        gate.set()
        until(lambda: service.open == 0)
        assert service.pixels == 0


def test_batches_hold_one_shape_and_few_pixels_and_skip_who_left():
    seen = []

    def run(inputs):
        seen.append(inputs.shape)
        return [int(value) for value in inputs[:, 0, 0, 0]]

    def item(value, side=2):
        return np.full((1, side, side), value, np.int64)

    async def ask_all():
        batches = Batches(run, largest=3)
        asked = [item(1), item(2), item(3, side=4), item(4), item(5), item(6, 1200), item(7, 1200)]
        answers = [asyncio.create_task(batches(one)) for one in asked]
        await asyncio.sleep(0)
        answers[1].cancel()
        await asyncio.sleep(0)
        worker = asyncio.create_task(batches.work())
        found = await asyncio.gather(*answers, return_exceptions=True)
        worker.cancel()
        return found

    found = result(ask_all())
    assert isinstance(found.pop(1), asyncio.CancelledError) and found == [1, 3, 4, 5, 6, 7]
    assert seen == [(3, 1, 2, 2), (1, 1, 4, 4), (1, 1, 1200, 1200), (1, 1, 1200, 1200)]


def test_a_batch_that_fails_fails_for_its_own_alone():
    def run(inputs):
        if inputs.shape[1] == 2:
            raise ValueError("two channels")
        return list(inputs)

    async def ask_both():
        batches = Batches(run)
        worker = asyncio.create_task(batches.work())
        bad, good = batches(np.zeros((2, 1, 1))), batches(np.zeros((1, 1, 1)))
        found = await asyncio.gather(bad, good, return_exceptions=True)
        worker.cancel()
        return found

    bad, good = result(ask_both())
    assert isinstance(bad, ValueError) and good.shape == (1, 1, 1)


def test_the_page_needs_nothing_else_and_speaks_both_languages(small):
    status, headers, body = ask(small[0], "GET", "/")
    page = body.decode()
    assert status == 200 and "//" not in page  # no address
    assert "Drop a picture" in page and "把图像拖到这里" in page
    for name in CLASSES:
        assert name in page
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]


def test_health_says_what_is_served(small):
    health = json.loads(ask(small[0], "GET", "/health")[2])
    assert (health["status"], health["network"], health["classes"]) == ("ok", "unet", CLASSES)


@pytest.mark.slow  # starts a process
def test_a_signal_lets_what_has_begun_end(folder):
    command = [sys.executable, "-m", "segedu", "serve", str(folder / "network.onnx")]
    process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        port = port_of(process)
        body = hostile.post(hostile.image())
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(body[:-10])
            until(lambda: ask(port, "GET", "/health")[0] == 200, 60)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(OSError):  # no new ones
                until(lambda: ask(port, "GET", "/health")[0] != 200, 60)
            client.sendall(body[-10:])
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert process.wait(60) == 0
    finally:
        process.kill()


def test_a_network_that_is_not_finite_is_refused(folder, tmp_path):
    break_weights(folder / "network.onnx", tmp_path / "broken.onnx")
    with running(Deployed(tmp_path / "broken.onnx", 1)) as (port, _):
        status, _, body = predict(port, hostile.image())
    assert status == 422 and b"not finite" in body


def refused(capsys, *arguments):
    capsys.readouterr()
    assert main(["serve", *map(str, arguments)]) == 2
    text = capsys.readouterr().err
    assert text.startswith("segedu: error: ") and text.count("\n") == 1, text
    return text


def test_mistakes(folder, tmp_path, capsys, monkeypatch):
    import onnx

    file = folder / "network.onnx"
    assert "no such file" in refused(capsys, tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    assert "not an ONNX file that can be run" in refused(capsys, tmp_path / "broken.onnx")
    assert "--port must be in" in refused(capsys, file, "--port", 70000)
    assert "queue must be positive, got 0" in refused(capsys, file, "--queue", 0)
    assert "answer must be positive, got -1" in refused(capsys, file, "--timeout", -1)
    kept = tmp_path / "numbers.jsonl"
    text = refused(capsys, file, "--keep-numbers", kept, "--every", 0)
    assert "every must be positive, got 0" in text
    text = refused(capsys, file, "--keep-numbers", tmp_path / "numbers.txt")
    assert "must end in .jsonl" in text
    assert "No such file" in refused(capsys, file, "--keep-numbers", tmp_path / "no" / "n.jsonl")
    assert "device must be cpu or cuda, got 'tpu'" in refused(capsys, file, "--device", "tpu")

    def changed(key, value):
        network = onnx.load(file)
        about = {entry.key: entry for entry in network.metadata_props}
        if value is None:
            network.metadata_props.remove(about[key])
        else:
            about[key].value = value
        onnx.save(network, tmp_path / "changed.onnx")
        return refused(capsys, tmp_path / "changed.onnx")

    assert "does not say its mean: write it by `python -m segedu export`" in changed("mean", None)
    assert "as many colours" in changed("colors", "[[0, 0, 0]]")
    assert "positive std" in changed("std", "[1, 1, 0]")
    assert "cannot be read" in changed("channels", "many")
    assert "not semantic or instance" in changed("task", "panoptic")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen at 127.0.0.1, port {port}" in refused(capsys, file, "--port", port)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "segedu.serve.server")
    assert "pip install 'segedu[serve]'" in refused(capsys, file)


@pytest.mark.slow  # starts a process
def test_a_short_load_is_answered_rightly(tmp_path):
    from benchmarks.serve import load, prepare, service, summary

    file = prepare(tmp_path, (64, 96), {"base_width": 4, "depth": 2})
    names = sorted((tmp_path / "pictures").iterdir())
    bodies = [name.read_bytes() for name in names]
    masks = [as_array((tmp_path / "out" / "mask" / name.name).read_bytes()) for name in names]
    assert len({mask.tobytes() for mask in masks}) == len(masks)  # else mixed up ones go unseen
    with service(file) as (port, pid):
        seen = summary(load(port, pid, bodies, masks, 3.0))
    assert set(seen["statuses"]) == {"200"} and seen["requests"] >= 8 and seen["wrong"] == 0


@pytest.mark.parametrize(
    "image_size, pixels", [(None, Limits.pixels), ([48, 64], SCALED_PIXELS), ([48, 64], 5000)]
)
def test_photographs_are_larger_where_the_network_scales_them(
    tmp_path, monkeypatch, image_size, pixels
):
    """12 megapixels are taken where the network sees 48 x 64 of them."""
    more = ["--image-size", *map(str, image_size)] if image_size else []
    file = exported(tmp_path, *more)
    taken = []
    monkeypatch.setattr("segedu.serve.server.serve", lambda app, *_: taken.append(app))
    monkeypatch.setattr("segedu.serve.service.application", lambda service: service.limits)
    few = ["--max-pixels", "5000"] if pixels == 5000 else []
    few += ["--timeout", "60", "--keep-numbers", str(tmp_path / "{host}.jsonl")]
    assert main(["serve", str(file), "--port", "0", "--threads", "1", *few]) == 0
    assert taken[0].pixels == pixels and taken[0].answer == 60
    assert (tmp_path / f"{socket.gethostname()}.jsonl").is_file()
    assert (taken[0].pixels > 4032 * 3024) == (pixels == SCALED_PIXELS)
