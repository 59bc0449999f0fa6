"""Small panoptic samples for the networks that work from the bottom up: rectangles."""

import torch

IMAGE = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0))
SKY = ((slice(0, 20), slice(None)), 0)
ONE = ((slice(24, 31), slice(10, 19)), 2)
TWO = ((slice(24, 31), slice(30, 33)), 3)
PIXEL = ((slice(35, 36), slice(40, 41)), 3)


def sample(*segments: tuple[tuple[slice, slice], int], crowd: tuple[int, ...] = ()) -> dict:
    """Rectangles of a class each; the rest is void."""
    ids, info = torch.zeros(40, 50, dtype=torch.int32), []
    for number, (place, category) in enumerate(segments, start=1):
        ids[place] = number
        info.append({"id": number, "category_id": category, "iscrowd": number in crowd})
    return {"image": IMAGE, "panoptic_seg": ids, "segments_info": info}
