"""An exported network in the place of a checkpoint, for `evaluate` and `predict`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segedu.engine.deployed import Deployed
from segedu.engine.export import OUTPUT


class DeployedModel(nn.Module):
    """A semantic network in an ONNX file as a module, run by onnxruntime on the CPU.

    Raises:
        ValueError: if the network is of another task; see also `Deployed`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.network = Deployed(path)
        if self.network.contract.task != "semantic":
            raise ValueError(
                f"{path}: only semantic networks are judged in their ONNX file, this one is for "
                f"{self.network.contract.task} segmentation; name its checkpoint"
            )
        self.anchor = nn.Parameter(torch.zeros(()), requires_grad=False)  # where it computes

    def forward(self, images: Tensor) -> Tensor:
        """Images (N,C,H,W), normalised -> logits (N,K,H,W).

        Raises:
            ValueError: if the file takes images of another size; see also `Deployed.outputs`.
        """
        size = self.network.contract.size
        if size is not None and tuple(images.shape[2:]) != size:
            raise ValueError(
                f"the file takes images of {size[0]} x {size[1]} pixels (height x width), got "
                f"{images.shape[2]} x {images.shape[3]}"
            )
        logits = [self.network.outputs(image[None].numpy())[OUTPUT] for image in images]
        return torch.from_numpy(np.concatenate(logits))


def load_deployed(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of an ONNX file, and what `segedu.cli.networks.load_model` says of a checkpoint.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no semantic network of `segedu export`.
        ImportError: if onnxruntime is missing.
    """
    model = DeployedModel(path)
    contract = model.network.contract
    config = {
        "task": contract.task,
        "classes": list(contract.classes),
        "colors": [list(color) for color in contract.colors],
        "isthing": [number > 0 for number in range(len(contract.classes))],
        "mean": list(contract.mean),
        "std": list(contract.std),
        "image_size": list(contract.image_size) if contract.image_size else None,
    }
    if contract.channels != 3:
        config["data_options"] = {"channels": contract.channels}
    return model.eval(), {"network": {"name": contract.network}, "config": config, "history": []}
