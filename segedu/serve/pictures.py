"""Pictures that strangers send: read from memory, within limits checked before decoding."""

import io
import warnings

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

#: Media type -> the name by which Pillow calls its format.
FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
#: Passes of a progressive JPEG. Encoders write about ten; a pass of a few bytes takes the decoder
#: through the whole picture, so that a small file may hold hours of work.
MAX_SCANS = 100
_START_OF_SCAN = b"\xff\xda"


class Refused(ValueError):
    """A request that is not answered with what was found.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def read_picture(data: bytes, channels: int, max_pixels: int) -> Tensor:
    """A picture in a file of one of `FORMATS` as uint8 (C,H,W), turned as its EXIF entry says.

    Args:
        data: the file.
        channels: C: 1 makes colours grey, 3 repeats grey and drops transparency, 4 is RGBA, which
            the picture must be.
        max_pixels: largest height times width that is decoded.

    Raises:
        Refused: if it is no such file, broken, an animation, of 16 bits, or too large.
    """
    image = _opened(data, max_pixels)
    if channels == 4 and image.mode not in ("RGBA", "PA") and "transparency" not in image.info:
        raise Refused(422, f"the network takes RGBA pictures, this one is {image.mode}")
    try:
        image = ImageOps.exif_transpose(image).convert(MODES[channels])
    except Exception as error:  # a decoder of Pillow may raise anything
        raise Refused(422, f"a picture that cannot be decoded ({error})") from None
    pixels = np.array(image).reshape(image.height, image.width, channels)
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def pixels_of(data: bytes, max_pixels: int) -> int:
    """Height times width of a picture, by its header alone; raises as `read_picture`."""
    width, height = _opened(data, max_pixels).size
    return width * height


def _opened(data: bytes, max_pixels: int) -> Image.Image:
    """A file of which no more than the header has been read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            image = Image.open(io.BytesIO(data), formats=list(FORMATS.values()))
        # Further frames of a camera's file (MPO) are previews.
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except Image.DecompressionBombError:
        raise Refused(413, f"a picture too large; allowed are {max_pixels} pixels") from None
    except Exception:  # a decoder of Pillow may raise anything
        raise Refused(415, f"not a picture of {' or '.join(FORMATS.values())}") from None
    width, height = image.size
    if width * height > max_pixels:
        raise Refused(
            413,
            f"{width} x {height} pixels are too many; allowed are {max_pixels}: send it smaller",
        )
    if frames > 1:
        raise Refused(415, f"an animation of {frames} frames; send one picture")
    if image.mode.startswith("I"):
        raise Refused(415, "a picture of 16 bits; save it with 8 bits")
    if data.count(_START_OF_SCAN) > MAX_SCANS and image.format in ("JPEG", "MPO"):
        raise Refused(415, f"a JPEG of more than {MAX_SCANS} passes; save it as a plain one")
    return image
