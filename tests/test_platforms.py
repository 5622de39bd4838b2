"""Rank tables and variables as platforms write them: Kubernetes with ascend-operator, ModelArts."""
import json
import os
import re
import socket
import threading

import pytest
import yaml
from conftest import ROOT
from facts import check_error, check_facts, raises_facts
from test_launch import host, no_job, plan, refused  # noqa: F401 fixtures

from data_tools.base.errors import UserError
from edvr.launch import addresses, npu_plan, rank_table, rendezvous

# a pod of ascend-operator for each of two nodes, with two cards each
OPERATOR = {
    'status': 'completed', 'version': '1.0', 'server_count': '2', 'server_list': [
        {'device': [{'device_id': str(card), 'device_ip': '192.168.101.%d' % (2 * node + card + 1),
                     'rank_id': str(2 * node + card)} for card in (0, 1)],
         'server_id': '10.255.0.%d' % (node + 1), 'host_ip': '10.255.0.%d' % (node + 1),
         'container_ip': '172.16.9.%d' % (node + 1), 'hardware_type': '800I-A2-32G'} for node in (0, 1)]}
MODELARTS = {
    'status': 'completed', 'group_count': '1', 'group_list': [
        {'group_name': 'job-trainjob', 'device_count': '4', 'instance_count': '2', 'instance_list': [
            {'pod_name': 'job-worker-%d' % node, 'server_id': '10.255.0.%d' % (node + 1), 'devices': [
                {'device_id': str(card), 'device_ip': '192.168.101.%d' % (2 * node + card + 1)} for card in (0, 1)]}
            for node in (0, 1)]}]}


def written(path, table):
    path.write_text(json.dumps(table))
    return str(path)


def ranks_of(found):
    return [(rank, e['DEVICE_ID'], e['RANK_SIZE']) for rank, e in found.environments.items()]


def tables_of(found):
    return {e['RANK_TABLE_FILE'] for e in found.environments.values()}


# Kubernetes

@pytest.mark.parametrize('name, value', [('POD_IP', '172.16.9.2'), ('XDL_IP', '10.255.0.2'), ('HOST_IP', '10.255.0.2'),
                                         ('CM_WORKER_IP', '172.16.9.2')])
def test_the_pod_is_known_by_its_variables(tmp_path, monkeypatch, name, value):
    monkeypatch.setenv('RANK_TABLE_FILE', written(tmp_path / 'hccl.json', OPERATOR))
    monkeypatch.setenv(name, value)
    found = plan('npu', 2)
    assert ranks_of(found) == [(2, '0', '4'), (3, '1', '4')]
    assert {e['EDVR_RENDEZVOUS'] for e in found.environments.values()} == {'172.16.9.1:29401'}   # the pod of rank 0
    assert {e['RANK_TABLE_FILE'] for e in found.environments.values()} == {str(tmp_path / 'hccl.json')}


def test_pods_of_one_node_differ_by_their_addresses(tmp_path, monkeypatch):
    servers = [dict(server, server_id='10.255.0.1', host_ip='10.255.0.1',
                    device=[dict(card, device_id=card['rank_id']) for card in server['device']])
               for server in OPERATOR['server_list']]
    path = written(tmp_path / 'hccl.json', dict(OPERATOR, server_list=servers))
    monkeypatch.setenv('XDL_IP', '10.255.0.1')
    check_facts(refused('npu', 2, rank_table=path), 'several are this host', '--this_host', '172.16.9.2')
    monkeypatch.setenv('POD_IP', '172.16.9.2')
    found = plan('npu', 2, tmp_path / 'logs', rank_table=path)
    assert ranks_of(found) == [(2, '2', '4'), (3, '3', '4')]
    assert list(plan('npu', 2, tmp_path / 'logs', rank_table=path, this_host='172.16.9.1').environments) == [0, 1]
    # HCCL refuses a server_id that is listed twice
    path = tmp_path / 'logs' / 'rank_table.json'
    assert tables_of(found) == {str(path)}
    table = json.loads(path.read_text())
    assert table == dict(OPERATOR, server_count='1', server_list=table['server_list'])
    server, = table['server_list']
    assert (server['server_id'], server['host_ip'], server['hardware_type']) == (
        '10.255.0.1', '10.255.0.1', '800I-A2-32G')
    assert server['device'] == servers[0]['device'] + servers[1]['device'] and 'container_ip' not in server
    assert len(rank_table.read(str(path))) == 4


