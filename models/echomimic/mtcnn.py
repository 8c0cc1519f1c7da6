"""MTCNN, the face detector that EchoMimic crops by (arXiv 1604.02878), from its published weights.

Three networks run one after another: P at every position and scale of a pyramid, R on the boxes of
P, O on those of R; each moves its boxes and drops overlapping ones. The weights are not among
EchoMimic's files: the three state dicts of the package facenet-pytorch (MIT) are read from a folder
of their own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.checkpoints.tensors import TensorFile, load_strict

FILES = ("pnet.pt", "rnet.pt", "onet.pt")
SMALLEST, FACTOR = 20, 0.709  # pixels; from one scale of the pyramid to the next
MIN_SCORES = (0.6, 0.7, 0.7)
MIN_FACE_SCORE = 0.8  # of a face that EchoMimic takes
CELL, STRIDE = 12, 2  # of network P
SIDES = (24, 48)  # of the crops that R and O take
MAX_BATCH = 512  # crops in one call of R or O; bounds memory
Pixels = NDArray[np.uint8]


class _ConvStack(nn.Module):
    """Convolutions with PReLU and pooling between; names as published."""

    def __init__(self, channels: tuple[int, ...], kernels: tuple[int, ...]) -> None:
        super().__init__()
        pairs = zip(channels[:-1], channels[1:], kernels, strict=True)
        for k, (before, after, kernel) in enumerate(pairs, start=1):
            self.add_module(f"conv{k}", nn.Conv2d(before, after, kernel))
            self.add_module(f"prelu{k}", nn.PReLU(after))

    def features(self, x: Tensor, pools: tuple[int, ...]) -> Tensor:
        """[N, 3, H, W] -> features; ``pools``: kernel of each layer's pooling, 0 for none."""
        for k, pool in enumerate(pools, start=1):
            x = self.get_submodule(f"prelu{k}")(self.get_submodule(f"conv{k}")(x))
            if pool:
                x = F.max_pool2d(x, pool, 2, ceil_mode=True)
        return x


class _PNet(_ConvStack):
    def __init__(self) -> None:
        super().__init__((3, 10, 16, 32), (3, 3, 3))
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[1, 3, H, W] -> scores [H', W'] and moves [H', W', 4]."""
        h = self.features(x, (2, 0, 0))
        return self.conv4_1(h).softmax(1)[0, 1], self.conv4_2(h)[0].permute(1, 2, 0)


class _RNet(_ConvStack):
    def __init__(self) -> None:
        super().__init__((3, 28, 48, 64), (3, 3, 2))
        self.dense4 = nn.Linear(576, 128)
        self.prelu4 = nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 3, 24, 24] -> scores [N] and moves [N, 4]."""
        h = self.features(x, (3, 3, 0)).permute(0, 3, 2, 1).flatten(1)
        h = self.prelu4(self.dense4(h))
        return self.dense5_1(h).softmax(1)[:, 1], self.dense5_2(h)


