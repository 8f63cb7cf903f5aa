import numpy as np
import torch

from hypernudge.random import Streams, integer, stream, torch_stream


def test_a_draw_depends_on_its_address_only():
    streams = Streams(3)
    first = streams("config", 17).random(4)
    streams("config", 1).random(1000)
    assert np.array_equal(first, Streams(3)("config", 17).random(4))
    assert np.array_equal(first, stream(3, "config", 17).random(4))


def test_addresses_that_look_alike_differ():
    values = {
        integer(1, "a", 1),
        integer(1, "a", "1"),
        integer(1, "a1"),
        integer(1, "a/i1"),
        integer(11, "a"),
    }
    assert len(values) == 5


def test_the_hash_is_the_same_on_every_machine():
    assert integer(0, "config", 0) == 968595656271114812


def test_torch_streams_are_reproducible_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    a = torch.rand(5, generator=torch_stream(1, "init"))
    assert torch.equal(a, torch.rand(5, generator=torch_stream(1, "init")))
    assert not torch.equal(a, torch.rand(5, generator=torch_stream(2, "init")))
    assert torch.equal(before, torch.get_rng_state())


def test_each_is_the_generator_of_every_address_in_turn():
    streams, addresses = Streams(3), [("informed", k) for k in range(4)]
    for address, rng in zip(addresses, streams.each(addresses), strict=True):
        alone = streams(*address)
        assert np.array_equal(rng.random(7), alone.random(7))
        assert rng.integers(0, 2**31, dtype=np.uint32) == alone.integers(0, 2**31, dtype=np.uint32)
        assert np.array_equal(rng.standard_normal(5), alone.standard_normal(5))
