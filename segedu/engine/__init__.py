"""Training, judging and inference, in plain PyTorch."""

from segedu.engine.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from segedu.engine.evaluation import evaluate
from segedu.engine.fit import fit
from segedu.engine.history import History, tensorboard
from segedu.engine.inference import (
    predict_labels,
    predict_strips,
    predict_tta,
    sliding_window,
)
from segedu.engine.loader import make_loader, seed_everything
from segedu.engine.optim import cosine_lr, parameter_groups, plateau_lr, poly_lr, step_lr
from segedu.engine.recipe import train
from segedu.engine.task import Semantic, Task

__all__ = [
    "CheckpointError",
    "History",
    "Semantic",
    "Task",
    "cosine_lr",
    "evaluate",
    "fit",
    "load_checkpoint",
    "load_model",
    "make_loader",
    "parameter_groups",
    "plateau_lr",
    "poly_lr",
    "predict_labels",
    "predict_strips",
    "predict_tta",
    "save_checkpoint",
    "seed_everything",
    "sliding_window",
    "step_lr",
    "tensorboard",
    "train",
]
