"""The sizes and words of the house, so that nobody has to remember them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.template import Engine
from django.template.base import TextNode

ROOT = Path(__file__).parent.parent.parent
SOURCES = [
    path for path in sorted((ROOT / "django_workflow").rglob("*.py")) if "migrations" not in path.parts
]
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
EMPTY_WORDS = {"utils", "helpers", "services", "managers", "mixins", "base", "common"}

TEMPLATES = [
    path
    for folder in (ROOT / "django_workflow", ROOT / "example_project")
    for path in sorted(folder.rglob("templates/**/*"))
    if path.is_file()
]

Function = ast.FunctionDef | ast.AsyncFunctionDef


def find_problems(source: str, place: str) -> Iterator[str]:
    """Yield what in a module breaks the rules of the house."""
    tree = ast.parse(source)
    if (length := len(source.splitlines())) > LONGEST_FILE:
        yield f"{place} has {length} lines, {LONGEST_FILE} is the wall"
    if Path(place).stem in EMPTY_WORDS or EMPTY_WORDS & set(Path(place).parent.parts):
        yield f"{place}: a module is named for what it does in the domain"
    for node in ast.walk(tree):
        if isinstance(node, Function) and (length := measure(node)) > LONGEST_FUNCTION:
            yield f"{place}:{node.lineno} {node.name} has {length} lines, {LONGEST_FUNCTION} is the most"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"{place}:{node.lineno} prints: log, or write to the command's stdout"


def measure(function: Function) -> int:
    """Return the lines of a function from its ``def`` on, without its docstring."""
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is None:
        return length
    return length - ((first.end_lineno or first.lineno) - first.lineno + 1)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_keeps_the_rules_of_the_house(path: Path) -> None:
    assert list(find_problems(path.read_text(), str(path.relative_to(ROOT)))) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_tag_of_a_template_breaks_over_two_lines(path: Path) -> None:
    """Django prints one that does as text."""
    texts = Engine.get_default().from_string(path.read_text()).nodelist.get_nodes_by_type(TextNode)
    assert [text.s for text in texts if re.search("{[{%#]|[}%#]}", text.s)] == []


@pytest.mark.parametrize(
    ("source", "place", "found"),
    [
        ("\n" * 401, "django_workflow/graph.py", "401 lines"),
        ("def run():\n" + "    pass\n" * 60, "django_workflow/graph.py", "run has 61 lines"),
        ("async def run():\n" + "    pass\n" * 60, "django_workflow/graph.py", "run has 61 lines"),
        ("", "django_workflow/utils.py", "named for"),
        ("", "django_workflow/common/graph.py", "named for"),
        ("print(1)", "django_workflow/graph.py", "prints"),
    ],
)
def test_a_broken_rule_is_found(source: str, place: str, found: str) -> None:
    (problem,) = find_problems(source, place)
    assert found in problem


def test_a_docstring_does_not_make_a_function_long() -> None:
    assert (
        list(find_problems('def run():\n    """' + "\n" * 70 + '    """\n    return 1\n', "graph.py")) == []
    )
