"""Where attention of the last layer runs: everywhere, or on face tokens beside a cached background.

DFA (arXiv 2509.00052): a key step runs attention everywhere and keeps the outputs of each module;
light steps run it over face tokens alone, queries, keys and values, and put the results back among
the kept background outputs. Which modules do so is the network's business; each has a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from models.lightning.dfa import FaceTokens, merge, select

Compute = Callable[[Tensor, FaceTokens | None], Tensor]


@dataclass
class Focus:
    """One network call's view of the foreground.

    Attributes:
        foreground: face token indices [B, K]; None runs everything everywhere.
        padding: which of them are no more than padding, bool [B, K]; None if none is.
        background: outputs that a key step kept, by module name; None at key steps.
        keep: whether this call keeps its outputs in ``kept``.
    """

    foreground: Tensor | None = None
    background: Mapping[str, Tensor] | None = None
    keep: bool = False
    padding: Tensor | None = None
    kept: dict[str, Tensor] = field(default_factory=dict)

    def run(self, name: str, tokens: Tensor, compute: Compute) -> Tensor:
        """``compute(tokens, None)``, or its result for face tokens among the background's.

        Args:
            name: of the module.
            tokens: [N, L, C]; what ``compute`` gets as they are, or face tokens [N, K, C] together
                with which they are, which it needs where tokens are keys too.
        """
        if self.foreground is not None and self.background is not None:
            face = FaceTokens(self.foreground, self.padding)
            made = compute(select(tokens, self.foreground), face)
            return merge(self.background[name], made, self.foreground)
        out = compute(tokens, None)
        if self.keep:
            self.kept[name] = out
        return out


EVERYWHERE = Focus()
"""The focus of every layer but the last one."""
