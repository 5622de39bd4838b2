"""The ranks of a host: their environments, and that they start and end together."""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT
from facts import check_facts, raises_facts
from npu_fixtures import no_job  # noqa: F401 fixture

from data_tools.base.errors import UserError
from edvr.config import ConfigError, RanksConfig, RuntimeConfig
from edvr.devices import device_of, npu_chips
from edvr.launch import addresses, agreement, npu_cards, processes, rank_table, relaunch, rendezvous

HCCN_CONF = ''.join('address_%d=192.168.100.%d\n' % (card, 101 + card) for card in range(4))


@pytest.fixture(autouse=True)
def host(no_job, monkeypatch, tmp_path):  # noqa: F811
    """A host with four cards whose addresses are in hccn.conf; the folder of both."""
    for card in range(4):
        (tmp_path / ('davinci%d' % card)).touch()
    (tmp_path / 'hccn.conf').write_text(HCCN_CONF)
    monkeypatch.setattr(npu_cards, 'NPU_FILES', str(tmp_path / 'davinci[0-9]*'))
    monkeypatch.setattr(npu_cards, 'HCCN_CONF', str(tmp_path / 'hccn.conf'))
    monkeypatch.delenv(relaunch.LAUNCHED, raising=False)
    return tmp_path


def plan(device='cpu', num_devices=1, log_dir='/nowhere', **options):
    runtime = RuntimeConfig(device=device, num_devices=num_devices)
    return device_of(runtime).plan_ranks(RanksConfig(**options), 4, str(log_dir))


def refused(*arguments, **options):
    with pytest.raises(UserError) as caught:
        plan(*arguments, **options)
    return str(caught.value)


def table_of(path, *ranks):
    path.write_text(rank_table.to_json([rank_table.Rank(number, card, '192.168.100.%d' % (number + 1), server)
                                        for number, (card, server) in enumerate(ranks)]))
    return str(path)


# who gets what

def test_one_npu_is_this_process(monkeypatch):
    found = plan('npu', device_ids=(2,))
    assert (found.environments, found.notes) == ({}, [])
    assert found.changes == dict(JOB_ID='edvr', RANK_SIZE='1', RANK_ID='0', DEVICE_ID='2', RANK_TABLE_FILE=None,
                                 POD_NAME=None, ASCEND_DEVICE_ID=None)
    assert plan('npu').changes['DEVICE_ID'] == '0'
    monkeypatch.setenv('DEVICE_ID', '3')
    assert 'DEVICE_ID' not in plan('npu').changes   # the environment names the card
    monkeypatch.setenv('RANK_TABLE_FILE', '/some/table.json')
    assert plan('npu').notes[0].startswith('RANK_TABLE_FILE=/some/table.json is ignored: one NPU needs none')


def test_ranks_of_a_host_and_their_table(tmp_path, monkeypatch):
    monkeypatch.setenv('JOB_ID', '77')
    found = plan('npu', 0, tmp_path / 'logs')
    assert [(rank, e['RANK_ID'], e['DEVICE_ID']) for rank, e in found.environments.items()] == [
        (index, str(index), str(index)) for index in range(4)]
    path = str(tmp_path / 'logs' / 'rank_table.json')
    assert {(e['JOB_ID'], e['RANK_SIZE'], e['RANK_TABLE_FILE']) for e in found.environments.values()} == {
        ('77', '4', path)}
    assert [(rank.device_id, rank.device_ip) for rank in rank_table.read(path)] == [
        (card, '192.168.100.%d' % (101 + card)) for card in range(4)]
    assert found.notes[0] == 'rank table: ' + path
    assert found.notes[4].startswith('  rank 3: card 3 (192.168.100.104) of ')
    two = plan('npu', 2, tmp_path / 'logs', device_ids=(1, 3))
    assert [e['DEVICE_ID'] for e in two.environments.values()] == ['1', '3']


