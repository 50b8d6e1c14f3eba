from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_workflow.definition.conditions import parse_condition
from django_workflow.definition.expressions import NO_OUTPUT
from django_workflow.exceptions import ExpressionError
from tests.support.strategies import JSON, Canary, Row

pytestmark = pytest.mark.one_database

KINDS: dict[str, list[Any]] = {
    "null": [None, None],
    "boolean": [False, True],
    "number": [1, 2],
    "text": ["a", "ab"],
    "list": [[1], [1, "a"]],
    "dict": [{"a": 1}, {"a": 1, "ab": 2}],
}
PAIRS = [(left, right) for left in KINDS for right in KINDS]


def evaluate(source: str, **scope: Any) -> bool:
    return parse_condition(source).evaluate(scope)


@pytest.mark.parametrize(("left", "right"), PAIRS)
@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
def test_only_numbers_and_texts_of_one_kind_are_ordered(left: str, sign: str, right: str) -> None:
    scope = {"a": KINDS[left][0], "b": KINDS[right][1]}
    if left == right and left in ("number", "text"):
        assert evaluate(f"a {sign} b", **scope) is (sign in ("<", "<="))
    else:
        with pytest.raises(ExpressionError, match="cannot compare"):
            evaluate(f"a {sign} b", **scope)


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_values_of_different_kinds_are_unequal(left: str, right: str) -> None:
    scope = {"a": KINDS[left][0], "b": KINDS[right][0], "c": KINDS[right][1]}
    assert evaluate("a == b", **scope) is (left == right)
    assert evaluate("a != b", **scope) is (left != right)
    assert evaluate("a != c", **scope) is (left != right or left != "null")


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_in_looks_into_text_lists_and_dicts(left: str, right: str) -> None:
    scope = {"a": KINDS[left][0], "b": KINDS[right][1]}
    if right == "list" or (left == "text" and right in ("text", "dict")):
        expected = left in ("number", "text")
        assert evaluate("a in b", **scope) is expected
        assert evaluate("a not in b", **scope) is not expected
    else:
        for condition in ("a in b", "a not in b"):
            with pytest.raises(ExpressionError, match="cannot look"):
                evaluate(condition, **scope)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("constant", ["None", "True", "False"])
def test_is_compares_with_a_constant(kind: str, constant: str) -> None:
    expected = {"None": None, "True": True, "False": False}[constant]
    value = KINDS[kind][0]
    assert evaluate(f"a is {constant}", a=value) is (value is expected)
    assert evaluate(f"{constant} is not a", a=value) is (value is not expected)


