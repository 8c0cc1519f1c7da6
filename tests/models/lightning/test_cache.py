"""The feature cache refuses everybody it was not made for."""

from __future__ import annotations

import pytest
import torch

from models.errors import CacheError
from models.lightning.cache import FeatureCache
from models.lightning.plan import parse
from models.lightning.sampler import Sampler
from tests.support.tiny import TINY, start, tiny_condition, tiny_net

pytestmark = pytest.mark.unit


def cached(identity_ids: tuple[str, ...] = ("ada",), frames: int = 3) -> FeatureCache:
    return FeatureCache(torch.zeros(len(identity_ids) * frames, 8, 16, 16), None, identity_ids)


def test_the_same_identities_may_use_it() -> None:
    cached().check(("ada",), start())


def test_another_identity_may_not() -> None:
    with pytest.raises(CacheError, match="bob") as caught:
        cached().check(("bob",), start())
    assert caught.value.code == "stale_cache"


def test_neither_may_the_same_identities_in_another_order() -> None:
    with pytest.raises(CacheError):
        cached(("ada", "bob")).check(("bob", "ada"), start(batch=2))


@pytest.mark.parametrize("shape", [(1, 4, 2, 16, 16), (2, 4, 3, 16, 16), (1, 4, 3, 8, 16)])
def test_another_shape_of_latents_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(CacheError, match="run a key step first"):
        cached().check(("ada",), torch.zeros(shape))


def test_repeating_repeats_identities_hidden_and_background() -> None:
    one = FeatureCache(torch.randn(3, 8, 4, 4), {"attention": torch.randn(3, 16, 8)}, ("ada",))
    two = one.repeat(2)
    assert two.identity_ids == ("ada", "ada")
    assert two.background is not None and one.background is not None
    assert torch.equal(two.hidden, torch.cat([one.hidden, one.hidden]))
    background = one.background["attention"]
    assert torch.equal(two.background["attention"], torch.cat([background, background]))
    assert cached().repeat(2).background is None


def test_repeating_keeps_unconditional_rows_in_front() -> None:
    rows = torch.arange(6.0).view(6, 1, 1, 1)  # two clips of three frames would be 12 rows
    one = FeatureCache(rows, None, ("ada",), num_branches=2, extra={"sound": rows[:, 0, 0]})
    two = one.repeat(2)
    expected = torch.tensor([0.0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5])
    assert torch.equal(two.hidden.flatten(), expected)
    assert torch.equal(two.extra["sound"].flatten(), expected)
    two.check(("ada", "ada"), torch.zeros(2, 4, 3, 1, 1))


def test_the_network_refuses_a_cache_of_another_identity_and_of_another_batch() -> None:
    net = tiny_net()
    ada, bob = tiny_condition(net, 0, identity_id="ada"), tiny_condition(net, 1, identity_id="bob")
    t = torch.tensor([500])
    _, of_ada = net.full(start(), t, ada)
    with pytest.raises(CacheError, match="ada"):
        net.light(of_ada, start(), t, bob)
    both = net.collate([ada, ada])
    with pytest.raises(CacheError):
        net.light(of_ada, start(batch=2), t.repeat(2), both)


def test_the_sampler_leaves_no_cache_behind() -> None:
    net = tiny_net()
    sampler = Sampler(TINY.schedule, parse("4:0,2"))
    ada, bob = tiny_condition(net, 0, identity_id="ada"), tiny_condition(net, 1, identity_id="bob")
    alone = sampler(net, start(), ada)
    sampler(net, start(), bob)
    assert torch.equal(sampler(net, start(), ada), alone)