def test_addresses_of_cards_by_hccn_tool(tmp_path, monkeypatch):
    (tmp_path / 'hccn.conf').unlink()
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr(npu_cards, 'HCCN_TOOL', '/nowhere/hccn_tool')
    check_facts(refused('npu', 2), tmp_path / 'hccn.conf', 'hccn_tool', 'write a rank table')
    tool = tmp_path / 'hccn_tool'
    tool.write_text('#!/bin/sh\n[ "$1 $3 $4" = "-i -ip -g" ] && [ "$2" != 3 ] && printf '
                    '"ipaddr:10.20.0.$2\\nnetmask:255.255.255.0\\n"\n')
    tool.chmod(0o755)
    plan('npu', 3, tmp_path)
    assert [rank.device_ip for rank in rank_table.read(str(tmp_path / 'rank_table.json'))] == [
        '10.20.0.0', '10.20.0.1', '10.20.0.2']
    check_facts(refused('npu', 0, tmp_path), 'no address', 'card 3', '0, 1, 2', 'hccn_tool -i 3 -ip -s')


# the table of npu-smi; `second` is the line of a chip
SMI = '''+-----------------------------------------------------------------------------+
| npu-smi 25.2.0                   Version: 25.2.0                            |
+---------------------------+---------------+---------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)             |
| Chip  %s              | Bus-Id        | AICore(%%)   Memory-Usage(MB)    |
+===========================+===============+=================================+
| %s   %s               | OK            | 67.3        43                  |
| 0     %s                   | 0000:C1:00.0  | 0           839  / 15170        |
+===========================+===============+=================================+
| 7     910B9               | OK            | 67.3        43                  |
'''


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Makes an npu-smi of a shell script."""
    monkeypatch.setenv('PATH', str(tmp_path))

    def make(script):
        (tmp_path / 'npu-smi').write_text('#!/bin/sh\n' + script)
        (tmp_path / 'npu-smi').chmod(0o755)
    npu_cards.chip.cache_clear()
    yield make
    npu_cards.chip.cache_clear()


@pytest.mark.parametrize('name, kind, phy_id', [
    ('310', 'Ascend 310', ''), ('310P3', 'Ascend 310P', ''), ('310B4', 'Ascend 310B', ''), ('910A', 'Ascend 910', ''),
    ('910ProB', 'Ascend 910, 30 cores', ''), ('910B1', 'Atlas A2, 910B1', ''),
    ('910B2', 'Atlas A2, 910B2', ''), ('910B3', 'Atlas A2, 910B3', ''), ('910B4', 'Atlas A2', ''),
    ('910_9391', 'Atlas A3', '110'), ('Ascend910', 'Atlas A3', '110')])
@pytest.mark.parametrize('number', [0, 12])
def test_the_chip_by_npu_smi(smi, name, kind, phy_id, number):
    smi('[ "$*" = info ] || exit 1\n/bin/cat <<END\n%sEND\n' % (
        SMI % ('Phy-ID' if phy_id else '', number, name, phy_id)))
    assert npu_chips.find(npu_cards.chip()).name == kind


@pytest.mark.parametrize('script', [
    None, 'echo "dcmi module initialize failed. ret is -8005"; exit 8', 'printf "\\377\\376 | 0 | 910B1 |"',
    'echo "| 0     910B1      | OK"; exit 1', 'echo "| 0     unknown      | OK            |"', 'exit 0',
    '/bin/sleep 60\necho "| 0     910B1      | OK"'])
def test_an_npu_smi_that_names_no_chip(smi, monkeypatch, script):
    """Also one that hangs, with a process of its own that keeps its output open."""
    monkeypatch.setattr(npu_cards, 'TOOL_SECONDS', .3)
    if script is not None:
        smi(script)
    assert npu_cards.chip() == ''


@pytest.mark.parametrize('cards', ['0123', '4567', '0145', '0246', '0347', '1256', '1357', '2367', '7632'])
def test_four_cards_that_hccl_joins_on_910(cards):
    assert npu_cards.faults_on_910(rank_table.Rank(number, int(card), '', server) for server in ('a', 'b')
                                   for number, card in enumerate(cards)) == ([], [])


@pytest.fixture
def cards_8(host):
    """Makes a host with eight cards."""
    (host / 'hccn.conf').write_text(''.join('address_%d=192.168.100.%d\n' % (card, 101 + card) for card in range(8)))
    for card in range(8):
        (host / ('davinci%d' % card)).touch()


@pytest.mark.parametrize('chip, refuses', [('910A', True), ('910ProB', True), ('910B3', False), ('910_9391', False),
                                           ('', False)])
def test_cards_that_hccl_refuses_on_910(cards_8, tmp_path, monkeypatch, chip, refuses):
    monkeypatch.setattr(npu_cards, 'chip', lambda: chip)
    three = plan('npu', 3, tmp_path / 'logs')
    assert [note for note in three.notes if '3 cards' in note and 'HCCS' in note] == (
        three.notes[-1:] if refuses else [])
    path = table_of(tmp_path / 'table.json', *[(card, server) for server, cards in (
        ('10.255.0.1', (0, 1, 2, 3)), ('127.0.0.1', (0, 1, 2, 4))) for card in cards])
    for options in (dict(device_ids=(4, 2, 1, 0)), dict(rank_table=path)):
        if refuses:
            check_facts(refused('npu', 4, tmp_path / 'logs', **options), '0, 1, 2, 4', 'Ascend 910', '0123, 4567')
        else:
            assert len(plan('npu', 4, tmp_path / 'logs', **options).environments) == 4
    assert len(plan('npu', 4, tmp_path / 'logs', device_ids=(3, 1, 7, 5)).environments) == 4


def test_a_card_without_an_address(host):
    (host / 'hccn.conf').write_text('address_0=192.168.100.101\naddress_2=192.168.100.103\n')
    check_facts(refused('npu', 0), 'hccn.conf', 'no address', 'card 1, 3', '0, 2')


def test_more_devices_than_there_are(monkeypatch):
    check_facts(refused('npu', 8), '--num_devices=8', '4 NPUs (0, 1, 2, 3)', '--num_devices=4 --batch_size=8')
    check_facts(refused('npu', 3, device_ids=(0, 1)), '--device_ids', '2 NPUs (0, 1)', '--num_devices=2 --batch_size=6')
    check_facts(refused('npu', 2, device_ids=(0, 7)), '--device_ids', 'card 7', '0, 1, 2, 3')
    from edvr.graph_mode import tf
    monkeypatch.setattr(tf.config.experimental, 'list_physical_devices', lambda kind: ['one', 'two', 'three'])
    assert plan('gpu', 3).environments == plan('gpu', 0).environments == {}   # one process drives them all
    check_facts(refused('gpu', 8), '--num_devices=8', '3 GPUs', 'CUDA_VISIBLE_DEVICES',
                '--num_devices=2 --batch_size=16')   # 32 cannot be shared by 3


def test_the_part_of_a_rank_table_that_is_this_host(tmp_path):
    path = table_of(tmp_path / 'table.json', (2, '10.255.0.1'), (3, '10.255.0.1'), (2, '127.0.0.1'), (3, '127.0.0.1'))
    found = plan('npu', 2, rank_table=path)
    assert [(rank, e['DEVICE_ID'], e['RANK_SIZE']) for rank, e in found.environments.items()] == [
        (2, '2', '4'), (3, '3', '4')]
    assert found.environments[2]['EDVR_RENDEZVOUS'] == '10.255.0.1:29401'   # where rank 0 is
    assert list(plan('npu', 0, rank_table=path, this_host='10.255.0.1').environments) == [0, 1]
    check_facts(refused('npu', 8, rank_table=path), '2 cards', '127.0.0.1', '--num_devices=2 --batch_size=16')


def test_a_rank_table_of_another_host(tmp_path, monkeypatch):
    path = table_of(tmp_path / 'table.json', (0, '10.255.0.1'), (1, '10.255.0.2'))
    monkeypatch.setenv('RANK_TABLE_FILE', path)
    check_facts(refused('npu', 2), 'rank table %s' % path, '10.255.0.1, 10.255.0.2', 'none is this host',
                '--this_host')
    check_facts(refused('npu', 2, this_host='10.255.0.3'), 'none is 10.255.0.3')
    path = table_of(tmp_path / 'table.json', (6, '127.0.0.1'), (7, '127.0.0.1'))
    check_facts(refused('npu', 2), 'card 6, 7', '127.0.0.1', '0, 1, 2, 3')


def test_hosts_make_their_table_together(tmp_path, monkeypatch):
    """Two hosts; a thread is the launcher of the second."""
    port, = addresses.free_ports(1)
    other = threading.Thread(target=rendezvous.all_gather, args=(
        dict(server='10.255.0.2', cards=[(0, '192.168.1.9')]), 1, 2, ('127.0.0.1', port), 30.))
    other.start()
    monkeypatch.setattr(addresses, 'address_of', lambda host: '10.255.0.1')
    found = plan('npu', 2, tmp_path, hosts=('localhost', '10.255.0.2'), port=port)
    other.join()
    assert [(rank, e['RANK_SIZE'], e['EDVR_RENDEZVOUS']) for rank, e in found.environments.items()] == [
        (0, '3', '10.255.0.1:%d' % (port + 1)), (1, '3', '10.255.0.1:%d' % (port + 1))]
    assert rank_table.read(str(tmp_path / 'rank_table.json'))[2] == (2, 0, '192.168.1.9', '10.255.0.2')


def test_ranks_on_a_cpu():
    found = plan('cpu', 3)
    clusters = [json.loads(environment['TF_CONFIG']) for environment in found.environments.values()]
    assert [c['task'] for c in clusters] == [{'type': 'worker', 'index': index} for index in range(3)]
    workers = clusters[0]['cluster']['worker']
    assert len(set(workers)) == 3 and all(c['cluster'] == clusters[0]['cluster'] for c in clusters)
    assert found.notes[0].startswith('3 ranks on this CPU, which share its ') and 'slow' in found.notes[0]
    assert plan('cpu') == plan('cpu', 0) == ({}, {}, [])


def test_ranks_on_the_second_of_two_hosts():
    port = addresses.free_ports(1)[0]
    found = plan('cpu', 2, hosts=('10.255.0.1', '127.0.0.1'), port=port)
    tasks = [json.loads(environment['TF_CONFIG']) for environment in found.environments.values()]
    assert list(found.environments) == [2, 3] == [task['task']['index'] for task in tasks]
    assert tasks[0]['cluster']['worker'] == ['%s:%d' % (host, port + 2 + index)
                                             for host in ('10.255.0.1', '127.0.0.1') for index in (0, 1)]
    assert 'are all this host' in refused(hosts=('127.0.0.1', '127.0.0.2'))
    with socket.socket() as taken:
        taken.bind(('', 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        check_facts(refused(hosts=('127.0.0.1', '10.255.0.1'), port=port - 2), 'port %d' % port, socket.gethostname(),
                    'end the job that uses it')


def test_a_process_that_is_a_rank_starts_none(monkeypatch):
    monkeypatch.setenv('RANK_ID', '3')
    monkeypatch.setenv('RANK_SIZE', '8')
    found = plan('npu', 8)
    assert found.environments == found.changes == {}
    assert found.notes == ['this process is rank 3 of 8, for RANK_ID is set; if another job has left it, unset it, and '
                           'this command starts its own ranks']
    monkeypatch.setenv('RANK_SIZE', '2')
    assert 'if another job has left these variables, unset them' in refused('npu', 4)
    assert plan('cpu', 2).notes[-1] == 'RANK_ID=3 is ignored: it is for --device=npu'
    monkeypatch.setenv('TF_CONFIG', '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}')
    assert plan('cpu', 8) == ({}, {}, ['this process is one rank of a job, for TF_CONFIG is set'])


def test_the_process_that_starts_others_loads_no_tensorflow():
    program = ('import sys\nfrom edvr import flags\nfrom edvr.config.host import HostConfig\n'
               'from edvr.devices import DEVICES, choice\nfrom edvr.launch import relaunch\n'
               'choice.choose()\n'
               'print(*[len(DEVICES[name].plan_workers(HostConfig(num_devices=2)).environments)'
               ' for name in ("cpu", "npu")], "tensorflow" in sys.modules)')
    done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, stdout=subprocess.PIPE, universal_newlines=True)
    assert done.stdout == '2 2 False\n'


@pytest.mark.parametrize('options, text', [
    (dict(hosts=('a', 'b', 'a')), 'hosts names a more than once'),
    (dict(hosts=('a',), this_host='b'), "this_host is 'b', which is not one of hosts"),
    (dict(hosts=('a', 'b'), rank_table='x'), 'hosts and rank_table are both given')])
def test_options_that_do_not_fit(options, text):
    with pytest.raises(ConfigError, match=text):
        RanksConfig(**options)


# ranks that meet

def together(*actions):
    """Runs functions in threads; returns what each returned, or its UserError."""
    results = [None] * len(actions)

    def run_one(index):
        try:
            results[index] = actions[index]()
        except UserError as error:
            results[index] = str(error)
    threads = [threading.Thread(target=run_one, args=(index,)) for index in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def test_all_ranks_get_what_each_brings():
    address = ('127.0.0.1', addresses.free_ports(1)[0])
    assert together(*[lambda rank=rank: rendezvous.all_gather('from %d' % rank, rank, 3, address, 30.)
                      for rank in range(3)]) == [['from 0', 'from 1', 'from 2']] * 3


def test_ranks_with_different_options():
    address = ('127.0.0.1', addresses.free_ports(1)[0])
    values = [{'--steps': 10, '--channels': 64}, {'--steps': 20, '--channels': 64}]
    for text in together(*[lambda rank=rank: agreement.check(values[rank], rank, 2, address, 30.) for rank in (0, 1)]):
        check_facts(text, '--steps', '20 on it', '10 on rank 0', 'Start all ranks')
        assert '--channels' not in text


def test_ranks_that_agree_know_how_many_hosts_they_are_on(monkeypatch):
    names = {rank: 'host%d' % (rank // 2) for rank in range(4)}
    monkeypatch.setattr(socket, 'gethostname', lambda: names[threading.current_thread().rank])
    address = ('127.0.0.1', addresses.free_ports(1)[0])

    def of(rank):
        def act():
            threading.current_thread().rank = rank
            return agreement.check({'--steps': 10}, rank, 4, address, 30.)
        return act
    assert together(*[of(rank) for rank in range(4)]) == [2] * 4


def test_ranks_that_do_not_come():
    port, = addresses.free_ports(1)
    with raises_facts(UserError, 'rank 1', 2, 'in time', 'the same command on every host'):
        rendezvous.all_gather(0, 0, 2, ('127.0.0.1', port), .3)
    with raises_facts(UserError, 'rank 0', '127.0.0.1:%d' % port, 'in time'):
        rendezvous.all_gather(0, 1, 2, ('127.0.0.1', port), .3)
    with socket.socket() as taken:
        taken.bind(('', port))
        taken.listen(1)
        with raises_facts(UserError, 'rank 0', 'port %d' % port):
            rendezvous.all_gather(0, 0, 2, ('127.0.0.1', port), 5.)


def test_a_rank_of_another_job_is_turned_away():
    address = ('127.0.0.1', addresses.free_ports(1)[0])
    results = together(lambda: rendezvous.all_gather(0, 0, 2, address, 30.),
                       lambda: rendezvous.all_gather(7, 3, 4, address, 30.),
                       lambda: (time.sleep(.3), rendezvous.all_gather(1, 1, 2, address, 30.))[1])
    assert results[0] == results[2] == [0, 1]
    assert results[1].startswith('this rank is 3 of 4, but rank 0 waits for the 2 ranks of another job')


# cores

def test_every_process_has_its_own_cores(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(10)))
    assert processes.core_shares(4) == [{0, 1}, {2, 3}, {4, 5}, {6, 7}]
    assert processes.core_shares(1) == [None] and processes.core_shares(11) == [None] * 11


# living and ending together

def run(tmp_path, code, count=2, grace=10.):
    environments = {rank: dict(RANK=str(rank), JOB_ID=None) for rank in range(count)}
    return processes.run_together([sys.executable, '-c', code], environments, str(tmp_path / 'logs'), grace)


def log(tmp_path, rank):
    return (tmp_path / 'logs' / ('rank_%d.log' % rank)).read_text()


def test_all_end_well(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv('JOB_ID', 'must go')
    code = 'import os; print("rank", os.environ["RANK"], os.environ.get("JOB_ID"))'
    assert run(tmp_path, code) == 0
    assert [log(tmp_path, rank) for rank in (0, 1)] == ['rank 0 None\n', 'rank 1 None\n']
    assert capfd.readouterr().out == 'rank 0 None\n'   # the first shows here as well
    run(tmp_path, code)
    assert log(tmp_path, 1) == 'rank 1 None\n' * 2     # a resumed run does not lose the log


def test_what_another_rank_waits_for_is_shown_here(tmp_path, capfd):
    code = 'import os; print("waiting for a lock" if os.environ["RANK"] == "1" else "building")'
    assert run(tmp_path, code) == 0
    assert sorted(capfd.readouterr().out.splitlines()) == ['building', 'rank 1: waiting for a lock']
    assert log(tmp_path, 1) == 'waiting for a lock\n'


def test_one_that_fails_stops_the_job(tmp_path, capfd):
    assert run(tmp_path, 'print("an earlier run")', count=3) == 0
    capfd.readouterr()
    began = time.monotonic()
    code = run(tmp_path, 'import os, sys, time\nif os.environ["RANK"] == "2": sys.exit("no more memory")\n'
               'time.sleep(99)', count=3)
    assert code == 1 and time.monotonic() - began < 60
    error = capfd.readouterr().err
    check_facts(error, 'error: rank 2', 'exit code 1', tmp_path / 'logs' / 'rank_2.log', '| no more memory')
    assert 'an earlier run' not in error


def test_the_first_rank_is_not_shown_twice(tmp_path, capfd):
    code = 'import os, sys, time\nif os.environ["RANK"] == "0": sys.exit("no more memory")\ntime.sleep(99)'
    assert run(tmp_path, code) == 1
    shown = capfd.readouterr()
    assert shown.out == 'no more memory\n' and 'no more memory' not in shown.err
    check_facts(shown.err, 'error: rank 0', 'exit code 1', tmp_path / 'logs' / 'rank_0.log')


def test_one_that_is_killed_stops_the_job(tmp_path, capfd):
    code = run(tmp_path, 'import os, time\nif os.environ["RANK"] == "1": os.kill(os.getpid(), 9)\ntime.sleep(99)')
    assert code == 128 + signal.SIGKILL and 'rank 1 was killed by SIGKILL' in capfd.readouterr().err


def test_children_of_a_rank_end_too(tmp_path):
    marker = tmp_path / 'pid'
    code = ('import os, subprocess, sys, time\nif os.environ["RANK"] == "1":\n'
            '    child = subprocess.Popen(["sleep", "99"]); open(%r, "w").write(str(child.pid)); sys.exit(3)\n'
            'time.sleep(99)' % str(marker))
    assert run(tmp_path, code) == 3
    assert not _alive(int(marker.read_text()))


def test_a_log_on_a_full_disk_does_not_stop_the_job(tmp_path, capfd):
    """Lets the ranks print more than a pipe holds."""
    (tmp_path / 'logs').mkdir()
    for rank in (0, 1):
        (tmp_path / 'logs' / ('rank_%d.log' % rank)).symlink_to('/dev/full')
    code = 'import signal; signal.alarm(30)\nfor index in range(9999): print("line", index, "of a long output")'
    assert run(tmp_path, code) == 0
    shown = capfd.readouterr()
    assert shown.out.endswith('line 9998 of a long output\n') and shown.err.count('\n') == 2
    check_facts(shown.err, tmp_path / 'logs' / 'rank_0.log', tmp_path / 'logs' / 'rank_1.log', 'No space left')


def _alive(pid):
    try:
        with open('/proc/%d/stat' % pid) as file:
            return file.read().split()[2] != 'Z'
    except FileNotFoundError:
        return False


STUB = """
import os, signal, sys, time
def save(signum, frame):
    print('saved', flush=True)
    sys.exit(143)
