"""What Hallo and MEMO read of pictures: the portrait and past frames, once for a clip.

Both run the reference network on [portrait, n past frames] for each guidance half. Where the
denoiser has attention, the portrait's tokens are read by self-attention and the past frames' tokens
go to the motion module behind it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.sd15.reference_net import ReferenceFeatures, ReferenceNet
from models.sd15.unet import UNet


def read_reference_features(
    reference: ReferenceNet, latents: Tensor, faces: Tensor
) -> ReferenceFeatures:
    """Run the reference network on latents [1 + n, C, H, W], once for each half.

    Face tokens [num_branches, M, D] are tiled over the rows (published behaviour: row i takes i mod
    halves).
    """
    num_branches = len(faces)
    rows = latents.repeat(num_branches, 1, 1, 1)
    order = torch.arange(len(rows), device=faces.device) % num_branches
    _, recording = reference.read(rows, faces[order])
    return recording


def split_motion_frames(
    network: UNet, bank: Mapping[str, Tensor], num_branches: int, cells: tuple[int, int]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Recordings of [num_branches * (1 + n)] pictures of one clip -> portrait tokens and past maps.

    Args:
        network: the denoiser, for its places; those without a recording are left out.
        bank: tokens [rows, L, C] or maps [rows, C, H, W] by path.
        cells: height and width of the latents.

    Returns:
        Portrait tokens [num_branches, L, C] by path of the transformer, and maps of the n past
        frames [num_branches, n, C, H, W] by path of the motion module.
    """
    pictures, past = {}, {}
    for place in network.places():
        path = place.path("attentions" if place.attends else "resnets")
        if path not in bank:
            continue
        groups = bank[path].view(num_branches, -1, *bank[path].shape[1:])
        maps = groups[:, 1:]
        if place.attends:
            pictures[path] = groups[:, 0]
            sides = (-(-side // 2**place.level) for side in cells)
            maps = maps.transpose(2, 3).reshape(*maps.shape[:2], -1, *sides)
        past[place.path("motion_modules")] = maps
    return pictures, past


def reference_row_index(num_branches: int, clips: int, frames: int, device: torch.device) -> Tensor:
    """Which entry of a bank [num_branches * clips] each row reads, int64 [N].

    Published behaviour: row r of a clip's (halves x frames) rows reads the portrait of half r mod
    num_branches: portraits are tiled over frames, so that frames of the conditional half take the
    unconditional and the conditional portrait in turn.
    """
    order = torch.arange(num_branches * frames, device=device) % num_branches
    picture = order.view(num_branches, 1, frames) * clips
    clip = torch.arange(clips, device=device).view(1, clips, 1)
    return (picture + clip).flatten()
