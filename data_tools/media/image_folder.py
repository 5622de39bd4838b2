"""A folder of images as the frames of a clip: natural order, numbering without gaps, one size."""
import operator
import os
import re
import typing

from data_tools.base.errors import UserError
from data_tools.media.dataset_layouts import IMAGE_SUFFIXES, entries, is_folder, is_image
from data_tools.media.frames import ImageFrames
from data_tools.media.icc import Found
from data_tools.media.images import read_header


def open_folder(folder: str, allow_gaps: bool = False) -> ImageFrames:
    """Returns the frames of a folder, after reading the headers of all files.

    Raises:
      UserError: the errors of `list_frames` and `read_header`, or frames of two sizes.
    """
    paths = list_frames(folder, allow_gaps)
    size, profile = read_header(paths[0])
    profiles = {profile: paths[0]}
    for path in paths[1:]:
        other, profile = read_header(path)
        profiles.setdefault(profile, path)
        if other != size:
            raise UserError('%s is %dx%d but %s is %dx%d (height x width); all frames of a clip must have one size: '
                            'split the clip' % ((paths[0],) + size + (path,) + other))
    return ImageFrames(paths, size, size, Found(profiles))


def list_frames(folder: str, allow_gaps: bool = False) -> typing.Tuple[str, ...]:
    """Returns the paths of the frames in a folder, in natural order.

    Raises:
      UserError: empty folder, a file that is not an image, a folder named like an image, two frames of one number, gaps
        in the numbering.
    """
    inside = sorted(entries(folder), key=lambda entry: natural_key(entry.name))
    for entry in inside:
        if is_folder(entry) and is_image(entry.name):
            raise UserError('%s is a folder with the name of an image; rename it or move it elsewhere' % entry.path)
    found = [entry for entry in inside if not is_folder(entry)]
    others = [entry.path for entry in found if not is_image(entry.name)]
    if others:
        raise UserError('%s is not an image (%d such in %s); frames are %s: move the rest elsewhere'
                        % (others[0], len(others), folder, ' '.join(IMAGE_SUFFIXES)))
    if not found:
        raise UserError('%s has no frames; put the clip there as numbered images, or remove the folder' % folder)
    check_numbering(folder, [entry.name for entry in found], allow_gaps)
    return tuple(entry.path for entry in found)


def natural_key(text: typing.Union[str, 'os.PathLike[str]']) -> typing.List[typing.Any]:
    """Returns the sorting key under which numbers inside names order by value."""
    parts = re.split(r'(\d+)', os.fspath(text))
    return [(int(part), part) if i % 2 else part for i, part in enumerate(parts)]


def frame_numbers(paths: typing.Sequence[str]) -> typing.Dict[int, typing.List[int]]:
    """Returns the numbers in names that may be those of the frames: {position among the numbers of a name: values}.

    A size or the number of a clip, equal in all names, is none, nor is a number that does not increase. If the names
    have unequal counts of numbers, the first ones (0) and the last ones (-1) are looked at.

    Args:
      paths: of the frames, in their order.
    """
    numbers = [[int(digits) for digits in re.findall(r'\d+', _stem(path))] for path in paths]
    counts = set(map(len, numbers))
    if 0 in counts:
        return {}
    positions = range(*counts) if len(counts) == 1 else (0, -1)
    values = {position: [row[position] for row in numbers] for position in positions}
    return {position: row for position, row in values.items() if all(map(operator.lt, row, row[1:]))}


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def check_numbering(folder: str, names: typing.Sequence[str], allow_gaps: bool) -> None:
    """Raises UserError for two frames of one number, and unless allowed for a gap.

    Args:
      folder: of the frames, for the message.
      names: of the frames with suffixes, in natural order.
      allow_gaps: accept gaps.
    """
    seen: typing.Dict[typing.Any, str] = {}
    for name in names:
        same = tuple(int(part) if part.isdigit() else part for part in re.split(r'(\d+)', _stem(name)))
        if seen.setdefault(same, name) != name:
            raise UserError('%s has two frames of one number: %s and %s; remove one' % (folder, seen[same], name))
    if allow_gaps or len(names) < 3:
        return
    gaps = [_gap(numbers) for numbers in frame_numbers(names).values()]
    if gaps and None not in gaps:
        first = gaps[-1]
        raise UserError('%s has a gap in its numbering: after %s comes %s; restore the missing frames, or '
                        'split the clip there' % (folder, names[first], names[first + 1]))


def _gap(numbers):
    """Returns the index before the first gap, or None; clips with a constant step (0, 2, 4, ...) are complete."""
    steps = [after - before for before, after in zip(numbers, numbers[1:])]
    return next((index for index, step in enumerate(steps) if step != min(steps)), None)
