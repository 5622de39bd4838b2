"""Durations as people read them."""

_UNITS = (('d', 86400), ('h', 3600), ('min', 60), ('s', 1))


def duration(seconds: float) -> str:
    """Returns a duration in its two largest units: '45 s', '12 min 5 s', '3 h 12 min', '2 d 4 h'."""
    rest = max(0, round(seconds))
    for size, part in ((3600, 60), (86400, 3600)):
        if rest >= size:   # rounded before the split: 3 h 59 min 50 s is 4 h 0 min
            rest = round(rest / part) * part
    for (name, size), (smaller, part) in zip(_UNITS, _UNITS[1:]):
        if rest >= size:
            return '%d %s %d %s' % (rest // size, name, rest % size // part, smaller)
    return '%d s' % rest
