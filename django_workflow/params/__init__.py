"""Signature → typed params → check, conversion, form and JSON Schema."""

from .declared import declared_params
from .markers import Condition, Secret, StepName
from .param import Param, Params
from .reading import Kind
from .signature import Signature, read_signature

__all__ = [
    "Condition",
    "Kind",
    "Param",
    "Params",
    "Secret",
    "Signature",
    "StepName",
    "declared_params",
    "read_signature",
]
