"""Text that Windows' editors save: a byte order mark at the start, line ends of two characters."""
import json

import pytest
from facts import raises_facts

from data_tools.base import command_line, files
from data_tools.base.errors import UserError
from data_tools.media import clips, dataset_layouts, lmdb_source, shots
from edvr import checkpoints
from edvr.config import ModelConfig
from edvr.launch import rank_table

TABLE = dict(version='1.0', status='completed', server_count='1', server_list=[dict(
    server_id='10.0.0.1', device=[dict(device_id='0', device_ip='192.168.1.1', rank_id='0')])])

MODEL = ModelConfig(num_frames=3)


@pytest.mark.parametrize('name, text, read, expected', [
    ('names.txt', 'a\nb\n', lambda path: clips.parse_names('@' + path), ['a', 'b']),
    ('names.json', '["a",\n"b"]\n', lambda path: clips.parse_names('@' + path), ['a', 'b']),
    ('list.txt', '/clips/a\n', dataset_layouts.read_list, ['/clips/a']),
    ('shots.json', '{"a":\n[[0, 2]]}\n', shots.read_shots, {'a': ((0, 2),)}),
    ('8.cfg', '# eight devices\n--num_devices=8\n', lambda path: command_line.read(['--flagfile=' + path]).arguments,
     ['--num_devices=8']),
    ('any.json', '{"a":\n1}\n', files.read_json, {'a': 1}),
    ('model.json', json.dumps(MODEL.to_dict(), indent=1), checkpoints.load_model_config, MODEL),
    ('table.json', json.dumps(TABLE, indent=1), lambda path: len(rank_table.read(path)), 1),
])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
@pytest.mark.parametrize('newline', ['\n', '\r\n'], ids=['LF', 'CRLF'])
def test_marks_and_line_ends_of_windows_change_nothing(tmp_path, name, text, read, expected, encoding, newline):
    path = tmp_path / name
    path.write_bytes(text.replace('\n', newline).encode(encoding))
    assert read(str(path)) == expected


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_the_list_of_an_lmdb(tmp_path, encoding):
    text = '000/00000000.png (24,32,3) 1\r\n000/00000001.png (24,32,3) 1\r\n'
    (tmp_path / 'a.lmdb').mkdir()
    (tmp_path / 'a.lmdb' / 'data.mdb').write_bytes(b'')
    (tmp_path / 'a.lmdb' / 'meta_info.txt').write_bytes(text.encode(encoding))
    assert lmdb_source.find(str(tmp_path / 'a.lmdb'))['000'].length == 2


def test_text_that_is_neither_is_named(tmp_path):
    (tmp_path / 'list.txt').write_bytes(b'caf\xe9/clips\n')
    with raises_facts(UserError, 'list.txt', 'utf-8'):
        dataset_layouts.read_list(str(tmp_path / 'list.txt'))