NOW = datetime(2024, 5, 6, 7, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 < 2.5", True),
        ("cents > 19.98", True),
        ("cents == 19.99", True),
        ("tenth == 0.1", True),
        ("2 == 2.0", True),
        ("1 == True", False),
        ("now > before", True),
        ("day <= day", True),
        ("noon > noon", False),
        ("hour > minute", True),
        ("day == now", False),
        ("a<b", True),
        ("(a)<(b)", True),
        ("b>-5", True),
        ("name|default:\"a > b\" == 'x'", False),
        ("name|default:\"a > b\" == 'a > b'", True),
        ("name | lower | upper == ''", True),
        ("{{ a < b }}", True),
        ("{{ name|default:'}}' == '}}' }}", True),
        ("'or' == 'or'", True),
        ("not a == b", True),
        ("not a > b or a == 1", True),
        ("a == 1 or a == 2 and a == 3", True),
        ("(a == 1 or a == 2) and a == 3", False),
        ("a == not b", False),
        ("(not a) == False", True),
        ("(a < b) == True", True),
        ("not not a", True),
        ("skipped is None", True),
        ("skipped.id is None", True),
        ("skipped", False),
        ("a == 1 or nothing", True),
        ("a == 2 and nothing", False),
        ("items.0 == 1 and items.1 == 2", True),
        ("row == same and row in rows", True),
        ("row == a or row == other", False),
        ("row", True),
    ],
)
def test_condition_answers(source: str, expected: bool) -> None:
    scope = {
        "a": 1,
        "b": 2,
        "cents": Decimal("19.99"),
        "tenth": Decimal("0.1"),
        "name": "",
        "now": NOW,
        "before": NOW - timedelta(1),
        "day": date(2024, 5, 6),
        "noon": time(12),
        "hour": timedelta(hours=1),
        "minute": timedelta(minutes=1),
        "skipped": NO_OUTPUT,
        "items": [1, 2],
        "row": Row(1),
        "same": Row(1),
        "other": Row(2),
        "rows": [Row(2), Row(1)],
    }
    assert evaluate(source, **scope) is expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "1 to 4,000"),
        ("a " * 2001 + "b", "1 to 4,000"),
        ("a < b < c", "do not chain"),
        ("a in b == c", "do not chain"),
        ("a is b", "None, True or False only"),
        ("a = b", "compare with =="),
        ("a ! b", "write not"),
        ("a b", "operator is missing"),
        ("a ==", "missing at the end"),
        ("== a", "missing before '=='"),
        ("a and or b", "missing before 'or'"),
        ("(a", "never closed"),
        ("a)", "operator is missing before '\\)'"),
        ("a == 'x", "quote"),
        ("{{ a }} == {{ b }}", "braces"),
        ("a not b", "not in"),
        ("a|shout > 1", "shout"),
        ("a._b == 1", "underscore"),
        ("(" * 51 + "a" + ")" * 51, "nested more than 50"),
        ("not " * 51 + "a", "nested more than 50"),
    ],
)
def test_what_cannot_be_parsed_says_why(source: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse_condition(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("total > 1000", r"total > 1000: cannot compare text \('1200.00'\) with a number \(1000\)"),
        ("missing", "no name 'missing'"),
        ("missing is None", "no name 'missing'"),
        ("missing and True", "no name 'missing'"),
        ("now > naive", "time zone"),
        ("True > 0", "a boolean"),
        ("day > now", "cannot compare a date"),
        ("row > row", "cannot compare a shop.Order 1"),
        ("1 in total", "cannot look for a number"),
        ("foreign == 1", "Canary"),
    ],
)
def test_what_cannot_be_answered_is_an_error(source: str, message: str) -> None:
    naive = NOW.replace(tzinfo=None)
    scope = {
        "total": "1200.00",
        "now": NOW,
        "naive": naive,
        "day": NOW.date(),
        "row": Row(1),
        "foreign": Canary(),
    }
    with pytest.raises(ExpressionError, match=message):
        evaluate(source, **scope)


def test_references_are_those_of_all_operands() -> None:
    condition = parse_condition("steps.charge.id == order.id or total|default:other > 3")
    expected = {("steps", "charge", "id"), ("order", "id"), ("total",), ("other",)}
    assert condition.references == expected


def test_long_chain_takes_no_depth() -> None:
    assert evaluate(" or ".join(["a"] * 660) + " or True", a=False) is True


OPERANDS = st.sampled_from(
    ["a", "b", "a.b", "a.0", "1", "-2.5", "'x'", "None", "True", 'c|default:"x"', "a|length", "c"]
)
SIGNS = st.sampled_from(
    ["==", "!=", "<", ">", "<=", ">=", " in ", " not in ", " is ", " is not ", " and ", " or "]
)
CONDITIONS = st.recursive(
    OPERANDS,
    lambda inner: (
        st.tuples(inner, SIGNS, inner).map("".join) | inner.map("({})".format) | inner.map("not {}".format)
    ),
    max_leaves=8,
)
JUNK = st.text(st.sampled_from("ab.|:'\"(){}<>=!-_ 01") | st.characters(), max_size=30)


@given(source=CONDITIONS | JUNK, a=JSON, b=JSON)
def test_any_condition_over_any_values_gives_an_answer_or_an_expression_error(
    source: str, a: Any, b: Any
) -> None:
    with suppress(ExpressionError):
        assert evaluate(source, a=a, b=b) in (True, False)


@given(source=CONDITIONS)
def test_condition_never_reaches_into_a_python_object(source: str) -> None:
    canary = Canary()
    Canary.touched.clear()
    with suppress(ExpressionError):
        evaluate(source, a=canary, b=[canary])
    assert Canary.touched == []


@given(a=JSON, b=JSON)
def test_equality_is_the_same_from_both_sides(a: Any, b: Any) -> None:
    assert evaluate("a == b", a=a, b=b) is evaluate("b == a", a=a, b=b)
    assert evaluate("a == a", a=a) is True
