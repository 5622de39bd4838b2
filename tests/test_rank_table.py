"""Rank tables: they are made and read back, and errors report all problems."""
import json
import os

import pytest
from conftest import ROOT
from facts import check_error, raises_facts

from data_tools.base.errors import UserError
from edvr.config import ConfigError
from edvr.config.rank_table import RankTableConfig
from edvr.launch import rank_table
from edvr.launch.rank_table import Rank

TWO_HOSTS = dict(hosts=('10.0.0.1', '10.0.0.2'), output='table.json')


def test_addresses_are_shared_host_by_host():
    ranks = rank_table.make(RankTableConfig(device_ips=('192.168.1.1', '192.168.2.1', '192.168.1.2', '192.168.2.2'),
                                            **TWO_HOSTS))
    assert ranks == [Rank(0, 0, '192.168.1.1', '10.0.0.1'), Rank(1, 1, '192.168.2.1', '10.0.0.1'),
                     Rank(2, 0, '192.168.1.2', '10.0.0.2'), Rank(3, 1, '192.168.2.2', '10.0.0.2')]


def test_table_has_the_form_that_hccl_reads(tmp_path):
    text = rank_table.to_json([Rank(0, 4, '192.168.1.1', '10.0.0.1'), Rank(1, 0, '192.168.1.2', '10.0.0.2')])
    assert json.loads(text) == {
        'version': '1.0', 'server_count': '2', 'status': 'completed', 'server_list': [
            {'server_id': '10.0.0.1', 'device': [{'device_id': '4', 'device_ip': '192.168.1.1', 'rank_id': '0'}]},
            {'server_id': '10.0.0.2', 'device': [{'device_id': '0', 'device_ip': '192.168.1.2', 'rank_id': '1'}]}]}
    path = tmp_path / 'table.json'
    path.write_text(text)
    assert rank_table.read(str(path)) == [Rank(0, 4, '192.168.1.1', '10.0.0.1'), Rank(1, 0, '192.168.1.2', '10.0.0.2')]


@pytest.mark.parametrize('count', [2, 8])
def test_examples_are_sound(count):
    path = os.path.join(ROOT, 'scripts', 'rank_tables', '%dp.json' % count)
    assert [rank.device_id for rank in rank_table.read(path)] == list(range(count))


def test_addresses_from_hccn_conf(tmp_path):
    path = tmp_path / 'hccn.conf'
    path.write_text('address_1=192.168.101.7\nnetmask_1=255.255.255.0\n address_0 = 192.168.100.7\ngateway_0=1.2.3.4\n')
    config = RankTableConfig(hosts=('10.0.0.1',), hccn_conf=(str(path),), output='x')
    assert [(rank.device_id, rank.device_ip) for rank in rank_table.make(config)] == [
        (0, '192.168.100.7'), (1, '192.168.101.7')]
    assert [rank.device_id for rank in rank_table.make(config.replace(device_ids=(1,)))] == [1]
    with raises_facts(UserError, 'address_5=', 'devices 0, 1'):
        rank_table.make(config.replace(device_ids=(5,)))
    path.write_text('nothing')
    with pytest.raises(UserError, match='no line such as address_0='):
        rank_table.make(config)


@pytest.mark.parametrize('options, text', [
    (dict(hosts=(), device_ips=('1.1.1.1',)), 'hosts is empty'),
    (dict(output='', device_ips=('1.1.1.1', '1.1.1.2')), 'output is empty'),
    (dict(), 'one of device_ips and hccn_conf'),
    (dict(device_ips=('1.1.1.1',), hccn_conf=('a', 'b')), 'one of device_ips and hccn_conf'),
    (dict(hccn_conf=('a',)), '1 files for 2 hosts'),
    (dict(device_ips=('1.1.1.1', '1.1.1.2', '1.1.1.3')), '3 addresses, which 2 hosts cannot share'),
])
def test_options_that_do_not_fit(options, text):
    with pytest.raises(ConfigError, match=text):
        RankTableConfig(**dict(TWO_HOSTS, **options))


def test_as_many_device_ids_as_addresses():
    with raises_facts(UserError, '1 devices', '--device_ips', 2):
        rank_table.make(RankTableConfig(hosts=('10.0.0.1',), device_ips=('1.1.1.1', '1.1.1.2'), device_ids=(3,),
                                        output='x'))


def test_all_problems_are_reported_together(tmp_path):
    path = tmp_path / 'table.json'
    table = json.loads(rank_table.to_json([Rank(0, 0, 'here', '10.0.0.1'), Rank(2, 0, 'here', '10.0.0.1')]))
    path.write_text(json.dumps(dict(table, status='initializing', server_count='3')))
    with raises_facts(UserError, path, "status is 'initializing'", "'completed'", 'server_count is 3', 'must be 1',
                      '[0, 2]', 'device_ip must be unique', 'repeated: here', 'device_id', "'here'", 'IP address'):
        rank_table.read(str(path))


@pytest.mark.parametrize('content, text', [
    ('{', 'cannot be read'), ('[]', 'not of format 1.0'),
    ('{"server_list": [{}]}', 'version is missing')])
def test_no_table_at_all(tmp_path, content, text):
    path = tmp_path / 'table.json'
    path.write_text(content)
    with pytest.raises(UserError) as raised:
        rank_table.read(str(path))
    assert text in str(raised.value) and str(path) in str(raised.value)


def test_program(run_program, tmp_path):
    path = tmp_path / 'table.json'
    done = run_program('edvr.rank_table', '--hosts=10.0.0.1', '--device_ips=192.168.1.1,192.168.2.1',
                       '--output=%s' % path)
    assert (done.returncode, done.stdout) == (0, '%s: 2 ranks on 1 servers\n' % path)
    assert len(rank_table.read(str(path))) == 2
    done = run_program('edvr.rank_table', '--hosts=10.0.0.1', '--device_ips=192.168.1.1,nowhere',
                       '--output=%s' % (tmp_path / 'other.json'))
    check_error(done, "'nowhere'", 'IP address')
    assert not os.path.exists(str(tmp_path / 'other.json'))
    done = run_program('edvr.rank_table', '--hosts=10.0.0.1', '--device_ips=192.168.1.1',
                       '--output=%s' % (tmp_path / 'x'))
    check_error(done, tmp_path / 'x', 'name it', tmp_path / 'x.json')
    assert not os.path.exists(str(tmp_path / 'x'))
