"""One seed for everything random of a stage."""

from __future__ import annotations

import random


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (CPU and every GPU).

    Deterministic kernels are not asked for, only that cuDNN chooses none by a race: a GPU's sums may differ in order.
    """
    random.seed(seed)
    import numpy
    import torch

    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
