"""How effects, causes and cuts are told to a reader: one place for the words, so that every report uses the same."""

from __future__ import annotations

EFFECTS = {
    "invalid": "does not build, or the forward pass raises",
    "raises": "backward raises",
    "nonfinite": "a gradient is infinite or NaN",
    "dead": "a parameter that was learning has no gradient, or exactly zero",
    "vanished": "a gradient is all but zero",
    "altered": "a gradient is another, and not zero",
    "stuck": "the gradient is intact, the update is lost",
    "equivalent": "no gradient changed",
    "unstable": "lost on one batch, alive on another",
}
CAUSES = {
    "": "",
    "cut": "autograd lost the path, the value still depends on it",
    "flat": "the function really does not vary there",
    "underflow": "lost in this precision only",
    "unused": "the loss no longer depends on it",
    "biased": "not the derivative of what is computed",
    "changed": "another function, with its honest gradient",
    "not_updated": "the optimizer does not apply it",
}
CUTS = {
    "lost": ("gradient lost", "parameters behind it get no gradient any more"),
    "wrong": ("gradient wrong", "part of the gradient is missing: nonzero, and not the derivative"),
    "raises": ("raises", "backward() stops with an error, so it is noticed by itself"),
    "nothing": ("nothing", "no gradient changes"),
    "other": ("other", "something else; see the panel"),
    "unmeasured": ("not measured", "no cut here is among the mutants of this campaign"),
}
"""What a cut does at a site: its short name, and the sentence in the legend."""
AFTER = {"lost": "lost", "wrong": "wrong", "raises": "error", "nothing": "same", "other": "other", "unmeasured": "not measured"}
"""The same as an answer to: the gradient after a cut?"""
FAULT = (
    "A fault is what a detector is asked to notice: dead, vanished, nonfinite, stuck, and altered where the gradient is not the "
    "derivative of what is computed. It is silent when nothing raised and no warning appeared, and invisible when also the loss is the "
    "same to the bit."
)
FRAGILITY = (
    "Fragility: the share of places where one stray detach() (on a value, or on one of its several uses) takes the gradient of a live "
    "parameter away or makes backward raise. Beside it, the mean share of the weights that such a cut leaves without gradient."
)


def cut_of(effect: str, cause: str) -> str:
    """The key of ``CUTS`` for the effect and cause of a cut."""
    if effect in ("raises", "invalid"):
        return "raises"
    if effect in ("dead", "vanished"):
        return "lost"
    if effect == "equivalent":
        return "nothing"
    return "wrong" if effect == "altered" and cause in ("biased", "underflow") else "other"
