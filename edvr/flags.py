"""Flags of the programs of `edvr`: those of `data_tools.base.flags`, with the device chosen and malloc tuned."""
import dataclasses
import os
from typing import Any, Callable, List, Optional, Type

from data_tools.base import flags, program
from data_tools.base.config import Config, ConfigError
from data_tools.base.flags import FLAGS, define
from edvr.devices import choice, host_memory
from edvr.launch import relaunch

__all__ = ['FLAGFILES', 'FLAGS', 'build', 'build_all', 'define', 'run']

# an installed package contains the flagfiles; in a checkout they are beside it
_HERE = os.path.dirname(os.path.abspath(__file__))
FLAGFILES: Optional[str] = next((path for path in (os.path.join(_HERE, 'flagfiles'),
                                                   os.path.join(os.path.dirname(_HERE), 'flags'))
                                 if os.path.isdir(path)), None)


def run(main: Callable[[], Optional[int]], *classes: Type[Config], auto: Optional[str] = None, **options: Any) -> None:
    """Runs a program as `data_tools.base.flags.run`, with malloc tuned before TensorFlow allocates.

    Args:
      main: returns None or an exit code.
      *classes: their fields are the flags.
      auto: the device that --device=auto means; None is that of this host.
      **options: `opened` and `inputs` of `data_tools.base.flags.run`.
    """
    def with_device(function: Callable[..., List[Any]]) -> Callable[..., List[Any]]:
        def call(*given: Type[Config]) -> List[Any]:
            if auto and FLAGS.device == flags.AUTO:
                FLAGS.device = auto
            return function(*given)
        return call

    host_memory.tune_malloc()
    flags.run(main, *classes, build_all=with_device(build_all), notes=with_device(_notes), flagfiles=FLAGFILES,
              **options)


def build(cls: Type[Config]) -> Any:
    """Returns the configuration of one class."""
    return build_all(cls)[0]


def build_all(*classes: Type[Config]) -> List[Any]:
    """Returns the configurations of the command line, in the order of `classes`.

    --device=auto becomes the device of this host. An option that this device does not have keeps its default if only
    a flagfile sets it, because a flagfile serves all devices.

    Raises:
      ConfigError: naming everything that is wrong, also options of another device on the command line itself.
    """
    return flags.build_all(*classes, build=_build)


def _build(cls: Type[Config]) -> Config:
    foreign = _foreign(cls)
    given = [field for field in foreign if _is_typed(field)]
    if given:
        raise ConfigError(['%s is %r, which is for --device=%s; the device is %s (%s)' % (
            (field.name, _value(field), ' or '.join(field.metadata['devices'])) + _choice())
            for field in given])
    changes = {field.name: field.default for field in foreign}
    if _has_device(cls):
        changes['device'] = _choice().device
    return flags.build(cls, **changes)


def _has_device(cls: Type[Config]) -> bool:
    return 'device' in {field.name for field in dataclasses.fields(cls)}


def _choice() -> choice.Choice:
    return choice.choose(FLAGS.device)


def _value(field: flags.Field) -> Any:
    """Returns the value of the flag of a field; a list as text, separated by commas."""
    value = FLAGS[field.name].value
    return ','.join(value) if isinstance(value, list) else value


def _foreign(cls: Type[Config]) -> List[flags.Field]:
    """Returns the fields that are set although the device does not have them."""
    limited = [field for field in dataclasses.fields(cls) if field.metadata['devices']]
    values = flags.values(cls) if limited else {}
    return [field for field in limited
            if _choice().device not in field.metadata['devices'] and values[field.name] != field.default]


def _is_typed(field: flags.Field) -> bool:
    """Returns whether the option is given on the command line itself, and not only in a flagfile."""
    return program.started().gives(field.name)


def _notes(*classes: Type[Config]) -> List[str]:
    """Returns lines that name the device and the reason, the options ignored because of it, and the used defaults."""
    if relaunch.LAUNCHED in os.environ:
        return []   # the process that started this rank has printed them
    lines = ['device: %s (%s)' % _choice() for cls in classes if _has_device(cls)][:1]
    ignored = ['%s=%s' % (field.name, _value(field)) for cls in classes for field in _foreign(cls)
               if not _is_typed(field)]   # one that is typed is an error
    if ignored:
        lines.append('ignored on %s: %s' % (_choice().device, ', '.join(ignored)))
    return lines + flags.used_defaults(*classes)
