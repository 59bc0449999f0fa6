"""What the medical project learns: a class for every voxel."""

from segedu.engine import Semantic
from segedu.losses import CombinedLoss, CrossEntropyLoss, DiceLoss
from segedu.models.catalogue import deep_supervision_weights


class VolumeTask(Semantic):
    """Cross entropy and Dice without the background, on patches of volumes or slices.

    Batches are those of `Semantic`: ``image`` (N,1,D,H,W) and ``mask`` (N,D,H,W), or without D.
    With several outputs, one for each resolution, their losses are weighted as nnU-Net does
    (`deep_supervision_weights`).

    Args:
        num_classes: C, the background included.
        resolutions: outputs of the network in training.
    """

    def __init__(self, num_classes: int, resolutions: int = 1) -> None:
        dice = DiceLoss(include_background=False, smooth=1e-5)
        loss = CombinedLoss({"ce": (CrossEntropyLoss(), 1.0), "dice": (dice, 1.0)})
        super().__init__(loss, num_classes, aux_weights=deep_supervision_weights(resolutions))
