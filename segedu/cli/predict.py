"""Segment an image file; save the labels and an overlay."""

import argparse
from pathlib import Path
from typing import Any

from segedu.cli.networks import load_model, predictor
from segedu.cli.options import Parser, add_prediction, path
from segedu.files import atomic_write

EXAMPLES = (
    "predict --checkpoint runs/unet/best.pt --image street.jpg --out overlay.png",
    "predict --checkpoint runs/unet/best.pt --image street.jpg --out overlay.png --tta",
)


def add_options(parser: Parser) -> None:
    """What to segment, and where to put it."""
    add_prediction(parser, required=True)
    parser.add_argument("--image", required=True, help="the image file to segment")
    parser.add_argument("--out", required=True, help="where the overlay goes (PNG)")
    parser.add_argument("--mask", help="where the labels go (by default OUT_mask.png)")


def run(options: argparse.Namespace) -> None:
    """Segment one image."""
    import numpy as np
    from PIL import Image

    from segedu.data.images import read_image
    from segedu.data.transforms import evaluation
    from segedu.viz import overlay

    out = path(options.out)
    mask_path = path(options.mask) if options.mask else out.with_name(f"{out.stem}_mask.png")
    for file in (out, mask_path):
        if file.suffix.lower() != ".png":
            raise ValueError(f"{file}: the results are PNG files, the name must end in .png")
    image = read_image(path(options.image))  # (3,H,W)
    model, state = load_model(options.checkpoint, options.device)
    config = state["config"]
    probabilities = predictor(model, options)(evaluation()({"image": image})["image"][None])
    labels = probabilities[0].argmax(0).cpu().numpy().astype(np.uint8)  # (H,W)
    _save_png(out, Image.fromarray(overlay(image, labels, config["colors"])))
    indexed = Image.fromarray(labels)
    indexed.putpalette([value for color in config["colors"] for value in color])
    _save_png(mask_path, indexed)
    shares = np.bincount(labels.ravel(), minlength=len(config["classes"])) / labels.size
    for share, name in sorted(zip(shares, config["classes"], strict=True), reverse=True):
        if share > 0:
            print(f"{share:7.2%}  {name}")
    print(f"overlay: {out}\nlabels:  {mask_path}")


def _save_png(file_path: Path, image: Any) -> None:
    with atomic_write(file_path) as file:
        image.save(file, format="PNG")
