"""Which clips of a data set train and which are held out for evaluation."""
import os
import typing

from data_tools.base import files
from data_tools.media import lmdb_source
from data_tools.media.clips import REDS4, parse_names

AUTO = 'auto'
TRAIN, HELD_OUT = (os.path.join('sets', name) for name in ('train.json', 'val.json'))


class Choice(typing.NamedTuple):
    """Describes the choice of clips.

    Attributes:
      names: of the clips, or None for all.
      reason: in words, if they were chosen automatically.
    """
    names: typing.Optional[typing.List[str]]
    reason: str


def held_out(root: str) -> Choice:
    """Returns the clips that a data set holds out: those of its list sets/val.json; REDS4 in REDS as unpacked or LMDB.

    Args:
      root: folder of the data set.
    Returns:
      Choice; its names are None if the data set holds out none.
    """
    path = os.path.join(root, HELD_OUT)
    if os.path.isfile(path):
        return Choice(parse_names('@' + path), 'held out by ' + path)
    if lmdb_source.is_lmdb(root):
        names = lmdb_source.find(root)
        return Choice(list(REDS4), 'REDS4') if len(names) >= 240 and names.keys() >= set(REDS4) else Choice(None, '')
    for part in ('', 'train'):
        folder = os.path.join(root, part, 'train_sharp')
        if all(os.path.isdir(os.path.join(folder, name)) for name in REDS4):
            return Choice(list(REDS4), 'REDS4')
    return Choice(None, '')


def choose(text: typing.Optional[str], root: str) -> Choice:
    """Returns the clips to evaluate or restore: those that `text` names, or for 'auto' those held out.

    Args:
      text: argument of `parse_names`, or 'auto'.
      root: folder of the data set.
    Raises:
      UserError: the errors of `parse_names`.
    """
    return held_out(root) if text == AUTO else Choice(parse_names(text), '')


def write(root: str, names: typing.Iterable[str], kept: typing.Container[str]
          ) -> typing.Tuple[typing.List[str], typing.List[str]]:
    """Writes the two lists of a data set.

    Args:
      root: folder of the data set.
      names: all clips.
      kept: names of clips to hold out; names that are not in `names` are ignored.
    Returns:
      (names that train, names held out), empty lists if one of the two would be empty: then no list
      is written.
    """
    train = [name for name in names if name not in kept]
    out = [name for name in names if name in kept]
    if not train or not out:
        return [], []
    files.make_dir(os.path.join(root, os.path.dirname(TRAIN)))
    files.write_json(os.path.join(root, TRAIN), train)
    files.write_json(os.path.join(root, HELD_OUT), out)
    return train, out
