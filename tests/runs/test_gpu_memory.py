"""GPU memory is given back where a GPU was used; elsewhere nothing is done, which would take a second each time."""

import gc

import pytest
import torch

from runs import gpu_memory


@pytest.mark.parametrize("used", [True, False], ids=["a GPU in use", "no GPU in use"])
def test_memory_is_given_back_where_a_gpu_was_used(used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("emptied"))
    monkeypatch.setattr(gc, "collect", lambda: done.append("collected"))
    gpu_memory.release()
    with gpu_memory.released_afterwards():
        pass
    assert done == ["collected", "emptied"] * 2 * used
