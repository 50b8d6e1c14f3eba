"""Which edges of a graph a run has gone along, as far as the statuses of its steps tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...insight.layers import Arrangement, Edge

ENDED = frozenset({"done", "failed", "skipped"})
# What has not begun, or was passed by.
ABSENT = frozenset({"", "cancelled"})


def find_taken(arrangement: Arrangement, statuses: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return the ends of each edge that was gone along.

    A need counts where its step has ended and what needs it goes on; a jump, where its target lies below the
    main line and has begun: from the steps that failed, or where none has, from those that are done.
    """
    needs = [edge for edge in arrangement.edges if edge.kind == "need"]
    jumps = [edge for edge in arrangement.edges if edge.kind == "jump"]
    going = _find_going(needs, statuses)
    taken = {(edge.source, edge.target) for edge in needs if edge.target in going}
    taken = {each for each in taken if statuses.get(each[0], "") in ENDED}
    below = {name for name, cell in arrangement.cells.items() if cell.row >= arrangement.main_rows}
    entered = [edge for edge in jumps if edge.target in below & going]
    for target in {edge.target for edge in entered}:
        sources = [edge.source for edge in entered if edge.target == target]
        failed = [name for name in sources if statuses.get(name) == "failed"]
        taken |= {(name, target) for name in failed or sources if statuses.get(name) in ("failed", "done")}
    return taken


def _find_going(needs: Iterable[Edge], statuses: Mapping[str, str]) -> set[str]:
    """Return the steps that have begun; of the skipped ones, those after which something went on."""
    going = {name for name, status in statuses.items() if status not in ABSENT | {"skipped"}}
    for edge in sorted(needs, key=lambda edge: edge.way[-1].column, reverse=True):
        if edge.target in going and statuses.get(edge.source) == "skipped":
            going.add(edge.source)
    return going
