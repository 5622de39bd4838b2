"""FIFOs, sockets, devices and folders in place of files: named at once, never waited for."""
import contextlib
import os
import signal
import socket

import pytest
from facts import raises_facts

from data_tools.base import command_line, files
from data_tools.base.errors import UserError
from data_tools.media import clips, dataset_layouts, shots, video
from data_tools.record.manifest import Manifest
from data_tools.reds import download, unzip
from edvr import checkpoints
from edvr.launch import rank_table
from edvr.pytorch import weights


class TooLateError(BaseException):
    """Is none of the errors of a file, which readers turn into one that names it."""


@contextlib.contextmanager
def in_time():
    """Raises TooLateError in its block after 20 s: opening a FIFO waits for its other end."""
    def late(number, frame):
        raise TooLateError
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def bind(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))


KINDS = {'FIFO': os.mkfifo, 'folder': os.mkdir, 'device': lambda path: os.symlink('/dev/zero', path), 'socket': bind}


READERS = {
    'weights.pth': lambda path: weights.import_weights(path, path + '.out'),
    'weights.safetensors': lambda path: weights.import_weights(path, path + '.out'),
    'names.json': lambda path: clips.parse_names('@' + path), 'names.txt': lambda path: clips.parse_names('@' + path),
    'list.txt': dataset_layouts.read_list, 'shots.json': shots.read_shots, 'sums': download.read_checksums,
    'flags.cfg': lambda path: command_line.read(['--flagfile=' + path]), 'hccn.conf': rank_table.read_hccn_conf,
    'table.json': rank_table.read, 'train.zip': unzip.check, 'a.mp4': video.inspect,
    'manifest.json': lambda path: Manifest.read(os.path.dirname(path)),
    'model.json': lambda path: checkpoints.load_model_config(os.path.dirname(path)),
    'model.ckpt-1.index': lambda path: checkpoints.chosen(os.path.dirname(path))}


@pytest.mark.parametrize('kind', sorted(KINDS))
@pytest.mark.parametrize('name', sorted(READERS))
def test_what_is_no_regular_file_is_named_at_once(tmp_path, monkeypatch, name, kind):
    if name == 'weights.pth':
        pytest.importorskip('torch')
    monkeypatch.chdir(tmp_path)   # the address of a socket is short
    path = str(tmp_path / name)
    KINDS[kind](path)
    with in_time(), raises_facts(UserError, name.split('.index')[0]):
        READERS[name](path)
    assert name in os.listdir('.')


def test_the_error_of_a_folder_names_the_folder(tmp_path):
    before = len(os.listdir('/proc/self/fd'))
    with raises_facts(OSError, tmp_path, 'folder'):
        files.open_regular(str(tmp_path))
    assert len(os.listdir('/proc/self/fd')) == before
