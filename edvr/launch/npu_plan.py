"""Processes on NPUs: one for each card; the ranks of a job have a rank table, which HCCL reads."""
from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Callable, Sequence

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr.launch import addresses, cm_variables, npu_cards, plan, rank_table, rendezvous, tf_config
from edvr.launch.plan import Environment, Plan, plural
from edvr.launch.rank_table_formats import Rank, Server, Table

if TYPE_CHECKING:
    from edvr.config import RanksConfig
    from edvr.config.host import HostConfig

TABLE_FILE = 'rank_table.json'
RENDEZVOUS = 'EDVR_RENDEZVOUS'   # the address at which the ranks connect, host:port
# that name the host of a process, or its pod: of MindX, of Kubernetes manifests, of ascend-operator, of ModelArts
_PLACE_VARIABLES = ('XDL_IP', 'HOST_IP', 'POD_IP', 'CM_WORKER_IP', 'POD_NAME', 'MA_CURRENT_INSTANCE_NAME', 'HOSTNAME')
_CARD_VARIABLES = ('ASCEND_DEVICE_ID', 'DEVICE_ID')   # that name the card of a process; the first one wins


def of_ranks(num_devices: int, ranks: RanksConfig, batch_size: int, log_dir: str, is_910: Callable[[], bool]) -> Plan:
    """Plans the ranks of a job; writes the rank table if none is given.

    Args:
      num_devices: cards of each host to use; 0 means all.
      ranks: the hosts, the cards, the rank table.
      batch_size: samples per step on each card, for advice.
      log_dir: folder for the rank table.
      is_910: returns whether the cards are known to be Ascend 910; called if it matters.
    Raises:
      UserError: cards, hosts and rank table do not fit each other.
    """
    if tf_config.has_cluster():
        raise UserError('the environment variable TF_CONFIG names a cluster (%s): on NPUs ranks come from the rank '
                        'table; unset it' % os.environ[tf_config.VARIABLE])
    path, table = table_of(num_devices, ranks), None
    if path:
        table, local, meeting = _read_table(path, num_devices, ranks, batch_size)
        path = table.file if table.for_hccl else None   # of a folder the file in it
        everyone = table.ranks
    else:
        everyone, local = _make_table(num_devices, ranks, batch_size)
        meeting = everyone[0].server_id
    faults, doubts = npu_cards.faults_on_910(everyone)
    if (faults or doubts) and not is_910():
        faults, doubts = [], []
    if faults:
        raise UserError('; '.join(faults))
    if len(everyone) > 1 and not path:
        path = os.path.join(log_dir, TABLE_FILE)
        files.make_dir(log_dir)
        if table:
            rank_table.save_content(table.content, path)
        else:
            rank_table.save(everyone, path)
    table_path = os.path.abspath(path) if path else None
    environments = {rank.rank_id: environment_of(rank.rank_id, len(everyone), rank.device_id, table_path)
                    for rank in local}
    if len(everyone) == 1:
        return _alone(environments[0], ranks, path)
    address = '127.0.0.1:%d' % addresses.free_ports(1)[0]
    if len(local) < len(everyone):
        address = '%s:%d' % (meeting, ranks.port + plan.RANKS)
    return Plan({rank: dict(changes, **{RENDEZVOUS: address}) for rank, changes in environments.items()}, {},
                ['rank table: %s' % path] + ['  rank %d: card %d (%s) of %s' % rank for rank in everyone] + doubts)


def table_of(num_devices: int, ranks: RanksConfig) -> str | None:
    """Returns the path of the rank table of a job, or None if it has none yet; arguments: see `of_ranks`."""
    # one NPU needs no table: the variable may be set for all jobs of a host
    several = num_devices != 1 or len(ranks.hosts) > 1
    return ranks.rank_table or (os.environ.get('RANK_TABLE_FILE') if several and not ranks.hosts else None)