if os.environ['RANK_ID'] == '0':
    signal.signal(signal.SIGTERM, save)
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)   # waits for rank 0, as in a collective
print('begun', sys.argv[1:], flush=True)
time.sleep(99)
"""


@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_lets_rank_0_save_and_ends_all(tmp_path, signum):
    (tmp_path / 'stub.py').write_text(STUB)
    program = ('import signal, sys; from edvr.launch import processes; processes._DEATH_GRACE = .5\n'
               'signal.signal(signal.SIGHUP, signal.SIG_DFL)\n'   # also if the tests run under nohup
               'ranks = {0: {"RANK_ID": "0"}, 1: {"RANK_ID": "1"}}\n'
               'sys.exit(processes.run_together([sys.executable, "stub.py"], ranks, "logs", 20.))')
    job = subprocess.Popen([sys.executable, '-c', program], cwd=str(tmp_path),
                           env=dict(os.environ, PYTHONPATH=ROOT), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           universal_newlines=True)
    try:
        assert job.stdout.readline() == 'begun []\n'
        deadline = time.monotonic() + 30
        other = tmp_path / 'logs' / 'rank_1.log'
        while not (other.exists() and 'begun' in other.read_text()) and time.monotonic() < deadline:
            time.sleep(.05)
        job.send_signal(signum)
        out, err = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 128 + signum
    assert out == 'saved\n' and 'stopping: rank 0 saves' in err


def test_ranks_that_do_not_wait_for_each_other_are_stopped_at_once(tmp_path, capfd):
    code = ('import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *unused: sys.exit("saved"))\n'
            'print("begun", flush=True)\ntime.sleep(99)')
    logs = [tmp_path / 'logs' / ('rank_%d.log' % rank) for rank in (0, 1)]
    looks = []

    def look():
        looks.append(0)
        if all(path.exists() and 'begun' in path.read_text() for path in logs):
            os.kill(os.getpid(), signal.SIGTERM)
    ended = processes.run_together([sys.executable, '-c', code], {0: {}, 1: {}}, str(tmp_path / 'logs'), 20.,
                                   leads=False, look=look)
    assert ended == 128 + signal.SIGTERM
    assert [path.read_text() for path in logs] == ['begun\nsaved\n'] * 2 and looks
    shown = capfd.readouterr()
    assert shown.out == '' and shown.err == 'stopping: all processes end (20 s at most)\n'


# the scripts

@pytest.fixture
def script(tmp_path):
    """Runs one of scripts/ with a `python` that says what it was called with; returns (exit code, its arguments)."""
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\nfor argument; do echo "$argument"; done\n'
                      'env | grep -E "^(DEVICE_ID|RANK_ID|RANK_SIZE|RANK_TABLE_FILE)=" | sort\n')
    python.chmod(0o755)

    def run_script(name, *arguments, **environment):
        done = subprocess.run(
            ['bash', os.path.join(ROOT, 'scripts', name)] + list(arguments), cwd=str(tmp_path), stdout=subprocess.PIPE,
            universal_newlines=True, env=dict(dict(os.environ, PYTHON=str(python)), **environment))
        return done.returncode, done.stdout.replace(ROOT + os.sep, '').splitlines()
    return run_script


def test_training_scripts(script):
    assert script('run_1p_train.sh', '3', '1', '--model_dir=a b, c') == (0, [
        '-m', 'edvr.train', '--flagfile=flags/1p.cfg', '--model_dir=a b, c', 'DEVICE_ID=3'])
    assert script('run_1p_train.sh', FLAGFILE='mine.cfg', RANK_ID='5')[1][2:] == ['--flagfile=mine.cfg', 'DEVICE_ID=0']
    assert script('run_8p_train.sh', '--steps=5') == (0, ['-m', 'edvr.train', '--flagfile=flags/8p.cfg', '--steps=5'])
    assert script('run_8p_train.sh', SERVER_ID='10.0.0.1', RANK_TABLE_FILE='mine.json')[1][3:] == [
        '--this_host=10.0.0.1', 'RANK_TABLE_FILE=mine.json']


def test_one_rank_of_a_job_script(script):
    assert script('run_1p_train.sh', '1', '2')[1][2:] == [
        '--flagfile=flags/8p.cfg', '--num_devices=2', 'DEVICE_ID=1', 'RANK_ID=1', 'RANK_SIZE=2',
        'RANK_TABLE_FILE=scripts/rank_tables/2p.json']


@pytest.mark.parametrize('size', ['2', '4', '8'])
def test_the_program_takes_what_the_script_of_one_rank_gives(script, size):
    code, lines = script('run_1p_train.sh', '1', size, '--device=npu', '--dry_run', '--model_dir=run',
                         PYTHON=sys.executable)
    assert code == 0 and [line for line in lines if line.startswith('this process is rank 1 of %s,' % size)]


def test_restoring_scripts(script, tmp_path):
    """[DEVICE_ID [CHECKPOINT]] [FLAGS...]; paths as they are given, also with commas, spaces and quotes."""
    assert script('run_evaluation.sh', '2', 'my "run"', '--nossim', DEVICE='cpu', DATA_DIR='a, b') == (0, [
        '-m', 'edvr.evaluate', '--checkpoint=my "run"', '--num_devices=1', '--device=cpu', '--data_dir=a, b',
        '--nossim', 'DEVICE_ID=2'])
    assert script('run_inference.sh', '0', 'run', INPUT="it's.mp4", OUTPUT='b.mp4') == (0, [
        '-m', 'edvr.infer', '--checkpoint=run', '--num_devices=1', "--input=it's.mp4", '--output=b.mp4',
        'DEVICE_ID=0'])
    assert script('run_inference.sh', 'run')[1] == ['-m', 'edvr.infer', '--checkpoint=run']   # on all devices
    assert script('run_freeze.sh', '--height=64', OUTPUT='x y.pb')[1] == [
        '-m', 'edvr.export', '--output=x y.pb', '--height=64']
    (tmp_path / 'a b').mkdir()
    (tmp_path / 'a b' / 'model.ckpt-600.index').touch()
    for name in ('a b/EDVR-600', 'a b/model.ckpt-600'):   # the first is what the older port calls the second
        assert script('run_freeze.sh', name) == (0, ['-m', 'edvr.export', '--checkpoint=a b/model.ckpt-600'])
    assert script('run_freeze.sh', 'a b/EDVR-700')[1][2:] == ['--checkpoint=a b/EDVR-700']   # edvr.export reports it


def test_names_in_the_preparation_of_reds(script):
    assert script('prepare_reds.sh', DATA_DIR='my, "data"')[1][-4:] == [
        'data_tools.make_tfrecords', '--data_dir=my, "data"', '--output_dir=my, "data"/tfrecords', '--num_frames=5']