def test_pods_of_several_nodes_in_any_order(tmp_path):
    """Template 1 of version 1.2: the other fields stay, and each card keeps its rank."""
    servers = [{'server_id': node, 'device': [{'device_id': card, 'device_ip': '192.168.101.%d' % rank,
                                               'super_device_id': '7%d' % rank, 'rank_id': str(rank)}]}
               for rank, (node, card) in enumerate([('10.0.0.2', '1'), ('10.0.0.1', '0'), ('10.0.0.2', '0')], 1)]
    servers[-1]['device'][0]['rank_id'] = '0'
    pods = {'super_pod_list': [{'super_pod_id': '0', 'server_list': [{'server_id': '10.0.0.1'}]}]}
    table = rank_table.load(written(tmp_path / 'hccl.json', dict(
        pods, status='completed', version='1.2', server_count='3', server_list=servers)))
    assert not table.for_hccl and table.content == dict(
        pods, status='completed', version='1.2', server_count='2', server_list=[
            {'server_id': '10.0.0.2', 'device': servers[0]['device'] + servers[2]['device']}, servers[1]])
    again = rank_table.load(written(tmp_path / 'again.json', table.content))
    assert again.for_hccl and again.ranks == table.ranks
    assert [(rank.server_id, rank.device_id) for rank in again.ranks] == [
        ('10.0.0.2', 0), ('10.0.0.2', 1), ('10.0.0.1', 0)]


def test_the_only_server_is_this_host(tmp_path):
    table = dict(OPERATOR, server_count='1', server_list=OPERATOR['server_list'][:1])
    assert ranks_of(plan('npu', 0, rank_table=written(tmp_path / 'hccl.json', table))) == [(0, '0', '2'), (1, '1', '2')]


def test_version_of_atlas_a3(tmp_path):
    """Cards of one super pod have no address; the others have those fields as well."""
    servers = [dict(server, device=[dict(card, device_ip='-1', super_device_id='3773%s' % card['rank_id'])
                                    for card in server['device']]) for server in OPERATOR['server_list']]
    table = dict(OPERATOR, version='1.2', server_list=servers, super_pod_list=[
        {'super_pod_id': '0', 'server_list': [{'server_id': server['server_id']} for server in servers]}])
    assert len(rank_table.read(written(tmp_path / 'hccl.json', table))) == 4


def test_version_of_the_950_is_refused_by_name(tmp_path):
    path = written(tmp_path / 'hccl.json', {'status': 'initializing', 'version': '2.0', 'rank_list': []})
    check_facts(refused('npu', 2, rank_table=path), path, 'version 2.0', '1.0 or 1.2')


def test_a_table_that_is_being_written_is_waited_for(tmp_path, monkeypatch, capfd):
    """The folder is there before the file; the file is written in place, first without content."""
    monkeypatch.setenv('RANK_TABLE_FILE', str(tmp_path))
    monkeypatch.setenv('POD_IP', '172.16.9.1')
    path, text, states = tmp_path / 'hccl.json', json.dumps(OPERATOR), []

    def write():
        for state in ('{"status":"initializing"}', '', text[:100], text):
            path.write_text(state)
            states.append(state)
            threading.Event().wait(.3)
    writer = threading.Timer(.3, write)
    writer.start()
    found = plan('npu', 2, start_timeout=30.)
    writer.join()
    assert len(states) == 4 and ranks_of(found) == [(0, '0', '4'), (1, '1', '4')]
    assert tables_of(found) == {str(path)}   # the file, not its folder
    check_facts(capfd.readouterr().err, 'waiting for the rank table %s' % path, 'No such file', '--start_timeout')


@pytest.mark.parametrize('content, facts', [
    ('{"status": "initializing"}', ["has status 'initializing'", "'completed'"]), ('', ['cannot be read']),
    (None, ['No such file'])])
def test_a_table_that_is_never_completed(tmp_path, monkeypatch, content, facts):
    if content is not None:
        (tmp_path / 'hccl.json').write_text(content)
    monkeypatch.setenv('RANK_TABLE_FILE', str(tmp_path / 'hccl.json'))
    check_facts(refused('npu', 8, start_timeout=1.), tmp_path / 'hccl.json', 'after 1 s', '--start_timeout', *facts)


