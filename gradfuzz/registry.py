"""One registry for subjects, operators and detectors: refuses duplicates, suggests near misses, loads entry points."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from gradfuzz.errors import BadInput

T = TypeVar("T")


def near_miss(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` or the empty string."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""


class Registry(Generic[T]):
    """Names to things. Built-in things register on import of ``home``; third parties through the entry-point group."""

    def __init__(self, what: str, home: tuple[str, ...], group: str) -> None:
        self.what, self._home, self._group = what, home, group
        self._items: dict[str, T] = {}
        self._loaded = False

    def add(self, name: str, item: T) -> T:
        if name in self._items:
            raise BadInput(f"the {self.what} '{name}' is registered twice: give one of the two another name")
        self._items[name] = item
        return item

    def remove(self, name: str) -> None:
        """Take a thing out again; for tests of third-party registration."""
        del self._items[name]

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        for module in self._home:
            import_module(module)
        for point in entry_points(group=self._group):
            try:
                point.load()
            except Exception as error:
                raise BadInput(
                    f"the entry point '{point.value}' of {self._group} does not load: {error}. Mend or uninstall that package"
                ) from error

    def __getitem__(self, name: str) -> T:
        self._load()
        if name not in self._items:
            shown = "subjects" if self.what == "provider" else f"{self.what}s"
            raise BadInput(f"there is no {self.what} '{name}'.{near_miss(name, self._items)} See `gradfuzz list {shown}`")
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._items))

    def __len__(self) -> int:
        self._load()
        return len(self._items)

    def values(self) -> list[T]:
        return [self[name] for name in self]
