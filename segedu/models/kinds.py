"""Whether settings, which people may write as text, are of the kinds that annotations ask for."""

from collections.abc import Collection, Mapping
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

_NAMES = {int: "a whole number", float: "a number", str: "a word", bool: "True or False"}
_TYPES = {int: Integral, float: Real, str: str}


def check_kind(name: str, value: Any, hint: Any, default: Any = None) -> None:
    """Refuse a setting that is not of its annotated kind, element by element.

    Args:
        name: of the setting.
        value: its value.
        hint: numbers, words, truth values, ``None``, and tuples or sequences of such are checked,
            what else is allowed passes.
        default: an example for the message.

    Raises:
        ValueError: if it is of another kind.
    """
    if not _fits(value, hint):
        example = "" if default is None else f", such as {default!r}"
        raise ValueError(f"{name} must be {_wanted(hint)}{example}, got {value!r}")


def _fits(value: Any, hint: Any) -> bool:
    if hint is bool:
        return isinstance(value, bool)
    if hint in _TYPES:
        return isinstance(value, _TYPES[hint]) and not isinstance(value, bool)  # True is no number
    if hint is NoneType:
        return value is None
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if _is_collection(hint):
        several = isinstance(value, Collection) and not isinstance(value, (str, Mapping))
        return several and all(_fits(part, get_args(hint)[0]) for part in value)
    return True


def _wanted(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_wanted(part) for part in get_args(hint) if part is not NoneType)
    if _is_collection(hint):
        return f"{_wanted(get_args(hint)[0])} for each place, in brackets"
    return _NAMES.get(hint) or getattr(hint, "__name__", str(hint))


def _is_collection(hint: Any) -> bool:
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Collection) and bool(get_args(hint))