def test_the_program_ends_with_one_line_before_anything_starts(run_program, tmp_path):
    (tmp_path / 'hccl.json').write_text('{"status": "initializing"}')
    done = run_program('edvr.train', '--device=npu', '--num_devices=8', '--start_timeout=1', '--model_dir=%s' % (
        tmp_path / 'run'), env=dict(RANK_TABLE_FILE=str(tmp_path / 'hccl.json')))
    check_error(done, tmp_path / 'hccl.json', "'initializing'", 'after 1 s')
    assert not (tmp_path / 'run').exists()


def test_a_table_that_is_typed_and_absent_is_no_reason_to_wait(tmp_path):
    check_facts(refused('npu', 8, rank_table=str(tmp_path / 'absent.json')), tmp_path / 'absent.json', 'No such file')


def test_a_group_of_another_size_than_the_job(tmp_path, monkeypatch):
    path = written(tmp_path / 'hccl.json', OPERATOR)
    monkeypatch.setenv('POD_IP', '172.16.9.1')
    check_facts(refused('npu', 8, rank_table=path), '--num_devices=8', '2 cards', '--num_devices=2 --batch_size=16')
    check_facts(refused('npu', 1, rank_table=path), '--num_devices=1', '2 cards', '--num_devices=2 --batch_size=2')
    monkeypatch.setenv('RANK_SIZE', '16')
    check_facts(refused('npu', 2, rank_table=path), 'RANK_SIZE is 16', '4 cards', 'unset RANK_SIZE')


# servers with names

def named_servers(*fields, names=('node_0', 'node_1')):
    """A table of the documented form: server_id is any name. `fields` has those of each server besides."""
    return dict(OPERATOR, server_list=[
        dict(server_id=name, device=server['device'], **more)
        for name, server, more in zip(names, OPERATOR['server_list'], fields or ({}, {}))])


def test_the_only_server_has_a_name_and_its_cards_no_addresses(tmp_path):
    cards = [dict(device_id=str(card), rank_id=str(card)) for card in (0, 1)]
    table = dict(OPERATOR, server_count='1', server_list=[dict(server_id='node_0', device=cards)])
    path = written(tmp_path / 'hccl.json', table)
    found = plan('npu', 0, rank_table=path)
    assert ranks_of(found) == [(0, '0', '2'), (1, '1', '2')] and tables_of(found) == {path}
    assert found.environments[0]['EDVR_RENDEZVOUS'].startswith('127.0.0.1:')


@pytest.mark.parametrize('names', [('node_0', 'node_1'), ('0', '1')])
@pytest.mark.parametrize('field', ['host_ip', 'container_ip'])
def test_servers_with_names_and_addresses(tmp_path, monkeypatch, names, field):
    path = written(tmp_path / 'hccl.json', named_servers(
        {field: '10.255.0.1'}, {field: '10.255.0.2'}, names=names))
    monkeypatch.setenv('HOST_IP', '10.255.0.2')
    found = plan('npu', 2, rank_table=path)
    assert ranks_of(found) == [(2, '0', '4'), (3, '1', '4')] and tables_of(found) == {path}
    assert found.environments[2]['EDVR_RENDEZVOUS'] == '10.255.0.1:29401'
    monkeypatch.setenv('RANK_TABLE_FILE', path)   # as in a rank that another program starts
    assert npu_plan.rendezvous_address(29400) == ('10.255.0.1', 29401)


def test_servers_with_names_alone(tmp_path, monkeypatch):
    path = written(tmp_path / 'hccl.json', named_servers())
    check_facts(refused('npu', 2, rank_table=path, this_host='node_1'), path, 'no address', 'node_0', 'host_ip',
                '--hosts')
    monkeypatch.setenv('RANK_TABLE_FILE', path)
    with raises_facts(UserError, path, 'no address', 'node_0', 'host_ip'):
        npu_plan.rendezvous_address(29400)


def test_pods_of_modelarts_on_servers_with_names(tmp_path, monkeypatch):
    group = dict(MODELARTS['group_list'][0], instance_list=[
        dict(instance, server_id='node_%d' % node)
        for node, instance in enumerate(MODELARTS['group_list'][0]['instance_list'])])
    path = written(tmp_path / 'jobstart_hccl.json', dict(MODELARTS, group_list=[group]))
    monkeypatch.setenv('MA_CURRENT_INSTANCE_NAME', 'job-worker-1')
    check_facts(refused('npu', 2, rank_table=path), path, 'no address')
    monkeypatch.setenv('VC_WORKER_HOSTS', 'job-worker-0.job,job-worker-1.job')
    found = plan('npu', 2, tmp_path / 'logs', rank_table=path)
    assert found.environments[2]['EDVR_RENDEZVOUS'] == 'job-worker-0.job:29401'
    table = json.loads((tmp_path / 'logs' / 'rank_table.json').read_text())
    assert [server['server_id'] for server in table['server_list']] == ['node_0', 'node_1']


