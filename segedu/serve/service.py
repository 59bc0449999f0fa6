"""What the service answers: ``/predict``, ``/health``, ``/metrics`` and the page."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import fastapi
import numpy as np
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from PIL import Image
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import ClientDisconnect
from torch import Tensor

from segedu import __version__
from segedu.engine.deployed import Deployed, Found
from segedu.ops import rle
from segedu.serve.batches import Batches
from segedu.serve.limits import Limits
from segedu.serve.page import CONTENT_POLICY, page
from segedu.serve.pictures import FORMATS, MODES, Refused, pixels_of, read_picture
from segedu.serve.sample import WAITING, Sample
from segedu.viz import overlay, overlay_instances

#: A file that is too large is read to its end, and thrown away, if it is at most so many times as
#: large as allowed: many clients read no answer before they have sent everything.
DISCARDED = 8
Answer = Literal["mask", "rle", "overlay"]
T = TypeVar("T")


class Service:
    """Answers requests with what a network finds; keeps nothing of them but counts.

    Args:
        network: in its file.
        limits: of the requests.
        sample: is shown some of the pictures, after their answers.

    Raises:
        ValueError: if pictures do not have the channels that the network takes.
    """

    def __init__(self, network: Deployed, limits: Limits, sample: Sample | None = None) -> None:
        contract = network.contract
        if contract.channels not in MODES:
            raise ValueError(
                f"{contract.network} takes {contract.channels} channels; the pictures that are "
                f"sent to a service have {', '.join(map(str, MODES))}"
            )
        self.network, self.limits, self.sample = network, limits, sample
        self._to_watch: asyncio.Queue[Tensor] = asyncio.Queue(WAITING)
        self.open = self.pixels = self.skipped = 0
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "segedu_requests", "Requests to /predict.", ["status"], registry=self.registry
        )
        self.seconds = Histogram(
            "segedu_request_seconds",
            "From the whole file to the answer, of those answered.",
            registry=self.registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20),
        )
        self.batch_size = Histogram(
            "segedu_batch_size",
            "Pictures that the network saw at once.",
            registry=self.registry,
            buckets=(1, 2, 4, 8, 16, 32),
        )
        self.sampled = Counter(
            "segedu_sampled", "Pictures of the sample.", ["result"], registry=self.registry
        )
        Gauge("segedu_open_requests", "In work or waiting.", registry=self.registry).set_function(
            lambda: self.open
        )
        largest = limits.batch if contract.several else 1
        self.batches = Batches(network.infer, largest, self.batch_size.observe)

    async def predict(self, request: fastapi.Request, answer: Answer) -> fastapi.Response:
        """The answer to one request; raises `Refused`."""
        data = await self._body(request)
        if self.open >= self.limits.queue:
            raise Refused(429, f"{self.open} requests wait already; try again in a second")
        self.open += 1
        start = time.perf_counter()
        try:
            async with asyncio.timeout(self.limits.answer):
                pixels = await self._thread(pixels_of, data, self.limits.pixels)
                if self.pixels + pixels > self.limits.work:
                    raise Refused(429, "large pictures are in work; try again in a second")
                self.pixels += pixels
                try:
                    picture, found, body, media_type = await self._worked(data, pixels, answer)
                finally:
                    self.pixels -= pixels
        except TimeoutError:
            raise Refused(503, f"no answer within {self.limits.answer:g} seconds") from None
        finally:
            self.open -= 1
        elapsed = time.perf_counter() - start
        self.seconds.observe(elapsed)
        if self.sample is not None and self.sample.due():
            self._keep(picture)
        headers = {
            "Server-Timing": f"predict;dur={1000 * elapsed:.1f}",
            "X-Segedu-Found": json.dumps(self._summary(found)),
        }
        return fastapi.Response(body, media_type=media_type, headers=headers)

    async def _thread(self, function: Callable[..., T], *arguments: Any, pixels: int = 0) -> T:
        """Work in a thread; it goes on when nobody waits any more, and keeps its place so long."""
        work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if not work.done():
                self.open += 1
                self.pixels += pixels
                work.add_done_callback(partial(self._ended, pixels))
            raise

    def _ended(self, pixels: int, work: asyncio.Future[Any]) -> None:
        self.open -= 1
        self.pixels -= pixels
        if not work.cancelled():
            work.exception()  # of a request that was answered already; nobody else asks for it

    def _keep(self, picture: Tensor) -> None:
        """Let a picture of the sample wait; one too many is counted, and the first of them told."""
        try:
            self._to_watch.put_nowait(picture)
        except asyncio.QueueFull:
            if not self.skipped:
                print(
                    "segedu: pictures come faster than their numbers are kept: some are left out, "
                    'counted by segedu_sampled_total{result="skipped"}; a larger --every helps',
                    file=sys.stderr,
                    flush=True,
                )
            self.skipped += 1
            self.sampled.labels("skipped").inc()

    async def watch(self) -> None:
        """Show the pictures that wait to the sample, one at a time, until this is cancelled."""
        while True:
            picture = await self._to_watch.get()
            try:
                await asyncio.to_thread(self.sample.watch, picture)
            except (OSError, ValueError) as error:
                self.sampled.labels("failed").inc()
                print(f"segedu: a picture of the sample: {error}", file=sys.stderr, flush=True)
            else:
                self.sampled.labels("kept").inc()

    async def _body(self, request: fastapi.Request) -> bytes:
        """The file that was sent."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in FORMATS or request.headers.get("content-encoding", "identity") != "identity":
            raise Refused(415, f"send a file as it is, as {', '.join(FORMATS)}")
        limit = self.limits.body
        too_large = Refused(413, f"the file is too large; allowed are {limit} bytes")
        stated = int(request.headers.get("content-length", 0))
        data, size, large = bytearray(), 0, stated > limit
        if stated > DISCARDED * limit or (large and "expect" in request.headers):
            raise too_large
        try:
            async with asyncio.timeout(self.limits.upload):
                async for part in request.stream():
                    size += len(part)
                    large = large or size > limit
                    if not large:
                        data += part
                    elif size > DISCARDED * limit:
                        break
        except ClientDisconnect:
            raise Refused(400, "the client went away") from None
        except TimeoutError:
            if not large:
                raise Refused(
                    408, f"the file did not arrive within {self.limits.upload:g} seconds"
                ) from None
        if large:
            raise too_large
        return bytes(data)

    async def _worked(
        self, data: bytes, pixels: int, answer: Answer
    ) -> tuple[Tensor, Found, bytes, str]:
        """The picture, what was found in it, the body of the answer and its media type."""
        thread = partial(self._thread, pixels=pixels)
        picture = await thread(
            read_picture, data, self.network.contract.channels, self.limits.pixels
        )
        try:
            seen = await thread(self.network.prepared, picture)
            inferred = await self.batches(seen)
        except ValueError as error:
            raise Refused(422, str(error)) from error
        size = (picture.shape[1], picture.shape[2])
        found = await thread(self.network.finished, inferred, size)
        return picture, found, *await thread(self._encoded, picture, found, answer)

    def _encoded(self, picture: Tensor, found: Found, answer: Answer) -> tuple[bytes, str]:
        """The body of an answer, and its media type."""
        if answer == "rle":
            height, width = found.labels.shape
            content = {"height": height, "width": width, "found": self._segments(found)}
            return json.dumps(content).encode(), "application/json"
        if answer == "overlay":
            return _png(Image.fromarray(self._drawn(picture, found))), "image/png"
        mask = Image.fromarray(found.labels)
        if found.scores is None:
            mask.putpalette([value for color in self.network.contract.colors for value in color])
        return _png(mask), "image/png"

    def _drawn(self, picture: Tensor, found: Found) -> Any:
        shown = picture[: 3 if len(picture) >= 3 else 1]
        if found.masks is not None:
            return overlay_instances(shown, found.masks)
        return overlay(shown, found.labels, self.network.contract.colors)

    def _summary(self, found: Found) -> list[dict[str, Any]]:
        """Of each class that is there, or of each object: number, name, and share or score."""
        names = self.network.contract.classes
        listed = [{"class": c, "name": names[c]} for c in found.classes]
        if found.scores is not None:
            about = ({"score": round(score, 4)} for score in found.scores)
        else:
            counts = np.bincount(found.labels.ravel(), minlength=len(names)) / found.labels.size
            about = ({"share": round(float(counts[c]), 4)} for c in found.classes)
        return [entry | more for entry, more in zip(listed, about, strict=True)]

    def _segments(self, found: Found) -> list[dict[str, Any]]:
        """The summary with the masks as COCO's run lengths."""
        segments = self._summary(found)
        for number, entry in enumerate(segments):
            run_lengths = rle.encode(found.mask(number))
            entry["segmentation"] = run_lengths | {"counts": run_lengths["counts"].decode()}
        return segments

    def health(self) -> dict[str, Any]:
        """That the service is up, and what it is for."""
        contract = self.network.contract
        return {
            "status": "ok",
            "task": contract.task,
            "network": contract.network,
            "classes": contract.classes,
            "segedu": __version__,
        }


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)
    return file.getvalue()


