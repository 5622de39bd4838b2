"""Locks: one holder at a time, its name in the error; a killed process leaves no lock."""
import os
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT
from facts import raises_facts

from data_tools.base import lock
from data_tools.base.errors import UserError

HOLD = '''import os, sys, time
sys.path.insert(0, %r)
from data_tools.base import lock
with lock.hold(sys.argv[1], 'out', '--output'):
    %s
    print('held', flush=True)
    sys.stdin.read()
'''
# a worker that lives a second longer than its parent, as the workers of a killed program do
WORKER = 'if os.fork() == 0: os.close(0); os.close(1); time.sleep(1); os._exit(0)'


def held_elsewhere(path, inside='pass'):
    process = subprocess.Popen([sys.executable, '-c', HOLD % (ROOT, inside), path], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert process.stdout.readline() == b'held\n'
    return process


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'lock')


def take(path, **options):
    with lock.hold(path, 'out', '--output', **options):
        pass


def test_second_holder_is_refused_with_the_name_of_the_first(path):
    process = held_elsewhere(path)
    name = 'process %d on %s, -c' % (process.pid, os.uname().nodename)
    assert lock.holder(path) == name
    with raises_facts(UserError, 'another run (%s)' % name, 'out', 'wait for it', '--output'):
        take(path)
    process.communicate()   # the end of its input ends it
    assert os.listdir(os.path.dirname(path)) == [] and lock.holder(path) is None
    take(path)


def test_lock_of_a_killed_process_is_free(path):
    process = held_elsewhere(path)
    process.kill()
    process.communicate()
    assert os.path.exists(path) and lock.holder(path) is None
    take(path)
    assert not os.path.exists(path)


def test_lock_of_a_killed_process_lasts_until_its_workers_have_ended(path, monkeypatch):
    process = held_elsewhere(path, WORKER)
    process.kill()
    process.communicate()
    monkeypatch.setattr(lock, '_GRACE', 0.)
    with raises_facts(UserError, 'ended', 'workers have not'):
        take(path)
    monkeypatch.undo()
    take(path)


def test_waiting_for_another_thread(path):
    entered, leave = threading.Event(), threading.Event()

    def work():
        with lock.hold(path, 'out', '--output'):
            entered.set()
            leave.wait(20)
    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(20)
    with pytest.raises(UserError, match='another run'):
        take(path, wait=.2)
    threading.Timer(.3, leave.set).start()
    take(path, wait=20.)
    thread.join()


def test_holders_take_turns_although_each_removes_the_file(path):
    inside, most = [], []

    def work():
        for _ in range(8):
            with lock.hold(path, 'out', '--output', wait=60.):
                inside.append(1)
                most.append(len(inside))
                time.sleep(.001)
                inside.pop()
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 24 and not os.path.exists(path)


def test_block_that_fails_frees_the_lock(path):
    with pytest.raises(KeyError), lock.hold(path, 'out', '--output'):
        raise KeyError
    take(path)


def test_lock_file_that_somebody_else_put_there_stays(path):
    with lock.hold(path, 'out', '--output'):
        os.remove(path)   # by hand; another run then starts
        with lock.hold(path, 'out', '--output'):
            pass
        with open(path, 'w') as file:
            file.write('other')
    with open(path) as file:
        assert file.read() == 'other'


def test_what_is_no_lock_file_is_refused(tmp_path, path):
    (tmp_path / 'precious').write_text('mine')
    os.symlink(str(tmp_path / 'precious'), path)
    with pytest.raises(UserError, match=r'cannot write .*lock'):
        take(path)
    assert (tmp_path / 'precious').read_text() == 'mine'
    os.remove(path)
    os.mkfifo(path)
    with raises_facts(UserError, 'lock', 'not a regular file'):
        take(path)
    with pytest.raises(UserError, match=r'cannot write .*none/lock'):
        take(str(tmp_path / 'none' / 'lock'))


def test_file_system_without_locks_is_named(path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(38, 'Function not implemented')
    monkeypatch.setattr(lock.fcntl, 'flock', refuse)
    with raises_facts(UserError, 'lock', 'Function not implemented', 'file system with locks'):
        take(path)


def test_remote_folders_have_no_locks():
    with lock.hold('gs://bucket/lock', 'out', '--output'):
        pass