@pytest.mark.parametrize('fields, names, facts', [
    (({'host_ip': 'here'}, {}), ('a', 'b'), ["'here' is not an IP address"]),
    (({'container_ip': '10.0.0.256'}, {}), ('a', 'b'), ["'10.0.0.256' is not an IP address"]),
    (({}, {}), ('a' * 65, 'b'), ['65 characters', 'must have 1 to 64']),
    (({}, {}), ('', 'b'), ["server_id is ''", 'must have 1 to 64']), (({}, {}), ('a\nb', 'b'), ['can be printed'])])
def test_servers_that_hccl_refuses(tmp_path, fields, names, facts):
    with raises_facts(UserError, tmp_path / 'table.json', *facts):
        rank_table.read(written(tmp_path / 'table.json', named_servers(*fields, names=names)))


def test_cards_of_several_servers_need_addresses(tmp_path):
    servers = [dict(server, device=[{'device_id': '0', 'rank_id': str(rank)}])
               for rank, server in enumerate(OPERATOR['server_list'])]
    with raises_facts(UserError, 'device_ip is missing for rank 0, 1', 'several servers'):
        rank_table.read(written(tmp_path / 'table.json', dict(OPERATOR, server_list=servers)))


# files that HCCL does not read as they are

@pytest.mark.parametrize('name, target, encoding', [
    ('table', '', 'utf-8'), ('table.txt', '', 'utf-8'), ('table.json', 'table.txt', 'utf-8'),
    ('table.json', '', 'utf-8-sig'), ('table.json', '', 'utf-16')])
def test_a_file_that_hccl_does_not_read_is_written_again(tmp_path, monkeypatch, name, target, encoding):
    """HCCL takes only names that end in .json, after links, and knows no byte order marks."""
    (tmp_path / (target or name)).write_bytes(json.dumps(OPERATOR).encode(encoding))
    if target:
        (tmp_path / name).symlink_to(tmp_path / target)
    monkeypatch.setenv('RANK_TABLE_FILE', str(tmp_path / name))
    monkeypatch.setenv('POD_IP', '172.16.9.1')
    found = plan('npu', 2, tmp_path / 'logs')
    assert tables_of(found) == {str(tmp_path / 'logs' / 'rank_table.json')}
    assert json.loads((tmp_path / 'logs' / 'rank_table.json').read_text()) == OPERATOR   # with its further fields


def test_a_link_to_a_json_file_is_read(tmp_path, monkeypatch):
    """As Kubernetes mounts a ConfigMap."""
    (tmp_path / '..data').mkdir()
    written(tmp_path / '..data' / 'hccl.json', OPERATOR)
    (tmp_path / 'hccl.json').symlink_to(tmp_path / '..data' / 'hccl.json')
    monkeypatch.setenv('RANK_TABLE_FILE', str(tmp_path))
    monkeypatch.setenv('POD_IP', '172.16.9.1')
    assert tables_of(plan('npu', 2)) == {str(tmp_path / 'hccl.json')}


# CM_*

def cm(monkeypatch, **values):
    for name, value in dict(dict(CM_CHIEF_IP='127.0.0.1', CM_CHIEF_PORT='2222', CM_CHIEF_DEVICE='0', CM_WORKER_SIZE='4',
                                 CM_LOCAL_WORKER='4', CM_RANK='0', CM_WORKER_IP='127.0.0.1'), **values).items():
        monkeypatch.setenv(name, value)


def test_cm_variables_describe_a_job_of_one_pod(tmp_path, monkeypatch):
    cm(monkeypatch)
    found = plan('npu', 0, tmp_path)
    assert ranks_of(found) == [(index, str(index), '4') for index in range(4)]
    for environment in found.environments.values():   # the adapter refuses them beside RANK_SIZE
        assert environment['CM_WORKER_SIZE'] is environment['CM_CHIEF_IP'] is environment['CM_RANK'] is None


