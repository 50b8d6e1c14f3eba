import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from datetime import time as clock_time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.template import defaultfilters
from django.utils import timezone, translation
from hypothesis import given
from hypothesis import strategies as st

from django_workflow.definition.expressions import (
    NO_OUTPUT,
    Readable,
    has_expression,
    is_expression,
    parse_expression,
    parse_template,
)
from django_workflow.definition.filters import FILTERS, LEFT_OUT
from django_workflow.exceptions import ExpressionError
from tests.support.strategies import JSON, Canary, Row

pytestmark = pytest.mark.one_database

NOW = datetime(2024, 5, 6, 7, 8, tzinfo=UTC)
KEY = UUID(int=5)
SCOPE: dict[str, Any] = {
    "order": {"id": 7, "total": Decimal("12.50"), "note": None, "lines": [{"sku": "a"}, {"sku": "b"}]},
    "name": "",
    "nick": "Ada",
    "html": "<b>&</b>",
    "half": 2.5,
    "now": NOW,
    "row": Row(3),
    "steps": {"charge": {"id": "ch_1"}, "skipped": NO_OUTPUT},
    "hostile": "{{ order.id }}",
    "words": ["a", "b", 3, None],
}


def evaluate(source: str, **options: int) -> Any:
    return parse_expression(source).evaluate(SCOPE, **options)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("order.total", Decimal("12.50")),
        ("{{ order.id }}", 7),
        ("order.lines.1.sku", "b"),
        ("order.lines.1", {"sku": "b"}),
        ("steps.skipped", None),
        ("steps.skipped.a.b", None),
        ("steps", {"charge": {"id": "ch_1"}, "skipped": None}),
        ("now", NOW),
        ("row", Row(3)),
        ("row.id", 3),
        ("hostile", "{{ order.id }}"),
        ("None", None),
        ("True", True),
        ("-1.5", -1.5),
        ("12", 12),
        ('"{{"', "{{"),
        ("'it\\'s'", "it's"),
        ('missing|default:"x"', "x"),
        ('missing|upper|default:"x"', "x"),
        ('order.note.cents|default:"x"', "x"),
        ("missing|default:gone|default:nick", "Ada"),
        ("nick|default:missing", "Ada"),
        ("nick|default_if_none:missing", "Ada"),
        ('order.note|default_if_none:"x"|upper', "X"),
        ("missing|default:row", Row(3)),
        ('name|default:"friend"|title', "Friend"),
        ('row.secret|default:"x"', "x"),
        ("steps.skipped.id|default:0", 0),
        ("nick | lower | upper", "ADA"),
        ("html|escape", "&lt;b&gt;&amp;&lt;/b&gt;"),
        ("html|linebreaks", "<p><b>&</b></p>"),
        ('words|join:"-"', "a-b-3-"),
        ("words|length", 4),
        ("words|first", "a"),
        ('words|slice:":2"|last', "b"),
        ("name|first", ""),
        ("nick|make_list", ["A", "d", "a"]),
        ('now|date:"Y-m-d H:i e"', "2024-05-06 07:08 UTC"),
        ('now|time:"H.i"', "07.08"),
        ('order.note|date:"Y"', ""),
        ("half|floatformat:0", "3"),
        ("order.total|floatformat:2", "12.50"),
        ('order.total|floatformat:"-3u"', "12.500"),
        ("order.id|floatformat", "7"),
        ("-0.04|floatformat:1", "0.0"),
        ('order.id|stringformat:"05d"', "00007"),
        ("order.id|divisibleby:7", True),
        ('order.note|yesno:"y,n,?"', "?"),
        ("row|yesno", "yes"),
        ('order.lines|pluralize:"y,ies"', "ies"),
        ("nick|truncatechars:2", "A…"),
        ('nick|cut:"d"', "Aa"),
    ],
)
def test_expression_gives(source: str, expected: Any) -> None:
    value = evaluate(source)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ordr", r"\{\{ ordr \}\}: there is no name 'ordr' \(known names: half, .*Did you mean 'order'\?"),
        ("order.totl", "order has no 'totl' .*id, lines, note, total.*'total'"),
        ("order.note.cents", "order.note is null and has no 'cents'"),
        ("order.id.real", r"order.id is a number \(7\) and has no 'real'"),
        ("nick.upper", r"nick is text \('Ada'\)"),
        ("words.9", "words is a list of 4 and has no '9'"),
        ("words.append", "has no 'append'"),
        ("row.secret", "hidden"),
        ("row.pk", "pk"),
        ("row|upper", "|upper: it is a shop.Order 3; name a field"),
        ("nick|default:missing|cut:missing", "no name 'missing'"),
        ('missing|default_if_none:"x"', "no name 'missing'"),
        ("order.lines|pluralize:words", "its argument is a list or dict"),
        ("nick|cut:5", r"\|cut on text \('Ada'\)"),
        ('nick|date:"Y"', "needs a date"),
        ("order.id|divisibleby:0", "divisibleby"),
        ("order.total|divisibleby:2", "needs whole numbers"),
        ("order|first", "needs text or a list"),
        ("order.note|length", "needs text or a list, not null"),
        ('order.id|stringformat:"9999d"', "width"),
        ('order|stringformat:"(id)s"', "takes a format"),
        ("order.total|floatformat:99", "at most 50"),
        ("nick|floatformat:2", "floatformat"),
        ('nick|wordwrap:"x"', "wordwrap"),
    ],
)
def test_failing_evaluation_says_why(source: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        evaluate(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "1 to 4,000 characters"),
        ("a" * 4001, "1 to 4,000 characters"),
        ("a + 1", "arithmetic"),
        ("a b", "remainder"),
        ("call()", "remainder"),
        ("order-id", "letters, digits and underscores"),
        ("a._b", "underscore"),
        ("__class__", "underscore"),
        ("a..b", "single dots"),
        ("1.2.3", "neither a number"),
        ("a.", "single dots"),
        ("1e999", "not finite"),
        ('_("x")', "translation"),
        ('a|default:_("x")', "translation"),
        ("a|uper", "did you mean 'upper'"),
        ("a|nothing_like_it", "the filters are addslashes"),
        ("a|add:1", "cuts decimals"),
        ("a|dictsort:'x'", "reads Python attributes"),
        ("a|upper:1", "requires"),
        ("a|linebreaks:1", "requires"),
        ("a|default", "requires"),
        ("a" + "|upper" * 21, "more than 20 filters"),
        (".".join("a" * 51), "more than 50 names"),
    ],
)
def test_what_cannot_be_parsed_says_why(source: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        parse_expression(source)


@pytest.mark.parametrize("source", [None, True, 5, ["a"]])
def test_only_text_is_an_expression(source: Any) -> None:
    with pytest.raises(ExpressionError, match="an expression is text"):
        parse_expression(source)


def test_references_are_paths_of_names_and_arguments() -> None:
    expression = parse_expression('steps.charge.id|default:order.id|default:"x"|default:None')
    assert expression.references == {("steps", "charge", "id"), ("order", "id")}


def test_every_filter_of_django_is_either_allowed_or_left_out_with_a_reason() -> None:
    assert set(defaultfilters.register.filters) == set(FILTERS) | set(LEFT_OUT)
    assert not set(FILTERS) & set(LEFT_OUT)


def test_nothing_is_localised() -> None:
    with translation.override("de"):
        assert evaluate('now|date:"F"') == "May"
        assert evaluate("half|floatformat:2") == "2.50"
        assert parse_template("{{ half }} {{ row|yesno }}").render(SCOPE) == "2.5 yes"


def test_dates_are_formatted_in_the_current_time_zone() -> None:
    with timezone.override("Europe/Paris"):
        assert evaluate('now|date:"H:i"') == "09:08"


def test_value_is_a_copy() -> None:
    evaluate("order.lines").append("changed")
    assert len(SCOPE["order"]["lines"]) == 2


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: "a"}, "keys of a dict are text"),
        (10**5000, "not finite"),
        (float("nan"), "not finite"),
        (Decimal("sNaN"), "not finite"),
        (Decimal("1e999999"), "not finite"),
        ({1, 2}, "Python's class set"),
        (b"x", "Python's class bytes"),
    ],
    ids=["key", "int", "nan", "snan", "decimal", "set", "bytes"],
)
def test_what_is_no_json_is_refused(value: Any, message: str) -> None:
    for source in ("a", "[{{ a }}]"):
        with pytest.raises(ExpressionError, match=message):
            parse_template({"k": ["{{ a }}", source]}).render({"a": value})


