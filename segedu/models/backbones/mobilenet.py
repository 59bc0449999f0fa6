"""MobileNetV3. Howard et al., ICCV 2019 (arXiv:1905.02244)."""

from torch import Tensor, nn
from torchvision.models import mobilenet_v3_large

from segedu.models.backbones.weights import Weights, read_weights


class MobileNetV3Features(nn.Sequential):
    """MobileNetV3-Large (Howard et al., ICCV 2019) that returns two of its maps.

    The layers keep torchvision's numbers, so that its segmentation checkpoints load. The last
    stage is dilated: output stride 16.

    Args:
        in_channels: channels of the images.
        width_mult: factor on all widths.
        weights: see `read_weights`; needs ``in_channels=3`` and ``width_mult=1``.
    """

    def __init__(
        self, in_channels: int = 3, width_mult: float = 1.0, weights: Weights = None
    ) -> None:
        super().__init__(*mobilenet_v3_large(dilated=True, width_mult=width_mult).features)
        if in_channels != 3:
            first = self[0][0]
            self[0][0] = nn.Conv2d(in_channels, first.out_channels, 3, 2, padding=1, bias=False)
        self.taps = (4, len(self) - 1)  # torchvision's: C2 and the last convolution
        self.channels = tuple(self[tap].out_channels for tap in self.taps)
        if weights is not None:
            state = read_weights(weights)
            prefix = "features."
            own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            self.load_state_dict(own)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> maps of stride 8 and 16."""
        x, features = images, []
        for index, layer in enumerate(self):
            x = layer(x)
            if index in self.taps:
                features.append(x)
        return features
