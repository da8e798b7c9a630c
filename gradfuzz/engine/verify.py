"""Two engines, one answer: in what two observations of one mutant differ."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from gradfuzz.engine import Observation


def differences(one: Observation, other: Observation) -> list[str]:
    """Every difference in words, none if the two are equal to the bit."""
    found = [
        f"{field.name} {getattr(one, field.name)!r} against {getattr(other, field.name)!r}"
        for field in fields(Observation)
        if field.name != "compared" and not _same(getattr(one, field.name), getattr(other, field.name))
    ]
    return [*found, *_compared(one, other)]


def _compared(one: Observation, other: Observation) -> Iterator[str]:
    for name in sorted({*one.compared, *other.compared}):
        mine, theirs = one.compared.get(name), other.compared.get(name)
        if mine is None or theirs is None:
            yield f"{name} is {mine.state if mine else 'the reference'} against {theirs.state if theirs else 'the reference'}"
            continue
        for field in fields(mine):
            if not _same(getattr(mine, field.name), getattr(theirs, field.name)):
                yield f"{field.name} of {name} {getattr(mine, field.name)!r} against {getattr(theirs, field.name)!r}"


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or (isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other))