def test_circle_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ExpressionError, match="100 deep"):
        parse_expression("a").evaluate({"a": circle})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        (" {{ order.id }} ", 7),
        ("no. {{ order.id }}", "no. 7"),
        ("{{ order.id }}{{ order.note }}{{ steps.skipped }}!", "7!"),
        ("{{ order.id }} {{ True }}", "7 True"),
        ("{{ order.total }} {{ half }}", "12.50 2.5"),
        ("at {{ now }}", "at 2024-05-06 07:08:00+00:00"),
        ("x {{ order.lines }}", 'x [{"sku": "a"}, {"sku": "b"}]'),
        (
            "x {{ order }}",
            'x {"id": 7, "total": "12.50", "note": null, "lines": [{"sku": "a"}, {"sku": "b"}]}',
        ),
        ("x {{ html }}", "x <b>&</b>"),
        ("x {{ hostile }}", "x {{ order.id }}"),
        ('literal {{ "{{" }} x }}', "literal {{ x }}"),
        ("{{ missing|default:'}}' }}.", "}}."),
        ("{% if %} {# no #} }}", "{% if %} {# no #} }}"),
        (
            {"a": ["{{ order.id }}", 5, None, {"{{ k }}": "x{{ nick }}"}]},
            {"a": [7, 5, None, {"{{ k }}": "xAda"}]},
        ),
    ],
)
def test_template_renders(template: Any, expected: Any) -> None:
    assert parse_template(template).render(SCOPE) == expected