def of_workers(host: HostConfig) -> Plan:
    """Plans the processes that share a restoration: each card is a separate job of one rank."""
    if host.num_devices < 2 and not host.device_ids and any(name in os.environ for name in _CARD_VARIABLES):
        return Plan({}, _without_card(environment_of(0, 1, 0, None)), [])
    cards = npu_cards.choose(host.num_devices, host.device_ids, lambda found: plan.fewer(len(found)))
    return plan.of_workers({number: environment_of(0, 1, card, None) for number, card in enumerate(cards)},
                           '%s: %s' % (plural(len(cards), 'NPU'), ', '.join(map(str, cards))))


def rendezvous_address(port: int) -> tuple[str, int]:
    """Returns (host, port) at which the ranks connect: that of the plan, else at the first server of the rank table.

    Args:
      port: --port, the first of the ports of the job.
    """
    if RENDEZVOUS in os.environ:
        host, _, number = os.environ[RENDEZVOUS].rpartition(':')
        return host, int(number)
    return meeting_of(rank_table.load(os.environ['RANK_TABLE_FILE'])), port + plan.RANKS


def environment_of(rank: int, size: int, card: int, table: str | None) -> Environment:
    """Returns the variables of a rank on a card, for which nothing else in the environment counts.

    Args:
      rank, size: number of the rank, and of ranks.
      card: number of the card in its host.
      table: path of the rank table, or None.
    """
    # POD_NAME would replace RANK_ID as identity, the logical device id the physical one, and other variables describe
    # the job to the adapter once more
    removed = ['POD_NAME', 'ASCEND_DEVICE_ID']
    removed += [name for name in (*cm_variables.ALL, tf_config.VARIABLE) if name in os.environ]
    return dict(dict.fromkeys(removed), JOB_ID=os.environ.get('JOB_ID') or 'edvr', RANK_ID=str(rank),
                RANK_SIZE=str(size), DEVICE_ID=str(card), RANK_TABLE_FILE=table)


def _without_card(changes: Environment) -> Environment:
    """Returns the changes without those of the variables that name the card."""
    return {name: value for name, value in changes.items() if name not in _CARD_VARIABLES}


def _alone(changes: Environment, ranks: RanksConfig, path: str | None) -> Plan:
    """Returns the Plan of one NPU, named by --device_ids or else by the environment."""
    if any(name in os.environ for name in _CARD_VARIABLES) and not ranks.device_ids and not path:
        changes = _without_card(changes)
    unused = None if path else os.environ.get('RANK_TABLE_FILE')
    return Plan({}, changes, ['RANK_TABLE_FILE=%s is ignored: one NPU needs none; --num_devices=0 trains on all '
                              'that it gives to this host' % unused] if unused else [])


def _read_table(path: str, count: int, ranks: RanksConfig, batch_size: int) -> tuple[Table, list[Rank], str]:
    """Returns an existing rank table, the ranks of this host, and the address at which the ranks find rank 0."""
    if ranks.device_ids:
        raise UserError('--device_ids is for jobs whose rank table is made at the start; here it is %s' % path)
    # a platform that sets the variable writes the file at its time; one that is typed exists
    table = rank_table.load(path, 0. if ranks.rank_table and not os.path.exists(path) else ranks.start_timeout)
    server = _this_server(table, ranks.this_host, path)
    local = list(server.ranks)
    check_sizes(table, [server], path, count, batch_size)
    present = npu_cards.present()
    absent = [rank.device_id for rank in local if present and rank.device_id not in present]
    if absent:
        raise UserError('the rank table %s gives card %s to this host (%s), which has %s'
                        % (path, ', '.join(map(str, absent)), server.names[-1], ', '.join(map(str, present))))
    return table, local, meeting_of(table)


def meeting_of(table: Table) -> str:
    """Returns the address at which the ranks of all servers find rank 0. Raises UserError if the table has none."""
    first = table.first
    if len(table.servers) == 1:
        return first.address or '127.0.0.1'
    # on ModelArts the name in the network of the job
    hosts = os.environ.get('VC_WORKER_HOSTS', '').split(',')
    found = next((host for host in hosts if host and host.split('.')[0] == first.names[0]), first.address)
    if not found:
        raise UserError('the rank table %s has no address of the server %s, at which the ranks of the other servers '
                        'find rank 0: add "host_ip" with its IP address beside server_id, or give --hosts instead '
                        'of the table, and the hosts make one' % (table.file, first.names[-1]))
    return found


