"""Hidden states of a transformer: what entered the first layer, and what every layer gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn


def hidden_states(layers: Iterable[nn.Module], run: Callable[[], object]) -> list[Tensor]:
    """Run the network and keep [1, T, channels] of every layer, the first one's input before them.

    Libraries differ in what they return (Whisper's last state comes after a norm); layers do not.
    """
    layers = list(layers)
    kept: list[Tensor] = []

    def enter(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        kept.append(given[0] if given else named["hidden_states"])

    def leave(_: nn.Module, __: Any, output: Any) -> None:
        kept.append(output[0] if isinstance(output, tuple) else output)

    handles: list[Any] = [layers[0].register_forward_pre_hook(enter, with_kwargs=True)]
    handles += [layer.register_forward_hook(leave) for layer in layers]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return kept
