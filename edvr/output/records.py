"""Records beside unfinished work: the settings on which its bytes depend, so that different work never mixes."""
import os
import typing

from data_tools.base import files
from data_tools.base.errors import UserError


def check_unchanged(record: str, settings: typing.Mapping[str, typing.Any], what: str, place: str,
                    foreign: typing.Optional[str] = None, ignored: typing.Container[str] = (),
                    remedy: str = '--overwrite to replace them') -> None:
    """Compares the record of earlier work with the settings of this run.

    A setting that only one of them has differs: those that are off are not written.

    Args:
      record: a JSON file.
      settings: JSON values.
      what: such as 'frames'.
      place: the folder, for the error.
      foreign: an existing file, named when there is no record; None names the folder.
      ignored: keys of settings that may differ.
      remedy: for the error, beside another --output.
    Raises:
      UserError: there is no record, or the settings differ.
    """
    known = files.read_json(record) if os.path.exists(record) else None
    if not isinstance(known, dict):
        raise UserError('%s exists already, and not from a restoration that could continue: give another --output, '
                        'or --overwrite to replace it' % (foreign or place))
    changed = ['%s %s, now %s' % (key, known.get(key), settings.get(key)) for key in sorted(set(known) | set(settings))
               if key not in ignored and known.get(key) != settings.get(key)]
    if changed:
        raise UserError('%s has %s restored differently (%s): give another --output, or %s'
                        % (place, what, '; '.join(changed), remedy))
