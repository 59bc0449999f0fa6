"""Networks as ONNX files, each compared with PyTorch before it is kept."""

import copy
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from segedu.files import write_bytes

OPSET = 18
#: Largest difference of the logits, relative to the largest of them: the two programs add up in
#: another order, and hundreds of layers in float32 (eps 1.2e-7) make some 1e-5 of it.
TOLERANCE = 1e-3
INPUT, OUTPUT = "image", "logits"


#: What ONNX, or PyTorch's way to it, has no word for.
UNKNOWN = {
    F.max_unpool2d: "it places values by the indices of a pooling's maxima (max_unpool2d), for "
    "which PyTorch has no translation to ONNX",
}


class ExportError(ValueError):
    """A network that cannot be exported, and why."""


class Exported(NamedTuple):
    """What `export_onnx` wrote."""

    path: Path
    dynamic: bool
    """Whether images of any height and width go in; else of one size only."""
    several: bool
    """Whether any number of images goes in at once; else one."""
    difference: float
    """The largest difference to PyTorch that was seen, relative to the largest logit."""


def export_onnx(
    model: nn.Module,
    path: str | Path,
    metadata: Mapping[str, Any],
    *,
    channels: int = 3,
    size: tuple[int, int] = (256, 320),
) -> Exported:
    """Write a semantic network as an ONNX file, if it then computes what it did before.

    The file takes ``image`` float32 (N,C,H,W), normalised, and gives ``logits`` (N,K,H,W). Heights
    and widths are free if the network allows it, which is tried with three sizes; else they are
    those of ``size``. So is the number of images N; else it is 1.

    Args:
        model: maps (N,C,H,W) to logits; left in eval mode, where it is.
        path: file to create or to replace.
        metadata: kept in the file as text: strings as they are, everything else as JSON.
        channels: C.
        size: height and width of the example images, and of all images where the size is fixed; the
            others that are tried differ from it by 32 and 64.

    Raises:
        ExportError: if the network cannot be exported, or the file computes something else.
        ImportError: if a package of the extra ``deploy`` is missing.
    """
    import_extra("onnx")
    import_extra("onnxruntime")
    model = _exportable(model.eval())
    height, width = size
    _check_operations(model, channels, size)
    others = [(height + 32, width), (height, width + 64)]  # other areas, too
    failure = None
    for dynamic, several in ((True, True), (True, False), (False, True), (False, False)):
        sizes = [size, *others] if dynamic else [size]
        try:
            data = _converted(model, channels, size, dynamic, several)
            difference = compare(model, data, channels, sizes, several)
        except ExportError as error:
            failure = failure or error
            continue
        written = {**metadata, "size": "any" if dynamic else [height, width]}
        written["images"] = "any number" if several else "1"
        return Exported(write_onnx(path, data, written), dynamic, several, difference)
    raise failure


def half_onnx(model: nn.Module, channels: int = 3, size: tuple[int, int] = (128, 160)) -> bytes:
    """A semantic network as an ONNX file of half the size that computes the same.

    For networks whose weights half precision holds exactly, as those in the package: the file keeps
    them in it, and what runs the file turns them into float32. One image of any height and width
    goes in, otherwise the file is as `export_onnx` writes it.

    Raises:
        ExportError: if the network cannot be exported, or the file computes something else.
        ImportError: if a package of the extra ``deploy`` is missing.
    """
    model = _exportable(model.eval())
    free = {2: "H", 3: "W"}
    images = torch.zeros(1, channels, *size)
    data = halved(convert(model, (images,), {INPUT: free}, {OUTPUT: free}, fold=False))
    compare(model, data, channels, [size, (size[0] + 32, size[1] + 64)], several=False)
    return data


def halved(data: bytes) -> bytes:
    """An ONNX file that keeps its weights in half precision, those that it holds exactly."""
    onnx = import_extra("onnx")
    file = onnx.load_from_string(data)
    for number, weight in enumerate(file.graph.initializer):
        values = onnx.numpy_helper.to_array(weight)
        halves = values.astype("float16")
        if values.dtype != "float32" or not (halves.astype("float32") == values).all():
            continue
        name, inner = weight.name, f"half_{number}"
        weight.CopyFrom(onnx.numpy_helper.from_array(halves, inner))
        cast = onnx.helper.make_node("Cast", [inner], [name], to=onnx.TensorProto.FLOAT)
        file.graph.node.insert(0, cast)
    return file.SerializeToString()


def write_onnx(path: str | Path, data: bytes, metadata: Mapping[str, Any]) -> Path:
    """Write a file with this metadata alone: strings as they are, everything else as JSON."""
    file = import_extra("onnx").load_from_string(data)
    del file.metadata_props[:]
    for key, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        file.metadata_props.add(key=key, value=text)
    return write_bytes(path, file.SerializeToString())


@torch.no_grad()
def compare(
    model: nn.Module,
    data: bytes,
    channels: int,
    sizes: Sequence[tuple[int, int]],
    several: bool = True,
) -> float:
    """The largest difference of an ONNX file to its network, relative to the largest logit.

    Args:
        model: the network.
        data: the file.
        channels: of the images.
        sizes: heights and widths that are tried, the first with one random image, the second with
            two, and so on.
        several: if not, with one image each.

    Raises:
        ExportError: if the file fails, or differs by more than `TOLERANCE`.
    """
    largest = 0.0
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    run = runner(data)
    for number, size in enumerate(sizes, start=1):
        images = torch.randn(number if several else 1, channels, *size, generator=generator)
        wanted = model(images.to(device)).cpu()
        (found,) = run(images)
        if found.shape != wanted.shape:
            raise ExportError(
                f"the file gives {tuple(found.shape)} for {tuple(images.shape)}, the network "
                f"{tuple(wanted.shape)}"
            )
        largest = max(largest, difference(found, wanted))
    return largest


