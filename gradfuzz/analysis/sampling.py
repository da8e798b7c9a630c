"""Sampling weights: how many mutants that an operator could make each measured one stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


def sampling_weights(mutants: pd.DataFrame, manifest: Mapping[str, Any]) -> pd.Series:
    """By mutant (the index): the operator's possible mutants over its measured ones; 1 for the control, and where nothing is known.

    A campaign samples sites of the operators that change values, and all operators under ``--limit``. Within an operator every mutant is as
    likely as another to be drawn, so the inverse of the sampled share is its weight (Horvitz and Thompson 1952, JASA 47(260)). Folders
    written before ``possible_by_operator`` was kept have weights of one: see ``known``.
    """
    possible = manifest.get("possible_by_operator", {})
    measured = mutants["operator"].map(mutants["operator"].value_counts())
    weight = mutants["operator"].map(possible).astype(float) / measured
    return pd.Series(weight.fillna(1.0).to_numpy(), index=mutants["mutant"], name="weight")


def known(manifest: Mapping[str, Any]) -> bool:
    """Whether the weights of a campaign can be told."""
    return "possible_by_operator" in manifest
