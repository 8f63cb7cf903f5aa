"""A workspace gives the same memory for the same name, and frames of zeros."""

from __future__ import annotations

import torch

from hypernudge.workspace import Workspace

LIKE = torch.zeros((), dtype=torch.float64)


def test_a_name_keeps_its_memory_while_it_is_large_enough():
    work = Workspace()
    first = work.empty("a", (4, 3), LIKE)
    assert work.empty("a", (2, 5), LIKE).data_ptr() == first.data_ptr()
    assert work.empty("b", (4, 3), LIKE).data_ptr() != first.data_ptr()
    assert work.empty("a", (4, 3), LIKE, torch.int64).data_ptr() != first.data_ptr()
    larger = work.empty("a", (4, 4), LIKE)
    assert larger.shape == (4, 4) and larger.is_contiguous() and larger.dtype == torch.float64
    assert work.empty("a", (4, 3), LIKE).data_ptr() == larger.data_ptr()


def test_a_frame_is_zero_whatever_the_memory_held_in_another_shape():
    work = Workspace()
    for shape in ((4, 4), (3, 5), (4, 4), (6, 6)):
        frame = work.framed("a", shape, LIKE)
        assert not frame.any()
        frame[1:-1, 1:-1] = 7.0
        again = work.framed("a", shape, LIKE)
        assert again.data_ptr() == frame.data_ptr() and (again[1:-1, 1:-1] == 7.0).all()
        assert not again[0].any() and not again[:, -1].any()
