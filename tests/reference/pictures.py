"""What the model and the engine must agree on, at every moment."""

from __future__ import annotations

from typing import Any

from tests.reference.engine import EngineRun
from tests.reference.flow import FlowRun
from tests.reference.rows import Key

Picture = dict[Any, Any]

WITH_OUTPUT = ("done", "skipped")
COLUMNS = ("status", "waiting_for", "current", "due_at", "output", "number")


def compare(model: FlowRun, real: EngineRun) -> None:
    """Raise an error that names what is different."""
    expected, found = picture_of_model(model), picture_of_engine(real)
    names = sorted({*expected, *found}, key=str)
    both = {name: (found.get(name), expected.get(name)) for name in names}
    different = [f"{name}: {pair[0]}, {pair[1]}" for name, pair in both.items() if pair[0] != pair[1]]
    assert not different, "of the engine, of the model: " + "; ".join(different)


def picture_of_model(model: FlowRun) -> Picture:
    """Return the run's facts, and for each row by its key what it is, and whether it has a time."""
    picture: Picture = {
        "status": model.status,
        "error": model.error,
        "output": model.output if model.final == "done" else None,
        "children": [child.status for child in model.paths.book.children],
        "path": _path({row.key: row.number for row in model.rows if row.status == "done"}),
    }
    for row in model.rows:
        is_due = row.status == "running" or (row.status == "pending" and not model.is_paused)
        output = row.output if row.status in WITH_OUTPUT else None
        picture[row.key] = (row.status, row.waiting_for, row.is_current, row.is_timed or is_due, output)
    return picture


def picture_of_engine(real: EngineRun) -> Picture:
    """Return the same of the rows in the database."""
    status, error_type, output = real.read("status", "error_type", "output")
    picture: Picture = {
        "status": status,
        "error": error_type.rpartition(".")[2],
        "output": output if status == "done" else None,
        "children": real.read_children(),
    }
    numbers: dict[Key, int] = {}
    for key, (status, waiting_for, is_current, due_at, output, number) in real.read_rows(*COLUMNS):
        picture[key] = (
            status,
            waiting_for,
            is_current,
            due_at is not None,
            output if status in WITH_OUTPUT else None,
        )
        if status == "done":
            numbers[key] = number
    return {**picture, "path": _path(numbers)}


def _path(numbers: dict[Key, int]) -> list[Key]:
    """Return what is done in the order of recording; an item and the step that it ends share one."""
    return sorted(numbers, key=lambda key: (numbers[key], key))
