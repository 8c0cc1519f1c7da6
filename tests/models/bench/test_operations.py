"""Operations are booked to the module and the resolution that they belong to."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from models.bench.operations import by_kind, count, label_of, on_meta, total
from models.bench.published import CLAIMS, FRAMES, Costs, gain, probe
from models.errors import LiveheadError

pytestmark = pytest.mark.unit

# NOTES of the published models: GMAC of one step at 512x512 and the published number of frames.
PUBLISHED = {"hallo": 26975.9, "echomimic": 16086.6, "echomimic-acc": 7522.3, "memo": 29760.0}
LIGHT = {"echomimic-acc": 628.7}


@cache
def costs_of(name: str) -> Costs:
    """At the published size; counted once for all tests."""
    return probe(name)(512, FRAMES[name], 0.55)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(4, 8, 3, padding=1)
        self.up_blocks = nn.ModuleList(
            [nn.ModuleDict({"resnets": nn.ModuleList([nn.Linear(8, 8)])})]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv_in(x)
        tokens = h.flatten(2).transpose(1, 2)
        out: torch.Tensor = self.get_submodule("up_blocks.0.resnets.0")(tokens)
        return out @ out.transpose(1, 2)


def test_every_operation_is_counted_once_and_in_its_place() -> None:
    with on_meta():
        net = Net()
        macs = count(net, lambda: net(torch.empty(1, 4, 16, 16)), levels=1)
    assert macs[("conv_in", 0)] == 9 * 4 * 8 * 256
    assert macs[("resnets", 0)] == 8 * 8 * 256
    assert macs[("other", 0)] == 256 * 256 * 8
    assert total(macs) == sum(sum(values) for values in by_kind(macs, levels=1).values())


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", ("attentions.attn1", 1)),
        ("mid_block.motion_modules.0.temporal_transformer.proj_in", ("motion_modules.proj_in", 3)),
        ("up_blocks.3.resnets.2.conv1", ("resnets.conv1", 0)),
        ("up_blocks.0.upsamplers.0.conv", ("upsamplers.conv", 3)),
        ("conv_out", ("conv_out", 0)),
    ],
)
def test_labels_name_the_kind_and_the_resolution(path: str, label: tuple[str, int]) -> None:
    assert label_of(path, 4) == label


@pytest.mark.parametrize("name", PUBLISHED)
def test_steps_cost_what_the_publishers_code_costs(name: str) -> None:
    costs = costs_of(name)
    assert total(costs.published) / 1e9 == pytest.approx(PUBLISHED[name], rel=0.02)
    assert total(costs.light) < total(costs.plain_light) < total(costs.key)
    assert total(costs.key) < total(costs.published)
    if name in LIGHT:  # published: keys of the reference are projected again at every step
        assert total(costs.plain_light) / 1e9 == pytest.approx(LIGHT[name], rel=0.02)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_number_of_key_steps_gives_at_least_its_gain(name: str) -> None:
    claim = CLAIMS[name]
    promised = gain(costs_of(name), claim.steps, claim.keys)
    assert promised.lightning_dfa >= claim.flop_ratio
    assert promised.lightning_dfa > promised.lightning > 1


def test_a_whole_foreground_saves_nothing() -> None:
    costs = probe("echomimic-acc")(128, 4, 1.0)
    assert costs.light == costs.plain_light


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(LiveheadError, match="echomimic-acc"):
        probe("mini")
