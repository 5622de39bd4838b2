"""A place in a clip, as the options --start and --end give it: a frame number or a time."""
import re
import typing
from fractions import Fraction

_FRAME = re.compile(r'[0-9]{1,9}$')
_TIME = re.compile(r'(?:(?:([0-9]{1,4}):)?([0-5]?[0-9]):([0-5]?[0-9](?:\.[0-9]{1,9})?)|'
                   r'([0-9]{1,9}(?:\.[0-9]{1,9})?)s)$')


class Place(typing.NamedTuple):
    """Holds a place; one of both is None.

    frame: number of a frame, from 0.
    seconds: after the first frame.
    """
    frame: typing.Optional[int]
    seconds: typing.Optional[Fraction]


def parse(text: str) -> typing.Optional[Place]:
    """Returns the Place of a text: 250 is a frame; 1:30, 0:01:30.5 and 90s are times. None for any other text."""
    if _FRAME.match(text):
        return Place(int(text), None)
    match = _TIME.match(text)
    if not match:
        return None
    hours, minutes, seconds, alone = match.groups()
    return Place(None, Fraction(alone) if alone else 3600 * int(hours or 0) + 60 * int(minutes) + Fraction(seconds))