def application(service: Service) -> fastapi.FastAPI:
    """The service as an application of ASGI."""

    @contextlib.asynccontextmanager
    async def working(app: fastapi.FastAPI) -> AsyncIterator[None]:
        workers = [asyncio.create_task(work()) for work in (service.batches.work, service.watch)]
        yield
        for worker in workers:
            worker.cancel()

    # The pages of FastAPI's documentation load scripts from elsewhere.
    app = fastapi.FastAPI(
        title="segedu", version=__version__, lifespan=working, docs_url=None, redoc_url=None
    )
    body = {"required": True, "content": {kind: {} for kind in FORMATS}}

    @app.post("/predict", openapi_extra={"requestBody": body})
    async def predict(request: fastapi.Request, answer: Answer = "mask") -> fastapi.Response:
        """Segment the picture in the body: a mask, COCO run lengths, or an overlay."""
        status = 500
        try:
            response = await service.predict(request, answer)
            status = 200
        except Refused as refusal:
            status = refusal.status
            # What has not arrived yet would be taken for the next request.
            headers = {"Retry-After": "1"} if status in (429, 503) else {"Connection": "close"}
            response = JSONResponse({"detail": str(refusal)}, status, headers)
        finally:
            service.requests.labels(status).inc()
        return response

    @app.exception_handler(RequestValidationError)
    async def unknown(request: fastapi.Request, error: RequestValidationError) -> JSONResponse:
        service.requests.labels(422).inc()
        (name,), got = error.errors()[0]["loc"][-1:], error.errors()[0]["input"]
        reason = f"{name} must be one of {', '.join(get_args(Answer))}, got {str(got)[:40]!r}"
        return JSONResponse({"detail": reason}, 422, {"Connection": "close"})

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return service.health()

    @app.get("/metrics")
    async def metrics() -> fastapi.Response:
        return fastapi.Response(generate_latest(service.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def index() -> fastapi.Response:
        headers = {"Content-Security-Policy": CONTENT_POLICY, "X-Content-Type-Options": "nosniff"}
        content = page(service.network.contract)
        return fastapi.Response(content, media_type="text/html", headers=headers)

    return app