class _ONet(_ConvStack):
    """Its third head, five points of the face, is loaded and not run."""

    def __init__(self) -> None:
        super().__init__((3, 32, 64, 64, 128), (3, 3, 3, 2))
        self.dense5 = nn.Linear(1152, 256)
        self.prelu5 = nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 3, 48, 48] -> scores [N] and moves [N, 4]."""
        h = self.features(x, (3, 3, 2, 0)).permute(0, 3, 2, 1).flatten(1)
        h = self.prelu5(self.dense5(h))
        return self.dense6_1(h).softmax(1)[:, 1], self.dense6_2(h)


class Mtcnn:
    """The detector; runs on the CPU in float32.

    Args:
        folder: holds the three files.

    Raises:
        WeightsError: a file is missing (``missing_weights``), damaged or foreign (``bad_weights``).
    """

    def __init__(self, folder: Path) -> None:
        with torch.device("meta"):
            self.pnet, self.rnet, self.onet = _PNet(), _RNet(), _ONet()
        for network, name in zip((self.pnet, self.rnet, self.onet), FILES, strict=True):
            path = folder / name
            load_strict(network, TensorFile(path), torch.float32, path)
            network.eval()

    def largest(self, picture: Pixels) -> NDArray[np.float32] | None:
        """Box [4] of the largest face above ``MIN_FACE_SCORE`` in RGB uint8 [H, W, 3], or None."""
        found = self.boxes(picture)
        found = found[found[:, 4] > MIN_FACE_SCORE]
        if not len(found):
            return None
        areas = np.prod(found[:, 2:4] - found[:, :2], axis=1)
        box: NDArray[np.float32] = found[int(areas.argmax()), :4]
        return box

    @torch.inference_mode()
    def boxes(self, picture: Pixels) -> NDArray[np.float32]:
        """Faces in RGB uint8 [H, W, 3]: left, top, right, bottom in pixels, score; float32 [N, 5].

        Channels are in the order blue, green, red, as in EchoMimic; boxes may reach beyond the
        picture. A picture with a side below ``SMALLEST`` holds no face.
        """
        image = torch.from_numpy(picture[..., ::-1].copy()).permute(2, 0, 1)[None].float()
        found = squared(self._pyramid(image))
        rows, moves = _confirmed(image, found, self.rnet, SIDES[0], MIN_SCORES[1])
        index = distinct(rows, 0.7)
        found = squared(_moved(rows[index], moves[index], 1.0))
        rows, moves = _confirmed(image, found, self.onet, SIDES[1], MIN_SCORES[2])
        found = _moved(rows, moves, 1.0)
        faces: NDArray[np.float32] = found[distinct_inside(found, 0.7)].numpy()
        return faces

    def _pyramid(self, image: Tensor) -> Tensor:
        """Boxes of P at every scale of [1, 3, H, W], moved, [N, 5]."""
        height, width = image.shape[2:]
        scale, found = CELL / SMALLEST, [image.new_zeros(0, 9)]
        side = min(height, width) * scale
        while side >= CELL:
            size = (int(height * scale + 1), int(width * scale + 1))
            scores, moves = self.pnet(_normalised(F.interpolate(image, size=size, mode="area")))
            y, x = (scores >= MIN_SCORES[0]).nonzero(as_tuple=True)
            corner = STRIDE * torch.stack([x, y], dim=1).float()
            corners = [((corner + edge) / scale).floor() for edge in (1, CELL)]
            rows = torch.cat([*corners, scores[y, x][:, None], moves[y, x]], dim=1)
            found.append(rows[distinct(rows, 0.5)])
            scale, side = scale * FACTOR, side * FACTOR
        rows = torch.cat(found)
        rows = rows[distinct(rows, 0.7)]
        return _moved(rows[:, :5], rows[:, 5:], 0.0)


def crops(image: Tensor, found: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Boxes that lie on the picture, at least in part, and their crops.

    Args:
        image: [1, 3, H, W].
        found: [N, 5]; pixels count from 1.

    Returns:
        The boxes [M, 5], unchanged, and their crops [M, 3, side, side].
    """
    height, width = image.shape[2:]
    corners = found[:, :4].trunc().int()
    begin = corners[:, :2].clamp(min=1) - 1
    end = torch.minimum(corners[:, 2:], torch.tensor([width, height], dtype=torch.int32))
    there = (end > begin).all(dim=1)
    cut = [image.new_zeros(0, 3, side, side)]
    for (x, y), (right, bottom) in zip(begin[there].tolist(), end[there].tolist(), strict=True):
        cut.append(F.interpolate(image[:, :, y:bottom, x:right], size=(side, side), mode="area"))
    return found[there], torch.cat(cut)


def squared(found: Tensor) -> Tensor:
    """Boxes [N, 5] grown to squares around their middles."""
    sides = found[:, 2:4] - found[:, :2]
    longest = sides.amax(dim=1, keepdim=True)
    corner = found[:, :2] + sides * 0.5 - longest * 0.5
    return torch.cat([corner, corner + longest, found[:, 4:]], dim=1)


def distinct(rows: Tensor, share: float) -> Tensor:
    """Non-maximum suppression: indices of boxes [N, 5 or more], by descending score.

    Boxes that share more than ``share`` of their union with one of a higher score are left out.
    """
    return _suppress(rows, share, extra=0.0, of_smaller=False)


def distinct_inside(rows: Tensor, share: float) -> Tensor:
    """The same, as a share of the smaller box; sides count the pixels at both ends."""
    return _suppress(rows, share, extra=1.0, of_smaller=True)


def _suppress(rows: Tensor, share: float, *, extra: float, of_smaller: bool) -> Tensor:
    order, chosen = rows[:, 4].argsort(descending=True, stable=True), []
    areas = (rows[:, 2:4] - rows[:, :2] + extra).prod(dim=1)
    while len(order):
        first, rest = order[0], order[1:]
        chosen.append(int(first))
        near = torch.maximum(rows[first, :2], rows[rest, :2])
        far = torch.minimum(rows[first, 2:4], rows[rest, 2:4])
        common = (far - near + extra).clamp(min=0.0).prod(dim=1)
        smaller = torch.minimum(areas[first], areas[rest])
        whole = smaller if of_smaller else areas[first] + areas[rest] - common
        order = rest[common / whole <= share]
    return torch.tensor(chosen, dtype=torch.int64)


def _confirmed(
    image: Tensor, found: Tensor, network: nn.Module, side: int, threshold: float
) -> tuple[Tensor, Tensor]:
    """Boxes that ``network`` finds to be faces [N, 5], with its scores, and their moves [N, 4]."""
    found, crops_of_boxes = crops(image, found, side)
    outputs = [network(_normalised(part)) for part in torch.split(crops_of_boxes, MAX_BATCH)]
    scores, moves = (torch.cat(batches) for batches in zip(*outputs, strict=True))
    is_face = scores > threshold
    return torch.cat([found[is_face, :4], scores[is_face][:, None]], dim=1), moves[is_face]


def _moved(rows: Tensor, moves: Tensor, extra: float) -> Tensor:
    """Boxes [N, 5] with every edge moved by a share of the side, which counts ``extra`` more."""
    sides = (rows[:, 2:4] - rows[:, :2] + extra).repeat(1, 2)
    return torch.cat([rows[:, :4] + moves * sides, rows[:, 4:]], dim=1)


def _normalised(pictures: Tensor) -> Tensor:
    return (pictures - 127.5) / 128
