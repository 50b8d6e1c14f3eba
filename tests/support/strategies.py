"""Values that the tests of expressions and conditions are run over."""

from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import strategies as st

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.dates()
    | st.datetimes()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False, allow_infinity=False)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abx0") | st.text(max_size=5), inner)
    ),
    max_leaves=10,
)


@dataclass(frozen=True)
class Row:
    """A readable object, as a model reference is one."""

    pk: int

    def __str__(self) -> str:
        return f"shop.Order {self.pk}"

    def lookup(self, name: str) -> Any:
        if name == "secret":
            raise LookupError("'secret' of shop.Order is hidden")
        return {"id": self.pk, "total": None}[name]


class Canary:
    """A foreign object that notes when anything of it is read or called."""

    touched: ClassVar[list[str]] = []

    public = "reached"

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__"):
            Canary.touched.append(name)
        return object.__getattribute__(self, name)

    def __getitem__(self, key: object) -> Any:
        Canary.touched.append(f"[{key}]")
        raise KeyError(key)

    def __call__(self) -> str:
        Canary.touched.append("()")
        return "called"

    def __str__(self) -> str:
        Canary.touched.append("str")
        return "canary"

    __repr__ = __str__

    def __bool__(self) -> bool:
        Canary.touched.append("bool")
        return True

    def __len__(self) -> int:
        Canary.touched.append("len")
        return 1

    def __eq__(self, other: object) -> bool:
        Canary.touched.append("==")
        return True

    __hash__ = object.__hash__
