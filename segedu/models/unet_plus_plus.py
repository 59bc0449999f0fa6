"""U-Net++. Zhou et al., DLMIA 2018 (arXiv:1807.10165) and IEEE TMI 2020 (arXiv:1912.05074)."""

import torch
from torch import Tensor, nn

from segedu.models.blocks import center_crop, require_size, resize


class Node(nn.Module):
    """One node of the grid: two 3x3 convolutions, each with (batch normalisation and) ReLU."""

    def __init__(self, in_channels: int, out_channels: int, batch_norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            # before a normalisation the bias is useless; it stays, as in the code of that form
            layers.append(nn.Conv2d(channels, out_channels, 3, padding=1))
            nn.init.kaiming_normal_(layers[-1].weight, nonlinearity="relu")
            nn.init.zeros_(layers[-1].bias)
            if batch_norm:
                layers.append(nn.BatchNorm2d(out_channels))
            layers.append(nn.ReLU(inplace=True))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, width, h, w)."""
        return self.layers(x)


class UNetPlusPlus(nn.Module):
    """U-Net++: the skips of a U-Net filled with a grid of nodes X(i, j), one U-Net inside another.

    X(i, 0) is the encoder at stride 2^i. X(i, j) convolves the concatenation of every earlier
    node of its row, X(i, 0) ... X(i, j-1), with the upsampled X(i+1, j-1) (equation 1). The top
    row holds full-resolution maps of ever deeper networks, X(0, 1) ... X(0, depth): deep
    supervision puts a classifier on each, and `prune` cuts the grid to a shallower one.

    Two forms circulate. ``form="bilinear"`` (default): bilinear upsampling with aligned corners
    and batch normalisation, equal to 4uiiurz1/pytorch-nested-unet. ``form="paper"``: 2x2
    up-convolutions and no normalisation, whose count is the paper's 9.04 M.
    Different in both: any size works, from ``2 ** depth`` pixels on (the upsampled map takes the
    size of its row).

    Parameters with 3 channels and 1 class: 9,163,329 (bilinear), 9,042,177 (paper); with deep
    supervision 9,163,428 and 9,042,276.

    Args:
        num_classes: classes, including the background.
        in_channels: channels of the images.
        base_width: channels of the first level, doubled at each level below.
        depth: number of poolings; 4 is the paper's.
        form: ``"bilinear"`` or ``"paper"``.
        deep_supervision: a classifier on every node of the top row but X(0, 0).

    Example:
        >>> model = UNetPlusPlus(num_classes=5, base_width=4, deep_supervision=True)
        >>> [tuple(logits.shape) for logits in model(torch.zeros(2, 3, 32, 48))]
        [(2, 5, 32, 48), (2, 5, 32, 48), (2, 5, 32, 48), (2, 5, 32, 48)]
        >>> model.prune(2).eval()(torch.zeros(1, 3, 97, 131)).shape
        torch.Size([1, 5, 97, 131])
    """

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        base_width: int = 32,
        depth: int = 4,
        form: str = "bilinear",
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        if form not in ("bilinear", "paper"):
            raise ValueError(f"form must be 'bilinear' or 'paper', got {form!r}")
        self.settings = {
            "num_classes": num_classes,
            "in_channels": in_channels,
            "base_width": base_width,
            "form": form,
        }
        self.depth = depth
        self.deep_supervision = deep_supervision
        self.pool = nn.MaxPool2d(2)
        self.nodes, self.ups = nn.ModuleDict(), nn.ModuleDict()
        for j in range(depth + 1):
            for i in range(depth + 1 - j):
                width = base_width * 2**i
                if j == 0:
                    channels = in_channels if i == 0 else width // 2
                elif form == "paper":
                    channels = j * width + width
                    self.ups[f"{i}_{j}"] = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
                else:
                    channels = j * width + 2 * width
                self.nodes[f"{i}_{j}"] = Node(channels, width, batch_norm=form == "bilinear")
        heads = range(1, depth + 1) if deep_supervision else [depth]
        self.heads = nn.ModuleDict({str(j): nn.Conv2d(base_width, num_classes, 1) for j in heads})

    def _upsample(self, x: Tensor, row: Tensor, name: str) -> Tensor:
        """The node below, (N, 2C, h, w), at the size of its row: (N, C or 2C, ~2h, ~2w)."""
        if name in self.ups:
            return center_crop(self.ups[name](x), row.shape)
        return resize(x, row, align_corners=True)

    def forward_heads(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) -> logits (N, C, H, W) of every head, deepest first.

        Raises:
            ValueError: if a side has fewer than 2 ** (number of poolings) pixels.
        """
        require_size(images, 2**self.depth)
        rows: list[list[Tensor]] = []  # rows[i][j] is X(i, j), (N, w * 2^i, H / 2^i, W / 2^i)
        x = images
        for i in range(self.depth + 1):
            x = self.nodes[f"{i}_0"](self.pool(x) if i else x)
            rows.append([x])
        for j in range(1, self.depth + 1):
            for i in range(self.depth + 1 - j):
                below = self._upsample(rows[i + 1][j - 1], rows[i][0], f"{i}_{j}")
                rows[i].append(self.nodes[f"{i}_{j}"](torch.cat([*rows[i], below], dim=1)))
        return tuple(self.heads[j](rows[0][int(j)]) for j in reversed(list(self.heads)))

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images (N, 3, H, W) -> logits (N, C, H, W) of X(0, depth).

        In training with deep supervision a tuple: X(0, depth) first, then the shallower ones.
        """
        logits = self.forward_heads(images)
        return logits if self.training and self.deep_supervision else logits[0]

    def prune(self, depth: int) -> "UNetPlusPlus":
        """The sub-network that ends at X(0, depth), with copies of its weights (section 3.3).

        Raises:
            ValueError: without deep supervision (the shallow heads do not exist), or for a depth
                that is not 1 ... ``self.depth``.
        """
        if not self.deep_supervision:
            raise ValueError("prune needs a model with deep_supervision=True: it has one head only")
        if not 1 <= depth <= self.depth:
            raise ValueError(f"depth must be 1 to {self.depth}, got {depth}")
        small = UNetPlusPlus(**self.settings, depth=depth)
        state = self.state_dict()
        small.load_state_dict({name: state[name] for name in small.state_dict()})
        return small.train(self.training)
