"""Restart: a new run of a final one's input, from its start or from a step on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from ..codec import check_size, decode, load
from ..conf import get_settings
from ..definition.graph import Graph
from ..definition.program import Program
from ..definition.spec import APPROVAL, RESERVED_STATE
from ..exceptions import VerbRefused
from ..models import Run, StepRun
from ..models.fresh import make
from .copying import copied_rows, replay, rest_of_jumps
from .hand_over import hand_over
from .moves import Jumps, RunState
from .new_rows import first_row
from .now import database_now
from .orders import make_order
from .plan import plan_ready, plan_start
from .programs import get_program
from .retry import insert_rows, jumps_not_taken
from .rows import make_rows, read_states, run_state
from .statements import insert
from .undo import has_begun
from .verbs import RESTART, lock, note_action

BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """What a person asks for: from which step on, with which input, on which version."""

    from_step: str | None = None
    input: Mapping[str, Any] | None = None
    newest: bool = False


def restart(run: Run, asked: Restart, *, using: str, by: AbstractBaseUser | None, note: str) -> Run:
    """Start a new run with the input of a final one, or another, and return it; it gets the old one's key.

    Raises ``VerbRefused``, and ``ParamsError`` or ``NotStorable`` for an input that does not fit.
    """
    now = database_now(using)
    with transaction.atomic(using=using):
        old = lock(run, using)
        version_id = _version_of(old, asked)
        program = get_program(version_id, using)
        _refuse(old, asked, program.graph, using)
        new = _make_run(old, asked, version_id, program, now, using, by)
        _refuse_unapproved(old, new, asked, program.graph)
        Run.objects.using(using).filter(pk=old.pk).update(key=None)
        rows = _insert(old, new, asked, program, now, using)
        for each in (old, new):
            note_action(each, RESTART, now, using, by=by, note=note, step=asked.from_step or "")
    hand_over([new], rows, using=using)
    return new


def _version_of(old: Run, asked: Restart) -> UUID:
    if not old.is_final:
        raise VerbRefused(f"run {old.pk} is {old.status}: cancel it first, then restart it.")
    workflow = old.workflow
    if not workflow.enabled:
        raise VerbRefused(f"workflow {workflow.name!r} is switched off: switch it on, then restart its runs.")
    version_id = workflow.published_id if asked.newest else old.version_id
    if version_id is None:
        hint = "publish it first" if asked.newest else "restart it on the newest version"
        raise VerbRefused(f"run {old.pk} of {workflow.name!r} has no published version to run on: {hint}.")
    return version_id


def _refuse(old: Run, asked: Restart, graph: Graph, using: str) -> None:
    if asked.from_step is None:
        return
    if asked.from_step not in graph.steps:
        known = ", ".join(graph.steps)
        raise VerbRefused(f"there is no step {asked.from_step!r} to restart from; there are {known:.1000}.")
    if has_begun(using, old):
        raise VerbRefused(
            f"the undo of run {old.pk} has begun, so nothing can be built on it: restart it from the start."
        )


def _refuse_unapproved(old: Run, new: Run, asked: Restart, graph: Graph) -> None:
    """Raise ``VerbRefused`` where another input would pass for what people have approved."""
    if asked.from_step is None or new.input == old.input:
        return
    region = graph.region(asked.from_step)
    kept = [name for name in graph.steps if name not in region]
    asking = [(name, f"{name!r}") for name in kept if graph.steps[name].type == APPROVAL]
    name, approval = next(iter(asking), None) or _approval_of_called(old, kept) or ("", "")
    if name:
        raise VerbRefused(
            f"run {old.pk} cannot be restarted from {asked.from_step!r} with another input: the approval "
            f"{approval} would not be asked for it; restart from the start, or from {name!r}."
        )


def _approval_of_called(run: Run, names: Sequence[str]) -> tuple[str, str] | None:
    """Return which of the steps ``names`` called a run with an approval, at any depth, and which approval."""
    using, seen = run._state.db or "default", set[UUID]()
    calls = StepRun.objects.using(using).filter(run=run, step__in=names, child__isnull=False)
    level = dict(calls.order_by("-created_at").values_list("child", "step"))
    while level:
        seen |= level.keys()
        versions = Run.objects.using(using).filter(pk__in=level).values_list("pk", "version")
        for pk, version in versions:
            steps = {} if version is None else get_program(version, using).graph.steps
            asking = [name for name, step in steps.items() if step.type == APPROVAL]
            if asking:
                return level[pk], f"{asking[0]!r} of the run that {level[pk]!r} called"
        called = StepRun.objects.using(using).filter(run__in=level, child__isnull=False)
        deeper = called.values_list("child", "run")
        level = {child: level[caller] for child, caller in deeper if child not in seen}
    return None


def _make_run(
    old: Run,
    asked: Restart,
    version_id: UUID,
    program: Program,
    now: datetime,
    using: str,
    by: AbstractBaseUser | None,
) -> Run:
    given = _input(old, asked, version_id, using)
    new = make(
        Run,
        workflow_id=old.workflow_id,
        version_id=version_id,
        input=given,
        state=given,
        key=old.key,
        restarted_from_id=old.pk,
        subject_type=old.subject_type,
        subject_id=old.subject_id,
        # Whose request it is: who may not approve it does not change by a restart.
        triggered_by_id=old.triggered_by_id or (None if by is None else by.pk),
        deadline=None if program.spec.timeout is None else now + program.spec.timeout,
        created_at=now,
    )
    new._state.db, new.workflow = using, old.workflow
    return new


def _input(old: Run, asked: Restart, version_id: UUID, using: str) -> dict[str, Any]:
    """Return the input, encoded: as it was, or checked where it is another or the version is."""
    is_same = asked.input is None and version_id == old.version_id
    if is_same:
        same: dict[str, Any] = old.input
        return same
    # What on_failure gave a run under words that nobody else can use is kept beside.
    kept = {key: value for key, value in old.input.items() if key in RESERVED_STATE}
    given = asked.input
    if given is None:
        own = {key: value for key, value in old.input.items() if key not in kept}
        given = {key: load(decode(value, using=using)) for key, value in own.items()}
    pinned = copy(old.workflow)
    pinned.published_id = version_id
    return {**make_order(pinned, given, using=using).input, **kept}


def _insert(old: Run, new: Run, asked: Restart, program: Program, now: datetime, using: str) -> list[StepRun]:
    """Insert the new run and its step runs; return those that are ready."""
    if asked.from_step is None:
        insert(using, [new], [])
        first = plan_start(program.graph, RunState(number=new.revision), now)
        return insert_rows(make_rows(new, program, first, now), using)
    region = program.graph.region(asked.from_step)
    kept = copied_rows(old, new, program.graph, region, using)
    jumps = rest_of_jumps(old, program.graph, region)
    # The numbers of what is copied stay, and those of what follows are higher.
    new.revision, new.state = old.revision, replay(new.input, kept)
    if asked.input is not None:
        check_size(new.state, "the input with what the copied steps wrote", get_settings().MAX_BYTES)
    new.jumps = None if jumps is None else jumps.as_json()
    insert(using, [new], [])
    for start in range(0, len(kept), BATCH):
        insert(using, [], kept[start : start + BATCH])
    made = jumps_not_taken(new, program, now, using)
    made += _start_from(new, program, asked.from_step, now, using)
    new.save(using=using, update_fields=["jumps"])
    return made


def _start_from(run: Run, program: Program, name: str, now: datetime, using: str) -> list[StepRun]:
    """Insert the step to start from, what earlier jumps led to, and what is ready beside them."""
    graph, known = program.graph, read_states(using, run.pk)
    state = run_state(run, program.spec, number=run.revision)
    entered = (Jumps() if run.jumps is None else Jumps(**run.jumps)).entered
    names = [each for each in dict.fromkeys((name, *entered)) if each not in known]
    first = [first_row(graph, state, each, now) for each in names]
    made = insert_rows(make_rows(run, program, first, now), using)
    ready = plan_ready(graph, state, read_states(using, run.pk), now)
    return [*made, *insert_rows(make_rows(run, program, ready, now), using)]
