"""Weights that come with the package: tiny networks, trained on the scenes of `segedu.data.scenes`.

``get_model("mask_rcnn_tiny", weights="scenes")`` builds and loads one. ``scenes.json`` says of each
file of that set what it is, `benchmarks/weights.py` makes them. Each set has a network once.
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
    mean: tuple[float, ...] = ()  #: of an image in 0..1, by channel, which a semantic network wants
    std: tuple[float, ...] = ()  #: subtracted and divided by; others normalise themselves
    file: str = ""  #: set and network, such as ``scenes/unet``


def sets() -> list[str]:
    """The names of the sets."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def trained_weights(name: str) -> dict[str, TrainedWeights]:
    """The weights of a network that come with the package, by the name of their set.

    Args:
        name: one of `segedu.models.list_models`.

    Example:
        >>> trained_weights("fcn8s_vgg16")
        {}
    """
    found = {which: read_json(FOLDER / f"{which}.json").get(name) for which in sets()}
    return {which: _read(entry, f"{which}/{name}") for which, entry in found.items() if entry}


def _read(entry: dict[str, Any], file: str) -> TrainedWeights:
    # JSON has no tuples
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in entry["settings"].items()}
    lists = {k: tuple(v) for k, v in entry.items() if isinstance(v, list)}
    return TrainedWeights(**entry | lists | {"settings": settings, "file": file})


def are_wanted(name: str, weights: Any) -> bool:
    """Whether ``weights`` means some of the package: the name of a set, or what may be a slip."""
    if not isinstance(weights, str):
        return False
    return weights in sets() or (bool(trained_weights(name)) and not Path(weights).is_file())


def find_weights(name: str, which: str, num_classes: int | None) -> TrainedWeights:
    """The weights of that set, for that many classes.

    Args:
        name: of the network.
        which: one of `sets`.
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

    Afterwards ``network.trained`` says what they are.

    Raises:
        ValueError: if the network was built otherwise, or the file is damaged.
    """
    file, weights = FOLDER / which / f"{name}.pt", trained_weights(name)[which]
    data = file.read_bytes()
    if sha256(data).hexdigest() != weights.sha256:
        raise ValueError(f"{file} is not the file that belongs here: install the package again")
    state: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    load_state(network, state, f"weights={which!r} of {name}")  # half precision becomes its own
    network.trained = weights
