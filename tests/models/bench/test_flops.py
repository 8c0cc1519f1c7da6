"""Operations are booked to the module and the resolution that they belong to."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

from models.bench.cost import MOVED, Costs, gain, probe
from models.bench.flops import by_kind, count_flops, label_of, on_meta, total
from models.errors import LiveheadError
from models.lightning.plan import parse
from models.registry import PaperFlops, find_card

pytestmark = [pytest.mark.unit, pytest.mark.slow]

# NOTES of the published models: GMAC of one step at 512x512 and the published number of frames.
PUBLISHED = {"hallo": 26975.9, "echomimic": 16086.6, "echomimic-acc": 7522.3, "memo": 29760.0}
# The same without discarded work; of MEMO also what repeats is taken off.
LEAN = {"hallo": 24197.0, "echomimic": 14156.1, "memo": 27186.0 - 1550.0 - 204.7}
# conv_in, the last layer and the head with nothing left out; ours: less reference reading.
LIGHT = {"hallo": 2624.9, "echomimic": 2 * 628.7 + 149.0, "echomimic-acc": 628.7, "memo": 2959.0}
# The same tables by kind of module: at 1/8, 1/16, 1/32 and 1/64 of the picture's side.
KINDS = {
    "hallo": {
        "resnets": (1785.1, 1664.3, 1530.1, 533.5),
        "attentions.attn1": (4831.9, 1073.8, 604.0, 27.6),
        "attentions.attn2": (136.2, 135.6, 135.9, 7.0),
        "attentions.ff": (805.3, 805.3, 805.3, 40.3),
        "attentions.proj": (134.2, 134.2, 134.2, 6.7),
        "audio_modules.attn1": (1986.4, 236.2, 123.5, 13.7),
        "audio_modules.attn2": (450.5, 182.2, 185.2, 26.7),
        "audio_modules.zero": (201.3, 80.5, 80.5, 10.1),
        "audio_modules.ff": (805.3, 322.1, 322.1, 40.3),
        "audio_modules.proj": (134.2, 80.5, 80.5, 6.7),
        "motion_modules.attention": (621.0, 612.5, 608.2, 30.4),
        "motion_modules.ff": (906.0, 906.0, 906.0, 45.3),
        "motion_modules.proj": (151.0, 151.0, 151.0, 7.5),
    },
    "echomimic-acc": {
        "resnets": (669.4, 624.1, 573.8, 200.1),
        "attentions.attn1": (1439.5, 312.1, 171.1, 7.8),
        "attentions.attn2": (58.9, 55.7, 55.3, 3.2),
        "attentions.ff": (302.0, 302.0, 302.0, 15.1),
        "attentions.proj": (50.3, 50.3, 50.3, 2.5),
        "motion_modules.attention": (205.1, 203.2, 202.3, 60.7),
        "motion_modules": (557.4, 555.5, 554.6, 166.4),
        "downsamplers": (11.3, 11.3, 11.3, 0.0),
        "upsamplers": (0.0, 181.2, 181.2, 45.3),
    },
    "memo": {
        "resnets": (1785.1, 1664.3, 1530.1, 533.5),
        "downsamplers": (30.2, 30.2, 30.2, 0.0),
        "upsamplers": (0.0, 483.2, 483.2, 120.8),
        "attentions": (5907.6, 2149.0, 1679.4, 81.6),
        "attentions.attn1": (4831.8, 1073.7, 604.0, 27.7),
        "attentions.attn2": (136.2, 135.7, 135.9, 7.0),
        "audio_modules": (4978.3, 931.8, 714.6, 90.3),
        "audio_modules.attn1": (1986.4, 236.2, 123.5, 13.8),
        "audio_modules.attn2": (2018.2, 250.4, 139.8, 18.2),
        "audio_modules.audio": (34.1, 42.4, 48.6, 11.4),
        "motion_modules": (1980.1, 1979.9, 1979.8, 593.9),
        "motion_modules.attention": (973.5, 973.3, 973.2, 292.0),
        "motion_modules.ff": (805.3, 805.3, 805.3, 241.6),
        "motion_modules.proj": (201.3, 201.3, 201.3, 60.4),
    },
}
LAST = "up_blocks.3.attentions.2"


def paper_of(name: str) -> PaperFlops:
    """What the paper reports of a model."""
    paper = find_card(name).paper
    assert paper is not None
    return paper


@cache
def costs_of(name: str) -> Costs:
    """At the published size; counted once for all tests."""
    return probe(name)(512, paper_of(name).frames, paper_of(name).face_share)


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
        macs = count_flops(net, lambda: net(torch.empty(1, 4, 16, 16)), levels=1)
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
    if name in LEAN:
        assert total(costs.key) / 1e9 == pytest.approx(LEAN[name], rel=0.02)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_costs_what_it_does_in_the_publishers_code(name: str) -> None:
    found = by_kind(costs_of(name).published)
    for kind, expected in KINDS[name].items():
        parts = [values for label, values in found.items() if label.startswith(kind)]
        counted = [sum(level) / 1e9 for level in zip(*parts, strict=True)]
        assert counted == pytest.approx(expected, rel=0.02, abs=0.1), kind


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_light_step_costs_what_the_publishers_last_layer_does_less_its_waste(name: str) -> None:
    """What is left out there: the reference's keys and values, in attention of unconditional rows
    the discarded pass, and of MEMO what its memory holds."""
    costs, rows = costs_of(name), paper_of(name).frames * (1 if name == "echomimic-acc" else 2)
    channels, places = 320, 64 * 64
    waste = 2 * rows * places * channels**2  # projections of the reference
    if (
        rows > paper_of(name).frames
    ):  # 2 of 5 products, and the bare pass's queries, keys, values, output
        waste += paper_of(name).frames * (2 * 2 * places**2 * channels + 4 * places * channels**2)
    if name == "memo":  # queries, keys and values of two attentions and the way in, of past frames
        waste += 7 * rows * places * channels**2
    assert total(costs.plain_light) / 1e9 == pytest.approx(LIGHT[name] - waste / 1e9, rel=0.02)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_layer_without_the_reference_costs_less_at_key_and_light_steps(name: str) -> None:
    whole = probe(name)(128, 4, 0.5)
    less = probe(name)(128, 4, 0.5, frozenset([LAST]))
    assert less.published == whole.published
    for step in ("key", "light", "plain_light"):
        assert total(getattr(less, step)) < total(getattr(whole, step))
    with pytest.raises(LiveheadError, match=LAST):
        probe(name)(128, 4, 0.5, frozenset(["up_blocks.3.resnets.2"]))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_number_of_key_steps_gives_at_least_its_gain(name: str) -> None:
    claim = paper_of(name)
    promised = gain(costs_of(name), claim.steps, claim.key_steps)
    assert promised.lightning_dfa >= claim.ratio
    assert promised.lightning_dfa > promised.lightning > 1
    assert promised.lean > 1.02


def test_what_moved_out_of_the_steps_is_paid_once() -> None:
    costs = costs_of("memo")
    assert set(MOVED) - set(costs.once) == {"audio keys"}
    once = sum(costs.once[what] for what in MOVED if what in costs.once)
    promised = gain(costs, 1, 1)
    assert promised.lean == total(costs.published) / (once + total(costs.key))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_plan_that_a_model_brings_gives_at_least_the_papers_gain(name: str) -> None:
    plan = parse(find_card(name).plan)
    promised = gain(costs_of(name), plan.steps, len(plan.keys))
    assert promised.lightning_dfa >= paper_of(name).ratio


def test_a_whole_foreground_saves_nothing() -> None:
    costs = probe("echomimic-acc")(128, 4, 1.0)
    assert costs.light == costs.plain_light


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(LiveheadError, match="echomimic-acc"):
        probe("mini")
