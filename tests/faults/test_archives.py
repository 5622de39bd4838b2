"""Damaged archives: what is unpacked is what was packed, or nothing is."""
import os

from archives import FRAMES, archive

from data_tools.reds.unzip import unzip


def test_flips_and_cuts(campaign, tmp_path):
    data, path = archive(FRAMES), str(tmp_path / 'a.zip')
    directory = data.index(b'PK\x01\x02')
    for number in range(campaign.amount(60, 1500)):
        damaged = bytearray(data)
        # a third in the directory, which zipfile trusts
        place = campaign.rng.randint(directory if number % 3 == 0 else 0, len(data))
        if number % 5 == 4:
            del damaged[place:]
        else:
            damaged[place] ^= 1 << campaign.rng.randint(8)
        with open(path, 'wb') as file:
            file.write(damaged)
        root = str(tmp_path / str(number))
        campaign.attempt('archive: bit flip or cut', lambda root=root: unzip(path, root),
                         lambda count, root=root: count == len(FRAMES) and contents(root) == dict(FRAMES),
                         'byte %d of %d' % (place, len(data)), [path])


def contents(root):
    """{name: bytes} of all files below a folder."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            with open(os.path.join(folder, name), 'rb') as file:
                found[os.path.relpath(os.path.join(folder, name), root)] = file.read()
    return found
