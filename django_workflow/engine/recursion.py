"""Whether a workflow that is to be published would call itself without end, by way of what is published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..definition.reading import read_definition
from ..definition.recursion import certain_calls, find_cycle
from ..definition.spec import Problem, WorkflowSpec
from ..models import Workflow
from ..registry import get_handler

# The definition of that name which is about to be published, or None.
Upcoming = Callable[[str], WorkflowSpec | None]


def nothing_upcoming(name: str) -> WorkflowSpec | None:
    """Return None: what is published counts."""
    return None


def check_recursion(
    spec: WorkflowSpec, *, using: str, upcoming: Upcoming = nothing_upcoming
) -> list[Problem]:
    """Return a problem where every run of ``spec`` would start another of its own by way of calls.

    One query for each level of calls, none where nothing is certain. Two that are published at the same
    moment are not seen here: the limit on the depth of calls stops them.
    """
    steps = certain_calls(spec, get_handler)
    calls: dict[str, Iterable[str]] = {spec.name: steps}
    while missing := {name for called in calls.values() for name in called} - calls.keys():
        found = {
            each.name: certain_calls(each, get_handler) for each in read_published(missing, using, upcoming)
        }
        calls |= {name: found.get(name, ()) for name in missing}
    cycle = find_cycle(spec.name, calls.__getitem__)
    if not cycle:
        return []
    text = f"{' -> '.join(cycle)}: every run would start the next, without end; give one of the calls an if"
    return [Problem(text, steps[cycle[1]], "with.workflow")]


def read_published(names: Iterable[str], using: str, upcoming: Upcoming) -> Iterator[WorkflowSpec]:
    """Yield the definitions of these names that are published, or about to be. One query at most."""
    coming = {name: upcoming(name) for name in names}
    yield from (spec for spec in coming.values() if spec is not None)
    missing = [name for name, spec in coming.items() if spec is None]
    rows = Workflow.objects.using(using).filter(name__in=missing, published__isnull=False)
    for name, stored in rows.values_list("name", "published__spec") if missing else ():
        yield read_definition({**stored, "name": name})[0]
