"""Processes on NPUs: one for each card; the ranks of a job have a rank table, which HCCL reads."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr.launch import addresses, npu_cards, plan, rank_table, rendezvous
from edvr.launch.plan import Environment, Plan, plural
from edvr.launch.rank_table import Rank

if TYPE_CHECKING:
    from edvr.config import RanksConfig
    from edvr.config.host import HostConfig

TABLE_FILE = 'rank_table.json'
RENDEZVOUS = 'EDVR_RENDEZVOUS'   # the address at which the ranks connect, host:port
_CARD_VARIABLES = ('ASCEND_DEVICE_ID', 'DEVICE_ID')   # that name the card of a process; the first one wins


def of_ranks(num_devices: int, ranks: RanksConfig, batch_size: int, log_dir: str) -> Plan:
    """Plans the ranks of a job; writes the rank table if none is given.

    Args:
      num_devices: cards of each host to use; 0 means all.
      ranks: the hosts, the cards, the rank table.
      batch_size: samples per step on each card, for advice.
      log_dir: folder for the rank table.
    Raises:
      UserError: cards, hosts and rank table do not fit each other.
    """
    # one NPU needs no table: the variable may be set for all jobs of a host
    several = num_devices != 1 or len(ranks.hosts) > 1
    path = ranks.rank_table or (os.environ.get('RANK_TABLE_FILE') if several and not ranks.hosts else None)
    if path:
        table, local = _read_table(path, num_devices, ranks, batch_size)
    else:
        table, local = _make_table(num_devices, ranks, batch_size)
        if len(table) > 1:
            path = os.path.join(log_dir, TABLE_FILE)
            files.make_dir(log_dir)
            rank_table.save(table, path)
    table_path = os.path.abspath(path) if path else None
    environments = {rank.rank_id: _environment(rank.rank_id, len(table), rank.device_id, table_path) for rank in local}
    if len(table) == 1:
        return _alone(environments[0], ranks, path)
    meeting = '127.0.0.1:%d' % addresses.free_ports(1)[0]
    if len(local) < len(table):
        meeting = '%s:%d' % (table[0].server_id, ranks.port + plan.RANKS)
    return Plan({rank: dict(changes, **{RENDEZVOUS: meeting}) for rank, changes in environments.items()}, {},
                ['rank table: %s' % path] + ['  rank %d: card %d (%s) of %s' % rank for rank in table])


def of_workers(host: HostConfig) -> Plan:
    """Plans the processes that share a restoration: each card is a separate job of one rank."""
    if host.num_devices < 2 and not host.device_ids and any(name in os.environ for name in _CARD_VARIABLES):
        return Plan({}, _without_card(_environment(0, 1, 0, None)), [])
    cards = npu_cards.choose(host.num_devices, host.device_ids, lambda found: plan.fewer(len(found)))
    return plan.of_workers({number: _environment(0, 1, card, None) for number, card in enumerate(cards)},
                           '%s: %s' % (plural(len(cards), 'NPU'), ', '.join(map(str, cards))))


def rendezvous_address(port: int) -> tuple[str, int]:
    """Returns (host, port) at which the ranks connect: that of the plan, else at the first server of the rank table.

    Args:
      port: --port, the first of the ports of the job.
    """
    if RENDEZVOUS in os.environ:
        host, _, number = os.environ[RENDEZVOUS].rpartition(':')
        return host, int(number)
    return rank_table.read(os.environ['RANK_TABLE_FILE'])[0].server_id, port + plan.RANKS


def _environment(rank: int, size: int, card: int, table: str | None) -> Environment:
    # POD_NAME would replace RANK_ID as identity, and the logical device id the physical one
    return dict(JOB_ID=os.environ.get('JOB_ID') or 'edvr', RANK_ID=str(rank), RANK_SIZE=str(size), DEVICE_ID=str(card),
                RANK_TABLE_FILE=table, POD_NAME=None, ASCEND_DEVICE_ID=None)


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


def _read_table(path: str, count: int, ranks: RanksConfig, batch_size: int) -> tuple[list[Rank], list[Rank]]:
    """Returns the ranks of the job and those of this host, from an existing rank table."""
    if ranks.device_ids:
        raise UserError('--device_ids is for jobs whose rank table is made at the start; here it is %s' % path)
    table = rank_table.read(path)
    servers = list(dict.fromkeys(rank.server_id for rank in table))
    server = servers[addresses.this_host(servers, ranks.this_host, 'the rank table %s' % path)]
    local = [rank for rank in table if rank.server_id == server]
    if count not in (0, len(local)):
        raise UserError('--num_devices=%d, but the rank table %s gives %s to this host (%s); the same whole batch is %s'
                        % (count, path, plural(len(local), 'card'), server,
                           plan.equal_recipe(count, len(local), batch_size)))
    present = npu_cards.present()
    absent = [rank.device_id for rank in local if present and rank.device_id not in present]
    if absent:
        raise UserError('the rank table %s gives card %s to this host (%s), which has %s'
                        % (path, ', '.join(map(str, absent)), server, ', '.join(map(str, present))))
    return table, local


def _make_table(count: int, ranks: RanksConfig, batch_size: int) -> tuple[list[Rank], list[Rank]]:
    """Returns the same for a table that the hosts of the job make together from the addresses of their cards."""
    ids = npu_cards.choose(count, ranks.device_ids, lambda found: 'the same whole batch is '
                              + plan.equal_recipe(count, len(found), batch_size))
    hosts, place = plan.hosts_of(ranks)
    if len(hosts) * len(ids) == 1:
        alone = [Rank(0, ids[0], '', hosts[0])]
        return alone, alone
    own = addresses.address_of(hosts[place]) if ranks.hosts else addresses.own_address()
    everyone: list[dict] = [dict(server=own, cards=sorted(npu_cards.addresses(ids).items()))]
    if len(hosts) > 1:
        everyone = rendezvous.all_gather(everyone[0], place, len(hosts), (hosts[0], ranks.port + plan.LAUNCHERS),
                                         ranks.start_timeout)
    cards = [(card, address, host['server']) for host in everyone for card, address in host['cards']]
    table = [Rank(number, *card) for number, card in enumerate(cards)]
    return table, [rank for rank in table if rank.server_id == own]
