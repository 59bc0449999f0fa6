"""Networks that compute their own losses, trained by `segedu.engine.fit` with a hook."""

import pytest
import torch
from torch import Tensor, nn

from segedu.engine import fit, make_loader
from segedu.models.mask2former import mask2former_tiny
from segedu.models.maskformer import maskformer_tiny
from segedu.models.sam import losses, sam_tiny
from tests.models.overfit import instance_scenes, summed

NARROW = {"base_width": 8, "width": 32, "num_queries": 8, "num_layers": 1}


def losses_of_boxes(model: nn.Module, samples: list[dict[str, Tensor]]) -> Tensor:
    """As the docstring of `SAM` has it."""
    (sample,) = samples
    masks = model(sample["image"][None], boxes=sample["boxes"][None])
    return sum(losses(masks, sample["masks"][None]).values())


@pytest.mark.parametrize(
    ("build", "compute_loss"),
    [
        (lambda: maskformer_tiny(6, **NARROW), summed),
        (lambda: mask2former_tiny(6, **NARROW, num_points=256), summed),
        (lambda: sam_tiny(image_size=64, layers=1), losses_of_boxes),
    ],
    ids=["maskformer", "mask2former", "sam"],
)
def test_a_hook_trains_networks_with_losses_of_their_own(build, compute_loss):
    torch.manual_seed(0)
    samples = instance_scenes(1, min_area=64) * 2
    loader = make_loader(samples, 1, collate_fn=list)
    history = fit(build(), loader, compute_loss=compute_loss, epochs=4)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
