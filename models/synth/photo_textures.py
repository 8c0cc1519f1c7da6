"""Reads photographic textures: skin, strands of hair, brows and lashes, eyes and teeth."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from models.synth.appearance import Appearance
from models.synth.assets import AssetsError
from models.synth.character import Material
from models.synth.mesh import Ints, Mesh, read_obj
from models.synth.skin_photo import Box, HeadArea, SkinPhoto, fit_skin

SKIN_SIDE = 2048
"""Side of the whole texture that photographs of skin are cut out of, pixels."""
STRAND_RANGE = 4.0
"""Brightest strand over the mean one that a texture can hold."""
_MAX_CONTRAST = 0.6
_STRAND_WIDTH = 3.0
_STRESS = 0.6
_MARGIN = 3.0


class PhotoTextures:
    """The textures of one folder; those of a character are named by its appearance."""

    def __init__(self, folder: Path, meshes: Path, head: HeadArea) -> None:
        self._folder = folder
        self._meshes = meshes
        self._head = head
        self._boxes = read_skin_boxes(folder / "manifest.json")
        self.skin = lru_cache(maxsize=None)(self._read_skin)

    def pictures(self, appearance: Appearance) -> dict[Material, NDArray[np.uint8]]:
        """One picture for each material, uint8 [H, W, 1 to 4], first row lowest."""
        outfit, photos = appearance.outfit, appearance.photos
        pictures = {
            Material.SKIN: self.skin(photos.skin).picture,
            Material.EYE: _upright(self._read(f"{photos.eye}_eye")[..., :3]),
            Material.TEETH: _upright(self._read("teeth")[..., :3]),
            Material.BROW: _upright(self._read(outfit.brows)[..., 3:]),
            Material.LASH: _upright(self._read(outfit.lashes)[..., 3:]),
        }
        if outfit.hair:
            mesh = read_obj(self._meshes / "hair" / outfit.hair / f"{outfit.hair}.obj")
            strands = self._read(f"{outfit.hair}_diffuse")
            pictures[Material.HAIR] = _upright(make_strands(strands, mesh))
        return pictures

    def _read_skin(self, name: str) -> SkinPhoto:
        file = f"{name}.png"
        if file not in self._boxes:
            raise AssetsError(f"{self._folder}: expected the skin {file} in manifest.json")
        return fit_skin(self._read(name)[..., :3], self._boxes[file], SKIN_SIDE, self._head)

    def _read(self, name: str) -> NDArray[np.uint8]:
        """RGBA [H, W, 4]; a picture without alpha is opaque."""
        path = self._folder / f"{name}.png"
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None or picture.ndim != 3:
            raise AssetsError(f"{path}: expected a picture in colour; delete the folder, run again")
        code = cv2.COLOR_BGRA2RGBA if picture.shape[2] == 4 else cv2.COLOR_BGR2RGBA
        return np.asarray(cv2.cvtColor(picture, code), np.uint8)


def read_skin_boxes(path: Path) -> dict[str, Box]:
    """Which box of the texture each photograph of skin covers, by its file name.

    Raises:
        AssetsError: the file is not a list of pictures.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        skins = [entry for entry in entries if entry["kind"] == "skin"]
        boxes = {}
        for skin in skins:
            left, top, right, bottom = (int(edge) for edge in skin["crop_of_2048"])
            boxes[str(skin["file"])] = (left, top, right, bottom)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise AssetsError(
            f"{path}: expected a list of pictures with file, kind and, of skins, crop_of_2048; "
            f"got {type(error).__name__}: {error}"
        ) from error
    return boxes


def make_strands(picture: NDArray[np.uint8], mesh: Mesh) -> NDArray[np.uint8]:
    """Strands without their colour, uint8 [H, W, 2]: brightness and alpha.

    The brightness is the root of (linear brightness / mean of what the mesh shows) / STRAND_RANGE,
    so that a colour times it keeps its mean. Where nothing is shown it is the mean.

    Args:
        picture: RGBA [H, W, 4].
        mesh: its texture coordinates say what is shown.
    """
    linear = (picture[..., :3].astype(np.float32) / 255.0) ** 2.2
    brightness = np.log(linear @ np.array([0.2, 0.7, 0.1], np.float32) + 1e-3)
    shown = _shown(picture.shape[:2], mesh)
    inside = cv2.distanceTransform(shown, cv2.DIST_L2, 5)
    hair = (inside > _MARGIN) & (picture[..., 3] > 127)
    if hair.any():
        nearest = distance_transform_edt(~hair, return_distances=False, return_indices=True)
        brightness = brightness[tuple(nearest)]
        fine = brightness - cv2.GaussianBlur(brightness, (0, 0), _STRAND_WIDTH)
        level, spread = float(brightness[hair].mean()), float(brightness[hair].std())
        contrast = min(1.0, _MAX_CONTRAST / max(spread, 1e-6))
        detail = np.exp((brightness - level) * contrast + _STRESS * fine)
        detail /= float(detail[hair].mean())
    else:
        detail = np.ones(shown.shape, np.float32)
    stored = np.sqrt(np.clip(detail / STRAND_RANGE, 0.0, 1.0)) * 255.0 + 0.5
    return np.stack([stored.astype(np.uint8), picture[..., 3]], -1)


def _shown(shape: tuple[int, int], mesh: Mesh) -> NDArray[np.uint8]:
    out = np.zeros(shape, np.uint8)
    for corners in _to_pixels(shape, mesh):
        cv2.fillConvexPoly(out, corners, (1,))
    return out


def _to_pixels(shape: tuple[int, int], mesh: Mesh) -> Ints:
    """Corners of the faces in a picture, first row uppermost, [F, 4, 2]."""
    scale = np.array([shape[1], -shape[0]])
    pixels = mesh.texture[mesh.face_texture] * scale + [0, shape[0]]
    out: Ints = np.round(pixels).astype(np.int32)
    return out


def _upright(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """First row lowest, as OpenGL wants it."""
    return np.ascontiguousarray(picture[::-1])
