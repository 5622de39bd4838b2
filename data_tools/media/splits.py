"""Which clips of a data set train and which are held out for evaluation."""
import os
import typing

from data_tools.base import files
from data_tools.media.clips import REDS4, parse_names

AUTO = 'auto'
TRAIN, HELD_OUT = (os.path.join('sets', name) for name in ('train.json', 'val.json'))


class Choice(typing.NamedTuple):
    """Names of clips (list of str), or None for all; and the reason in words if they were chosen automatically."""
    names: typing.Optional[typing.List[str]]
    reason: str


def held_out(root: str) -> Choice:
    """Returns the clips that a data set holds out: those of its list sets/val.json; REDS4 in REDS as unpacked.

    Args:
      root: str, folder of the data set.
    Returns:
      Choice; its names are None if the data set holds out none.
    """
    path = os.path.join(root, HELD_OUT)
    if os.path.isfile(path):
        return Choice(parse_names('@' + path), 'held out by ' + path)
    for part in ('', 'train'):
        folder = os.path.join(root, part, 'train_sharp')
        if all(os.path.isdir(os.path.join(folder, name)) for name in REDS4):
            return Choice(list(REDS4), 'REDS4')
    return Choice(None, '')


def choose(text: str, root: str) -> Choice:
    """Returns the clips that `text` names (see `parse_names`), or for 'auto' those that the set holds out.

    Returns:
      Choice.
    Raises:
      UserError: as `parse_names`.
    """
    return held_out(root) if text == AUTO else Choice(parse_names(text), '')


def write(root: str, names: typing.Sequence[str], kept: typing.Sequence[str]
          ) -> typing.Tuple[typing.List[str], typing.List[str]]:
    """Writes the two lists of a data set.

    Args:
      root: str, folder of the data set.
      names: list of str, all clips. kept: names of clips to hold out; names that are not in `names` are ignored.
    Returns:
      (list of names that train, list of names held out), empty lists where one of the two would be empty: then no list
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
