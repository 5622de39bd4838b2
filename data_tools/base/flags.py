"""Command-line flags, made from the fields of the configuration classes: one definition for flag, help and limits."""
import dataclasses

from absl import flags

from data_tools.base import program
from data_tools.base.config import ConfigError, element_type, is_tuple
from data_tools.base.errors import UserError

FLAGS = flags.FLAGS


def define(*classes):
    """Defines one flag for each field of the given Config classes (and `--variant` where a class has PRESETS)."""
    for cls in classes:
        for field in dataclasses.fields(cls):
            _define_one(field, cls.TITLE)
        if getattr(cls, 'PRESETS', None):
            presets = '; '.join('%s: %s' % (name, ', '.join('%s=%s' % item for item in sorted(preset.items())))
                                for name, preset in sorted(cls.PRESETS.items()))
            flags.DEFINE_enum('variant', None, sorted(cls.PRESETS), 'preset of several options; one given explicitly '
                              'wins (%s)' % presets, module_name=cls.TITLE)


def _define_one(field, module):
    kind, help, limits = element_type(field), field.metadata['help'], {}
    choices, low, high = (field.metadata.get(key) for key in ('choices', 'low', 'high'))
    if is_tuple(field):
        flags.DEFINE_list(field.name, [str(item) for item in field.default], help + ' (comma-separated)',
                          module_name=module)
        return
    if choices is not None and kind is str:
        flags.DEFINE_enum(field.name, field.default, list(choices), help, module_name=module)
        return
    if choices is not None:
        help += ' (one of %s)' % ', '.join(map(str, choices))
    elif kind in (int, float):
        limits = dict(lower_bound=low, upper_bound=high)
    define_flag = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float,
                   str: flags.DEFINE_string}[kind]
    define_flag(field.name, field.default, help, module_name=module, **limits)


def build(cls, **overrides):
    """The `cls` that the command line describes.

    Args:
      cls: a Config class given to `define`.
      **overrides: field values that win over the flags.
    Raises:
      ConfigError: naming everything that is wrong.
    """
    values = {}
    preset = cls.PRESETS[FLAGS.variant] if getattr(cls, 'PRESETS', None) and FLAGS.variant else {}
    for field in dataclasses.fields(cls):
        value = FLAGS[field.name].value
        if not FLAGS[field.name].present:
            value = preset.get(field.name, value)
        values[field.name] = _elements(field, value) if is_tuple(field) else value
    values.update(overrides)
    return cls(**values)


def build_all(*classes):
    """The configurations of the command line, list in the order of `classes`.

    Raises:
      ConfigError: naming everything that is wrong in any of them.
    """
    configs, problems = [], []
    for cls in classes:
        try:
            configs.append(build(cls))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return configs


def _elements(field, texts):
    kind = element_type(field)
    try:
        return tuple(kind(text) for text in texts)
    except ValueError:
        raise UserError('--%s=%s: each element must be %s' % (field.name, ','.join(texts), kind.__name__)) from None


def run(main, *classes):
    """Runs a program whose flags are the fields of `classes`; `--help` lists them by topic."""
    define(*classes)
    program.run(main, topics=[cls.TITLE for cls in classes])
