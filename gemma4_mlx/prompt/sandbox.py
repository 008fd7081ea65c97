"""Jinja's sandbox as chat templates need it.

A file of its own, as its class derives from Jinja's, which is imported only once a template is read.
"""

from collections.abc import Mapping
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import test_sequence
from jinja2.utils import Namespace


class Sandbox(ImmutableSandboxedEnvironment):
    """Takes objects for objects, and reads namespaces quickly."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.tests["sequence"] = is_sequence

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """As the sandbox says, which takes long; Gemma's template reads namespaces n * n times for n messages."""
        return not attr.startswith("_") if type(obj) is Namespace else super().is_safe_attribute(obj, attr, value)


def is_sequence(value: Any) -> bool:
    """Jinja's test, but false for objects: templates take a tool's result for a list of parts if it is true."""
    return test_sequence(value) and not isinstance(value, Mapping)
