"""What panoptic models share: their result while it is being put together."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class PanopticCanvas:
    """A map on which segments are laid, one after the other, with a list of them.

    Args:
        size: height and width.
        device: of the map.
    """

    def __init__(self, size: Sequence[int], device: torch.device) -> None:
        self.panoptic_seg = torch.zeros(*size, dtype=torch.int32, device=device)  # 0 is void
        self.segments_info: list[dict[str, Any]] = []

    def add(self, mask: Tensor, category_id: int, isthing: bool, **more: Any) -> dict[str, Any]:
        """Lay a new segment, ``mask`` bool (H, W), over what is there; its entry in the list."""
        segment = {"id": len(self.segments_info) + 1, "category_id": category_id}
        segment |= {"isthing": isthing, **more, "area": int(mask.sum())}
        self.segments_info.append(segment)
        self.panoptic_seg[mask] = segment["id"]
        return segment

    def extend(self, segment: dict[str, Any], mask: Tensor) -> None:
        """Lay a further piece of a segment."""
        self.panoptic_seg[mask] = segment["id"]
        segment["area"] += int(mask.sum())

    def result(self) -> dict[str, Any]:
        """``panoptic_seg`` and ``segments_info``."""
        return {"panoptic_seg": self.panoptic_seg, "segments_info": self.segments_info}
