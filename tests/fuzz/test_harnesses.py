"""What is fuzzed (harnesses.py) takes its first inputs, and damaged ones end in the errors that it names."""
import importlib.util
import os
import struct
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harnesses

from data_tools.media import ffmpeg, packets
from data_tools.record import record_format


@pytest.mark.parametrize('name', [pytest.param(name, marks=[pytest.mark.faults, pytest.mark.skipif(
    importlib.util.find_spec('torch') is None, reason='PyTorch is not installed')] if name == 'pth' else [])
    for name in sorted(harnesses.HARNESSES)])
def test_harness(campaign, name):
    harness = harnesses.HARNESSES[name]
    for seed in harness.seeds():
        harness.read(seed)
        for number in range(campaign.amount(20, 500)):
            data, place = bytearray(seed), campaign.rng.randint(len(seed))
            if number % 3 == 2:
                del data[place:]
            else:
                data[place] ^= 1 << campaign.rng.randint(8)
            try:
                harness.read(bytes(data))
            except harness.errors:
                campaign.record('fuzzed reader: ' + name, 'reported')
            else:
                campaign.record('fuzzed reader: ' + name, 'harmless')


@pytest.mark.parametrize('field, value', [
    ('num_frames', 2 ** 31), ('name_bytes', 3), ('tables_at', 2 ** 32 - 4), ('lq_height', 2 ** 32 - 1), ('lq_tile', 1)])
def test_a_record_that_lies_under_a_right_checksum_is_an_error(field, value):
    data = bytearray(harnesses.window(4))
    at = record_format.HEADER.index(field) * 4
    struct.pack_into('<I', data, at, value)
    if field == 'name_bytes':   # the name ends within a character

        data[data.index(b'clip'):data.index(b'clip') + 4] = b'cl\xc3\xa9'
    with pytest.raises(record_format.RecordError):
        harnesses.record(bytes(data)) if value < 64 else record_format.decode(_checked(data))


def _checked(data):
    import zlib
    size = record_format.HEADER_BYTES
    crc = zlib.crc32(bytes(data[size:]), zlib.crc32(bytes(data[:size - 4])))
    return bytes(data[:size - 4]) + struct.pack('<I', crc) + bytes(data[size:])


@pytest.mark.parametrize('text', ['#tb 0: 1/0\n', '0, 1\n', '0, 1, 2, 3\n', '#tb 0: 1/25\nx, 1, 2\n', '#tb 0: x\n'])
def test_an_unknown_list_of_packets_is_an_error(monkeypatch, text):
    monkeypatch.setattr(ffmpeg, 'output', lambda *arguments: ffmpeg.Output(0, text.encode(), ''))
    with pytest.raises(harnesses.UserError, match=r'x\.mp4.*unknown way'):
        packets.read('x.mp4', [0])
