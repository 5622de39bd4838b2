"""The processes of a job end with the process that started them, however that ends."""
import os
import signal
import subprocess
import sys
import time

from conftest import ROOT

from data_tools.base import interrupts

LAUNCHER = '''
import sys
from edvr.launch import processes
code = 'import os, sys, time; open(sys.argv[1] + os.environ["RANK"], "w").write(str(os.getpid())); time.sleep(120)'
processes.run_together([sys.executable, '-c', code, sys.argv[1]], {rank: dict(RANK=str(rank)) for rank in range(2)},
                       sys.argv[1] + '_logs', 10.)
'''


def ended(pid):
    try:
        with open('/proc/%d/stat' % pid) as file:
            return file.read().rpartition(')')[2].split()[0] == 'Z'
    except OSError:
        return True


def until(condition):
    """Waits 60 s at most; returns whether the condition was met."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(.02)
    return condition()


def test_ranks_end_when_their_launcher_is_killed(tmp_path):
    launcher = subprocess.Popen([sys.executable, '-c', LAUNCHER, str(tmp_path / 'rank')], cwd=ROOT)
    files = [tmp_path / ('rank%d' % rank) for rank in range(2)]
    try:
        assert until(lambda: all(path.exists() and path.read_text() for path in files))
    finally:
        launcher.kill()
        launcher.wait()
    pids = [int(path.read_text()) for path in files]
    try:
        assert until(lambda: all(map(ended, pids)))
    finally:
        for pid in pids:
            if not ended(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_child_whose_parent_has_ended_before_it_could_be_bound_does_nothing(monkeypatch):
    command = [sys.executable, '-c', 'print("runs")']
    runs = subprocess.run(interrupts.bound(command), stdout=subprocess.PIPE, check=True).stdout
    monkeypatch.setattr(os, 'getpid', lambda: 1)
    assert runs == b'runs\n' and not subprocess.run(interrupts.bound(command), stdout=subprocess.PIPE).stdout
