"""What a campaign is asked to do: ``Settings`` decide what it finds, ``Execution`` only how fast and on what."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from gradfuzz.errors import BadInput
from gradfuzz.records import Thresholds
from gradfuzz.registry import near_miss

CONTROL = "none"
ENGINES = ("shared", "naive")
EXECUTORS = ("local", "ray")
LEVELS = ("graph", "runtime")


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a campaign finds. Two campaigns with equal settings and versions have equal tables, times aside.

    limit: at most so many mutants, sampled. sample: this share of them, stratified by operator and depth. sites: at most so many sites of
    each operator that changes values, sampled; None for all. Each of those costs passes of its own, in float64 too, while all operators
    that leave values alone share one. shard: (i, n), the i-th of n parts. verify: share of the mutants that the naive engine runs too; any
    difference is an error. activation_memory: GiB of activations that the shared engine retains at most; a quarter of the machine's memory,
    shared by the workers, if None. plugins: modules or files that register operators, detectors or subjects; every worker imports them.
    level: ``graph`` traces the subject, ``runtime`` breaks its running step, for what cannot be traced.
    """

    model: str
    operators: tuple[str, ...] | None = None
    detectors: tuple[str, ...] | None = None
    seed: int = 0
    limit: int | None = None
    sites: int | None = 8
    engine: str = "shared"
    device: str = "cpu"
    input_shape: tuple[int, ...] | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    verify: float = 0.0
    activation_memory: float | None = None
    sample: float | None = None
    shard: tuple[int, int] | None = None
    plugins: tuple[str, ...] = ()
    level: str = "graph"

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise BadInput(f"the seed must be from 0 to {2**32 - 1}, got {self.seed}")
        if self.limit is not None and self.limit < 1:
            raise BadInput(f"a limit of {self.limit} mutants leaves nothing to do: give 1 or more")
        if self.sites is not None and self.sites < 1:
            raise BadInput(f"{self.sites} sites of each operator leave nothing to do: give 1 or more, or None for all")
        if not 0.0 <= self.verify <= 1.0:
            raise BadInput(f"the share of mutants to verify is between 0 and 1, got {self.verify}")
        if self.activation_memory is not None and not self.activation_memory > 0:
            raise BadInput(f"the memory for activations must be positive, got {self.activation_memory} GiB")
        if not isinstance(self.thresholds, Thresholds):
            raise BadInput(f"thresholds must be a gradfuzz.Thresholds, got {type(self.thresholds).__name__}")
        self._check_selection()
        check_engine(self.engine)
        if self.level not in LEVELS:
            raise BadInput(f"there is no level '{self.level}'.{near_miss(self.level, LEVELS)} Use {' or '.join(LEVELS)}")

    def _check_selection(self) -> None:
        if self.sample is not None and not 0.0 < self.sample <= 1.0:
            raise BadInput(f"a sample is a share above 0 and up to 1, got {self.sample}")
        if self.sample is not None and self.limit is not None:
            raise BadInput(f"a limit of {self.limit} and a sample of {self.sample:g} are two ways to choose: give one of them")
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise BadInput(f"there is no shard {self.shard[0]} of {self.shard[1]}: count from 1, as in 1/4")


@dataclass(frozen=True)
class Execution:
    """How a campaign is run. None of it changes a table, except that a mutant over a limit has no truth.

    jobs: worker processes; 1 works in this process, without any protection from what a mutant does; for ray, None takes every core of the
    cluster. time_limit: seconds that one mutant may take with all its detectors; derived from the subject's own time if None. memory_limit:
    GiB that one worker may hold; its share of nine tenths of the machine if None. time_budget: seconds after which nothing new is begun.
    executor: ``local`` or ``ray``. ray_address: of a running cluster; None starts one on this machine. gpus_per_worker: for ray.
    """

    jobs: int | None = 1
    time_limit: float | None = None
    memory_limit: float | None = None
    time_budget: float | None = None
    executor: str = "local"
    ray_address: str | None = None
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise BadInput(f"{self.jobs} jobs do nothing: give 1 or more")
        for name, value, unit in (
            ("time limit", self.time_limit, "s"),
            ("time budget", self.time_budget, "s"),
            ("memory limit", self.memory_limit, "GiB"),
        ):
            if value is not None and not value > 0:
                raise BadInput(f"the {name} must be positive, got {value} {unit}")
        if self.gpus_per_worker < 0:
            raise BadInput(f"a worker cannot have {self.gpus_per_worker} GPUs")
        if self.executor not in EXECUTORS:
            raise BadInput(f"there is no executor '{self.executor}'.{near_miss(self.executor, EXECUTORS)} Use {' or '.join(EXECUTORS)}")

    @property
    def workers(self) -> int:
        """Processes on this machine."""
        return self.jobs or cores()

    @property
    def isolated(self) -> bool:
        """Whether mutants run in processes of their own."""
        return self.executor != "local" or self.workers > 1


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_engine(name: str) -> None:
    if name not in ENGINES:
        raise BadInput(f"there is no engine '{name}'.{near_miss(name, ENGINES)} Use {' or '.join(ENGINES)}")
