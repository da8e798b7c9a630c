"""Making a frozen set: measure the mutants of its subjects with both engines, and choose so that effects and causes are balanced.

What goes into version 1 is written out here, subjects and operators alike, so that new ones do not change it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from gradfuzz.benchmark.frozen import BUG, INTENT, NONE, Frozen
from gradfuzz.records import LOST, Cause, Effect, Mutant, Truth

if TYPE_CHECKING:
    from gradfuzz.campaign import Task
    from gradfuzz.graph.trace import TracedCase
    from gradfuzz.subjects.case import Case

SEED = 0
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"}
"""Under these, torch adds up in the same order on every x86-64 processor, so that signatures are the same too. To be set before torch."""
DECLARED = ("freeze-module", "insert-detach", "zero-weight")
"""Operators that do what authors do on purpose: freeze a backbone, stop a gradient, start a branch at zero."""
FEW = {Effect.RAISES: 3, Effect.UNSTABLE: 3}
"""Most mutants of an effect in one subject, where nobody needs a checker or no answer is right."""


@dataclass(frozen=True)
class Share:
    """mutants: of one subject in the set. quick: of these, in the quick subset. most: so many are measured to choose from."""

    mutants: int
    quick: int
    most: int


ARCHITECTURE, SMALL, ZOO = Share(110, 9, 700), Share(24, 3, 300), Share(8, 0, 30)
ARCHITECTURES = (
    "attention", "cnn", "dense-concat", "frozen-backbone", "gru", "lora", "lstm", "mlp", "moe", "quantiser", "residual-mlp", "siamese",
    "transformer", "unet", "vae",
)  # fmt: skip
CORRECT = (
    "bugs/a3c-logprobs-rebuilt", "bugs/arcface-sine-sqrt", "bugs/cotrec-15-layers-in-a-plain-dict",
    "bugs/declutr-212-gathered-embeddings-not-rescaled", "bugs/encodeattend-critic-not-detached", "bugs/evonorm-4-variance-of-one-pixel",
    "bugs/fairmot-19-loss-weights-not-in-the-optimizer", "bugs/labml-ddpm-attention-softmax-axis",
    "bugs/gflownet-logprobs-clone-detached", "bugs/maniskill-sac-alpha-loss-leak", "bugs/minimind-router-k1-renormalised",
    "bugs/protein-frame-flow-23-auxiliary-loss-counted-twice", "bugs/pylate-239-epsilon-vanishes-in-half",
    "bugs/pytorch-108956-layer-norm-of-one-feature", "bugs/e3nn-norm-activation-nan", "bugs/sliif-resmlps-numpy-roundtrip",
    "bugs/slot-attention-8-slot-means-are-a-buffer", "bugs/transformers-17306-half-mask-row-overflows",
    "bugs/transformers-ep-sentinel-router", "bugs/truxify-maml-inner-data-update", "bugs/wgan-gp-47-penalty-norm-over-one-axis",
    "bugs/wheatley-93-advantage-of-one-sample", "negatives/cyclegan-651-discriminator-frozen-for-the-generator",
    "negatives/moco-14-key-encoder-given-to-the-optimizer", "negatives/neg-layerdrop-skipped", "negatives/neg-simsiam-stop-gradient",
    "negatives/neg-vq-ema-codebook", "negatives/unilm-510-bias-of-the-keys",
)  # fmt: skip
MODELS = ("squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "resnet18")
OPERATORS = (
    "activation-to-argmax-one-hot", "activation-to-floor", "activation-to-hard-threshold", "activation-to-heaviside",
    "activation-to-round", "activation-to-sign", "activation-to-top-k-mask", "boolean-mask", "both-factors-zero", "bypass-node",
    "cast-round-trip", "checkpoint-without-input-grad", "clamp-to-narrow-range", "constant-initialisation", "constant-where-branch",
    "dead-relu-bias", "detach-parameter", "detach-then-requires-grad", "double-softmax", "drop-branch", "flip-requires-grad-input",
    "flip-requires-grad-intermediate", "flip-requires-grad-parameter", "floor-division", "freeze-module", "freeze-parameter",
    "fresh-parameter", "inf-mask-before-scale", "insert-data", "insert-detach", "nearest-instead-of-bilinear", "no-grad-region",
    "numpy-round-trip", "rebuild-tensor", "remove-detach", "saturate", "scale-tiny", "softmax-over-singleton", "sqrt-at-zero",
    "underflow-cast", "unsafe-log", "wrong-custom-backward", "wrong-softmax-dim", "wrong-tensor", "zero-hook", "zero-weight",
)  # fmt: skip
SHARES = (
    {f"corpus:{name}": ARCHITECTURE for name in ARCHITECTURES}
    | {f"corpus:{name}": SMALL for name in CORRECT}
    | {f"torchvision:{name}": ZOO for name in MODELS}
)
"""Every subject that is mutated."""
QUICK_BUGS = 4
"""One of so many real faults is in the quick subset, with its fixed side. All negatives are."""


def rows_of_subject(name: str) -> list[Frozen]:
    """The control, the declared stops and the chosen mutants of one subject. Raises ``EngineDisagreement`` if the engines disagree."""
    from gradfuzz import api

    share, traced = SHARES[name], api.trace(name, seed=SEED)
    found = list(measured(traced, share.most))
    chosen = choose([item for item in found[1:] if item[1].effect is not Effect.INVALID], share.mutants)
    quick = {str(mutant) for mutant, _ in chosen[: share.quick]}
    declared = _declared(found) if share is ARCHITECTURE else []
    rows = [_frozen(*found[0], traced, quick=bool(quick)), *(_frozen(*item, traced, quick=True) for item in declared)]
    return [*rows, *(_frozen(*item, traced, quick=str(item[0]) in quick) for item in sorted(chosen, key=lambda item: str(item[0])))]


def measured(traced: TracedCase, most: int) -> Iterator[tuple[Mutant, Truth]]:
    """The control, then a seeded choice of the subject's mutants, each with the truth on which both engines agree."""
    from gradfuzz import campaign

    engine = campaign.make_engine("shared", traced)
    for task in _tasks(traced, most):
        mutation, observation, truth = campaign.measure_task(task, traced, engine)
        campaign.verify(task.mutant, mutation, observation, traced)  # a label depends on nothing else of an engine
        yield task.mutant, truth


