"""A weights folder of ``mini`` in its real size, in which every value is drawn."""

from __future__ import annotations

from pathlib import Path

from models.lightning.plan import StepPlan
from models.mini.autoencoder import Autoencoder
from models.mini.checkpoint import save_mini
from models.mini.config import MINI
from models.mini.mouth import BlendshapeRegressor
from models.mini.unet import MiniUNet
from tests.support.tiny import randomise


def random_mini(folder: Path, plan: StepPlan, seed: int = 0) -> Path:
    """Write the weights; the folder."""
    networks = {
        "codec": Autoencoder(MINI.codec),
        "unet": MiniUNet(MINI),
        "reader": BlendshapeRegressor(),
    }
    for net in networks.values():
        randomise(net, seed)
    save_mini(folder, {name: net.state_dict() for name, net in networks.items()}, plan, {})
    return folder
