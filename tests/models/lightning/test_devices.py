"""Devices that share light steps: who takes which, and that nobody can tell from the result."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from models.echomimic.windows import EchoMimicWindows
from models.errors import PlanError
from models.lightning.devices import DeviceReplica, make_replicas, predict_light_steps, split_evenly
from models.lightning.plan import parse
from models.lightning.sampler import Sampler
from models.sd15.config import DDIM_ZERO_SNR, FLOW_MATCHING
from tests.models.echomimic import test_echomimic as echomimic
from tests.models.hallo import test_hallo as hallo
from tests.models.memo import test_memo as memo

pytestmark = pytest.mark.unit

FACE = torch.arange(30)[None]


@cache
def case(name: str) -> tuple[Any, Any, Tensor, Any]:
    """Backbone, condition, start noise and schedule of a family, in double precision."""
    if name == "memo":
        mem = memo.small(torch.float64)
        return mem.backbone, mem.condition(foreground=FACE), memo.start(), FLOW_MATCHING
    if name == "hallo":
        hall = hallo.small(torch.float64)
        return hall.backbone, hall.condition(foreground=FACE), hallo.start(), DDIM_ZERO_SNR
    echo = echomimic.small(torch.float64)
    if name == "echomimic":
        window = echo.condition(4, foreground=FACE)
        return echo.backbone(), window, echomimic.clip(4), DDIM_ZERO_SNR
    walking = EchoMimicWindows(echo.backbone(), 7, window=4, overlap=1)
    cond = walking.condition(echo.condition(7, foreground=FACE))
    return walking, cond, echomimic.clip(7), DDIM_ZERO_SNR


def replicas_of(backbone: Any, count: int) -> list[DeviceReplica]:
    """As many as asked for, all on the CPU; windows are put around each backbone."""
    devices = ["cpu"] * count
    if isinstance(backbone, EchoMimicWindows):
        return [backbone.on_replica(replica) for replica in make_replicas(backbone.inner, devices)]
    return make_replicas(backbone, devices)


@pytest.mark.parametrize(
    ("count", "shares", "expected"),
    [
        (3, 2, [(0, 2), (2, 3)]),
        (4, 2, [(0, 2), (2, 4)]),
        (1, 3, [(0, 1), (1, 1), (1, 1)]),
        (7, 3, [(0, 3), (3, 5), (5, 7)]),
    ],
)
def test_steps_are_shared_in_runs_of_neighbours(
    count: int, shares: int, expected: list[tuple[int, int]]
) -> None:
    assert split_evenly(count, shares) == expected


@pytest.mark.parametrize("name", ["hallo", "memo", "echomimic", "windows"])
def test_two_devices_give_what_one_gives(name: str) -> None:
    backbone, cond, z, schedule = case(name)
    chosen, z = parse("4:0+parallel+dfa"), z.double()
    alone = Sampler(schedule, chosen)(backbone, z, cond)
    shared = Sampler(schedule, chosen, replicas=replicas_of(backbone, 2))(backbone, z, cond)
    assert torch.allclose(shared, alone, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["hallo", "memo", "echomimic"])
def test_a_replica_holds_the_last_layer_alone_and_the_primary_device_no_copy(name: str) -> None:
    backbone, *_ = case(name)
    own = backbone.network
    primary, other = make_replicas(backbone, ["cpu", "cpu"])
    assert primary.denoiser is backbone
    replica: Any = other.denoiser
    network = replica.network
    assert parameters(network) < 0.2 * parameters(own)
    assert network.down_blocks[0].resnets is None and network.mid_block.resnets is None
    *earlier, last = network.up_blocks[-1].resnets
    assert earlier == [None, None] and last is not own.up_blocks[-1].resnets[-1]


def parameters(network: nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def test_a_replica_is_on_its_device() -> None:
    denoiser, *_ = case("hallo")
    _, other = make_replicas(denoiser, ["cpu", "meta"])
    replica: Any = other.denoiser
    assert {value.device.type for value in replica.network.parameters()} == {"meta"}
    assert {value.device.type for value in denoiser.network.parameters()} == {"cpu"}


def test_every_device_runs_its_own_replica() -> None:
    backbone, cond, z, schedule = case("hallo")
    chosen = parse("4:0+parallel")
    alone = Sampler(schedule, chosen)(backbone, z, cond)
    replicas = make_replicas(backbone, ["cpu", "cpu"])
    spoilt: Any = replicas[1].denoiser
    spoilt.network.conv_out.weight.data.mul_(1.5)
    shared = Sampler(schedule, chosen, replicas=replicas)(backbone, z, cond)
    assert float((shared - alone).abs().max()) > 1e-3


def test_predictions_come_back_in_order() -> None:
    class Echo:
        def light(self, cache: Any, z: Tensor, t: Tensor, cond: Any, *, step: Any) -> Tensor:
            assert len(cache.rows) == len(cond.rows) == len(z) == len(t) == len(step)
            return z + t[:, None]

    class Rows:
        def __init__(self, n: int = 1) -> None:
            self.rows = [0] * n

        def repeat(self, n: int) -> Rows:
            return Rows(n)

    replicas = [DeviceReplica(torch.device("cpu"), cast(Any, Echo())) for _ in range(2)]
    inputs = [torch.full((1, 1), 10.0 * k) for k in range(3)]
    times = [torch.tensor([float(k)]) for k in range(3)]
    made = predict_light_steps(
        replicas, cast(Any, Rows()), inputs, times, cast(Any, Rows()), [1, 2, 3]
    )
    assert [float(one) for one in made] == [0, 11, 22]


def test_devices_have_nothing_to_share_where_light_steps_wait() -> None:
    backbone, *_ = case("hallo")
    with pytest.raises(PlanError, match="parallel"):
        Sampler(DDIM_ZERO_SNR, parse("4:0"), replicas=make_replicas(backbone, ["cpu"]))