def difference(found: Tensor, wanted: Tensor, what: str = "logits") -> float:
    """The largest difference of what a file gives, relative to the largest of what is wanted.

    Raises:
        ExportError: if it is more than `TOLERANCE`, or not a number; it says ``what`` differs.
    """
    # Not a number, if either has one.
    share = ((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12)).item()
    if not share <= TOLERANCE:
        raise ExportError(
            f"the file computes something else: its {what} differ by {share:.1e} of the largest, "
            f"allowed are {TOLERANCE:g}"
        )
    return share


def runner(data: bytes) -> Callable[..., list[Tensor]]:
    """A function from what goes into a file, in its order, to what comes out, by onnxruntime.

    Raises:
        ExportError: if the file cannot be run, here or in the function.
    """
    runtime = import_extra("onnxruntime")
    runtime.set_default_logger_severity(4)
    silent = runtime.SessionOptions()
    silent.log_severity_level = 4

    def asked(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # onnxruntime has a class for each kind
            raise ExportError(f"onnxruntime cannot run the file: {_first_line(error)}") from error

    providers = ["CPUExecutionProvider"]
    session = asked(lambda: runtime.InferenceSession(data, silent, providers=providers))
    names = [entry.name for entry in session.get_inputs()]

    def run(*inputs: Tensor) -> list[Tensor]:
        given = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        found = asked(lambda: session.run(None, given))
        return [torch.from_numpy(array) for array in found]

    return run


class _AnyPool(nn.Module):
    """``nn.AdaptiveAvgPool2d`` as two products with matrices, which work for every size.

    Bin i of n averages the places from floor(i L / n) to ceil((i + 1) L / n) of L, as there.
    """

    def __init__(self, bins: int | Sequence[int]) -> None:
        super().__init__()
        self.output_size = bins

    def forward(self, x: Tensor) -> Tensor:
        """(N,C,H,W) -> (N,C,rows,columns)."""
        bins = self.output_size
        sides = (bins, bins) if isinstance(bins, int) else bins
        rows, columns = (self._weights(x, *side) for side in zip((2, 3), sides, strict=True))
        return rows @ x @ columns.transpose(0, 1)

    @staticmethod
    def _weights(x: Tensor, axis: int, bins: int) -> Tensor:
        """(bins, L), each row a mean; the exporter follows the length, for it is a shape."""
        length = x.shape[axis]
        number = torch.arange(bins, device=x.device)[:, None]
        start = torch.div(number * length, bins, rounding_mode="floor")
        stop = torch.div((number + 1) * length + bins - 1, bins, rounding_mode="floor")
        place = torch.arange(length, device=x.device)
        inside = (place >= start) & (place < stop)
        return inside.to(x.dtype) / (stop - start).to(x.dtype)


def _exportable(model: nn.Module) -> nn.Module:
    """A copy in which layers that ONNX knows for one size only are others that do the same."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.AdaptiveAvgPool2d) and child.output_size not in (1, (1, 1)):
                setattr(parent, name, _AnyPool(child.output_size))
    return model


class _Unknown(TorchFunctionMode):
    """Refuses what stands in `UNKNOWN`."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        if function in UNKNOWN:
            raise ExportError(f"this network cannot be exported: {UNKNOWN[function]}")
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def _check_operations(model: nn.Module, channels: int, size: tuple[int, int]) -> None:
    with _Unknown():
        model(torch.zeros(1, channels, *size, device=next(model.parameters()).device))


def _converted(
    model: nn.Module, channels: int, size: tuple[int, int], dynamic: bool, several: bool
) -> bytes:
    free = ({0: "N"} if several else {}) | ({2: "H", 3: "W"} if dynamic else {})
    device = next(model.parameters()).device
    images = torch.zeros(2 if several else 1, channels, *size, device=device)
    return convert(model, (images,), {INPUT: free}, {OUTPUT: free})


def convert(
    model: nn.Module,
    arguments: tuple[Any, ...],
    inputs: Mapping[str, Mapping[int, str]],
    outputs: Mapping[str, Mapping[int, str]],
    *,
    fold: bool = True,
) -> bytes:
    """What PyTorch's exporter makes of a network.

    Args:
        model: the network.
        arguments: that it is called with.
        inputs: the names of the tensors among them, and the axes whose lengths are free.
        outputs: the same of what it gives.
        fold: put batch normalisations into the convolutions before them, whose weights change.

    Raises:
        ExportError: if it cannot.
    """
    file = io.BytesIO()
    logger = logging.getLogger("torch.onnx")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer; what it got wrong, `compare` finds
            torch.onnx.export(
                model,
                arguments,
                file,
                input_names=[*inputs],
                output_names=[*outputs],
                dynamic_axes={
                    name: dict(axes) for name, axes in (*inputs.items(), *outputs.items())
                },
                opset_version=OPSET,
                dynamo=False,
                do_constant_folding=fold,
                training=torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE,
            )
    except Exception as error:  # torch has a class for each of its stages
        raise ExportError(f"PyTorch cannot export this network: {_first_line(error)}") from error
    finally:
        logger.disabled = before
    return file.getvalue()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"


def import_extra(name: str) -> ModuleType:
    """A package of the extra ``deploy``, or what to install."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"exporting needs the package {name}: pip install 'segedu[deploy]'"
        ) from error
