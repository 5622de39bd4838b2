"""Schemas of JSON files: errors of truncated, edited or foreign files name the field and its value.

A schema is composed of the classes below; `read` reads a file and checks it, `check` checks a value.

    SHARD = Record(name=Text(r'shard-\\d+'), records=Integer(1), bytes=Integer(0))
    MANIFEST = Record(scale=Integer(1, 4), shards=ListOf(SHARD, least=1), job=MapOf(Anything()))
    values = read('set/manifest.json', MANIFEST, 'pack the set again')
"""
import json
import re
from typing import Any, Iterable, Mapping, Optional, Tuple

from data_tools.base import files
from data_tools.base.errors import UserError

Problem = Tuple[str, Any, str]   # path of a value, the value, what it must be
_SHOWN = 60   # characters of a wrong value that an error shows


class Schema:
    """Base of all schemas.

    Attributes:
      wanted: what a value must be, for the error.
    """
    wanted = 'a value'

    def problems(self, value: Any, where: str) -> Iterable[Problem]:
        """Yields each problem of the value at the path `where`."""
        if not self.accepts(value):
            yield where, value, self.wanted

    def accepts(self, value: Any) -> bool:
        """Returns whether the value is valid; for schemas of values without parts."""
        return True


class Anything(Schema):
    """Any value that JSON can express."""


class Boolean(Schema):
    """true or false."""
    wanted = 'true or false'

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)


class Number(Schema):
    """A finite number within inclusive limits; None for no limit."""
    _types: Tuple[type, ...] = (int, float)
    _name = 'a finite number'

    def __init__(self, low: Optional[float] = None, high: Optional[float] = None) -> None:
        self._low, self._high = low, high
        self.wanted = self._name + _limits(low, high)

    def accepts(self, value: Any) -> bool:
        return (isinstance(value, self._types) and not isinstance(value, bool)
                and float('-inf') < value < float('inf') and _within(value, self._low, self._high))


class Integer(Number):
    """A whole number within inclusive limits; None for no limit."""
    _types, _name = (int,), 'a whole number'


class Text(Schema):
    """A string; with `pattern`, one that this regular expression matches as a whole."""

    def __init__(self, pattern: Optional[str] = None, wanted: Optional[str] = None) -> None:
        self._pattern = pattern
        self.wanted = wanted or ('a string' if pattern is None else 'a string like %s' % pattern)

    def accepts(self, value: Any) -> bool:
        return isinstance(value, str) and (self._pattern is None or re.fullmatch(self._pattern, value) is not None)


class OneOf(Schema):
    """One of the given values, of the same type."""

    def __init__(self, *values: Any) -> None:
        self._values = values
        self.wanted = 'one of %s' % ', '.join(json.dumps(value) for value in values)

    def accepts(self, value: Any) -> bool:
        return any(type(value) is type(known) and value == known for known in self._values)


class Nullable(Schema):
    """null, or what another schema accepts."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def problems(self, value: Any, where: str) -> Iterable[Problem]:
        return () if value is None else self._schema.problems(value, where)


class ListOf(Schema):
    """A list of `least` to `most` items of one schema."""

    def __init__(self, item: Schema, least: int = 0, most: Optional[int] = None) -> None:
        self._item, self._least, self._most = item, least, most
        self.wanted = 'a list' + _limits(least or None, most, ' items')

    def problems(self, value: Any, where: str) -> Iterable[Problem]:
        if not isinstance(value, list) or not _within(len(value), self._least, self._most):
            yield where, value, self.wanted
            return
        for index, item in enumerate(value):
            yield from self._item.problems(item, '%s[%d]' % (where, index))


class Pair(Schema):
    """Accepts a list of two values, each with its schema."""
    wanted = 'a list of two values'

    def __init__(self, first: Schema, second: Schema) -> None:
        self._schemas = first, second

    def problems(self, value: Any, where: str) -> Iterable[Problem]:
        if not isinstance(value, list) or len(value) != 2:
            yield where, value, self.wanted
            return
        for index, (part, item) in enumerate(zip(self._schemas, value)):
            yield from part.problems(item, '%s[%d]' % (where, index))


class MapOf(Schema):
    """An object with any keys, whose values are of one schema."""
    wanted = 'an object'

    def __init__(self, item: Schema) -> None:
        self._item = item

    def problems(self, value: Any, where: str) -> Iterable[Problem]:
        if not isinstance(value, dict):
            yield where, value, self.wanted
            return
        for key, item in value.items():
            yield from self._item.problems(item, _inside(where, key))


class Record(Schema):
    """An object with exactly these fields."""
    wanted = 'an object'

    def __init__(self, _optional: Optional[Mapping[str, Schema]] = None, _others: bool = False,
                 **fields: Schema) -> None:
        """Takes the schema of each field.

        Args:
          _optional: of fields that may be missing.
          _others: whether further fields are accepted, unchecked, because newer versions may extend the file.
          **fields: of the others.
        """
        self._fields, self._optional, self._others = fields, _optional or {}, _others

    def problems(self, value: Any, where: str) -> Iterable[Problem]:
        if not isinstance(value, dict):
            yield where, value, self.wanted
            return
        for name, schema in self._fields.items():
            if name in value:
                yield from schema.problems(value[name], _inside(where, name))
            else:
                yield _inside(where, name), _MISSING, 'there'
        for name in value:
            if name in self._optional:
                yield from self._optional[name].problems(value[name], _inside(where, name))
            elif name not in self._fields and not self._others:
                yield _inside(where, name), value[name], 'absent: no such field is known'


_MISSING = object()


def check(value: Any, schema: Schema, path: str, advice: str) -> None:
    """Raises UserError that names the file, the first wrong fields, their values and what they must be.

    Args:
      value: the content of the file.
      schema: of the content.
      path: the file, for the error.
      advice: what to do, for the error.
    """
    found = list(schema.problems(value, ''))
    if found:
        texts = ['%s %s; it must be %s' % (where or 'the whole', _shown(wrong), wanted)
                 for where, wrong, wanted in found[:3]]
        more = '' if len(found) <= 3 else ' (and %d more)' % (len(found) - 3)
        raise UserError('%s: %s%s: %s' % (path, '. '.join(texts), more, advice))


def read(path: str, schema: Schema, advice: str) -> Any:
    """Reads and checks a JSON file; also of TensorFlow's file systems.

    Raises:
      UserError: no such file, no JSON, or not what the schema describes.
    """
    value = files.read_json(path)
    check(value, schema, path, advice)
    return value


def _inside(where, name):
    return '%s.%s' % (where, name) if where else str(name)


def _shown(value):
    if value is _MISSING:
        return 'is missing'
    try:
        text = json.dumps(value)
    except RecursionError:
        return 'is nested too deeply to show'
    return 'is %s' % (text if len(text) <= _SHOWN else text[:_SHOWN] + ' ...')


def _within(value, low, high):
    return (low is None or value >= low) and (high is None or value <= high)


def _limits(low, high, unit=''):
    if low is None and high is None:
        return ''
    if high is None:
        return ' of at least %s%s' % (low, unit)
    return ' of at most %s%s' % (high, unit) if low is None else ' of %s to %s%s' % (low, high, unit)
