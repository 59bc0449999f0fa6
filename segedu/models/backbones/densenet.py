"""DenseNet. Huang et al., CVPR 2017 (arXiv:1608.06993)."""

from torch import Tensor, nn
from torchvision.models import DenseNet

from segedu.models.backbones.weights import Weights, read_weights, rename


class DenseNetFeatures(nn.Module):
    """DenseNet (Huang et al., CVPR 2017) that returns the stem and the end of each dense block.

    A block's map is taken after the normalisation and ReLU of the transition that follows it,
    before its 1x1 convolution halves the channels. The layers keep torchvision's names.

    Args:
        in_channels: channels of the images.
        layers: layers of the four dense blocks; (6, 12, 24, 16) is DenseNet-121.
        growth_rate: maps that a layer adds.
        first_width: maps of the stem.
        weights: see `read_weights`; torchvision's need the defaults.
    """

    def __init__(
        self,
        in_channels: int = 3,
        layers: tuple[int, int, int, int] = (6, 12, 24, 16),
        growth_rate: int = 32,
        first_width: int = 64,
        weights: Weights = None,
    ) -> None:
        super().__init__()
        self.features = DenseNet(growth_rate, layers, first_width).features
        if in_channels != 3:
            self.features.conv0 = nn.Conv2d(in_channels, first_width, 7, 2, padding=3, bias=False)
        self.channels = [first_width]
        width = first_width
        for count in layers:
            width += count * growth_rate
            self.channels.append(width)
            width //= 2
        if weights is not None:
            # the published files are older than the names "norm1", "conv1" inside a layer
            state = rename(read_weights(weights), [(r"\.(norm|relu|conv)\.([12])\.", r".\1\2.")])
            own = {k: v for k, v in state.items() if not k.startswith("classifier.")}
            self.load_state_dict(own)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> maps of stride 2, 4, 8, 16 and 32."""
        net, features = self.features, []
        x = net.relu0(net.norm0(net.conv0(images)))
        features.append(x)
        x = net.denseblock1(net.pool0(x))
        for transition, block in (
            (net.transition1, net.denseblock2),
            (net.transition2, net.denseblock3),
            (net.transition3, net.denseblock4),
        ):
            x = transition.relu(transition.norm(x))
            features.append(x)
            x = block(transition.pool(transition.conv(x)))
        features.append(net.norm5(x))
        return features