def test_pods_meet_at_the_chief(tmp_path, monkeypatch):
    """The second of two pods; a thread is the launcher of the chief."""
    port, = addresses.free_ports(1)
    other = threading.Thread(target=rendezvous.all_gather, args=(
        dict(server='127.0.0.2', cards=[(card, '192.168.9.%d' % card) for card in range(4)]), 0, 2,
        ('127.0.0.1', port), 30.))
    other.start()
    cm(monkeypatch, CM_CHIEF_PORT=str(port), CM_WORKER_SIZE='8', CM_RANK='1')
    found = plan('npu', 4, tmp_path, start_timeout=30.)
    other.join()
    assert ranks_of(found) == [(4 + index, str(index), '8') for index in range(4)]
    assert found.environments[4]['EDVR_RENDEZVOUS'] == '127.0.0.2:29401'


@pytest.mark.parametrize('values, facts', [
    (dict(CM_RANK=''), ['but not CM_RANK', 'RANK_TABLE_FILE or --hosts']),
    (dict(CM_WORKER_SIZE='6'), ['CM_WORKER_SIZE=6', 'CM_LOCAL_WORKER=4', 'CM_RANK=0']),
    (dict(CM_RANK='1'), ['CM_RANK=1']), (dict(CM_CHIEF_PORT='x'), ["CM_CHIEF_PORT is 'x'"]),
    (dict(CM_LOCAL_WORKER='2', CM_WORKER_SIZE='2'), ['--num_devices=4', '2 cards', '--num_devices=2 --batch_size=8'])])
def test_cm_variables_that_do_not_fit(monkeypatch, values, facts):
    cm(monkeypatch, **values)
    check_facts(refused('npu', 4), *facts)


def test_a_rank_table_wins_over_cm_variables(tmp_path, monkeypatch):
    cm(monkeypatch, CM_WORKER_SIZE='16', CM_WORKER_IP='172.16.9.2')
    monkeypatch.setenv('RANK_TABLE_FILE', written(tmp_path / 'hccl.json', OPERATOR))
    found = plan('npu', 2)
    assert ranks_of(found) == [(2, '0', '4'), (3, '1', '4')] and found.environments[2]['CM_CHIEF_IP'] is None


# TF_CONFIG

@pytest.mark.parametrize('text', ['', '{}', '{"cluster": {}}',
                                  '{"cluster": {}, "task": {"type": "worker", "index": 0}}'])
def test_an_empty_cluster_is_none(monkeypatch, tmp_path, text):
    monkeypatch.setenv('TF_CONFIG', text)
    assert plan('cpu') == ({}, {'TF_CONFIG': None}, [])
    assert len(plan('cpu', 2).environments) == 2
    assert {e['TF_CONFIG'] for e in plan('npu', 2, tmp_path).environments.values()} == {None}


def test_a_cluster_is_refused_before_ranks_of_npus_start(monkeypatch):
    monkeypatch.setenv('TF_CONFIG', '{"cluster": {"worker": ["a:1"]}}')
    check_facts(refused('npu', 2), 'TF_CONFIG', 'a:1', 'rank table', 'unset it')


# ModelArts

def test_template_2_in_a_folder(tmp_path, monkeypatch):
    written(tmp_path / 'jobstart_hccl.json', MODELARTS)
    monkeypatch.setenv('RANK_TABLE_FILE', str(tmp_path))
    monkeypatch.setenv('MA_CURRENT_INSTANCE_NAME', 'job-worker-1')
    found = plan('npu', 0, tmp_path / 'logs')
    assert ranks_of(found) == [(2, '0', '4'), (3, '1', '4')]
    # HCCL gets template 1
    path = str(tmp_path / 'logs' / 'rank_table.json')
    assert {e['RANK_TABLE_FILE'] for e in found.environments.values()} == {path}
    assert rank_table.read(path) == rank_table.read(str(tmp_path)) and rank_table.read(path)[3] == (
        3, 1, '192.168.101.4', '10.255.0.2')
    assert found.environments[2]['EDVR_RENDEZVOUS'] == '10.255.0.1:29401'
    monkeypatch.setenv('VC_WORKER_HOSTS', 'job-worker-0.job,job-worker-1.job')
    assert plan('npu', 0, tmp_path / 'logs').environments[2]['EDVR_RENDEZVOUS'] == 'job-worker-0.job:29401'


