"""Which detectors to ask: registered ones by name, and the user's own functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gradfuzz.detectors.contract import NEEDS, Detector, described, detectors, kept_aside
from gradfuzz.errors import BadInput
from gradfuzz.registry import near_miss

ANNOTATED = {"Evidence": "observation", "Steps": "steps", "Case": "case"}


def select(names: Iterable[str] | None, needs: Iterable[str] = NEEDS) -> list[Detector]:
    """Detectors by name; for None all registered ones that need one of ``needs``.

    A name is that of a registered detector, or ``path/to/file.py:function`` or ``package.module:function``. Raises ``BadInput`` for a name
    that does not exist, with a near miss, and for two detectors of one name.
    """
    if names is None:
        wanted = set(needs)
        return [one for one in detectors.values() if one.needs in wanted]
    chosen: dict[str, Detector] = {}
    for name in names:
        one = _found(name)
        if chosen.setdefault(one.name, one).function is not one.function:
            raise BadInput(f"two of the detectors are called '{one.name}': give one of them another name")
    return list(chosen.values())


def _found(name: str) -> Detector:
    if ":" in name:
        return _load(name)
    if name not in detectors:
        raise BadInput(f"there is no detector '{name}'.{near_miss(name, detectors)} See `gradfuzz list detectors`")
    return detectors[name]


def _load(name: str) -> Detector:
    from gradfuzz.subjects.loading import load_file, load_module

    place, _, function = name.rpartition(":")
    if place.endswith(".py"):
        with kept_aside() as decorated:
            module = load_file(Path(place).expanduser())
    else:
        decorated, module = [], load_module(place)
    found = getattr(module, function, None) if function else None
    if not callable(found):
        own = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise BadInput(f"'{name}': there is no function '{function}'.{near_miss(function, own)} Name one that returns a Verdict")
    known = [one for one in (*decorated, *detectors.values()) if one.function is found]
    return known[0] if known else of_function(found)


def of_function(function: Callable[..., Any], needs: str = "") -> Detector:
    """The detector that a plain function is: named after it, in kebab-case.

    What it needs: as given, or its attribute ``needs``, or the annotation of its first parameter (Evidence, Steps or Case).
    """
    shown = getattr(function, "__name__", type(function).__name__)
    wanted = needs or getattr(function, "needs", "") or _annotated(function)
    if not wanted:
        raise BadInput(f"what does the detector '{shown}' need? Annotate its first parameter as {', '.join(ANNOTATED)}")
    return described(shown.strip("_").replace("_", "-"), function, wanted)


def _annotated(function: Callable[..., Any]) -> str:
    first = next(iter(inspect.signature(function).parameters.values()), None)
    annotation = first.annotation if first is not None else ""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return ANNOTATED.get(text.strip("'\"").rpartition(".")[2], "")
