"""How a correct case is broken. An operator is one decorated function that edits a draft of the program at one site.

    @operator("insert-detach", family="block", on=(Kind.NODE, Kind.EDGE), may="dead altered raises equivalent",
              example="corpus:mlp::insert-detach::m1")
    def insert_detach(draft, site):
        '''Detach a value.'''
        draft.after(site, fn.detach, preserves=True)

The registry is the table of the contract tests: what is registered is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradfuzz.errors import BadInput
from gradfuzz.operators.realism import REALISM
from gradfuzz.records import Effect, Kind, Level, Mutant, Site
from gradfuzz.registry import Registry, near_miss

if TYPE_CHECKING:
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.operators.draft import Draft, Mutation

FAMILIES: tuple[str, ...] = ("block", "flag", "flat", "numeric", "init", "path")
FAMILIES += ("mistaken", "arguments", "straight_through", "loss", "batch")
CASE_FAMILIES = ("registration", "optimizer", "step", "distributed", "precision", "state", "data")
"""Those of the training program around the graph: see ``case_operator``."""
FAMILIES += CASE_FAMILIES
Where = Callable[["TracedCase", Site], bool]


@dataclass(frozen=True)
class Operator:
    """on: the kinds of site. where: which of them it can change. may: the effects it can have. example: a mutant of it that the tests run.

    variants: names of the forms it has; a mutant says which by number. find: enumerates sites that no kind has (pairs). realism: ids of the
    real faults in ``corpora/bugs`` that one of its mutants of the fixed side reproduces: loss and every gradient as on the buggy side.
    """

    name: str
    family: str
    level: Level
    summary: str
    on: tuple[Kind, ...]
    may: frozenset[Effect]
    example: Mutant
    apply: Callable[..., None]
    where: Where | None = None
    variants: tuple[str, ...] = ("",)
    find: Callable[[TracedCase], list[Site]] | None = None
    realism: tuple[str, ...] = ()

    @property
    def keeps_values(self) -> bool:
        """Whether it only touches the way of gradients, so that one pass of the subject serves all of its mutants."""
        return self.family in ("block", "flag")

    @property
    def trains(self) -> bool:
        """Whether it breaks the training program around the graph, so that each of its mutants trains a whole case."""
        return False

    def most_sites(self, wish: int | None) -> int | None:
        """How many of its sites a campaign takes that wishes for so many of each operator; None for all."""
        return None if self.keeps_values else wish

    def sites(self, traced: TracedCase) -> list[Site]:
        """The sites of a case where this operator can apply, in order of execution."""
        from gradfuzz.graph.sites import enumerate_sites

        found = self.find(traced) if self.find else [site for kind in self.on for site in enumerate_sites(traced, kind)]
        return [site for site in found if self.where is None or self.where(traced, site)]

    def mutants(self, traced: TracedCase) -> list[tuple[Mutant, Site]]:
        return [
            (Mutant(traced.name, self.name, site.text, number), site) for site in self.sites(traced) for number in range(len(self.variants))
        ]

    def mutate(self, traced: TracedCase, site: Site, variant: int = 0) -> Mutation:
        from gradfuzz.operators.draft import Draft

        draft = Draft(traced)
        self.edit(draft, site, variant)
        return draft.finish()

    def edit(self, draft: Draft, site: Site, variant: int = 0) -> None:
        if len(self.variants) > 1:
            self.apply(draft, site, self.variants[variant])
        else:
            self.apply(draft, site)


operators: Registry[Operator] = Registry("operator", tuple(f"gradfuzz.operators.{family}" for family in FAMILIES), "gradfuzz.operators")


def operator(
    name: str,
    *,
    family: str,
    on: Iterable[Kind],
    may: str,
    example: str,
    level: Level = Level.GRAPH,
    where: Where | None = None,
    variants: tuple[str, ...] = ("",),
    find: Callable[[TracedCase], list[Site]] | None = None,
    realism: Iterable[str] = (),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register ``function(draft, site)`` (``function(draft, site, variant)`` if there are variants) under a name.

    may: the possible effects, separated by blanks. realism: as in ``Operator``; what ``REALISM`` has of the name unless given. The first
    line of the docstring is the summary that users see.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        summary = (function.__doc__ or "").strip().splitlines()
        if not summary:
            raise BadInput(f"the operator '{name}' has no docstring: its first line is what users see")
        effects = frozenset(Effect(effect) for effect in may.split())
        told, real = summary[0].rstrip("."), tuple(realism) or tuple(REALISM.get(name, "").split())
        item = Operator(name, family, level, told, tuple(on), effects, Mutant.parse(example), function, where, variants, find, real)
        operators.add(name, item)
        return function

    return register


def select(names: Iterable[str] | None) -> list[Operator]:
    """Operators by name or by family, all of them for None; in the order of the registry, each once."""
    if names is None:
        return operators.values()
    wanted: set[str] = set()
    for name in names:
        members = {o.name for o in operators.values() if name in (o.name, o.family)}
        if not members:
            known = [*operators, *FAMILIES]
            raise BadInput(f"there is no operator or family '{name}'.{near_miss(name, known)} See `gradfuzz list operators`")
        wanted |= members
    return [operators[name] for name in operators if name in wanted]


def find_site(operator: Operator, traced: TracedCase, mutant: Mutant) -> Site:
    """The site that a mutant's text names. Raises ``BadInput`` with a near miss."""
    sites = {site.text: site for site in operator.sites(traced)}
    if mutant.site not in sites:
        raise BadInput(
            f"'{operator.name}' has no site '{mutant.site}' in {traced.name}.{near_miss(mutant.site, sites)} See `gradfuzz list mutants`"
        )
    if mutant.variant >= len(operator.variants):
        raise BadInput(f"'{operator.name}' has variants 0 to {len(operator.variants) - 1}, not {mutant.variant}")
    return sites[mutant.site]


__all__ = ["FAMILIES", "Operator", "find_site", "operator", "operators", "select"]