@pytest.mark.parametrize("template", ["{{ a", "x {{ 'a }} y", "{{", '{"a": {{', "{{ a }} {{ b }"])
def test_unclosed_braces_say_how_to_write_literal_ones(template: str) -> None:
    with pytest.raises(ExpressionError, match=r'write \{\{ "\{\{" \}\}'):
        parse_template([template])


def test_reference_within_text_asks_for_a_field() -> None:
    with pytest.raises(ExpressionError, match=r"\{\{ row \}\}: it is a shop.Order 3; name a field of it"):
        parse_template("Order {{ row }}").render(SCOPE)


@pytest.mark.parametrize(
    ("value", "whole", "some"),
    [
        ("{{ a }}", True, True),
        (" {{ a }}\n", True, True),
        ("{{ a }}{{ b }}", False, True),
        ("{{ '}}' }}", True, True),
        ("x {{ a }}", False, True),
        ("x", False, False),
        (5, False, False),
        ({"a": ["{{ a }}"]}, False, True),
        ({"{{ a }}": 1}, False, False),
    ],
)
def test_expressions_are_recognised(value: Any, whole: bool, some: bool) -> None:
    assert is_expression(value) is whole
    assert has_expression(value) is some


def test_template_knows_its_references() -> None:
    template = parse_template({"a": "{{ x.y }} {{ z|default:w }}", "b": [1, "{{ v }}"]})
    assert template.references == {("x", "y"), ("z",), ("w",), ("v",)}


@pytest.mark.parametrize(
    "template",
    [
        "{{ a }}",
        "x{{ a }}",
        ["{{ half }}"] * 3,
        {"a": "{{ half }}{{ half }}{{ half }}"},
        "{{ a|escapejs }}",
        "{{ b|join:a }}",
    ],
)
def test_result_over_the_limit_is_refused(template: Any) -> None:
    scope = {"a": "é" * 60, "half": "x" * 45, "b": [1, 2, 3]}
    with pytest.raises(ExpressionError, match="larger than 100 bytes"):
        parse_template(template).render(scope, max_bytes=100)


