"""Answer pictures over HTTP with what an exported network finds in them."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from segedu.cli.options import Parser
from segedu.files import user_path
from segedu.serve.limits import SCALED_PIXELS, Limits

if TYPE_CHECKING:
    from torch import Tensor

    from segedu.engine.deployed import Deployed

EXAMPLES = (
    "serve unet.onnx",
    "serve unet.onnx --host 0.0.0.0 --port 80 --threads 4",
    "serve unet.onnx --keep-numbers numbers.jsonl",
)


def add_options(parser: Parser) -> None:
    """The file, where to listen, and limits."""
    parser.usage = "%(prog)s MODEL.onnx [options]"
    parser.add_argument("model", help="a file of `python -m segedu export`")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at (default: this machine only)"
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    parser.add_argument(
        "--threads", type=int, default=0, help="of the network (default: one per core)"
    )
    parser.add_argument(
        "--device", default="cpu", help="cpu, or cuda with onnxruntime-gpu (default: cpu)"
    )
    parser.add_argument(
        "--queue",
        type=int,
        default=Limits.queue,
        help=f"requests in work at most (default: {Limits.queue})",
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=Limits.batch,
        help=f"pictures at once (default: {Limits.batch})",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=Limits.answer,
        metavar="S",
        help=f"seconds for an answer, waiting included; then 503 (default: {Limits.answer:g})",
    )
    parser.add_argument(
        "--keep-numbers",
        metavar="FILE.jsonl",
        help="add the numbers of some pictures to a file, for `python -m segedu monitor`; {host} "
        "in its name becomes that of the machine or container",
    )
    parser.add_argument(
        "--every", type=int, default=10, metavar="N", help="keep those of each Nth (default: 10)"
    )
    parser.add_rare(
        "--max-pixels",
        type=int,
        metavar="N",
        help=f"of a picture (default: {Limits.pixels:,}; {SCALED_PIXELS:,} where the network sees "
        "every picture scaled to one size)",
    )
    parser.add_rare(
        "--max-bytes", type=int, default=Limits.body, metavar="N", help="of a picture's file"
    )


def run(options: argparse.Namespace) -> None:
    """Serve until a signal to stop."""
    print(f"loading the libraries and {options.model} ...", flush=True)
    from segedu.engine.deployed import Deployed

    try:
        from segedu.serve.sample import Sample
        from segedu.serve.server import listen, serve
        from segedu.serve.service import Service, application
    except ModuleNotFoundError as error:
        raise ImportError(
            f"serving needs the package {error.name}: pip install 'segedu[serve]'"
        ) from error
    if not 0 <= options.port < 65536:
        raise ValueError(f"--port must be in 0..65535, got {options.port}")
    if options.threads < 0:
        raise ValueError(f"--threads must be 0 or more, got {options.threads}")
    network = Deployed(user_path(options.model), options.threads, options.device)
    pixels = SCALED_PIXELS if network.contract.image_size else Limits.pixels
    limits = Limits(
        queue=options.queue,
        batch=options.batch,
        body=options.max_bytes,
        answer=options.timeout,
        pixels=pixels if options.max_pixels is None else options.max_pixels,
    )
    sample = None
    if options.keep_numbers is not None:
        name = options.keep_numbers.replace("{host}", socket.gethostname())
        sample = Sample(writer(network, user_path(name)), options.every)
    service = Service(network, limits, sample)
    listening = listen(options.host, options.port)
    host, port = listening.getsockname()[:2]
    print(
        f"{options.model} answers at http://{f'[{host}]' if ':' in host else host}:{port}/ "
        "(Ctrl-C stops)",
        flush=True,
    )
    serve(application(service), listening, limits.upload + limits.answer)


def writer(network: Deployed, file: Path) -> Callable[[Tensor], None]:
    """Adds the numbers of a picture to a file, with the time as its name; see `segedu.monitor`.

    The network runs once more for them, since an answer needs no logits. The file may be moved away
    at any time: the next line begins another.

    Args:
        network: of the service.
        file: for `segedu monitor`, so its name ends in .jsonl.

    Raises:
        ValueError: if the name ends otherwise.
        OSError: if the file cannot be written to.
    """
    from segedu import monitor

    if file.suffix.lower() != ".jsonl":
        raise ValueError(f"--keep-numbers: {file} must end in .jsonl")
    with file.open("a", encoding="utf-8"):
        pass  # that it cannot be written to is found out before the first picture

    def write(picture: Tensor) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        monitor.append(file, moment, monitor.numbers_of(network, picture))

    return write
