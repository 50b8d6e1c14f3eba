"""What is wrong with each step by itself: its name, type, params, and the steps it names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from ..durations import parse_duration
from ..spelling import cut
from .checking_types import check_type
from .checking_undo import check_undo
from .outline import END, Outline
from .spec import JUMP, RESERVED_NAMES, Problem, StepSpec

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


def check_steps(outline: Outline) -> Iterator[Problem]:
    """Yield what is wrong with the steps, one after the other."""
    counts = Counter(step.name for step in outline.spec.steps)
    seen: set[str] = set()
    for step in outline.spec.steps:
        yield from _check_name(step)
        if counts[step.name] > 1 and step.name in seen:
            yield Problem("another step has this name; names are unique in a workflow", step.name, "name")
        seen.add(step.name)
        yield from check_type(outline, step, step.name)
        yield from _check_needs(outline, step)
        yield from _check_jumps(outline, step)
        yield from _check_fields(step)
        yield from _check_retry(step)
        yield from _check_timeout(outline, step)
        yield from check_undo(outline, step)


def _check_name(step: StepSpec) -> Iterator[Problem]:
    if step.name in RESERVED_NAMES:
        reserved = ", ".join(sorted(RESERVED_NAMES))
        text = f"{step.name!r} has a meaning of its own ({reserved} do); take another name"
        yield Problem(text, step.name, "name")
    elif not _NAME.fullmatch(step.name):
        text = "is no step name: lower-case letters, digits and underscores, a letter first, at most 64"
        yield Problem(f"{step.name!r:.80} {text}", step.name, "name")


def _check_needs(outline: Outline, step: StepSpec) -> Iterator[Problem]:
    for need in step.needs if isinstance(step.needs, tuple) else ():
        if need == step.name:
            yield Problem("a step cannot need itself; next or on_error jump back to it", step.name, "needs")
        elif need == JUMP:
            yield Problem(f"{JUMP} stands alone: write needs: {JUMP}, without a list", step.name, "needs")
        elif need not in outline.graph.steps:
            yield Problem(_no_step(outline, need), step.name, "needs")


def _check_jumps(outline: Outline, step: StepSpec) -> Iterator[Problem]:
    for jump in outline.jumps(step):
        if jump.target not in outline.graph.steps and (jump.field, jump.target) != ("next", END):
            yield Problem(_no_step(outline, jump.target, _also(jump.field)), step.name, jump.field)
    for jump in outline.named_in_params(step) if step.for_each is not None else ():
        text = "an item cannot jump: leave for_each out, or branch in a step below this one"
        yield Problem(text, step.name, jump.field)


def _also(field: str) -> str:
    return {"next": f" (or {END})", "on_error": " (or fail, continue)"}.get(field, "")


def _no_step(outline: Outline, name: str, also: str = "") -> str:
    others = outline.suggest(name)
    hint = f"{others[:-1]}{also}?" if others.endswith("?") else others + also
    return f"no step is called {cut(name)!r}{hint}"


def _check_fields(step: StepSpec) -> Iterator[Problem]:
    if step.max_parallel is not None and step.for_each is None:
        text = "only a step with for_each runs several times at once; add for_each or take this out"
        yield Problem(text, step.name, "max_parallel")
    if step.queue is not None and "{{" in step.queue:
        text = "a queue is named literally; only with, if and for_each take expressions"
        yield Problem(text, step.name, "queue")


def _check_retry(step: StepSpec) -> Iterator[Problem]:
    policies = step.retry or ()
    for number, policy in enumerate(policies, start=1):
        if parse_duration(policy.delay) > parse_duration(policy.max_delay):
            text = f"delay {policy.delay} is cut to max_delay {policy.max_delay}; raise it to wait longer"
            yield Problem(text, step.name, "retry", "warning")
        if not policy.errors and number < len(policies):
            text = f"policy {number} matches every error, so those below it never apply; put it last"
            yield Problem(text, step.name, "retry", "warning")


def _check_timeout(outline: Outline, step: StepSpec) -> Iterator[Problem]:
    whole = outline.spec.timeout
    if whole is not None and isinstance(step.timeout, timedelta) and step.timeout > whole:
        text = f"{step.timeout} is longer than the {whole} that the whole run may take, which comes first"
        yield Problem(text, step.name, "timeout", "warning")
