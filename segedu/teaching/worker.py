"""What runs inside a sandbox: the code of one submission, cell by cell.

The grader writes requests to the standard input and reads answers from the standard output; what a
submission prints goes nowhere. A request is a dict:

- ``{"run": source}`` executes a cell;
- ``{"get": expression}`` sends a value;
- ``{"call": expression, "arguments": […]}`` calls a function and sends its result;
- ``{"keep": key}`` notes what all names mean now, and ``{"restore": key}`` brings that back, also
  for the functions that read them.

An answer is ``{"ok": value}``, or ``{"error": kind, "message": text}``; the first one says that the
worker is there.
"""

import os
import re
import signal
import sys
from types import ModuleType
from typing import Any, BinaryIO

from segedu.teaching import wire


class OutOfTimeError(BaseException):
    """A request took too long; not an Exception, which a submission would catch by habit."""


_kept: dict[str, dict[str, Any]] = {}


def main() -> None:
    """Serve requests until the standard input ends. The argument is the seconds for each."""
    seconds = float(sys.argv[1])
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    signal.signal(signal.SIGALRM, _stop)
    notebook = ModuleType("__main__")
    sys.modules["__main__"] = notebook
    names = vars(notebook)
    names |= {"display": _nothing}
    import torch  # noqa: F401  it takes seconds, which are not the submission's

    import segedu.teaching

    segedu.teaching.check = _nothing  # the grader judges; the checks are not in here
    answers.write(wire.pack({"ok": None}))
    answers.flush()
    while request := read(requests):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            answer = wire.pack({"ok": _serve(request, names)})
        except wire.WireError as error:
            answer = wire.pack({"error": "TypeError", "message": str(error)[:200]})
        except BaseException as error:
            kind = type(error)
            if issubclass(kind, OutOfTimeError):
                kind = TimeoutError
            message = f"more than {seconds:g} s" if kind is TimeoutError else _text(error)
            answer = wire.pack({"error": kind.__name__, "message": message})
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(answer)
        answers.flush()


def read(stream: BinaryIO) -> Any:
    """The next message of a stream, or None at its end."""
    head = stream.read(wire.HEAD)
    if len(head) < wire.HEAD:
        return None
    tree, body = wire.sizes(head)
    return wire.unpack(stream.read(tree), stream.read(body))


def _serve(request: dict[str, Any], names: dict[str, Any]) -> Any:
    if "run" in request:
        exec(compiled(request["run"]), names)
        return None
    if "keep" in request:
        _kept[request["keep"]] = dict(names)
        return None
    if "restore" in request:
        names.clear()
        names.update(_kept[request["restore"]])
        return None
    if "get" in request:
        return eval(request["get"], names)
    return eval(request["call"], names)(*request["arguments"])


def compiled(source: str) -> Any:
    """The code of a cell; lines that only a notebook understands are left out."""
    try:
        return compile(source, "<cell>", "exec")
    except SyntaxError:
        plain = re.sub(r"^([ \t]*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)
        return compile(plain, "<cell>", "exec")


def _nothing(*arguments: Any, **named: Any) -> None:
    return None


def _text(error: BaseException) -> str:
    try:
        return str(error)[:200]
    except BaseException:
        return ""


def _stop(number: int, frame: Any) -> None:
    raise OutOfTimeError


if __name__ == "__main__":
    main()
