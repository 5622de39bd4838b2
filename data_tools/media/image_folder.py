"""A folder of images as the frames of a clip: natural order, numbering without gaps, one size."""
import os
import re
import typing

from data_tools.base.errors import UserError
from data_tools.media.dataset_layouts import IMAGE_SUFFIXES, entries, is_folder, is_image
from data_tools.media.frames import ImageFrames
from data_tools.media.images import image_size


def open_folder(folder: str, allow_gaps: bool = False) -> ImageFrames:
    """Returns the frames of a folder, after reading the headers of all files.

    Raises:
      UserError: the errors of `list_frames` and `image_size`, or frames of two sizes.
    """
    paths = list_frames(folder, allow_gaps)
    size = image_size(paths[0])
    for path in paths[1:]:
        other = image_size(path)
        if other != size:
            raise UserError('%s is %dx%d but %s is %dx%d (height x width); all frames of a clip must have one size: '
                            'split the clip' % ((paths[0],) + size + (path,) + other))
    return ImageFrames(paths, size, size)


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
    _check_numbering(folder, [entry.name for entry in found], allow_gaps)
    return tuple(entry.path for entry in found)


def natural_key(text: typing.Union[str, 'os.PathLike[str]']) -> typing.List[typing.Any]:
    """Returns the sorting key under which numbers inside names order by value."""
    parts = re.split(r'(\d+)', os.fspath(text))
    return [(int(part), part) if i % 2 else part for i, part in enumerate(parts)]


def number_of(name: str) -> typing.Union[int, str]:
    """Returns the last number in the file name of a frame, or the name without suffix if there is none."""
    stem = os.path.splitext(name)[0]
    digits = re.findall(r'\d+', stem)
    return int(digits[-1]) if digits else stem


def _check_numbering(folder, names, allow_gaps):
    numbers: typing.List[typing.Any] = [number_of(name) for name in names]
    if not all(isinstance(number, int) for number in numbers):
        numbers = [os.path.splitext(name)[0] for name in names]
    seen: typing.Dict[typing.Tuple[str, typing.Any], str] = {}
    for name, number in zip(names, numbers):
        prefix = re.sub(r'\d+$', '', os.path.splitext(name)[0])
        if seen.setdefault((prefix, number), name) != name:
            raise UserError('%s has two frames of one number: %s and %s; remove one'
                            % (folder, seen[prefix, number], name))
    if allow_gaps or len(names) < 3 or not isinstance(numbers[0], int):
        return
    steps = [after - before for before, after in zip(numbers, numbers[1:])]
    usual = min(steps)   # clips with a constant step (0, 2, 4, ...) are complete
    for i, step in enumerate(steps):
        if step != usual and usual > 0:
            raise UserError('%s has a gap in its numbering: after %s comes %s; restore the missing frames, or '
                            'split the clip there' % (folder, names[i], names[i + 1]))
