"""The one place that owns global state: generators, grad mode, default dtype, determinism, warnings. Restored on the way out, always."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.utils.deterministic

numpy_random: Any = np.random  # two of its functions are missing in its types
deterministic_memory: Any = torch.utils.deterministic  # its one setting is an attribute that type checkers do not see
NOT_THE_SUBJECTS = ("does not have a deterministic implementation",)
_spare: list[np.random.BitGenerator] = []  # generators of ours; exchanging one takes a tenth of the time of saving its state


@contextmanager
def isolated(seed: int) -> Iterator[list[warnings.WarningMessage]]:
    """Run something with every generator seeded, every warning recorded and deterministic algorithms; give the process back as it was.

    Yields the list of warnings, which fills up while the block runs.
    """
    python_state, numpy_generator = random.getstate(), numpy_random.get_bit_generator()
    ours = _spare.pop() if _spare else np.random.MT19937(0)
    torch_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    grad, dtype, threads = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill, always = deterministic_memory.fill_uninitialized_memory, torch.is_warn_always_enabled()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.set_warn_always(True)
            torch.use_deterministic_algorithms(True, warn_only=True)
            deterministic_memory.fill_uninitialized_memory = False
            random.seed(seed)
            numpy_random.set_bit_generator(ours)
            np.random.seed(seed)
            seed_torch(seed)
            torch.set_grad_enabled(True)
            if threads != 1:
                torch.set_num_threads(1)  # sums come out the same whatever the number of cores
            yield caught
    finally:
        random.setstate(python_state)
        numpy_random.set_bit_generator(numpy_generator)
        _spare.append(ours)
        torch.set_rng_state(torch_state)
        if cuda_states is not None:
            torch.cuda.set_rng_state_all(cuda_states)
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        deterministic_memory.fill_uninitialized_memory = fill
        torch.set_warn_always(always)


def seed_torch(seed: int) -> None:
    """``torch.manual_seed`` for the generators in use; the original also prepares every absent kind of device, at a millisecond a call."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def texts(caught: list[warnings.WarningMessage]) -> frozenset[str]:
    """``Category: first line`` of each warning, without those that only our determinism causes."""
    found = (f"{w.category.__name__}: {str(w.message).splitlines()[0] if str(w.message) else ''}" for w in caught)
    return frozenset(text for text in found if not any(ours in text for ours in NOT_THE_SUBJECTS))
