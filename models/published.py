"""The published models by name, and the options that only they have."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import LiveheadError

PUBLISHED = ("hallo", "echomimic", "echomimic-acc", "memo")
DTYPES = ("fp32", "bf16", "fp16")
RANDOM = "random:"
"""Instead of a folder of weights, before a seed: every value is drawn."""
SIZE = 512
SIZE_STEP = 64
"""Pixels: the autoencoder divides by 8, the UNet's three down-samplers by 8 again."""


@dataclass(frozen=True)
class PublishedOptions:
    """How a published model is run.

    Attributes:
        size: side of the square frame, pixels; published: 512.
        dtype: that networks compute in, one of ``DTYPES``; if "" float32 on a CPU, bfloat16 on any
            other device.
        devices: where it runs; the light steps of a group are spread over all of them.
        frames: of one network call; 0 for the published number.
        without_reference: paths of transformers that do not read the reference, such as
            ``up_blocks.3.attentions.2``; none for those of the model's row.
    """

    size: int = SIZE
    dtype: str = ""
    devices: tuple[str, ...] = ("cpu",)
    frames: int = 0
    without_reference: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot work, before gigabytes are read.

        Raises:
            LiveheadError: an option makes no sense (``bad_option``).
        """
        if self.size < SIZE_STEP or self.size % SIZE_STEP:
            raise LiveheadError(
                f"expected --size as a multiple of {SIZE_STEP}, got {self.size}", code="bad_option"
            )
        if self.dtype not in ("", *DTYPES):
            raise LiveheadError(
                f"expected --dtype out of {', '.join(DTYPES)}, got {self.dtype!r}",
                code="bad_option",
            )
        if not self.devices or not all(self.devices):
            raise LiveheadError(
                "expected --devices such as cuda:0,cuda:1, got an empty name", code="bad_option"
            )
