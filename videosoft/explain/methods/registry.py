"""Saliency methods by name, and their options from what a user wrote."""

import difflib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

from jsonargparse import ArgumentError, ArgumentParser

from videosoft.errors import InputError
from videosoft.explain.methods.method import SaliencyMethod

__all__ = ["create_method", "get_method_class", "list_methods", "parse_options", "register_method"]

MethodClass = TypeVar("MethodClass", bound=type[SaliencyMethod])

_METHODS: dict[str, type[SaliencyMethod]] = {}


def register_method(method: MethodClass) -> MethodClass:
    """Make a method known to :func:`create_method` under its ``name``."""
    _METHODS[method.name] = method
    return method


def list_methods() -> list[str]:
    """Return the names that :func:`create_method` knows, sorted."""
    return sorted(_METHODS)


def get_method_class(name: str) -> type[SaliencyMethod]:
    """Return the class of a method, whose fields are its options.

    Raises InputError with the nearest names for an unknown one.
    """
    if name not in _METHODS:
        nearest = difflib.get_close_matches(name, _METHODS, n=2, cutoff=0.4)
        hint = f" did you mean {' or '.join(nearest)}?" if nearest else ""
        raise InputError(f"there is no saliency method {name!r};{hint} known: {', '.join(list_methods())}")
    return _METHODS[name]


def create_method(name: str, **options: Any) -> SaliencyMethod:
    """Return the method ``name`` with its options, the others at their defaults; a text is read as its value.

    Raises InputError for an unknown method or option (the nearest are named) and for a value that is not allowed.
    """
    method = get_method_class(name)
    known = {field.name: field.default for field in fields(method)}
    for option in options:
        if option not in known:
            nearest = difflib.get_close_matches(option, known, n=1, cutoff=0.4)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            listed = ", ".join(f"{key}={value}" for key, value in known.items()) or "none"
            raise InputError(f"method {name!r} has no option {option!r}{hint} (options: {listed})")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(method)
    try:
        values = parser.parse_object(options).as_dict()
    except ArgumentError as error:
        raise InputError(f"option of method {name!r}: {' '.join(str(error).split())}") from error
    return method(**values)


def parse_options(assignments: Sequence[str]) -> dict[str, str]:
    """Return {option: value} from texts "option=value".

    Raises InputError for a text of another form and for an option that comes twice.
    """
    options: dict[str, str] = {}
    for assignment in assignments:
        option, equals, text = assignment.partition("=")
        if not equals or not option:
            raise InputError(f"an option of a method is written option=value, got {assignment!r}")
        if option in options:
            raise InputError(f"option {option!r} of the method is given twice")
        options[option] = text
    return options