def test_the_host_name_is_that_of_the_pod(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, 'gethostname', lambda: 'job-worker-0')
    found = plan('npu', 0, tmp_path, rank_table=written(tmp_path / 'jobstart_hccl.json', MODELARTS))
    assert list(found.environments) == [0, 1]


@pytest.mark.parametrize('change, facts', [
    (dict(group_count='2'), ['group_count is 2', 'must be 1']),
    (dict(group_list=MODELARTS['group_list'] * 2, group_count='2'), ['2 groups', 'must be one group']),
    (dict(group_list=[dict(MODELARTS['group_list'][0], device_count='8')]), ['device_count is 8', 'must be 4']),
    (dict(group_list=[dict(MODELARTS['group_list'][0], instance_count='1')]), ['instance_count is 1', 'must be 2']),
    (dict(group_list=[{'instance_list': [{'pod_name': 'a'}]}]), ['template 2', 'server_id is missing'])])
def test_template_2_that_cannot_be(tmp_path, change, facts):
    with raises_facts(UserError, tmp_path / 'table.json', *facts):
        rank_table.read(written(tmp_path / 'table.json', dict(MODELARTS, **change)))


# the examples of the documents

def blocks(language):
    """The texts of the fenced blocks of docs/clusters.md in a language."""
    with open(os.path.join(ROOT, 'docs', 'clusters.md'), encoding='utf-8') as file:
        return re.findall(r'^```%s\n(.*?)^```' % language, file.read(), re.MULTILINE | re.DOTALL)


def examples():
    """The Kubernetes objects of docs/clusters.md."""
    return [each for block in blocks('yaml') for each in yaml.safe_load_all(block)]


def pods(item):
    """The pod templates of an object."""
    spec = item.get('spec', {})
    return [each['template']['spec'] for each in ([spec] if 'template' in spec else spec.get('tasks', []))]


def test_examples_mount_what_they_read_and_write():
    found = [(item, pod) for item in examples() for pod in pods(item)]
    assert {item['apiVersion'] for item, _ in found} == {'batch/v1', 'batch.volcano.sh/v1alpha1'}
    for item, pod in found:
        volumes = {volume['name'] for volume in pod.get('volumes', [])}
        for container in pod['containers']:
            mounts = container.get('volumeMounts', [])
            assert {mount['name'] for mount in mounts} == volumes
            command = ' '.join(container.get('command', []) + container.get('args', []))   # or those of the image
            paths = re.findall(r'--(?:data_dir|model_dir|checkpoint|input|output)=(\S+)', command)
            assert paths
            for path in paths + [e['value'] for e in container.get('env', []) if e['name'] == 'RANK_TABLE_FILE']:
                assert any(path.startswith(mount['mountPath']) for mount in mounts), (item['metadata'], path)


def test_examples_train_with_a_table_of_the_operator(tmp_path, monkeypatch):
    """Commands and variables of the Volcano example, with the table that the operator writes into its ConfigMap."""
    objects = examples()
    job, = [item for item in objects if item['apiVersion'].startswith('batch.volcano')]
    config, = [item for item in objects if item['kind'] == 'ConfigMap'
               and item['metadata']['name'] == 'rings-config-' + job['metadata']['name']]
    assert json.loads(config['data']['hccl.json']) == {'status': 'initializing'}
    pod, = pods(job)
    assert {'name': 'rank-table', 'configMap': {'name': config['metadata']['name']}} in pod['volumes']
    container, = pod['containers']
    cards = int(container['resources']['limits']['huawei.com/Ascend910'])
    count = re.search(r'--num_devices=(\d+)', ' '.join(container['command']))
    assert count is None or int(count.group(1)) in (0, cards)
    variables = {e['name']: e.get('value') or e['valueFrom']['fieldRef']['fieldPath'] for e in container['env']}
    assert variables['POD_IP'] == 'status.podIP' and variables['XDL_IP'] == 'status.hostIP'
    table, = [json.loads(block) for block in blocks('json')]
    written(tmp_path / 'hccl.json', table)
    monkeypatch.setenv('RANK_TABLE_FILE', str(tmp_path))
    monkeypatch.setenv('POD_IP', table['server_list'][1]['container_ip'])
    found = plan('npu', 0)
    assert len(found.environments) == len(table['server_list'][1]['device'])
    assert tables_of(found) == {str(tmp_path / 'hccl.json')}
