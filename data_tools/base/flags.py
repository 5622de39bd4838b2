"""Command-line flags made from the fields of the configuration classes: one definition for flag, help and limits."""
import contextlib
import dataclasses
import sys
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Type, TypeVar

from absl import flags

from data_tools.base import program, staging
from data_tools.base.config import PIPE, Config, ConfigError, element_type, is_tuple
from data_tools.base.errors import UserError

FLAGS = flags.FLAGS
PRINT_CONFIG = 'print_config'
CACHE_DIR = 'cache_dir'
AUTO = 'auto'
C = TypeVar('C', bound=Config)
Field = dataclasses.Field   # of a Config


def topics_of(*classes: Type[Config]) -> List[Type[Config]]:
    """Returns the classes that declare the fields of `classes`, in the order of the help."""
    return [topic for cls in classes for topic in cls.topics()]


def define(*classes: Type[Config]) -> None:
    """Defines one flag for each field of the given Config classes (and `--variant` if a class has PRESETS)."""
    for topic in topics_of(*classes):
        for field in topic.own_fields():
            _define_one(field, topic.TITLE)
        if topic.PRESETS:
            presets = '; '.join('%s: %s' % (name, ', '.join('%s=%s' % item for item in sorted(preset.items())))
                                for name, preset in sorted(topic.PRESETS.items()))
            flags.DEFINE_enum('variant', None, sorted(topic.PRESETS), 'preset of several options; one given '
                              'explicitly wins (%s)' % presets, module_name=topic.TITLE)


def _define_one(field: Field, module: str) -> None:
    kind: Any = element_type(field)
    default: Any = field.default
    limits: Dict[str, Any] = {}
    help = field.metadata['help']
    choices, low, high = (field.metadata[key] for key in ('choices', 'low', 'high'))
    if field.metadata['repeated']:
        flags.DEFINE_multi_string(field.name, list(default), help, module_name=module)
        return
    if is_tuple(field):
        flags.DEFINE_list(field.name, [str(item) for item in default], help + ' (comma-separated)',
                          module_name=module)
        return
    if field.metadata['bare'] is not None:
        flags.DEFINE_flag(_BareFlag(field, list(choices)), module_name=module)
        return
    if choices is not None and kind is str:
        auto = field.metadata['auto']
        flags.DEFINE_enum(field.name, AUTO if auto else default, ([AUTO] if auto else []) + list(choices), help,
                          module_name=module)
        return
    if choices is not None:
        help += ' (one of %s)' % ', '.join(map(str, choices))
    elif kind in (int, float):
        limits = dict(lower_bound=low, upper_bound=high)
    define_flag = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float,
                   str: flags.DEFINE_string}[kind]
    define_flag(field.name, default, help, module_name=module, **limits)


class _BareFlag(flags.Flag):
    """Takes one of several values, or the forms of a boolean flag, --NAME and --noNAME."""

    def __init__(self, field: Field, choices: List[str]) -> None:
        super().__init__(flags.EnumParser(choices), flags.ArgumentSerializer(), field.name, field.default,
                         '<%s>: %s' % ('|'.join(choices), field.metadata['help']), boolean=True)
        self._words = {'true': field.metadata['bare'], 'false': ''}

    def parse(self, argument: Any) -> None:
        """Takes a value, or the words of a boolean flag."""
        super().parse(self._words.get(argument, argument))


def values(cls: Type[Config]) -> Dict[str, Any]:
    """Returns {field: value} of the flags of a Config class, presets included, unchecked."""
    preset = cls.PRESETS[FLAGS.variant] if cls.PRESETS and FLAGS.variant else {}
    found = {}
    for field in dataclasses.fields(cls):
        value = FLAGS[field.name].value
        if not FLAGS[field.name].present:
            value = preset.get(field.name, value)
        found[field.name] = _elements(field, value) if is_tuple(field) else value
    return found


def build(cls: Type[C], **overrides: Any) -> C:
    """Returns the `cls` that the command line describes.

    Args:
      cls: a Config class given to `define`.
      **overrides: field values that win over the flags.
    Raises:
      ConfigError: lists all problems.
    """
    return cls(**dict(values(cls), **overrides))


