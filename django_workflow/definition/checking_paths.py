"""What is wrong with the paths through a definition: cycles, unreached steps, ends beside running steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .outline import END, Outline, closure
from .spec import JUMP, Problem


def check_cycles(outline: Outline) -> Iterator[Problem]:
    """Yield every cycle of ``needs``, once, at its first step in list order."""
    needs, position = outline.graph.needs, outline.graph.position
    remaining = set(outline.graph.on_cycle)
    while remaining:
        name = min(remaining, key=position.__getitem__)
        seen: list[str] = []
        while name not in seen:
            seen.append(name)
            name = next((need for need in needs[name] if need in remaining), "")
            if not name:
                break
        cycle = seen[seen.index(name) :] if name else []
        if len(cycle) > 1:
            yield _cycle_problem(cycle, position)
        remaining -= set(cycle or seen)


def _cycle_problem(cycle: list[str], position: dict[str, int]) -> Problem:
    first = cycle.index(min(cycle, key=position.__getitem__))
    ordered = [*cycle[first:], *cycle[:first], cycle[first]]
    text = " needs ".join(ordered)
    return Problem(f"{text}: a cycle, none of them can start; a loop is made by next", ordered[0], "needs")


def check_reached(outline: Outline) -> Iterator[Problem]:
    """Yield the steps that nothing named in the definition reaches: the first of each such path."""
    graph = outline.graph
    is_possible = any(outline.type_of(graph.steps[name]).may_jump_by_itself for name in outline.reached)
    for name, step in graph.steps.items():
        if name in outline.reached or any(need not in outline.reached for need in graph.needs[name]):
            continue
        why = (
            "nothing jumps here"
            if step.needs == JUMP
            else "what it needs always jumps past it or ends the run"
        )
        if is_possible:
            text = f'{why}: only a handler\'s own Goto("{name}") could reach it'
            yield Problem(text, name, "needs", "warning")
        else:
            text = f"{why}, so it can never run; name it in a next, an on_error or a branch, or take it out"
            yield Problem(text, name, "needs")


def check_error_targets(outline: Outline) -> Iterator[Problem]:
    """Yield a warning for each ``on_error`` target that also runs when nothing failed."""
    steps = outline.graph.steps

    def follow(name: str) -> Iterable[str]:
        following = steps[name].next
        return (*outline.going_on(name), *([following] if following in steps else []))

    main_line = closure(outline.graph.starts, follow)
    for name, step in steps.items():
        # A target before the step has run anyway: jumping back to it is a loop, and meant.
        earlier = outline.graph.before(name) if main_line.intersection(step.error_targets) else frozenset()
        for target in step.error_targets:
            if target in main_line and target not in earlier and target != name:
                text = f"{target} also runs when nothing failed; give it needs: {JUMP} if it should not"
                yield Problem(text, name, "on_error", "warning")


def check_ends(outline: Outline) -> Iterator[Problem]:
    """Yield a warning for each step that ends the run while others may still run."""
    for name, step in outline.graph.steps.items():
        is_end = outline.type_of(step).always_ends
        if not (is_end or step.next == END) or name not in outline.reached:
            continue
        others = _beside(outline, name, set())
        beside = [other for other in outline.graph.steps if other in others]
        if beside:
            shown = ", ".join(beside[:3]) + (", …" if len(beside) > 3 else "")
            text = f"ends the run while {shown} may still run; name these in needs to wait for them"
            yield Problem(text, name, "type" if is_end else "next", "warning")


def _beside(outline: Outline, name: str, seen: set[str]) -> frozenset[str]:
    # Steps neither before nor after this one; on a jump path also what is beside the step that jumped.
    graph = outline.graph
    ordered = graph.before(name) | graph.region(name)
    if name not in graph.jump_only:
        return outline.reached - graph.jump_only - ordered
    seen.add(name)
    found: frozenset[str] = frozenset()
    for entry in graph.ancestors_on_path[name]:
        if graph.steps[entry].needs == JUMP:
            found |= graph.after(entry)
            for origin in outline.origins[entry]:
                if origin not in seen:
                    found |= _beside(outline, origin, seen)
    return (found & outline.reached) - ordered
