"""Requests that a service must refuse: each a name, bytes of HTTP, and the statuses allowed."""

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image


def image(kind="PNG", size=(24, 32), seed=0, mode="RGB", **saving):
    """A file of noise."""
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (*size, 4), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").convert(mode).save(file, kind, **saving)
    return file.getvalue()


def post(body, kind="image/png", path="/predict", length=None, more=""):
    """The bytes of a request."""
    length = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{more}"
    return f"{head}Content-Length: {length}\r\nConnection: close\r\n\r\n".encode() + body


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


def chunk(name, data):
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(width, height):
    """A PNG of one colour: some kilobytes that unpack to width x height bytes."""
    packer = zlib.compressobj(9)
    row = bytes(width + 1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def header_alone(side):
    """A PNG that says it has side x side pixels, and holds none."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


def text_bomb():
    """A PNG whose comment unpacks to 64 MB."""
    good = image()
    comment = b"Comment\0\0" + zlib.compress(bytes(64 * 2**20), 9)
    return good[:33] + chunk(b"zTXt", comment) + good[33:]


def many_scans():
    """A progressive JPEG of one grey whose last pass is repeated a thousand times."""
    file = io.BytesIO()
    Image.new("RGB", (600, 600), "grey").save(file, "JPEG", progressive=True)
    good = file.getvalue()
    last = good.rindex(b"\xff\xda")
    return good[:-2] + good[last:-2] * 1000 + b"\xff\xd9"


def animation():
    frames = [Image.new("RGB", (32, 24), color) for color in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


def deep():
    file = io.BytesIO()
    Image.fromarray(np.full((24, 32), 40000, np.uint16)).save(file, "PNG")
    return file.getvalue()


def requests(limit, pixels):
    """All of them, for a service that takes so many bytes and pixels: name -> (bytes, statuses)."""
    side = int(pixels**0.5) + 1
    good = image()
    found = {
        "no body": (post(b""), {415}),
        "text": (post(b"hello"), {415}),
        "html as png": (post(b"<html><script>1</script>"), {415}),
        "wrong media type": (post(good, "text/html"), {415}),
        "form": (post(good, "multipart/form-data; boundary=x"), {415}),
        "gif": (post(image("GIF"), "image/gif"), {415}),
        "tiff called png": (post(image("TIFF")), {415}),
        "bmp called png": (post(image("BMP")), {415}),
        "packed": (post(good, more="Content-Encoding: gzip\r\n"), {415}),
        "bomb beyond the limit": (post(bomb(side, side)), {413}),
        "bomb of 196 megapixels": (post(bomb(14000, 14000)), {413}),
        "bomb of a comment": (post(text_bomb()), {415, 422}),
        "size in the header alone": (post(header_alone(2**31 - 1)), {413, 415}),
        "many scans": (post(many_scans(), "image/jpeg"), {415}),
        "animation": (post(animation()), {415}),
        "16 bits": (post(deep()), {415}),
        "one pixel": (post(image(size=(1, 1))), {200, 422}),
        "one row": (post(image(size=(1, 500))), {200, 422}),
        "too long, as said": (post(b"", length=limit + 1), {413}),
        "far too long, as said": (post(b"", length=10**15), {413}),
        "too long, in chunks": (in_chunks(bytes(limit + 70_000)), {413}),
        "negative length": (post(b"", length=-1), {400}),
        "length that is no number": (post(b"", length="x"), {400}),
        "answer that does not exist": (post(good, path="/predict?answer=../../etc/passwd"), {422}),
        "get": (get("/predict"), {405}),
        "path upwards": (get("/../../etc/passwd"), {404}),
        "path of the documentation": (get("/docs"), {404}),
        "garbage": (bytes(range(256)) * 4 + b"\r\n\r\n", {400}),
        "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n", {400}),
        "endless header": (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000, {400, 431}),
        "two lengths": (post(good, more="Content-Length: 3\r\n"), {400}),
    }  # fmt: skip
    draw = random.Random(0)
    for kind, media in (("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")):
        whole = image(kind, (40, 50))
        for number in range(12):
            cut = whole[: draw.randrange(len(whole))]
            found[f"{kind} cut {number}"] = (post(cut, media), {415, 422})
        for number in range(45):
            broken = bytearray(whole)
            for _ in range(draw.randrange(1, 30)):
                broken[draw.randrange(len(broken))] = draw.randrange(256)
            found[f"{kind} broken {number}"] = (post(bytes(broken), media), {200, 413, 415, 422})
    return found


def in_chunks(body):
    """A request without a length."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    head += b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    parts = (body[i : i + 65536] for i in range(0, len(body), 65536))
    return head + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
