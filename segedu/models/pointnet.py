"""PointNet: Qi et al. 2017, "PointNet: deep learning on point sets for 3D classification and
segmentation" (CVPR), in the form that the paper calls vanilla, without its transformation networks.
"""

import torch
from torch import Tensor, nn


def shared_mlp(in_channels: int, *widths: int) -> nn.Sequential:
    """The same layers for each point: (N, in_channels, P) -> (N, widths[-1], P)."""
    layers: list[nn.Module] = []
    for before, width in zip([in_channels, *widths], widths, strict=False):
        layers += [nn.Conv1d(before, width, 1), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers)


class PointNet(nn.Module):
    """A label for each point of a cloud, whatever the order of the points, or one for the cloud.

    Each point goes by itself through a small network; the maximum over the points, channel by
    channel, describes the whole cloud. For labels of points, that description is set beside what
    is known of each point.

    Args:
        num_classes: C.
        in_channels: numbers of each point, 3 for x, y, z.
        base_width: channels of the first layers; 64 is the paper's.
        per_point: label each point (the paper's segmentation network); if False, the cloud.

    Example:
        >>> PointNet(num_classes=5, base_width=8).eval()(torch.zeros(2, 100, 3)).shape
        torch.Size([2, 5, 100])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        base_width: int = 64,
        per_point: bool = True,
    ) -> None:
        super().__init__()
        if min(num_classes, in_channels, base_width) < 1:
            raise ValueError(
                "num_classes, in_channels and base_width must be at least 1, got "
                f"{num_classes}, {in_channels}, {base_width}"
            )
        self.in_channels, self.per_point = in_channels, per_point
        w = base_width
        self.point = shared_mlp(in_channels, w, w)
        self.cloud = shared_mlp(w, w, 2 * w, 16 * w)
        if per_point:
            head = shared_mlp(17 * w, 8 * w, 4 * w, 2 * w)
            self.head = nn.Sequential(*head, nn.Conv1d(2 * w, num_classes, 1))
        else:
            head = shared_mlp(16 * w, 8 * w, 4 * w)
            self.head = nn.Sequential(*head, nn.Conv1d(4 * w, num_classes, 1))

    def forward(self, points: Tensor) -> Tensor:
        """Points float (N, P, in_channels) -> logits (N, C, P), or (N, C) for whole clouds.

        Raises:
            ValueError: for points of another shape, or none.
        """
        if points.ndim != 3 or points.shape[2] != self.in_channels or not points.shape[1]:
            raise ValueError(
                f"points must be (N, P, {self.in_channels}) with P >= 1, got {tuple(points.shape)}"
            )
        local = self.point(points.transpose(1, 2))  # (N, w, P)
        whole = self.cloud(local).amax(2, keepdim=True)  # (N, 16w, 1)
        if not self.per_point:
            return self.head(whole)[..., 0]  # (N, C)
        beside = whole.expand(-1, -1, local.shape[2])
        return self.head(torch.cat([local, beside], 1))  # (N, C, P)
