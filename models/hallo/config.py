"""The card of Hallo: spec, plan, checkpoint files, the paper's figures."""

from __future__ import annotations

from models.checkpoints.layout import VAE, WAV2VEC, NetworkFile
from models.registry import PaperFlops
from models.sd15.config import DDIM_ZERO_SNR, LATENT_512, SD15Card, SD15Spec


def _in_net_pth(network: str) -> NetworkFile:
    return NetworkFile(network, ("hallo/net.pth", "net.pth"), prefix=f"{network}.")


CARD = SD15Card(
    name="hallo",
    spec=SD15Spec(
        "hallo", 25.0, 16, 2, 40, LATENT_512, DDIM_ZERO_SNR, guidance=3.5, past=2, first_past=2
    ),
    plan="40:0,2,4,7,11,17,23,29,35,39+dfa",
    networks="models.hallo.networks",
    pipeline="models.hallo.pipeline",
    files=(
        _in_net_pth("denoising_unet"),
        _in_net_pth("reference_unet"),
        _in_net_pth("audioproj"),
        _in_net_pth("imageproj"),
        _in_net_pth("face_locator"),
        VAE,
        WAV2VEC,
    ),
    paper=PaperFlops(steps=40, key_steps=10, ratio=3.21, frames=16, face_share=0.75),
)
