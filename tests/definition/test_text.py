"""Definitions as text: what is written reads back the same, and what cannot be read says where."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_workflow.definition.text import MAX_CHARACTERS, Format, read_text, write_text
from django_workflow.exceptions import DefinitionError

tricky = (
    *(
        "",
        " ",
        "on",
        "No",
        "null",
        "~",
        "1",
        "-1.5",
        "1e3",
        "012",
        "12:30",
        "2026-01-02",
        "0x1F",
        "+33",
        ".inf",
    ),
    *("5m", "a: b", "a #b", "- a", "{{ x }}", '{{ x|default:"y" }}', "it's", "a\nb", "a\n\n  b\n", " a\nb"),
    *(
        "a\n ",
        "\n",
        "\t",
        "|",
        ">",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a",
        "'",
        '"',
        "\\",
        "a,b",
        "[a]",
        "?",
        "? a",
    ),
    *(
        "---",
        "...",
        "a:",
        "#",
        "\ufeff",
        "\x85",
        "\u2028",
        "\x7f",
        "\U0001f600",
        "=",
        "<<",
        "a\r\nb",
        "a\n\n",
    ),
    *("a" * 300, "b" * 2000, "--- a\nb", "a\n---\nb", "a\n# b\n"),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(tricky)
scalars = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | texts
numbers = st.floats(allow_nan=False, allow_infinity=False)
data = st.recursive(
    scalars | numbers,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("format", ["yaml", "json"])
@given(value=data)
def test_what_is_written_reads_back_the_same(value: Any, format: Format) -> None:
    text = write_text(value, format=format)

    assert json.dumps(read_text(text, format=format)) == json.dumps(value)


@pytest.mark.parametrize("text", tricky)
def test_tricky_text_survives_yaml_everywhere(text: str) -> None:
    value = {
        "key": text,
        "list": [text],
        "flow": {"a": text},
        text: {"nested": [{"b": text, text: [[text]]}]},
    }

    assert read_text(write_text(value, format="yaml"), format="yaml") == value


@given(text=st.text(max_size=60) | st.text("{}[]:,-?&*!|>'\"#%@ \n\tab1~", max_size=40))
def test_junk_gives_data_or_a_definition_error(text: str) -> None:
    for format in ("yaml", "json"):
        with suppress(DefinitionError):
            read_text(text, format=format)


SCALARS = {
    "on": "on",
    "no": "no",
    "yes": "yes",
    "12:30": "12:30",
    "012": "012",
    "0o17": "0o17",
    "0x1F": "0x1F",
    "+33612345678": "+33612345678",
    "1_000": "1_000",
    "2026-01-02": "2026-01-02",
    "2026-01-02T10:00:00Z": "2026-01-02T10:00:00Z",
    ".inf": ".inf",
    "=": "=",
    "5m": "5m",
    "12": 12,
    "-0": 0,
    "1.5": 1.5,
    "1e3": 1000.0,
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "": None,
    '"12"': "12",
    "'true'": "true",
    '"{{ user.email }}"': "{{ user.email }}",
    "order.total > 1000": "order.total > 1000",
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_yaml_scalar_is_what_it_looks_like(text: str, value: Any) -> None:
    read = read_text(f"key: {text}\n", format="yaml")

    assert read == {"key": value}
    assert type(read["key"]) is type(value)


def test_yaml_keys_are_text() -> None:
    assert read_text("{1: a, true: b, null: c, on: d}", format="yaml") == {
        "1": "a",
        "true": "b",
        "null": "c",
        "on": "d",
    }


def test_yaml_aliases_repeat_what_they_name() -> None:
    assert read_text("a: &x {b: 1}\nc: [*x, *x]\n", format="yaml") == {
        "a": {"b": 1},
        "c": [{"b": 1}, {"b": 1}],
    }


def test_empty_yaml_is_null() -> None:
    assert read_text("# nothing\n", format="yaml") is None


BOMB = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)
)
TROUBLES: dict[str, tuple[Format, str, str]] = {
    "unquoted braces": ("yaml", "name: x\nto: {{ user.email }}\n", "line 2, column 6: put {{ … }} in quotes"),
    "unquoted braces with text": ("yaml", "to: {{ user.email }} and more\n", "put {{ … }} in quotes"),
    "unquoted braces in a flow": ("yaml", "with: {to: {{ item }}, b: c}\n", "put {{ … }} in quotes"),
    "braces in plain text": ("yaml", "to: for {{ item }}: b\n", "put {{ … }} in quotes"),
    "key twice": (
        "yaml",
        "a: 1\nb: 2\na: 3\n",
        "line 3, column 1: the key 'a' stands here for the second time",
    ),
    "tag": ("yaml", "a: !!python/name:os.system x\n", "line 1, column 4: the tag"),
    "tag of the core": ("yaml", "a: !!int '3'\n", "the tag"),
    "unknown alias": ("yaml", "a: *b\n", "*b"),
    "alias of itself": ("yaml", "a: &b [*b]\n", "*b"),
    "aliases that grow": ("yaml", BOMB, "larger than"),
    "nested too deep": ("yaml", "[" * 5000, "nested more than"),
    "list as a key": ("yaml", "? [a]\n: b\n", "a key is plain text"),
    "tab": ("yaml", "a:\n\tb: c\n", "line 2, column 1"),
    "unclosed list": ("yaml", "a: [1\n", "line 2"),
    "two documents": ("yaml", "a: 1\n---\nb: 2\n", "line 2, column 1: a second document"),
    "control character": ("yaml", "a: 1\nb: \x07\n", "line 2, column 4: the character '\\x07'"),
    "too many digits": ("yaml", f"a: {'9' * 5000}\n", "too many digits"),
    "too long": ("yaml", "#" * (MAX_CHARACTERS + 1), "characters are more than"),
    "JSON that breaks off": ("json", '{"a":\n x}', "line 2, column 2"),
    "JSON key twice": ("json", '{"a": 1, "a": 2}', "the key 'a' stands twice"),
    "JSON with NaN": ("json", '{"a": NaN}', "NaN"),
    "JSON nested too deep": ("json", "[" * 100_000, "nested too deep"),
    "JSON too long": ("json", " " * (MAX_CHARACTERS + 1), "characters are more than"),
}


@pytest.mark.parametrize(("format", "text", "message"), TROUBLES.values(), ids=TROUBLES)
def test_what_cannot_be_read_says_where_and_why(format: Format, text: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_text(text, format=format, source="shop/workflows/x.yaml")

    assert caught.value.name == "shop/workflows/x.yaml"
    assert message in str(caught.value)


def test_missing_ruamel_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "django_workflow.definition.yaml_reading", raising=False)
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)

    with pytest.raises(DefinitionError, match=r'pip install "django-workflow-rq\[yaml\]"'):
        read_text("a: 1", format="yaml")


PRETTY = """\
name: order-fulfilment
description: From a paid order to a parcel
input: {order: shop.Order}
steps:
  - name: charge
    type: shop.charge
    with: {order: "{{ order }}"}
    retry: {attempts: 5, delay: 2s}
    timeout: null
  - name: reserve
    type: shop.reserve_stock
    if: order.total > 1000
    needs: [charge]
    with: {"on": "no", count: 2, at: "12:30", who: '{{ name|default:"friend" }}'}
  - name: tell
    type: mail.send
    with:
      to: ["{{ order.customer.email }}"]
      body: |
        Dear {{ order.customer.name }},

          your parcel is on its way.
      headers: {}
      subject: "Long enough that these params are not written in one line: {{ order.number }}"
"""


def test_yaml_is_written_as_a_person_would() -> None:
    assert write_text(read_text(PRETTY, format="yaml"), format="yaml") == PRETTY
