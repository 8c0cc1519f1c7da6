"""The card of EchoMimic and its accelerated version: spec, plan, checkpoint files, figures."""

from __future__ import annotations

from models.checkpoints.layout import VAE, WHISPER, NetworkFile
from models.registry import PaperFlops
from models.sd15.config import DDIM_ZERO_SNR, LATENT_512, SD15Card, SD15Spec


def _files(suffix: str) -> tuple[NetworkFile, ...]:
    return (
        NetworkFile(
            "denoising_unet",
            (f"motion_module{suffix}.pth",),
            overlay=f"denoising_unet{suffix}.pth",
        ),
        NetworkFile("reference_unet", ("reference_unet.pth",)),
        NetworkFile("face_locator", ("face_locator.pth",)),
        VAE,
        WHISPER,
    )


# A chunk is what a window of twelve frames adds to the one before.
CARD = SD15Card(
    name="echomimic",
    spec=SD15Spec("echomimic", 24.0, 9, 3, 30, LATENT_512, DDIM_ZERO_SNR, guidance=2.5, overlap=3),
    plan="30:0,2,5,9,17,25,29+dfa",
    networks="models.echomimic.networks",
    pipeline="models.echomimic.pipeline",
    files=_files(""),
    paper=PaperFlops(steps=30, key_steps=7, ratio=3.37, frames=12, face_share=0.47),
)

ACC_CARD = SD15Card(
    name="echomimic-acc",
    spec=SD15Spec("echomimic-acc", 24.0, 9, 3, 6, LATENT_512, DDIM_ZERO_SNR, overlap=3),
    plan="6:0,1,3,5+dfa",
    networks="models.echomimic.networks",
    pipeline="models.echomimic.pipeline",
    files=_files("_acc"),
    paper=PaperFlops(steps=6, key_steps=4, ratio=1.49, frames=12, face_share=0.47),
)
