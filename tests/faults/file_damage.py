"""Damage to files: flipped bits, cuts, and values of another type in JSON."""
import json
import os


def damage(rng, path, number):
    """Flips a bit of a file, or cuts it; returns (its content before, a description)."""
    with open(path, 'rb') as file:
        whole = file.read()
    place, data = int(rng.randint(len(whole))), bytearray(whole)
    if number % 3 == 2:
        del data[place:]
    else:
        data[place] ^= 1 << rng.randint(8)
    replace(path, data)
    return whole, '%s: %s at byte %d of %d' % (path, 'cut' if number % 3 == 2 else 'flip', place, len(whole))


def replace(path, data):
    """As a new file: a checkpoint that was found sound is checked again when its files change."""
    os.remove(path)
    with open(path, 'wb') as file:
        file.write(data)


def json_faults(campaign, path, text, kind, read):
    """Flips, cuts, and values of another type at every place of a JSON file.

    Args:
      read: function() -> what the file says; its errors have to name the file.
    """
    value, names = json.loads(text), [path, os.path.dirname(path)]
    edits = [json.dumps(edit).encode() for edit in [None, 3, 'x', [], [value], {}] + list(other_types(value))]
    picked = campaign.rng.permutation(len(edits))[:campaign.amount(10, len(edits))]
    for data in [edits[index] for index in picked]:
        with open(path, 'wb') as file:
            file.write(data)
        # a value of another type may be one that the option takes, such as 1 for 1.0
        campaign.attempt(kind + ': other types', read, lambda result: True, data.decode(), names)
    for number in range(campaign.amount(20, 600)):
        with open(path, 'wb') as file:
            file.write(text.encode())
        description = damage(campaign.rng, path, number)[1]
        # no checksum covers these files: a flip may make another right value of a right value
        campaign.attempt(kind + ': bit flip or cut', read, lambda result: True, description, names)


def other_types(value):
    """Copies of nested dicts and lists in which one value is of another type."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        for wrong in (None, True, -1, 10 ** 30, .5, 'x', [], ['x'], {}, {'x': 1}):
            copy = value.copy()
            copy[key] = wrong
            yield copy
        if isinstance(value[key], (dict, list)):
            for inner in other_types(value[key]):
                copy = value.copy()
                copy[key] = inner
                yield copy
