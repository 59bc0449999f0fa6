"""Networks that learnt scenes without labels and come with the package."""

from segedu.models.dino import DINO
from segedu.models.mae import MAE
from segedu.models.trained import load_trained, trained_weights

NETWORKS = {"mae": MAE, "dino": DINO}
SET = "unlabelled"


def pretrained(name: str) -> MAE | DINO:
    """A network that learnt 512 scenes of 64 x 64 pixels without labels, in eval mode.

    `benchmarks/labels_saved.py` made it. It is in no list of `get_model`, for it knows no classes
    and paints or compares instead of labelling; its ``encoder`` is what others build on. Of DINO
    that is the teacher. Images must be normalised as `segedu.data.scenes.splits` does it.

    Args:
        name: ``"mae"`` or ``"dino"``.

    Raises:
        ValueError: for another name, or a damaged file.

    Example:
        >>> pretrained("mae").encoder.hidden_dim
        64
    """
    if name not in NETWORKS:
        raise ValueError(f"name must be one of {', '.join(NETWORKS)}, got {name!r}")
    network = NETWORKS[name](**trained_weights(name)[SET].settings)
    load_trained(network, name, SET)
    return network.eval()
