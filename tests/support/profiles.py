"""Small ICC profiles (version 2), and the sRGB colour that a colour in their spaces is."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float64]
D50 = (0.9642, 1.0, 0.8249)
SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)


@dataclass(frozen=True)
class Space:
    """An RGB space: its primaries in XYZ (D50), columns, and its gamma."""

    primaries: Colours
    gamma: float


SPACES = {
    "display p3": Space(
        np.array(
            [[0.51512, 0.29198, 0.1571], [0.2412, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
        ),
        2.2,
    ),
    "adobe rgb": Space(
        np.array(
            [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
        ),
        563 / 256,
    ),
    "prophoto": Space(
        np.array([[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0, 0, 0.82521]]),
        1.8,
    ),
}


def in_space(colours: Colours, space: Space) -> Colours:
    """sRGB colours [..., 3] in 0..1 as colours of another space."""
    light = light_of(colours) @ SRGB.T @ np.linalg.inv(space.primaries).T
    return np.asarray(np.clip(light, 0, 1) ** (1 / space.gamma))


def light_of(colours: Colours) -> Colours:
    """The light of sRGB colours in 0..1."""
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def lab(colours: Colours) -> Colours:
    """CIE L*a*b* (D50) of sRGB colours [..., 3] in 0..1."""
    xyz = light_of(colours) @ SRGB.T / np.array(D50)
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Colours:
    """Delta E (1976) of sRGB pixels."""
    return np.asarray(np.linalg.norm(lab(one / 255) - lab(other / 255), axis=-1))


def rgb_profile(space: Space) -> bytes:
    """The profile of a space."""
    tags = {f"{c}XYZ": _xyz(column) for c, column in zip("rgb", space.primaries.T, strict=True)}
    return _profile(
        b"mntr", b"RGB ", b"XYZ ", tags | {f"{c}TRC": _gamma(space.gamma) for c in "rgb"}
    )


def grey_profile(gamma: float) -> bytes:
    """The profile of greys with a gamma."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {"kTRC": _gamma(gamma)})


def ink_profile(corners: Colours) -> bytes:
    """A CMYK profile by the L*a*b* of each combination of full inks, [2, 2, 2, 2, 3]."""
    codes = np.clip(np.round(corners * (2.55, 1, 1) + (0, 128, 128)), 0, 255).astype(np.uint8)
    straight = bytes(range(256))
    identity = struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel().tolist())
    table = struct.pack(">4s4xBBBx", b"mft1", 4, 3, 2) + identity
    return _profile(
        b"prtr", b"CMYK", b"Lab ", {"A2B0": table + 4 * straight + codes.tobytes() + 3 * straight}
    )


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[str, bytes]) -> bytes:
    tags = {"wtpt": _xyz(np.array(D50)), **tags}
    start = 132 + 12 * len(tags)
    table, body = b"", b""
    for name, data in tags.items():
        table += name.encode() + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    date = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head = struct.pack(">4xI4s4s4s", 0x02400000, kind, space, connection) + date + b"acsp"
    head += bytes(28) + struct.pack(">3i", *_fixed(np.array(D50))) + bytes(48)
    rest = head + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(rest) + 4) + rest


def _xyz(values: Colours) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *_fixed(values))


def _gamma(gamma: float) -> bytes:
    return struct.pack(">4s4xIH", b"curv", 1, round(gamma * 256))


def _fixed(values: Colours) -> list[int]:
    return [round(65536 * float(value)) for value in values]
