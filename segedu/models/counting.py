"""What a network costs: parameters, multiplications, activations."""

from typing import Any, NamedTuple

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from segedu.ops import dry_run


class Cost(NamedTuple):
    """Cost of one image: numbers, not millions."""

    parameters: int
    macs: int
    activations: int


def cost(model: nn.Module, size: int | tuple[int, ...], in_channels: int = 3) -> Cost:
    """Count what ``model`` needs for one image in eval mode; it stays as it is.

    Args:
        model: maps images (N, C, H, W) or volumes (N, C, D, H, W) to logits.
        size: (H, W), (D, H, W), or one number for a square image.
        in_channels: C.

    Returns:
        ``parameters``: all of them, trainable or not, shared ones once. ``macs``: multiplications,
        each with its addition, of all convolutions and matrix products, those of attention and
        transposed convolutions included; normalisation, activation, pooling and interpolation
        are not counted (He & Sun 2015, "Convolutional neural networks at constrained time cost",
        equation 1). ``activations``: how many numbers these products put out, which memory and
        time depend on (Radosavovic et al. 2020, "Designing network design spaces", section 3.2).

    Raises:
        ValueError: if the size is not two or three positive numbers.

    Example:
        >>> cost(nn.Conv2d(3, 8, kernel_size=3, padding=1, bias=False), 10)
        Cost(parameters=216, macs=21600, activations=800)
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    with FlopCounterMode(display=False) as flops, _Outputs() as outputs:
        dry_run(model, size, in_channels)
    return Cost(parameters, flops.get_total_flops() // 2, outputs.numbers)


class _Outputs(TorchDispatchMode):
    """Counts the numbers that come out of every product that the flop counter knows."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.numbers += output.numel()
        return output
