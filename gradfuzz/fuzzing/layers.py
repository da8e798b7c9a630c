"""Every kind of layer, by name, in the order in which a shrunk architecture prefers them."""

from __future__ import annotations

from gradfuzz.fuzzing import compound
from gradfuzz.fuzzing.kinds import KINDS, Kind, embed, linear

__all__ = ["KINDS", "Kind", "compound", "embed", "linear"]
