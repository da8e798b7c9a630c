"""The user's own model: ``path/to/file.py:function`` or ``package.module:function``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gradfuzz.subjects import Provider, providers

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case


def _build(name: str, seed: int, shape: tuple[int, ...] | None) -> Case:
    from gradfuzz.subjects.loading import call_maker
    from gradfuzz.subjects.normalise import normalise

    return normalise(call_maker(name, seed), name, shape)


def _code(name: str, seed: int, shape: tuple[int, ...] | None) -> str:
    from gradfuzz.subjects.source import user_source

    return user_source(name, seed, shape)


def _nothing() -> Iterable[str]:
    return ()


providers.add("file", Provider("file", "path/to/file.py:function of your own", _nothing, _build, _code))
providers.add("import", Provider("import", "package.module:function of your own", _nothing, _build, _code))
