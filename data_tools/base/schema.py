"""Schemas of JSON files: a file that was cut, edited or mixed up with another is refused by field and value.

A schema is built of the classes below; `read` reads a file and checks it, `check` checks a value.

    SHARD = Record(name=Text(r'shard-\\d+'), records=Integer(1), bytes=Integer(0))
    MANIFEST = Record(scale=Integer(1, 4), shards=ListOf(SHARD, least=1), job=MapOf(Anything()))
    values = read('set/manifest.json', MANIFEST, 'pack the set again')
"""
import json
import math
import re

from data_tools.base import files
from data_tools.base.errors import UserError

_SHOWN = 60   # characters of a wrong value that an error shows


class Schema:
    """Base of all schemas.

    Attributes:
      wanted: str, what a value must be, for the error.
    """
    wanted = 'a value'

    def problems(self, value, where):
        """Yields (place of the value, the value, what it must be) for each thing that is wrong below `where` (str)."""
        if not self.accepts(value):
            yield where, value, self.wanted

    def accepts(self, value):
        """Whether the value is right; for schemas of values without parts."""
        return True


class Anything(Schema):
    """Any value that JSON can express."""


class Boolean(Schema):
    """true or false."""
    wanted = 'true or false'

    def accepts(self, value):
        return isinstance(value, bool)


class Integer(Schema):
    """A whole number within inclusive limits; None for no limit."""

    def __init__(self, low=None, high=None):
        self._low, self._high = low, high
        self.wanted = 'a whole number' + _limits(low, high)

    def accepts(self, value):
        return isinstance(value, int) and not isinstance(value, bool) and _within(value, self._low, self._high)


class Number(Schema):
    """A finite number within inclusive limits; None for no limit."""

    def __init__(self, low=None, high=None):
        self._low, self._high = low, high
        self.wanted = 'a finite number' + _limits(low, high)

    def accepts(self, value):
        return (isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
                and _within(value, self._low, self._high))


class Text(Schema):
    """A string; with `pattern`, one that this regular expression matches as a whole."""

    def __init__(self, pattern=None, wanted=None):
        self._pattern = pattern
        self.wanted = wanted or ('a string' if pattern is None else 'a string like %s' % pattern)

    def accepts(self, value):
        return isinstance(value, str) and (self._pattern is None or re.fullmatch(self._pattern, value) is not None)


class OneOf(Schema):
    """One of the given values, of the same type."""

    def __init__(self, *values):
        self._values = values
        self.wanted = 'one of %s' % ', '.join(json.dumps(value) for value in values)

    def accepts(self, value):
        return any(type(value) is type(known) and value == known for known in self._values)


class Nullable(Schema):
    """null, or what another schema accepts."""

    def __init__(self, schema):
        self._schema = schema

    def problems(self, value, where):
        return () if value is None else self._schema.problems(value, where)


class ListOf(Schema):
    """A list of `least` to `most` items of one schema."""

    def __init__(self, item, least=0, most=None):
        self._item, self._least, self._most = item, least, most
        self.wanted = 'a list' + _limits(least or None, most, ' items')

    def problems(self, value, where):
        if not isinstance(value, list) or not _within(len(value), self._least, self._most):
            yield where, value, self.wanted
            return
        for index, item in enumerate(value):
            yield from self._item.problems(item, '%s[%d]' % (where, index))


class MapOf(Schema):
    """An object with any keys, whose values are of one schema."""
    wanted = 'an object'

    def __init__(self, item):
        self._item = item

    def problems(self, value, where):
        if not isinstance(value, dict):
            yield where, value, self.wanted
            return
        for key, item in value.items():
            yield from self._item.problems(item, _inside(where, key))


class Record(Schema):
    """An object with exactly these fields.

    Args:
      _optional: dict of name -> Schema, fields that may be missing.
      _others: whether further fields are accepted, unchecked: for files that newer versions may extend.
      **fields: name -> Schema.
    """
    wanted = 'an object'

    def __init__(self, _optional=None, _others=False, **fields):
        self._fields, self._optional, self._others = fields, _optional or {}, _others

    def problems(self, value, where):
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


def check(value, schema, path, advice):
    """Raises UserError that names the file, the first wrong fields, their values and what they must be.

    Args:
      value: what the file holds.
      schema: Schema.
      path: str, the file, for the error.
      advice: str, what to do, for the error.
    """
    found = list(schema.problems(value, ''))
    if found:
        texts = ['%s %s; it must be %s' % (where or 'the whole', _shown(wrong), wanted)
                 for where, wrong, wanted in found[:3]]
        more = '' if len(found) <= 3 else ' (and %d more)' % (len(found) - 3)
        raise UserError('%s: %s%s: %s' % (path, '. '.join(texts), more, advice))


def read(path, schema, advice):
    """The value in a JSON file, checked.

    Args:
      path: str, also of TensorFlow's file systems. schema, advice: see `check`.
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