def check_sizes(table: Table, servers: Sequence[Server], path: str, count: int, batch_size: int) -> None:
    """Raises UserError if a rank table has another number of cards than the options or the environment.

    Args:
      table: the rank table at `path`.
      servers: those to compare with `count`.
      count: --num_devices; 0 means all.
      batch_size: samples per step on each card, for advice.
    """
    for server in servers:
        cards = len(server.ranks)
        if count not in (0, cards):
            raise UserError('--num_devices=%d, but the rank table %s gives %s to the host %s; %s'
                            % (count, path, plural(cards, 'card'), server.names[-1],
                               plan.all_devices(count, cards, batch_size)))
    size = os.environ.get('RANK_SIZE', '')
    if size.isdigit() and int(size) != len(table.ranks):
        raise UserError('RANK_SIZE is %s, but the rank table %s has %s: unset RANK_SIZE, or give the table of this job'
                        % (size, path, plural(len(table.ranks), 'card')))


def _this_server(table: Table, named: str, path: str) -> Server:
    """Returns the server on which this process runs. Raises UserError if none is it, or several are."""
    if named:
        found = [server for server in table.servers if named in server.names]
    elif len(table.servers) == 1:
        return table.servers[0]   # its address may be that of a node, which its pod does not have
    else:
        found = _found_servers(table)
    if len(found) == 1:
        return found[0]
    known = ', '.join(' or '.join(server.names) for server in table.servers)
    raise UserError('the rank table %s names the hosts %s, of which %s; say which one this is with --this_host'
                    % (path, known, 'several are %s' % (named or 'this host') if found else
                       'none is %s' % (named or 'this host (%s)' % socket.gethostname())))


def _found_servers(table: Table) -> list[Server]:
    """Returns the servers whose most particular name is one of this process; several if names do not separate them."""
    here = {os.environ[name] for name in _PLACE_VARIABLES if os.environ.get(name)} | {socket.gethostname()}
    found: list[Server] = []
    for level in range(max(len(server.names) for server in table.servers)):
        found = [server for server in table.servers if len(server.names) > level
                 and (server.names[level] in here or addresses.is_own(server.names[level]))]
        if len(found) == 1:
            break
    return found


def _make_table(count: int, ranks: RanksConfig, batch_size: int) -> tuple[list[Rank], list[Rank]]:
    """Returns the same for a table that the hosts of the job make together from the addresses of their cards."""
    cluster = None if ranks.hosts else cm_variables.read(count, batch_size)
    ids = npu_cards.choose(cluster.devices if cluster else count, ranks.device_ids,
                           lambda found: 'the same whole batch is ' + plan.equal_recipe(count, len(found), batch_size))
    hosts, place = plan.hosts_of(ranks)
    size, meeting = len(hosts), (hosts[0], ranks.port + plan.LAUNCHERS)
    if cluster:
        size, place, meeting = cluster.hosts, cluster.place, cluster.chief
    if size * len(ids) == 1:
        alone = [Rank(0, ids[0], '', hosts[0])]
        return alone, alone
    own = addresses.address_of(hosts[place]) if ranks.hosts else addresses.own_address()
    if cluster and cluster.own_address:
        own = cluster.own_address
    everyone: list[dict] = [dict(server=own, cards=sorted(npu_cards.addresses(ids).items()))]
    if size > 1:
        everyone = rendezvous.all_gather(everyone[0], place, size, meeting, ranks.start_timeout)
    cards = [(card, address, host['server']) for host in everyone for card, address in host['cards']]
    table = [Rank(number, *card) for number, card in enumerate(cards)]
    return table, [rank for rank in table if rank.server_id == own]