def _tasks(traced: TracedCase, most: int) -> list[Task]:
    """By draw, operators in turn, so that a rare one is not left out."""
    from gradfuzz import campaign, operators

    control, *tasks = campaign.plan(traced, operators.select(OPERATORS))
    by_text = {str(task.mutant): task for task in tasks}
    return [control, *(by_text[text] for text in islice(_in_turn((t.mutant.operator, str(t.mutant)) for t in tasks), most))]


def choose(found: Sequence[tuple[Mutant, Truth]], count: int) -> list[tuple[Mutant, Truth]]:
    """Distinct ones, every effect and cause in turn, and within these every operator. Each beginning of the list is balanced too: which
    kind comes first is drawn for every subject anew."""
    distinct: dict[str, tuple[Mutant, Truth]] = {}
    for mutant, truth in sorted(found, key=lambda item: draw(str(item[0]))):
        equivalent = truth.effect is Effect.EQUIVALENT  # these all have one signature
        distinct.setdefault(str(mutant) if equivalent else truth.signature, (mutant, truth))
    kinds: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for mutant, truth in distinct.values():
        kinds.setdefault((truth.effect, truth.cause), []).append((mutant.operator, str(mutant)))
    by_text = {str(mutant): (mutant, truth) for mutant, truth in distinct.values()}
    ordered = {kind: list(islice(_in_turn(several), FEW.get(Effect(kind[0]), count))) for kind, several in kinds.items()}
    texts = _turns([ordered[kind] for kind in sorted(ordered, key=lambda kind: draw(f"{found[0][0].subject} {kind[0]} {kind[1]}"))])
    return [by_text[text] for text in islice(texts, count)]


def _in_turn(items: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The texts of ``(group, text)``: the first by draw of every group, then the second of every group, and so on; groups by draw too."""
    groups: dict[str, list[str]] = {}
    for group, text in items:
        groups.setdefault(group, []).append(text)
    several = [sorted(texts, key=draw) for texts in groups.values()]
    return _turns(sorted(several, key=lambda texts: draw(texts[0])))


def _turns(several: Sequence[Sequence[str]]) -> Iterator[str]:
    for place in range(max(map(len, several), default=0)):
        yield from (texts[place] for texts in several if place < len(texts))


def draw(text: str) -> str:
    """A pseudo-random key that depends on the text alone."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _declared(found: Sequence[tuple[Mutant, Truth]]) -> list[tuple[Mutant, Truth]]:
    """One mutant of each operator in ``DECLARED`` that takes a gradient away, as a stop that the author declares."""
    rows = []
    for operator in DECLARED:
        dead = [(m, t) for m, t in found if m.operator == operator and not m.variant and any(p.state in LOST for p in t.parameters)]
        dead = [item for item in dead if item[1].effect is Effect.DEAD]
        if dead:
            mutant, truth = min(dead, key=lambda item: draw(str(item[0])))
            rows.append((Mutant(mutant.subject, INTENT, f"{operator} {mutant.site}"), truth))
    return rows


def _frozen(mutant: Mutant, truth: Truth, traced: TracedCase, *, quick: bool) -> Frozen:
    weights = sum(traced.leaves[f"parameter:{name}"].numel() for name in traced.live)
    return Frozen(str(mutant), truth.effect, truth.cause, truth.faithful, truth.signature, SEED, len(traced.live), weights, quick=quick)


def untraced_rows(subjects: Collection[str] | None = None) -> list[Frozen]:
    """Both sides of every real fault, and every negative, labelled by its record. subjects: of these alone."""
    from gradfuzz.subjects import bugs

    rows = []
    for bug in bugs.bugs().values():
        if subjects is not None and f"corpus:bugs/{bug.id}" not in subjects:
            continue
        subject, size = f"corpus:bugs/{bug.id}", _size(bugs.build_bug(bug.id, False, SEED))
        quick = int(draw(bug.id), 16) % QUICK_BUGS == 0
        rows.append(_correct(f"{subject}::{NONE}::fixed", size, quick))
        if bug.effect is not Effect.INVALID:
            rows.append(Frozen(f"{subject}::{BUG}::buggy", bug.effect, bug.cause, bug.faithful, "", SEED, *size, quick))
    for negative in bugs.negatives().values():
        if subjects is not None and f"corpus:negatives/{negative.id}" not in subjects:
            continue
        size = _size(bugs.build_negative(negative.id, SEED))
        rows.append(_correct(f"corpus:negatives/{negative.id}::{INTENT}::case", size, quick=True))
    return rows


def _correct(text: str, size: tuple[int, int], quick: bool) -> Frozen:
    return Frozen(text, Effect.EQUIVALENT, Cause.NONE, True, "", SEED, *size, quick)


def _size(case: Case) -> tuple[int, int]:
    """How many parameters of a case are live, and how many elements they have."""
    from gradfuzz.engine.eager import live, observe_case

    gradients = observe_case(case, SEED, steps=1).gradients
    found = [gradient.numel() for gradient in gradients.values() if gradient is not None and live(gradient)]
    return len(found), sum(found)
