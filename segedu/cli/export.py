"""Write a trained network as an ONNX file, checked against PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

from segedu.cli.monitor import first_pictures, record
from segedu.cli.networks import load_model
from segedu.cli.options import Parser, add_image_size
from segedu.files import user_path

EXAMPLES = (
    "export --checkpoint runs/unet/best.pt --out unet.onnx",
    "export --checkpoint runs/unet/best.pt --out unet.onnx --size 512 512",
)
#: Why networks of the other tasks cannot be exported.
REASONS = {
    "instance": "the number of its objects decides the sizes of its tensors, which the exporter "
    "would freeze at those of the example",
    "panoptic": "it puts its segments together one after the other, and the exporter would freeze "
    "their number at that of the example",
    "volume": "the command reads checkpoints of images only",
}
#: What the files of a promptable network say of themselves; see `segedu.engine.export_clicks`.
CLICKS = {
    "preprocessing": "image = pixels / 255, channels first, RGB, resized until its longer side is "
    "that of size; the encoder normalises and pads it",
    "postprocessing": "a mask is where its logits are above 0: mask 0 after several clicks, the "
    "one of masks 1 to 3 with the largest iou after the first; its low_res is the next mask",
}


def add_options(parser: Parser) -> None:
    """The checkpoint, the file, and the size of the images."""
    parser.usage = "%(prog)s --checkpoint FILE --out FILE [options]"
    parser.add_argument("--checkpoint", required=True, help="best.pt or last.pt of a training")
    parser.add_argument("--out", required=True, help="the file, whose name ends in .onnx")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=[256, 320],
        metavar=("HEIGHT", "WIDTH"),
        help="of the images, where the network allows no other (default: 256 320)",
    )
    add_image_size(
        parser.add_argument, "the file says: scale pictures into this (default: as trained)"
    )
    parser.add_argument(
        "--reference",
        metavar="INPUT",
        help="pictures whose statistics the file keeps, for `python -m segedu monitor`",
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def run(options: argparse.Namespace) -> None:
    """Export one checkpoint."""
    import segedu
    from segedu.cli.results import network_input
    from segedu.engine.export import INPUT, OUTPUT, export_onnx
    from segedu.engine.export_clicks import export_clicks, part_paths
    from segedu.engine.export_objects import export_detector
    from segedu.models import list_models
    from segedu.models.mask_rcnn import MaskRCNN

    out = user_path(options.out)
    if out.suffix.lower() != ".onnx":
        raise ValueError(f"--out: {out} must end in .onnx")
    if min(options.size) < 64:
        raise ValueError(f"--size must be 64 at least, got {options.size}")
    if options.checkpoint.lower().endswith(".onnx"):
        raise ValueError(f"--checkpoint: {options.checkpoint} is exported already")
    model, state = load_model(options.checkpoint, "cpu", None, options.image_size)
    name = state["network"]["name"]
    kind = list_models()[name].task
    is_rcnn = isinstance(model, MaskRCNN)
    for file in [*part_paths(out).values()] if kind == "promptable" else [out]:
        if file.exists() and not options.force:
            raise FileExistsError(f"{file} is there already: --force replaces it")
    if kind in REASONS and not is_rcnn:
        raise ValueError(f"{name} cannot be exported: {REASONS[kind]}")
    if kind == "promptable":
        if options.reference:
            raise ValueError("--reference: `python -m segedu monitor` knows no promptable networks")
        if options.image_size:
            raise ValueError(f"--image-size: {name} always sees {model.image_size} pixels")
        about = {"task": kind, "network": name, "segedu": segedu.__version__}
        files, difference = export_clicks(model, out, about | CLICKS)
        sizes = " and ".join(f"{file} ({size_of(file)})" for file in files)
        print(
            f"{sizes}: images whose longer side is {model.image_size} pixels, any number of "
            f"clicks; they differ from PyTorch by {difference:.1e} of the largest value at most"
        )
        return
    known = network_input(state)
    reference = first_pictures(options.reference, known.channels) if options.reference else None
    metadata = {
        "task": known.task,
        "network": name,
        "classes": list(known.classes),
        "colors": [list(color) for color in known.colors],
        "channels": known.channels,
        "mean": list(known.mean),
        "std": list(known.std),
        "image_size": known.image_size,
        "segedu": segedu.__version__,
    }
    size = (options.size[0], options.size[1])
    if is_rcnn:
        metadata |= {
            "preprocessing": f"{INPUT} = pixels / 255, channels first; the file normalises and "
            "scales it",
            "postprocessing": "boxes are left, top, right, bottom in pixels; labels count the "
            "classes; masks are probabilities, of which 0.5 and more is the object",
        }
        sizes = [size, (size[0] + 32, size[1]), (size[0], size[1] + 64)]
        share = export_detector(model, out, metadata, sizes)
        print(
            f"{out}: one image of any size, {size_of(out)}; it agrees with PyTorch on {share:.1%} "
            "of the objects"
        )
        record(out, reference)
        return
    metadata |= {
        "preprocessing": f"{INPUT} = (pixels / 255 - mean) / std, per channel, RGB for colours",
        "postprocessing": f"the class of a pixel is the largest of its {OUTPUT}; of a single one, "
        "whether it is positive",
    }
    written = export_onnx(model, out, metadata, channels=known.channels, size=size)
    what = "images of any size" if written.dynamic else f"images of {size[0]} x {size[1]} pixels"
    what += "" if written.several else ", one at a time"
    print(
        f"{out}: {what}, {size_of(out)}; the logits differ from PyTorch's by "
        f"{written.difference:.1e} of the largest at most"
    )
    record(out, reference)


def size_of(file: Path) -> str:
    """How large a file is, for people."""
    size = file.stat().st_size
    return f"{size / 2**20:.1f} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"
