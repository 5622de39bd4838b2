"""Command-line flags made from the fields of the configuration classes: one definition for flag, help and limits."""
import dataclasses

from absl import flags

from data_tools.base import program
from data_tools.base.config import ConfigError, element_type, is_tuple
from data_tools.base.errors import UserError

FLAGS = flags.FLAGS
PRINT_CONFIG = 'print_config'
AUTO = 'auto'


def topics_of(*classes):
    """The classes whose fields are defined as flags: the parts of a class that is made of several, or itself."""
    return [topic for cls in classes for topic in getattr(cls, 'TOPICS', (cls,))]


def devices_of(cls, field):
    """The devices that have the option `field` (dataclasses.Field) of `cls`: tuple of str, or None for all.

    The option or its class names them.
    """
    topic = next(topic for topic in topics_of(cls) if field.name in topic.__dataclass_fields__)
    return field.metadata.get('devices') or getattr(topic, 'DEVICES', None)


def define(*classes):
    """Defines one flag for each field of the given Config classes (and `--variant` where a class has PRESETS)."""
    for cls in topics_of(*classes):
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
    if field.metadata['repeated']:
        flags.DEFINE_multi_string(field.name, list(field.default), help, module_name=module)
        return
    if is_tuple(field):
        flags.DEFINE_list(field.name, [str(item) for item in field.default], help + ' (comma-separated)',
                          module_name=module)
        return
    if choices is not None and kind is str:
        auto = field.metadata.get('auto')
        flags.DEFINE_enum(field.name, AUTO if auto else field.default, ([AUTO] if auto else []) + list(choices), help,
                          module_name=module)
        return
    if choices is not None:
        help += ' (one of %s)' % ', '.join(map(str, choices))
    elif kind in (int, float):
        limits = dict(lower_bound=low, upper_bound=high)
    define_flag = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float,
                   str: flags.DEFINE_string}[kind]
    define_flag(field.name, field.default, help, module_name=module, **limits)


def values(cls):
    """{field: value} of the flags of a Config class, presets included, unchecked."""
    preset = cls.PRESETS[FLAGS.variant] if getattr(cls, 'PRESETS', None) and FLAGS.variant else {}
    found = {}
    for field in dataclasses.fields(cls):
        value = FLAGS[field.name].value
        if not FLAGS[field.name].present:
            value = preset.get(field.name, value)
        found[field.name] = _elements(field, value) if is_tuple(field) else value
    return found


def build(cls, **overrides):
    """The `cls` that the command line describes.

    Args:
      cls: a Config class given to `define`.
      **overrides: field values that win over the flags.
    Raises:
      ConfigError: lists all problems.
    """
    return cls(**dict(values(cls), **overrides))


def build_all(*classes, build=build):
    """The configurations of the command line, list in the order of `classes`.

    Args:
      build: function(class) -> configuration.
    Raises:
      ConfigError: lists all problems of all of them.
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


def used_defaults(*classes):
    """A line for each path option that keeps its default, such as 'data: data/REDS/tfrecords'."""
    return ['%s: %s' % (field.metadata['shown'], field.default)
            for cls in classes for field in dataclasses.fields(cls)
            if field.metadata.get('shown') and field.default and not FLAGS[field.name].present]


def as_flagfile(configs):
    """The text of a flagfile that gives `configs` (list of Config), by topic."""
    lines = []
    for config in configs:
        for topic in topics_of(type(config)):
            lines.append('# ' + topic.TITLE)
            for field in dataclasses.fields(topic):
                value = getattr(config, field.name)
                parts = value if field.metadata['repeated'] else [] if value is None else [value]
                lines += [_as_flag(field, part) for part in parts]
    return '\n'.join(lines)


def _as_flag(field, value):
    if isinstance(value, bool):
        return '--%s%s' % ('' if value else 'no', field.name)
    return '--%s=%s' % (field.name, ','.join(map(str, value)) if isinstance(value, tuple) else value)


def run(main, *classes, build_all=build_all, notes=used_defaults, flagfiles=None):
    """Runs a program whose flags are the fields of `classes`; see `program.run`.

    Args:
      main: function without arguments.
      build_all: function(*classes) -> configurations, for --print_config.
      notes: function(*classes) -> list of str, lines to print before `main` runs.
      flagfiles: str, folder of flagfiles that are known by their names; or None.
    """
    define(*classes)
    flags.DEFINE_bool(PRINT_CONFIG, False, 'print the configuration and end', module_name=PRINT_CONFIG)

    def start():
        if FLAGS[PRINT_CONFIG].value:
            print(as_flagfile(build_all(*classes)))
            return 0
        for line in notes(*classes):
            print(line, flush=True)
        return main()

    start.__module__ = main.__module__   # whose docstring the help shows
    topics = topics_of(*classes)
    common = {field.name for cls in topics for field in dataclasses.fields(cls) if field.metadata.get('common')}
    program.run(start, topics=[cls.TITLE for cls in topics], common=common | {'variant'} if common else common,
                flagfiles=flagfiles)
