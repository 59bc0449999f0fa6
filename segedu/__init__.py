"""segedu: the models, losses and metrics of the textbook on image segmentation.

Nothing is imported here but the version, so that ``import segedu`` costs nothing;
import what you need: ``from segedu.models import get_model``.
"""

__version__ = "0.1.0"
