"""What happens to a run next, drawn at random, and done to model and engine alike."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.reference import verbs
from tests.reference.definitions import EVENTS, Draw
from tests.reference.engine import EngineRun
from tests.reference.flow import FlowRun

Move = tuple[Any, ...]

VERBS = ("skip", "pause", "resume", "cancel", "retry", "undo", "pause")
# What happens, beside the work that there is, the likelier the more often it stands here.
ALWAYS = ("send", "send", "skip", "pause", "any")
AFTER = {
    "done": ("stop", "undo", "any", "undo", "send", "stop"),
    "failed": ("retry", "retry", "stop", "any", "undo", "skip", "skip", "retry"),
    "cancelled": ("stop", "any", "undo", "stop"),
}
CHILD_ENDS = ("done", "failed", "cancelled", "done")


def draw_move(model: FlowRun, draw: Draw) -> Move:
    """Return what happens next: mostly something that moves the run, sometimes a verb that may be refused."""
    children = live_children(model)
    kinds = [*AFTER[model.final]] if model.final else [*ALWAYS, *(("end_child",) * 4 if children else ())]
    if not model.final:
        usual = ["resume"] * 4 if model.is_paused else ["work"] * 12 if work_of(model) else ["send"] * 2
        kinds = [*usual, *kinds, *usual]
    names = list(model.paths.steps)
    match draw(st.sampled_from(kinds)):
        case "work":
            return draw(st.sampled_from(work_of(model)))
        case "send":
            return ("send", draw(st.sampled_from(EVENTS)))
        case "end_child":
            return ("end_child", draw(st.sampled_from(children)), draw(st.sampled_from(CHILD_ENDS)))
        case "skip":
            # What may be skipped, and undos of items that may not.
            stopped = [row.step for row in model.rows if row.status in ("waiting", "failed")]
            return ("skip", draw(st.sampled_from(stopped or names)))
        case "any":
            verb = draw(st.sampled_from(VERBS))
            return (verb, draw(st.sampled_from(names))) if verb == "skip" else (verb,)
        case kind:
            return (kind,)


def make_move(model: FlowRun, real: EngineRun, move: Move) -> None:
    """Let both do the same, and refuse the same."""
    verb, *arguments = move
    real.tick()
    if verb in ("begin", "record"):
        getattr(model, verb)(*arguments)
        getattr(real, verb)(*arguments)
    elif verb == "end_child":
        assert verbs.apply(model, verbs.end_child, *arguments)
        real.end_child(*arguments)
    elif verb == "send":
        place = len(model.paths.book.events)
        assert verbs.apply(model, verbs.send, *arguments) == real.send(*arguments, place)
    else:
        is_done = verbs.apply(model, getattr(verbs, verb), *arguments)
        assert (verb, real.apply(verb, *arguments)) == (verb, is_done), "of the engine, of the model"


def work_of(model: FlowRun) -> list[Move]:
    """Return what workers may do now."""
    return [("begin", key) for key in model.startable()] + [("record", key) for key in model.running()]


def live_children(model: FlowRun) -> list[int]:
    """Return the called runs that are not over, by their place among all of them."""
    return [child.place for child in model.paths.book.children if child.status == "waiting"]