def build_all(*classes: Type[Config], build: Callable[[Type[Config]], Config] = build) -> List[Any]:
    """Returns the configurations of the command line, in the order of `classes`.

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


def _elements(field: Field, texts: Sequence[str]) -> tuple:
    kind = element_type(field)
    try:
        return tuple(kind(text) for text in texts)
    except ValueError:
        raise UserError('--%s=%s: each element must be %s' % (field.name, ','.join(texts), kind.__name__)) from None


def used_defaults(*classes: Type[Config]) -> List[str]:
    """Returns a line for each path option that keeps its default, such as 'data: data/REDS/tfrecords'."""
    return ['%s: %s' % (field.metadata['shown'], field.default)
            for cls in classes for field in dataclasses.fields(cls)
            if field.metadata['shown'] and field.default and not FLAGS[field.name].present]


def as_flagfile(configs: Iterable[Config]) -> str:
    """Returns the text of a flagfile that gives `configs`, by topic."""
    lines = []
    for config in configs:
        for topic in config.topics():
            lines.append('# ' + topic.TITLE)
            for field in topic.own_fields():
                value = getattr(config, field.name)
                parts = value if field.metadata['repeated'] else [] if value is None else [value]
                lines += [_as_flag(field, part) for part in parts]
    return '\n'.join(lines)


def _as_flag(field: Field, value: Any) -> str:
    if isinstance(value, bool):
        return '--%s%s' % ('' if value else 'no', field.name)
    return '--%s=%s' % (field.name, ','.join(map(str, value)) if isinstance(value, tuple) else value)


def _paths(inputs: Sequence[str], *classes: Type[Config]) -> List[staging.Given]:
    """Returns the paths that options have."""
    return [staging.Given(name, FLAGS[name].value or '', staging.INPUT, False) for name in inputs] + [
            staging.Given(field.name, FLAGS[field.name].value or '', field.metadata['path'], field.metadata['gfile'])
            for cls in classes for field in dataclasses.fields(cls) if field.metadata['path']]


def run(main: Callable[[], Optional[int]], *classes: Type[Config],
        build_all: Callable[..., List[Any]] = build_all, notes: Callable[..., List[str]] = used_defaults,
        flagfiles: Optional[str] = None, opened: Optional[Sequence[Type[Config]]] = None,
        inputs: Sequence[str] = ()) -> None:
    """Runs a program whose flags are the fields of `classes`; see `program.run`.

    Args:
      main: returns None or an exit code.
      build_all: function(*classes) -> configurations, for --print_config.
      notes: function(*classes) -> lines to print before `main` runs.
      flagfiles: folder of flagfiles that are known by their names; or None.
      opened: those of `classes` whose paths the program opens; None is all. Others are neither reached nor copied.
      inputs: names of flags, beside those of `classes`, that are paths to read.
    """
    define(*classes)
    flags.DEFINE_bool(PRINT_CONFIG, False, 'print the configuration and end', module_name=PRINT_CONFIG)
    if inputs or any(field.metadata['path'] for cls in classes for field in dataclasses.fields(cls)):
        flags.DEFINE_string(CACHE_DIR, staging.CACHE_DIR, 'folder for copies of obs://', module_name=PRINT_CONFIG)

    def start() -> Optional[int]:
        if FLAGS[PRINT_CONFIG].value:
            print(as_flagfile(build_all(*classes)))
            return 0
        given = _paths(inputs, *classes if opened is None else opened)
        if any(each.scheme for each in given):
            build_all(*classes)   # wrong options are reported before anything is copied
            staging.require_readable(given, FLAGS.runner if 'runner' in FLAGS else '')
        if any(each.path.startswith(staging.SCHEME) for each in given):
            return staging.run(given, FLAGS[CACHE_DIR].value)
        piped = any(field.metadata['pipe'] and FLAGS[field.name].value == PIPE for field in fields)
        with contextlib.redirect_stdout(sys.stderr if piped else sys.stdout):
            for line in notes(*classes):
                print(line, flush=True)
            return main()

    start.__module__ = main.__module__   # whose docstring the help shows
    topics = topics_of(*classes)
    fields = [field for topic in topics for field in topic.own_fields()]
    common = {field.name for field in fields if field.metadata['common']}
    program.run(start, topics=list(dict.fromkeys(topic.TITLE for topic in topics)),
                common=common | {'variant'} if common else common, flagfiles=flagfiles,
                renamed={field.metadata['former']: field.name for field in fields if field.metadata['former']})
