"""What the search compares. A target looks at the unmutated case, at each mutant, or at both, and names what is wrong."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from gradfuzz.engine.verify import differences
from gradfuzz.errors import BadInput
from gradfuzz.fuzzing import construction, front_ends, watching
from gradfuzz.fuzzing.finding import BUGS, Problem
from gradfuzz.fuzzing.mutation import Step
from gradfuzz.fuzzing.session import Session
from gradfuzz.graph.execution import first_line
from gradfuzz.operators import CASE_FAMILIES, Operator, operators
from gradfuzz.records import Kind, State
from gradfuzz.registry import near_miss

NAMES = (*BUGS, "detector:NAME", "detectors")
CUTS = ("insert-detach", "detach-parameter", "freeze-parameter")


def nothing(session: Session) -> Iterable[Problem]:
    return ()


def no_mutant(session: Session, step: Step) -> None:
    return None


@dataclass(frozen=True)
class Target:
    """of_case: what is wrong with the unmutated case. of_mutant: what is wrong with one mutant, None for nothing.

    operators: whose mutants are asked about, none if empty. If None, all that edit the program; those that edit the training loop around
    it run the same code in every engine, and take many steps each.
    """

    name: str
    of_case: Callable[[Session], Iterable[Problem]] = nothing
    of_mutant: Callable[[Session, Step], Problem | None] = no_mutant
    operators: tuple[str, ...] | None = None

    def about_case(self, session: Session) -> list[Problem]:
        """What is wrong with the unmutated case. An exception of ours is a find like any other."""
        try:
            return list(self.of_case(session))
        except Exception as error:
            return [_crash(error)]

    def about_mutant(self, session: Session, step: Step) -> Problem | None:
        """What is wrong with one mutant."""
        try:
            return self.of_mutant(session, step)
        except Exception as error:
            return _crash(error)

    def select(self) -> list[Operator]:
        if self.operators is None:
            return [one for one in operators.values() if one.family not in CASE_FAMILIES]
        return [operators[name] for name in self.operators]


def _crash(error: Exception) -> Problem:
    """Named after its type and the place of ours that it passed last."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_ours(frame.filename)]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "?"
    return Problem(f"{type(error).__name__} in {place}", (first_line(error),))


def is_ours(filename: str) -> bool:
    return str(Path(filename)).startswith(str(Path(__file__).parent.parent))


def engines(session: Session, step: Step) -> Problem | None:
    """The shared engine, everything in pieces, against the naive one: every bit of the observation."""
    mutation = session.mutate(step)
    found = differences(session.naive.observe(mutation), session.in_pieces.observe(mutation))
    return Problem(_word(found[0]), tuple(found[:3])) if found else None


def _word(difference: str) -> str:
    """``loss``, ``error``, or ``gradient``: what differs."""
    word = difference.split(maxsplit=1)[0]
    return word if word in ("loss", "warnings", "preserved", "stage", "error", "severed") else "gradient"


def pieces(session: Session) -> Iterable[Problem]:
    """The unmutated pass, in pieces, gives autograd's bits."""
    if session.in_pieces.obstacle and not session.in_pieces.ambiguous:
        yield Problem("obstacle", (session.in_pieces.obstacle,))


def structure(session: Session, step: Step) -> Problem | None:
    """What a cut severs by dominators, against the gradients that are None when it is run."""
    site, flow = step.site, session.flow
    value = f"parameter:{site.value}" if site.kind in (Kind.USE, Kind.PARAMETER) else site.value
    cut = flow.cut(value, site.user)
    seen = session.naive.observe(session.mutate(step))
    live = set(session.traced.live)
    predicted = set(flow.names(cut.severed)) & live
    if seen.severed:
        apart = sorted(live - predicted)
        return Problem("not severed", (f"the loss lost its graph, and {apart[0]} was predicted to keep a gradient",)) if apart else None
    missing = {name for name, compared in seen.compared.items() if compared.state is State.MISSING} & live
    if missing != predicted:
        apart = sorted(missing ^ predicted)
        return Problem("severed", (f"{apart[0]} is {'missing' if apart[0] in missing else 'there'}, predicted otherwise",))
    # without a gradient for one argument, a kernel may sum those of the others in another order, which a normalisation amplifies
    least = session.traced.thresholds.difference
    moved = {name for name in set(seen.compared) & live if seen.compared[name].distance > least * session.traced.norm(name)}
    stray = sorted(moved - missing - set(flow.names(cut.altered)))
    return Problem("altered", (f"{stray[0]} is another, predicted untouched",)) if stray else None


def find(name: str) -> Target:
    """A target by name. Raises ``BadInput`` with a near miss."""
    head, _, rest = name.partition(":")
    if head == "detector" and rest:
        return watching.target(Target, rest)
    if head == "detectors":
        return watching.comparison(Target, rest)
    known = {
        "engines": Target("engines", pieces, engines),
        "structure": Target("structure", of_mutant=structure, operators=CUTS),
        "truth": Target("truth", of_mutant=construction.disagreement),
        "front-ends": Target("front-ends", front_ends.disagreements, operators=()),
    }
    if name not in known:
        raise BadInput(f"there is no target '{name}'.{near_miss(name, [*known, 'detectors'])} They are {', '.join(NAMES)}")
    return known[name]
