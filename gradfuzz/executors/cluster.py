"""Workers on a Ray cluster. An actor on each place of the cluster runs a worker process of its own, guarded as on one machine, so that a
mutant's crash never ends the actor; an actor that is gone went with its machine, and its call is given to another one.
"""

from __future__ import annotations

import os
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from gradfuzz.campaign.calls import Call, Died, Limits, Reply
from gradfuzz.campaign.settings import Execution
from gradfuzz.errors import BadInput

if TYPE_CHECKING:
    from gradfuzz.executors import Slot


class Place:
    """What runs in an actor: one guarded worker of that machine."""

    def __init__(self, time_limit: float | None, memory_limit: float | None, share: float, folder: str) -> None:
        from gradfuzz.executors import SHARE, machine_memory
        from gradfuzz.executors.local import PebbleSlot

        if os.path.isdir(folder):
            os.chdir(folder)  # files are named as the user named them there
        memory = memory_limit * 2**30 if memory_limit else SHARE * machine_memory() * share
        self._slot = PebbleSlot(Limits(time_limit, int(memory), max(1, round(1 / share))))

    def answer(self, call: Call, limit: float) -> Reply:
        return self._slot.submit(call, limit).result()


class RaySlot:
    """One actor, made again when it is gone."""

    longest = 64

    def __init__(self, execution: Execution, share: float) -> None:
        self._execution, self._share = execution, share
        self._actor: Any = None

    def submit(self, call: Call, limit: float) -> Future[Reply]:
        import ray

        if self._actor is None:
            execution = self._execution
            remote = ray.remote(num_cpus=1, num_gpus=execution.gpus_per_worker, max_restarts=0)(Place)
            self._actor = remote.remote(execution.time_limit, execution.memory_limit, self._share, os.getcwd())
        answered: Future[Reply] = Future()
        self._actor.answer.remote(call, limit).future().add_done_callback(lambda given: self._translate(given, answered))
        return answered

    def _translate(self, given: Future[Reply], answered: Future[Reply]) -> None:
        """In a thread of Ray."""
        from ray.exceptions import RayActorError, RayTaskError

        try:
            answered.set_result(given.result())
        except RayTaskError as error:  # what the worker raised
            answered.set_exception(error.cause if isinstance(error.cause, Exception) else error)
        except RayActorError as error:
            self._actor = None
            answered.set_result(Died("lost", str(error).splitlines()[0]))
        except Exception as error:
            answered.set_exception(error)

    def close(self) -> None:
        import ray

        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None


def open_cluster(execution: Execution, stack: ExitStack) -> list[Slot]:
    """One worker for each core of the cluster, or for each share of a GPU, or as many as asked for."""
    from gradfuzz.executors import close_all

    try:
        import ray
    except ImportError as error:
        raise BadInput("--executor ray needs Ray: pip install 'gradfuzz[ray]'") from error
    if not ray.is_initialized():
        try:
            ray.init(
                address=execution.ray_address,
                num_cpus=execution.jobs if execution.ray_address is None else None,
                include_dashboard=False if execution.ray_address is None else None,
                log_to_driver=False,
                configure_logging=False,
            )
        except ConnectionError as error:
            text = str(error).splitlines()[0]
            raise BadInput(f"no Ray cluster answers at {execution.ray_address}: {text} Start one with `ray start --head`") from error
        stack.callback(ray.shutdown)
    resources = ray.cluster_resources()
    nodes = max(1, sum(node["Alive"] for node in ray.nodes()))
    places = int(resources.get("CPU", 1))
    if execution.gpus_per_worker:
        places = min(places, int(resources.get("GPU", 0) / execution.gpus_per_worker))
        if not places:
            raise BadInput(f"the cluster has {resources.get('GPU', 0):g} GPUs, too few for one worker of {execution.gpus_per_worker:g}")
    count = execution.jobs or places
    slots: list[Slot] = [RaySlot(execution, share=min(1.0, nodes / count)) for _ in range(count)]
    stack.callback(close_all, slots)
    return slots