HOSTILE: list[Callable[[int], Any]] = [
    lambda size: "a" * size,
    lambda size: "<" * size,
    lambda size: " " * size,
    lambda size: "\n" * size,
    lambda size: "9" * size,
    lambda size: "ΐ" * (size // 2),
    lambda size: "a'A" * (size // 3),
]


@pytest.mark.parametrize("name", sorted(set(FILTERS) - {"default", "default_if_none"}))
def test_filter_takes_no_long_time_over_hostile_text(name: str) -> None:
    argument = {
        "date": ':"Y"',
        "time": ':"H"',
        "wordwrap": ":3",
        "cut": ':"a"',
        "slice": ':"::2"',
        "join": ':"x"',
    }
    numeric = {"truncatechars", "truncatewords", "divisibleby"}
    source = (
        "a|"
        + name
        + (":5" if name in numeric else ':"s"' if name == "stringformat" else argument.get(name, ""))
    )
    expression = parse_expression(source)
    for build in HOSTILE:
        started = time.process_time()
        with suppress(ExpressionError):
            expression.evaluate({"a": build(200_000)})
        assert time.process_time() - started < 5


CALLS = st.lists(
    st.sampled_from(sorted(FILTERS)).flatmap(
        lambda name: st.sampled_from(
            ["", ":1", ":-3", ':"x"', ":a", ":b.x", ":999999999", ':"Y"', ":1e300", ':":2"']
        ).map(lambda argument: f"|{name}{argument}")
    ),
    max_size=3,
).map("".join)
STARTS = st.sampled_from(["a", "b", "a.b", "a.0", "b.x.a", "None", "True", "12", "1e300", '"x"', "missing"])
EXPRESSIONS = st.tuples(STARTS, CALLS).map("".join)
JUNK = st.text(st.sampled_from("ab.|:'\"(){}_ 01e%#-") | st.characters(), max_size=30)


@given(source=EXPRESSIONS | JUNK, template=JUNK | JUNK.map("{{{{ {} }}}}".format), a=JSON, b=JSON)
def test_any_expression_over_any_values_gives_a_value_or_an_expression_error(
    source: str, template: str, a: Any, b: Any
) -> None:
    for build in (
        lambda: parse_expression(source).evaluate,
        lambda: parse_template(["x" + template, template]).render,
    ):
        with suppress(ExpressionError):
            build()({"a": a, "b": b})


@given(source=EXPRESSIONS)
def test_expression_never_reaches_into_a_python_object(source: str) -> None:
    canary = Canary()
    Canary.touched.clear()
    for scope in ({"a": canary, "b": {"x": canary}}, {"a": [canary], "b": {"x": {"a": canary}}}):
        for template in (f"{{{{ {source} }}}}", f"x {{{{ {source} }}}}"):
            with suppress(ExpressionError):
                parse_template(template).render(scope)
    assert Canary.touched == []


@given(value=JSON)
def test_whole_expression_keeps_value_and_type(value: Any) -> None:
    for result in (
        parse_expression("a").evaluate({"a": value}),
        parse_template(" {{ a }} ").render({"a": value}),
    ):
        assert result == value
        assert type(result) is type(value)


@given(source=EXPRESSIONS, a=JSON, b=JSON, limit=st.integers(10, 200))
def test_result_stays_within_the_limit(source: str, a: Any, b: Any, limit: int) -> None:
    try:
        template = parse_template([f"{{{{ {source} }}}}", f"x {{{{ {source} }}}}"])
        value, text = template.render({"a": a, "b": b}, max_bytes=limit)
    except ExpressionError:
        return
    assert len(text.encode("utf-8", "surrogatepass")) <= limit
    # An escape in JSON takes up to six bytes for one, and each value some punctuation: the documented slack.
    assert (
        len(json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass"))
        <= 6 * limit + 16
    )


def test_readable_is_recognised_by_its_lookup() -> None:
    assert isinstance(Row(1), Readable)
    assert not isinstance({}, Readable)


def test_plain_values_read_as_python_shows_them() -> None:
    scope = {"day": date(2024, 5, 6), "noon": clock_time(12), "key": KEY}
    assert parse_template("{{ day }} {{ noon }} {{ key }}").render(scope) == f"2024-05-06 12:00:00 {KEY}"
