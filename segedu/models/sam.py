"""SAM. Kirillov et al., Segment Anything, ICCV 2023 (arXiv:2304.02643)."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segedu.models.backbones import Weights, read_weights
from segedu.models.hugging_face import rename_sam as from_hugging_face
from segedu.models.mask_losses import dice_loss, focal_loss
from segedu.models.sam_decoder import MaskDecoder, PromptEncoder
from segedu.models.sam_encoder import ImageEncoder
from segedu.models.targets import IMAGE_MEAN, IMAGE_STD, normalize
from segedu.models.transformer import initialize
from segedu.ops import binary_masks
from segedu.ops.precision import full_precision


class Masks(NamedTuple):
    """The answer to P prompts on each of N images, K masks each."""

    logits: Tensor  #: (N, P, K, H, W), at the size of the images
    iou: Tensor  #: (N, P, K), what the network thinks of its masks
    low_res: Tensor  #: (N, P, K, S/4, S/4) logits; one of K can be the next mask prompt


class SAM(nn.Module):
    """Segment Anything: an image is embedded once, then any prompt gives masks quickly.

    ``model(images, points=..., labels=...)`` segments what the prompts mean and returns `Masks`;
    ``model.segment(model.embed(images), size, ...)`` does it in two steps, for further prompts on
    the same images. Images are float (N, 3, H, W) in [0, 1]; they are resized until the longer side
    is ``image_size``, normalised and padded. Prompts are in pixels of the given images.

    The task to train with is `segedu.tasks.Promptable`; it minimises the sum of `losses`.

    Faithful: the three parts and their sizes; three masks for an unclear prompt. Different: the
    paper's text prompt, which was not published, is missing; linear layers start after Glorot and
    Bengio, with which the tiny one learns several times sooner than with PyTorch's start.

    Parameters: 93,735,472 (base), 312,342,832 (large), 641,090,608 (huge).

    Args:
        image_size: pixels a side that the network works at, a multiple of ``patch_size``.
        patch_size: pixels a side of a patch.
        layers, width, heads: of the image encoder; the defaults are "base".
        window_size: patches a side of a window.
        global_layers: indices of the layers that look at the whole map.
        embed_width: channels of the embedding, prompts and mask decoder, a multiple of 8.
        decoder_heads: of the mask decoder.
        decoder_ffn_width: hidden channels in the mask decoder.
        weights: a Hugging Face file (``pytorch_model.bin``), see `from_hugging_face`.

    Raises:
        ValueError: an image size that is no multiple of the patch size, or widths that do not fit.

    Example:
        >>> model = sam_tiny().eval()
        >>> point, label = torch.tensor([[[[30.0, 40.0]]]]), torch.tensor([[[1]]])
        >>> masks = model(torch.rand(1, 3, 96, 128), points=point, labels=label)
        >>> masks.logits.shape, masks.iou.shape
        (torch.Size([1, 1, 3, 96, 128]), torch.Size([1, 1, 3]))
    """

    def __init__(
        self,
        *,
        image_size: int = 1024,
        patch_size: int = 16,
        layers: int = 12,
        width: int = 768,
        heads: int = 12,
        window_size: int = 14,
        global_layers: Collection[int] = (2, 5, 8, 11),
        embed_width: int = 256,
        decoder_heads: int = 8,
        decoder_ffn_width: int = 2048,
        weights: Weights = None,
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise ValueError(
                f"image_size must be a multiple of patch_size {patch_size}, got {image_size}"
            )
        if embed_width % 8:
            raise ValueError(f"embed_width must be a multiple of 8, got {embed_width}")
        self.image_size, self.grid = image_size, image_size // patch_size
        self.image_encoder = ImageEncoder(
            image_size, patch_size, layers, width, heads, window_size, global_layers, embed_width
        )
        self.prompt_encoder = PromptEncoder(embed_width)
        self.mask_decoder = MaskDecoder(embed_width, decoder_heads, decoder_ffn_width)
        initialize(self.image_encoder)
        initialize(self.mask_decoder)
        if weights is not None:
            self.load_state_dict(from_hugging_face(read_weights(weights)))

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size (height, width) of an image once its longer side is ``image_size``."""
        scale = self.image_size / max(size)
        return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)

    def embed(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> embeddings (N, embed_width, S/16, S/16)."""
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                f"images must be float (N, 3, H, W), got {images.dtype} {tuple(images.shape)}"
            )
        height, width = self._resized(tuple(images.shape[-2:]))
        x = F.interpolate(images, (height, width), mode="bilinear", antialias=True)
        padding = (0, self.image_size - width, 0, self.image_size - height)
        return self.image_encoder(F.pad(normalize(x, IMAGE_MEAN, IMAGE_STD), padding))

    def segment(
        self,
        embeddings: Tensor,
        size: tuple[int, int],
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        multimask: bool = True,
    ) -> Masks:
        """What the prompts mean, P of them for each image.

        Args:
            embeddings: of `embed`, (N, embed_width, S/16, S/16).
            size: (H, W) of the images.
            points: (N, P, n, 2), x and y in pixels, n points for each prompt.
            labels: (N, P, n), 1 on the object, 0 beside it, -1 no point (where a prompt has fewer).
            boxes: (N, P, 4), xyxy in pixels.
            masks: (N, P, S/4, S/4), logits of an earlier answer (``low_res``).
            multimask: the three masks of an unclear prompt; else the one of a clear prompt.

        Raises:
            ValueError: no prompt, or shapes or labels that do not fit.
        """
        prompts = {"points": points, "boxes": boxes, "masks": masks}
        count = self._check(len(embeddings), prompts, labels)
        points, boxes = (self.to_unit_square(x, size) for x in (points, boxes))
        if boxes is not None:
            boxes = boxes.flatten(0, 1)  # (NP, 2, 2)
        if points is not None:
            points, labels = points.flatten(0, 1), labels.flatten(0, 1).long()  # (NP, n, 2)
        if masks is not None:
            masks = masks.flatten(0, 1)[:, None]  # (NP, 1, S/4, S/4)
        sparse, dense = self.prompt_encoder(points, labels, boxes, masks)
        image = embeddings.repeat_interleave(count, dim=0)  # (NP, C, S/16, S/16)
        if sparse is None:
            sparse = image.new_zeros(len(image), 0, image.shape[1])
        codes = self.prompt_encoder.code.map(self.grid)  # (hw, C)
        low_res, iou = self.mask_decoder(image + dense, codes, sparse)  # (NP, 4, S/4, S/4)
        chosen = slice(1, None) if multimask else slice(0, 1)
        low_res, iou = low_res[:, chosen], iou[:, chosen]
        full = F.interpolate(low_res, (self.image_size,) * 2, mode="bilinear")
        height, width = self._resized(size)
        full = F.interpolate(full[..., :height, :width], size, mode="bilinear")
        return Masks(*(x.unflatten(0, (len(embeddings), count)) for x in (full, iou, low_res)))

    def _check(self, count: int, prompts: Mapping[str, Tensor | None], labels: Any) -> int:
        """Refuse prompts that do not fit; the number of prompts for each image."""
        side = self.grid * 4
        given = {name: x for name, x in prompts.items() if x is not None}
        if not given:
            raise ValueError("a prompt is needed: points, boxes or masks")
        ends = {"points": ("n", 2), "boxes": (4,), "masks": (side, side)}
        for name, x in given.items():
            end = ends[name]
            fits = x.ndim == 2 + len(end) and len(x) == count
            fits &= x.shape[-1:] == end[-1:] and (name != "masks" or x.shape[2:] == end)
            if not fits:
                shape = ", ".join(map(str, (count, "P", *end)))
                raise ValueError(f"{name} must be ({shape}), got {tuple(x.shape)}")
        numbers = {name: x.shape[1] for name, x in given.items()}
        if len({*numbers.values()}) > 1:
            raise ValueError(f"the number of prompts for an image must be the same, got {numbers}")
        if ("points" in given) != (labels is not None):
            raise ValueError("points and labels must be given together")
        if labels is not None:
            if labels.shape != given["points"].shape[:-1]:
                shapes = tuple(labels.shape), tuple(given["points"].shape)
                raise ValueError(f"labels {shapes[0]} do not fit points {shapes[1]}")
            if not bool(torch.isin(labels, labels.new_tensor([-1, 0, 1])).all()):
                raise ValueError(f"labels must be 1, 0 or -1, got {labels.unique().tolist()}")
        return next(iter(numbers.values()))

    def to_unit_square(self, places: Tensor | None, size: tuple[int, int]) -> Tensor | None:
        """Pixels of an image of ``size``, (..., 2) or boxes -> (..., 2) in [0, 1] of the square."""
        if places is None:
            return None
        height, width = self._resized(size)
        scale = self.prompt_encoder.code.frequencies.new_tensor([width / size[1], height / size[0]])
        if places.ndim == 3:
            places = places.unflatten(2, (2, 2))  # a box is two corners
        return (places * scale + 0.5) / self.image_size  # the middle of the pixel

    def forward(
        self,
        images: Tensor,
        *,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        multimask: bool = True,
    ) -> Masks:
        """Images (N, 3, H, W) in [0, 1] and prompts as for `segment` -> `Masks`."""
        prompts = {"points": points, "labels": labels, "boxes": boxes, "masks": masks}
        size = tuple(images.shape[-2:])
        return self.segment(self.embed(images), size, **prompts, multimask=multimask)


def losses(prediction: Masks, target: Tensor) -> dict[str, Tensor]:
    """The best of the K masks is trained, and the judgement of all (section 3 and appendix A).

    Args:
        prediction: for P prompts on each of N images.
        target: bool or 0/1 (N, P, H, W), what each prompt means.

    Returns:
        ``loss_mask`` (focal, times 20), ``loss_dice``, and ``loss_iou``, the squared error of the
        predicted IoU; means over the prompts, 0 without any.

    Raises:
        ValueError: the target does not fit, or holds other values than 0 and 1.
    """
    n, p, k, *size = prediction.logits.shape
    if target.shape != (n, p, *size):
        raise ValueError(f"target must be {(n, p, *size)}, got {tuple(target.shape)}")
    target = binary_masks(target, "target")
    logits = full_precision(prediction.logits).flatten(3).flatten(0, 2)  # (NPK, HW)
    wanted = target.to(logits.dtype).flatten(2)[:, :, None]  # (N, P, 1, HW)
    wanted = wanted.expand(-1, -1, k, -1).flatten(0, 2)  # (NPK, HW)
    focal, dice = 20 * focal_loss(logits, wanted), dice_loss(logits, wanted)  # (NPK,)
    best = (focal + dice).detach().view(n * p, k).argmin(1, keepdim=True)  # (NP, 1)
    with torch.no_grad():
        mask = logits > 0
        overlap = (mask * wanted).sum(1)
        iou = overlap / (mask.sum(1) + wanted.sum(1) - overlap).clamp(min=1)
    error = (full_precision(prediction.iou).flatten() - iou).square()
    count = max(n * p, 1)
    return {
        "loss_mask": focal.view(n * p, k).gather(1, best).sum() / count,
        "loss_dice": dice.view(n * p, k).gather(1, best).sum() / count,
        "loss_iou": error.sum() / (count * k),
    }


def sam_tiny(**settings: Any) -> SAM:
    """A SAM that learns 128 x 128 scenes on a CPU; ``settings`` as for `SAM`.

    Example:
        >>> sum(p.numel() for p in sam_tiny().parameters())
        471944
    """
    return SAM(**(TINY | settings))


TINY = {
    "image_size": 128,
    "patch_size": 8,
    "layers": 2,
    "width": 96,
    "heads": 4,
    "window_size": 4,
    "global_layers": (1,),
    "embed_width": 64,
    "decoder_heads": 4,
    "decoder_ffn_width": 128,
}
