"""Text that Windows' editors save: a byte order mark at the start, line ends of two characters."""
import json

import pytest

from data_tools.base import command_line
from data_tools.media import clips, dataset_layouts, shots
from edvr.launch import rank_table

TABLE = dict(version='1.0', status='completed', server_count='1', server_list=[dict(
    server_id='10.0.0.1', device=[dict(device_id='0', device_ip='192.168.1.1', rank_id='0')])])


@pytest.mark.parametrize('name, text, read, expected', [
    ('names.txt', 'a\nb\n', lambda path: clips.parse_names('@' + path), ['a', 'b']),
    ('names.json', '["a",\n"b"]\n', lambda path: clips.parse_names('@' + path), ['a', 'b']),
    ('list.txt', '/clips/a\n', dataset_layouts.read_list, ['/clips/a']),
    ('shots.json', '{"a":\n[[0, 2]]}\n', shots.read_shots, {'a': ((0, 2),)}),
    ('8.cfg', '# eight devices\n--num_devices=8\n', lambda path: command_line.read(['--flagfile=' + path]).arguments,
     ['--num_devices=8']),
    ('table.json', json.dumps(TABLE, indent=1), lambda path: len(rank_table.read(path)), 1),
])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig'])
@pytest.mark.parametrize('newline', ['\n', '\r\n'], ids=['LF', 'CRLF'])
def test_marks_and_line_ends_of_windows_change_nothing(tmp_path, name, text, read, expected, encoding, newline):
    path = tmp_path / name
    path.write_bytes(text.replace('\n', newline).encode(encoding))
    assert read(str(path)) == expected
