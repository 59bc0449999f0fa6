"""Weights that come with the package: tiny networks, trained on the scenes of `segedu.data.scenes`.

``get_model("mask_rcnn_tiny", weights="scenes")`` builds and loads one. ``scenes.json`` says of each
file what it is, `benchmarks/weights.py` makes them.
"""

import io
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from segedu.files import read_json
from segedu.models.state import load_state

FOLDER = Path(__file__).parent
SETS = ("scenes",)


class TrainedWeights(NamedTuple):
    """What is known of a network's weights in the package."""

    sha256: str  #: of the file
    size: int  #: of the file, in bytes
    num_classes: int | None  #: None for a promptable network
    classes: tuple[str, ...]  #: names, in the order of the labels
    isthing: tuple[bool, ...]  #: of each class
    settings: dict[str, Any]  #: with which the network is built
    command: str  #: that trained it
    scores: dict[str, float]  #: of these weights, on the test scenes, which nothing was chosen by


def trained_weights(name: str) -> dict[str, TrainedWeights]:
    """The weights of a network that come with the package, by the name of their set.

    Args:
        name: one of `segedu.models.list_models`.

    Example:
        >>> trained_weights("unet")
        {}
    """
    found = {which: read_json(FOLDER / f"{which}.json").get(name) for which in SETS}
    return {which: _read(entry) for which, entry in found.items() if entry}


def _read(entry: dict[str, Any]) -> TrainedWeights:
    # JSON has no tuples
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in entry["settings"].items()}
    lists = {key: tuple(entry[key]) for key in ("classes", "isthing")}
    return TrainedWeights(**entry | lists | {"settings": settings})


def are_wanted(name: str, weights: Any) -> bool:
    """Whether ``weights`` means some of the package: the name of a set, or what may be a slip."""
    if not isinstance(weights, str):
        return False
    return weights in SETS or (bool(trained_weights(name)) and not Path(weights).is_file())


def find_weights(name: str, which: str, num_classes: int | None) -> TrainedWeights:
    """The weights of that set, for that many classes.

    Args:
        name: of the network.
        which: one of ``SETS``.
        num_classes: None, or as many as they have.

    Raises:
        ValueError: if there are none, or they have other classes.
    """
    known = trained_weights(name)
    if which not in known:
        have = ", ".join(known) or f"none, unlike {', '.join(read_json(FOLDER / 'scenes.json'))}"
        raise ValueError(
            f"weights: {name} comes with {have}; got {which!r}, which is no file either"
        )
    weights = known[which]
    if num_classes not in (None, weights.num_classes):
        raise ValueError(
            f"num_classes must be left out or {weights.num_classes} with weights={which!r}, which "
            f"know {', '.join(weights.classes)}; got {num_classes!r}"
        )
    return weights


def load_trained(network: nn.Module, name: str, which: str) -> None:
    """Load the weights of that set into the network, which was built with their settings.

    Raises:
        ValueError: if the network was built otherwise, or the file is damaged.
    """
    file, weights = FOLDER / which / f"{name}.pt", trained_weights(name)[which]
    data = file.read_bytes()
    if sha256(data).hexdigest() != weights.sha256:
        raise ValueError(f"{file} is not the file that belongs here: install the package again")
    state: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    load_state(network, state, f"weights={which!r} of {name}")  # half precision becomes its own
