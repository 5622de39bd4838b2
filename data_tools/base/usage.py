"""The text of `--help`: the common flags by topic; on request all flags, one topic or one flag."""
import os
from typing import Collection, Iterable, List

from absl import flags

from data_tools.base.errors import UserError

WIDTH = 118
_EVERYWHERE = (
    ('flagfile', 'read flags from a file, one per line; the name of a file that comes with the program is enough'),
    ('print_config', 'print the resulting configuration as a flagfile, and exit'),
    ('cache_dir', 'folder on this machine for the copies of paths that are obs:// [/cache]'),
    ('version', 'print the version, and exit'),
    ('help', 'show the common flags; --help=TOPIC shows one topic, --help=FLAG one flag, --helpfull all'))


def overview(doc: str, topics: List[str], common: Collection[str]) -> str:
    """Returns the short help.

    Args:
      doc: the program's docstring.
      topics: the titles under which its flags are defined.
      common: the flags to show; empty shows all.
    """
    shown = {topic: [flag for flag in _flags(topic) if not common or flag.name in common] for topic in topics}
    hidden = sum(len(_flags(topic)) - len(shown[topic]) for topic in topics)
    parts = [doc.strip()] + [_section(topic, shown[topic]) for topic in topics if shown[topic]] + [_everywhere()]
    if hidden:
        parts.append('%d more flags: --helpfull shows all; --help=TOPIC those of one topic: %s.'
                     % (hidden, ', '.join(topics)))
    return '\n\n'.join(parts)


def full(doc: str, topics: List[str]) -> str:
    """Returns the help with every flag."""
    return '\n\n'.join([doc.strip()] + [_section(topic, _flags(topic)) for topic in topics] + [_everywhere()])


def about(word: str, topics: List[str]) -> str:
    """Returns the help of one topic or of one flag.

    Raises:
      UserError: `word` is neither.
    """
    for topic in topics:
        if topic.lower() == word.lower():
            return _section(topic, _flags(topic))
    name = word.lstrip('-')
    for topic in topics:
        found = [flag for flag in _flags(topic) if flag.name == name]
        if found:
            return _section(topic, found)
    raise UserError('--help=%s: neither a flag nor a topic; topics: %s' % (word, ', '.join(topics)))


def _flags(topic: str) -> 'List[flags.Flag]':
    """Returns the flags of a topic in the order of their definition, without those that absl itself defines."""
    return flags.FLAGS.flags_by_module_dict().get(topic, [])


def _section(topic: str, members: 'Iterable[flags.Flag]') -> str:
    # flags of no topic are those of the program's file
    return '\n'.join(['%s:' % os.path.basename(topic)] + [_describe(flag) for flag in members])


def _describe(flag: 'flags.Flag') -> str:
    text = '--%s%s: %s' % ('[no]' if flag.boolean else '', flag.name, flag.help)
    if flag.default not in (None, '', [], False):
        text += ' [%s]' % flag.default_as_str.strip("'")
    return flags.text_wrap(text, WIDTH, indent='      ', firstline_indent='  ')


def _everywhere() -> str:
    return '\n'.join(['every program:'] + [
        flags.text_wrap('--%s: %s' % item, WIDTH, indent='      ', firstline_indent='  ') for item in _EVERYWHERE])
