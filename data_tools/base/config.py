"""Configuration objects: frozen dataclasses whose fields have help texts and limits, checked on creation.

A field is the one definition of an option: `data_tools.base.flags` makes the command-line flag from it.
"""
import dataclasses
import typing
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Set, Tuple, Type, TypeVar

from data_tools.base.errors import UserError

C = TypeVar('C', bound='Config')
PIPE = '-'   # instead of a path: standard input or standard output


class ConfigError(UserError):
    """One or more options are wrong; the text lists all of them.

    Attributes:
      problems: list of str.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__('; '.join(self.problems))


def option(default: Any, help: str, choices: Optional[Sequence[Any]] = None, low: Optional[float] = None,
           high: Optional[float] = None, common: bool = False, devices: Sequence[str] = (), shown: Optional[str] = None,
           auto: bool = False, repeated: bool = False, former: Optional[str] = None, may_change: bool = False,
           local: bool = False, counts_steps: bool = False, adapter: Sequence[str] = (), path: Optional[str] = None,
           gfile: bool = False, pipe: bool = False, compared: bool = False, bare: Optional[str] = None) -> Any:
    """Returns a field of a Config.

    Args:
      default: its value when no option is given.
      help: what it does, its unit, and when to change it.
      choices: allowed values, or None.
      low, high: inclusive limits of a number (of each element of a tuple), or None.
      common: whether the short help of programs shows it.
      devices: names of the devices that have this option; empty means all.
      shown: the name under which a program prints the default when it uses it; None prints nothing.
      auto: whether the flag also takes `auto`, which is its default; the program replaces it by one of `choices`.
      repeated: whether the flag of a tuple of str is given once for each element, which may then contain commas.
      former: the earlier name, which flags, flagfiles and saved configurations may still use.
      may_change: whether it may change between sessions of a training run: it does not change what is computed.
      local: whether it may differ between the ranks of a job, as a path or a number of threads of their hosts.
      counts_steps: whether it is a number of training steps, which must be a multiple of the loops of the device.
      adapter: arguments of the Ascend adapter that the program sets from this option.
      path: whether it is a path, and its use: 'input', 'checkpoint' (also the prefix of one), 'output', 'derived' (an
        output that is by default beside an input) or 'local' (of this machine). All but the last may be obs://, see
        `data_tools.base.staging`.
      gfile: whether the path may be one of TensorFlow's file systems, such as gs://.
      compared: whether TensorBoard's table of hyperparameters shows it, to compare runs.
      bare: one of `choices`, which the flag means without a value; --noNAME is then the empty one.
      pipe: whether the value PIPE means data on standard output; the program then prints to standard error.
    """
    return dataclasses.field(default=default, metadata=dict(
        help=help, choices=choices, low=low, high=high, common=common, devices=tuple(devices), shown=shown, auto=auto,
        repeated=repeated, former=former, may_change=may_change, local=local, counts_steps=counts_steps,
        adapter=tuple(adapter), path=path, gfile=gfile, pipe=pipe, compared=compared, bare=bare))


def element_type(field: 'dataclasses.Field[Any]') -> type:
    """Returns the scalar type of a field: bool, int, float or str; for Tuple[x, ...] and Optional[x] it is x."""
    arguments = getattr(field.type, '__args__', None)
    return arguments[0] if arguments else field.type


def is_tuple(field: 'dataclasses.Field[Any]') -> bool:
    """Returns whether the value of a field is a tuple."""
    return getattr(field.type, '__origin__', None) in (tuple, typing.Tuple)


def names_with(property: str, *classes: Type['Config']) -> Set[str]:
    """Returns the names of the options of `classes` that have a property, which is an argument of `option`."""
    return {field.name for cls in classes for field in dataclasses.fields(cls) if field.metadata[property]}


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of all configurations: subclasses declare fields with `option`, and `problems` for what spans fields.

    A subclass that declares fields is a topic of the help.

    Attributes:
      TITLE: the name of the topic.
      PRESETS: {name: {field: value}}, values of several fields that `--variant` selects.
    """

    TITLE = ''
    PRESETS = {}   # type: Mapping[str, Mapping[str, Any]]

    def __post_init__(self) -> None:
        problems = [text for field in dataclasses.fields(self) for text in self._field_problems(field)]
        if not problems:   # checks across fields assume that each field is valid
            problems = list(self.problems())
        if problems:
            raise ConfigError(problems)

    def problems(self) -> Iterable[str]:
        """Yields a text for each inconsistency between fields."""
        return []

    def _field_problems(self, field: 'dataclasses.Field[Any]') -> Iterator[str]:
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
            valid = isinstance(item, (int, float)) if kind is float else isinstance(item, kind)
            if not valid or (isinstance(item, bool) and kind is not bool):
                yield '%s is %r; it must be %s' % (field.name, value, kind.__name__)
                continue
            choices, low, high = (field.metadata[key] for key in ('choices', 'low', 'high'))
            if choices is not None and item not in choices:
                yield '%s is %r; it must be one of %s' % (field.name, item, ', '.join(map(str, choices)))
            # written as "not >=" so that NaN is refused too
            if low is not None and not item >= low:
                yield '%s is %r; it must be at least %r' % (field.name, item, low)
            if high is not None and not item <= high:
                yield '%s is %r; it must be at most %r' % (field.name, item, high)

    def replace(self: C, **changes: Any) -> C:
        """Returns a copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> Dict[str, Any]:
        """Returns {field: value}."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def topics(cls) -> List[Type['Config']]:
        """Returns the classes that declare the fields of this one: itself, then bases in the order of the fields."""
        return [topic for topic in (cls,) + cls.__mro__[:0:-1] if issubclass(topic, Config) and topic.own_fields()]

    @classmethod
    def own_fields(cls) -> Tuple['dataclasses.Field[Any]', ...]:
        """Returns the fields that this class declares itself."""
        return tuple(field for field in dataclasses.fields(cls) if field.name in vars(cls).get('__annotations__', ()))

    @classmethod
    def current_names(cls, values: Mapping[str, Any]) -> Dict[str, Any]:
        """Returns {field: value} with the earlier names of fields replaced by those of today."""
        names = {field.metadata['former']: field.name for field in dataclasses.fields(cls) if field.metadata['former']}
        return {names.get(name, name): value for name, value in values.items()}

    @classmethod
    def from_dict(cls: Type[C], values: Mapping[str, Any]) -> C:
        """Returns the configuration of {field: value}, also with earlier names.

        Raises:
          ConfigError: names every unknown field.
        """
        values = cls.current_names(values)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(fields))
        if unknown:
            raise ConfigError(['%s has no option %r' % (cls.__name__, name) for name in unknown])
        return cls(**{name: tuple(value) if is_tuple(fields[name]) and isinstance(value, list) else value
                      for name, value in values.items()})
