"""What the tests of networks that work from the bottom up share: rectangles, and the contract."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from segedu.data.scenes import CLASSES
from segedu.metrics import PanopticQuality
from tests.models.overfit import PLAIN_64, Samples, learn, panoptic_scenes

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


on_empty_cases = pytest.mark.parametrize(
    "samples",
    [
        [sample(), sample()],
        [sample(SKY), sample(SKY, ONE)],
        [sample(PIXEL), sample(SKY, PIXEL)],
        [sample(ONE, crowd=(1,)), sample(SKY, TWO, crowd=(2,))],
    ],
    ids=["all void", "one image without things", "one pixel", "crowds alone"],
)


@torch.no_grad()
def results_of_contract(model: nn.Module) -> list[dict[str, Any]]:
    """The results for two images, which keep to the contract of panoptic networks."""
    results = model([IMAGE, torch.rand(3, 33, 70)])
    for result, size in zip(results, [(40, 50), (33, 70)], strict=True):
        ids = result["panoptic_seg"]
        assert ids.shape == size
        assert ids.dtype == torch.int32
        areas = {s["id"]: s["area"] for s in result["segments_info"]}
        assert areas == {i: int((ids == i).sum()) for i in ids.unique().tolist() if i}
    return results


Losses = Callable[[nn.Module, Samples], Tensor]


def trains_the_same_again(build: Callable[[], nn.Module], losses: Losses) -> bool:
    """Whether two steps of training end at the same weights, when they are done twice."""

    def weights() -> list[Tensor]:
        return [*learn(build(), [sample(SKY, ONE)] * 2, 2, 1e-3, losses).parameters()]

    return all(torch.equal(a, b) for a, b in zip(weights(), weights(), strict=True))


def quality_by_heart(build: Callable[..., nn.Module], steps: int, losses: Losses) -> float:
    """The panoptic quality on two scenes after a training on them."""
    torch.manual_seed(0)
    things = {c.id: c.isthing for c in CLASSES}
    scenes = panoptic_scenes(2, min_area=16, config=PLAIN_64)
    model = build(len(CLASSES), things=[c for c in things if things[c]])
    learn(model, scenes, steps, 8e-3, losses)
    metric = PanopticQuality(things)
    with torch.no_grad():
        metric.update(model([scene["image"] for scene in scenes]), scenes)
    return metric.compute()["pq"]
