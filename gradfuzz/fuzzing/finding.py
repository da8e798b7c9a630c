"""What the search finds: a record of text and numbers, which says how to see it again."""

from __future__ import annotations

import ast
import hashlib
import re
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from gradfuzz.errors import BadInput
from gradfuzz.fuzzing.architecture import Architecture, Head, Layer

BUGS = ("engines", "structure", "truth", "front-ends")
"""Targets whose finds are faults of gradfuzz, or of what it builds on."""


class Problem(NamedTuple):
    """What a target says of one mutant or case. effect: in a word, the same for the same fault. reason: why it is known and accepted."""

    effect: str
    detail: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Finding:
    """operator, site, variant: of the mutant; ``none`` and ``.`` for an unmutated case. kind: of layer. effect, detail, reason: as in
    ``Problem``. status: ``open``, ``known`` (with a reason), ``mended``, or ``blind spot`` and ``false alarm`` of a detector.
    """

    target: str
    operator: str
    kind: str
    effect: str
    architecture: Architecture
    site: str = "."
    variant: int = 0
    detail: tuple[str, ...] = ()
    reason: str = ""
    status: str = "open"

    @property
    def cause(self) -> tuple[str, ...]:
        """Finds of one cause are one find: same target, operator and effect, and for bugs the same kind of layer.

        What a detector does not see does not depend on the kind of layer; and where several are compared, the effect names those that see.
        """
        if self.target.startswith("detectors"):
            return (self.target, self.effect)
        return (self.target, self.operator, self.effect, *((self.kind,) if self.target in BUGS else ()))

    @property
    def is_bug(self) -> bool:
        return self.target in BUGS and not self.reason

    @property
    def name(self) -> str:
        """Of its files, derived from the content: ``engines-insert-detach-conv1d-1f0c29ab``."""
        content = repr((self.architecture, self.site, self.variant, self.effect)).encode()
        words = [self.target, self.operator, self.kind, hashlib.blake2b(content, digest_size=4).hexdigest()]
        return "-".join(re.sub(r"[^0-9a-zA-Z]+", "-", word).strip("-") for word in words)

    def to_json(self) -> dict[str, Any]:
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**shown, "architecture": repr(self.architecture), "detail": list(self.detail)}

    @classmethod
    def of_json(cls, record: dict[str, Any]) -> Finding:
        """Raises ``BadInput`` for what ``to_json`` could not have written."""
        known = {f.name for f in fields(cls)}
        missing = sorted({"target", "operator", "kind", "effect", "architecture"} - set(record))
        if missing:
            raise BadInput(f"the record of a find has no '{missing[0]}': was it written by `gradfuzz fuzz`?")
        given = {key: value for key, value in record.items() if key in known}
        return cls(**{**given, "architecture": parse(given["architecture"]), "detail": tuple(given.get("detail", ()))})


def parse(text: str) -> Architecture:
    """The architecture that prints so. Only the three records and literals are read. Raises ``BadInput`` for anything else."""
    makers = {"Architecture": Architecture, "Layer": Layer, "Head": Head}

    def value(node: ast.expr) -> Any:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in makers and not node.args:
            return makers[node.func.id](**{str(keyword.arg): value(keyword.value) for keyword in node.keywords})
        if isinstance(node, ast.Tuple):
            return tuple(value(item) for item in node.elts)
        return ast.literal_eval(node)

    try:
        found = value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, TypeError) as error:
        raise BadInput(f"'{text[:60]}' is no architecture: write it as `repr` prints it ({error})") from error
    if not isinstance(found, Architecture):
        raise BadInput(f"'{text[:60]}' is no architecture: write it as `repr` prints it")
    return found
