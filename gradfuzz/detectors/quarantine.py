"""A block in which a detector may do what it likes to the process, which is put back afterwards."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager
from typing import Any

from gradfuzz.detectors.settings import Setting, settings


class Quarantine:
    """A block after which the process is as it was before; ``reset`` puts it back in between.

    Generators (python, numpy, torch) are seeded on entry and at each reset. Covered: what ``isolated`` owns, and the ``settings`` below.
    Not covered: threads and processes that were started, patched functions, files, and flags in C++ that Python cannot read.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._before: list[Any] = []
        self._isolated: AbstractContextManager[Any] | None = None

    def __enter__(self) -> Quarantine:
        from gradfuzz.isolation import isolated

        self._isolated = isolated(self._seed)
        self._isolated.__enter__()
        self._before = [setting.read() for setting in settings()]
        return self

    def reset(self, everything: bool = False) -> None:
        """Put the settings back and seed every generator again."""
        import numpy as np

        from gradfuzz.isolation import seed_torch

        failed: list[Exception] = []
        for setting, value in zip(settings(), self._before, strict=True):
            if everything or not setting.late:
                try:
                    _put_back(setting, value)
                except Exception as error:  # the others come first
                    failed.append(error)
        random.seed(self._seed)
        np.random.seed(self._seed)
        seed_torch(self._seed)
        if failed:
            raise failed[0]

    def __exit__(self, *raised: Any) -> None:
        assert self._isolated is not None
        try:
            self.reset(everything=True)
        finally:
            self._isolated.__exit__(None, None, None)


def _put_back(setting: Setting, value: Any) -> None:
    try:
        same = setting.read() == value
    except OSError:  # the working directory was deleted
        same = False
    if not same:
        setting.write(value)
