"""VGG-16. Simonyan & Zisserman, ICLR 2015 (arXiv:1409.1556)."""

from pathlib import Path

from torch import Tensor, nn
from torchvision.models import WeightsEnum

from segedu.models.backbones.weights import read_weights

VGG16_STAGES = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))  # width multiplier, convolutions


def vgg16_stages(
    in_channels: int = 3, base_width: int = 64, batch_norm: bool = False
) -> nn.ModuleList:
    """The 13 convolutions of VGG-16 (Simonyan & Zisserman, 2015) as five stages without pooling.

    Args:
        in_channels: channels of the images.
        base_width: width of the first stage; 64 is the paper's (64-128-256-512-512).
        batch_norm: a batch normalisation between each convolution and its ReLU.
    """
    stages, channels = nn.ModuleList(), in_channels
    for multiplier, convolutions in VGG16_STAGES:
        stage = nn.Sequential()
        for _ in range(convolutions):
            width = base_width * multiplier
            stage.append(nn.Conv2d(channels, width, 3, padding=1))
            nn.init.kaiming_normal_(stage[-1].weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(stage[-1].bias)
            if batch_norm:
                stage.append(nn.BatchNorm2d(width))
            stage.append(nn.ReLU(inplace=True))
            channels = width
        stages.append(stage)
    return stages


def load_vgg16(stages: nn.ModuleList, weights: WeightsEnum | str | Path) -> dict[str, Tensor]:
    """Fill ``stages`` from torchvision's VGG-16 and return the entries of its classifier.

    The layers come in the same order in both, so tensors are matched by position.
    """
    state = read_weights(weights)
    features = [value for key, value in state.items() if key.startswith("features.")]
    own = stages.state_dict()
    if [v.shape for v in features] != [v.shape for v in own.values()]:
        raise ValueError(
            "weights do not fit: they need in_channels=3, base_width=64 and the batch_norm "
            "setting that they were trained with"
        )
    stages.load_state_dict(dict(zip(own, features, strict=True)))
    return {key: value for key, value in state.items() if key.startswith("classifier.")}
