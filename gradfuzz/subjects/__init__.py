"""Where correct training cases come from: name -> Subject -> Case.

A provider turns the part of the name behind the colon into a case, and can list what it has. To add one, fill in a ``Provider`` and
register it (entry-point group ``gradfuzz.subjects`` for third parties).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradfuzz.errors import BadInput
from gradfuzz.registry import Registry, near_miss

if TYPE_CHECKING:
    from gradfuzz.subjects.case import Case


@dataclass(frozen=True)
class Provider:
    """names: what it can build, without building it and without importing torch. build: ``build(target, seed, input_shape)`` gives a case,
    where target is the part of the name behind the colon (for ``file`` and ``import``: the whole name).

    Same target and seed, same bits: ``build`` is called with torch's generator already seeded.
    code: with the same arguments, Python source that defines ``model``, ``inputs``, ``target`` and ``loss_fn`` with those very bits when it
    runs after ``torch.manual_seed(SEED)``, without gradfuzz; also ``seed_all()`` where more than torch is to be seeded before each pass.
    further: names that it builds too, but which are not among those that stand for the provider (some may fail the baseline gate).
    """

    name: str
    summary: str
    names: Callable[[], Iterable[str]]
    build: Callable[[str, int, tuple[int, ...] | None], Case]
    code: Callable[[str, int, tuple[int, ...] | None], str] | None = None
    further: Callable[[], Iterable[str]] = tuple


@dataclass(frozen=True)
class Subject:
    """A correct program under mutation. ``build(seed)`` gives its case; the same name and seed give the same bits."""

    name: str
    provider: Provider
    target: str
    input_shape: tuple[int, ...] | None = None

    def build(self, seed: int) -> Case:
        import torch

        torch.manual_seed(seed)
        return self.provider.build(self.target, seed, self.input_shape)


providers: Registry[Provider] = Registry(
    "provider", ("gradfuzz.subjects.torchvision", "gradfuzz.subjects.corpus", "gradfuzz.subjects.user"), "gradfuzz.subjects"
)


def resolve(name: str, input_shape: tuple[int, ...] | None = None) -> Subject:
    """``resnet18``, ``torchvision:resnet18``, ``corpus:mlp``, ``path/to/file.py:function`` or ``package.module:function``."""
    head, colon, rest = name.rpartition(":")
    if colon and head in providers and head not in ("file", "import"):
        known = [*providers[head].names(), *providers[head].further()]
        if rest not in known:
            raise BadInput(f"{head} has no model '{rest}'.{near_miss(rest, known)} See `gradfuzz list subjects`")
        return Subject(name, providers[head], rest, input_shape)
    if colon:
        return Subject(name, providers["file" if head.endswith(".py") else "import"], name, input_shape)
    found = [f"{p.name}:{name}" for p in providers.values() if name in set(p.names())]
    if len(found) == 1:
        return resolve(found[0], input_shape)
    if found:
        raise BadInput(f"'{name}' is ambiguous: write {' or '.join(found)}")
    known = [n for p in providers.values() for n in p.names()]
    raise BadInput(
        f"there is no model '{name}'.{near_miss(name, known)} See `gradfuzz list subjects`, or name your own as path/to/file.py:function"
    )
