"""Configuration objects: frozen dataclasses whose fields have help texts and limits, checked on creation.

A field is the one definition of an option: `data_tools.base.flags` makes the command-line flag from it.
"""
import dataclasses
import json
import typing

from data_tools.base.errors import UserError


class ConfigError(UserError):
    """One or more options are wrong; the text lists all of them."""

    def __init__(self, problems):
        self.problems = list(problems)
        super().__init__('; '.join(self.problems))


def option(default, help, choices=None, low=None, high=None, common=False, devices=None, shown=None,
           auto=False, repeated=False):
    """A field of a Config.

    Args:
      default: its value when no option is given.
      help: str, what it does, its unit, and when to change it.
      choices: allowed values, or None.
      low, high: inclusive limits of a number (of each element of a tuple), or None.
      common: whether the short help of programs shows it.
      devices: names of the devices that have this option, or None for all; see `edvr.flags`.
      shown: str, the name under which a program prints the default when it uses it; None prints nothing.
      auto: whether the flag also takes `auto`, which is its default; the program replaces it by one of `choices`.
      repeated: whether the flag of a tuple of str is given once for each element, which may then contain commas.
    """
    return dataclasses.field(default=default, metadata=dict(
        help=help, choices=choices, low=low, high=high, common=common, devices=devices, shown=shown, auto=auto,
        repeated=repeated))


def element_type(field):
    """The scalar type of a field: bool, int, float or str; for Tuple[x, ...] and Optional[x] it is x."""
    arguments = getattr(field.type, '__args__', None)
    return arguments[0] if arguments else field.type


def is_tuple(field):
    return getattr(field.type, '__origin__', None) in (tuple, typing.Tuple)


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of all configurations: subclasses declare fields with `option`, and `problems` for what spans fields."""

    def __post_init__(self):
        problems = [text for field in dataclasses.fields(self) for text in self._field_problems(field)]
        if not problems:   # checks across fields assume that each field is valid
            problems = list(self.problems())
        if problems:
            raise ConfigError(problems)

    def problems(self):
        """Yields a text for each inconsistency between fields."""
        return []

    def _field_problems(self, field):
        value, kind = getattr(self, field.name), element_type(field)
        if value is None and field.default is None:
            return
        if is_tuple(field):
            if not isinstance(value, tuple):
                yield '%s is %r; it must be a tuple of %s' % (field.name, value, kind.__name__)
                return
            values = value
        else:
            values = (value,)
        for item in values:
            sound = isinstance(item, (int, float)) if kind is float else isinstance(item, kind)
            if not sound or (isinstance(item, bool) and kind is not bool):
                yield '%s is %r; it must be %s' % (field.name, value, kind.__name__)
                continue
            choices, low, high = (field.metadata.get(key) for key in ('choices', 'low', 'high'))
            if choices is not None and item not in choices:
                yield '%s is %r; it must be one of %s' % (field.name, item, ', '.join(map(str, choices)))
            # written as "not >=" so that NaN is refused too
            if low is not None and not item >= low:
                yield '%s is %r; it must be at least %r' % (field.name, item, low)
            if high is not None and not item <= high:
                yield '%s is %r; it must be at most %r' % (field.name, item, high)

    def replace(self, **changes):
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self):
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values):
        """Raises ConfigError naming every unknown field."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(fields))
        if unknown:
            raise ConfigError(['%s has no option %r' % (cls.__name__, name) for name in unknown])
        return cls(**{name: tuple(value) if is_tuple(fields[name]) and isinstance(value, list) else value
                      for name, value in values.items()})

    def to_json(self):
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + '\n'

    @classmethod
    def from_json(cls, text):
        return cls.from_dict(json.loads(text))
