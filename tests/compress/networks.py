"""The networks on which everything that makes networks smaller is tried."""

import numpy as np
import torch

from segedu.models import get_model

#: Skips side by side; inverted residuals with gates; residuals with attention to channels.
NETWORKS = {
    "unet": {"base_width": 8, "depth": 3},
    "lraspp_mobilenet_v3": {},
    "bisenet_v1": {},
}
CLASSES = 5


def build(name):
    """An untrained network in eval mode whose statistics are those of noise."""
    torch.manual_seed(0)
    model = get_model(name, CLASSES, **NETWORKS[name])
    with torch.no_grad():
        model.train()(images(4, seed=1))
    return model.eval()


def images(count=2, size=(64, 96), seed=0):
    """Noise, (count,3,H,W)."""
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def break_weights(source, target):
    """Writes the ONNX network with a first convolution of nothing but NaN."""
    import onnx

    network = onnx.load(source)
    weights = next(tensor for tensor in network.graph.initializer if len(tensor.dims) == 4)
    broken = np.full(tuple(weights.dims), np.nan, np.float32)
    weights.CopyFrom(onnx.numpy_helper.from_array(broken, weights.name))
    onnx.save(network, target)
