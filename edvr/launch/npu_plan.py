"""Ranks on NPUs: a process for each card, and the rank table that HCCL reads."""
import os

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr.launch import addresses, npu_cards, rank_table, rendezvous
from edvr.launch.plan import LAUNCHERS, RANKS, Plan, equal_recipe, hosts_of, plural

TABLE_FILE = 'rank_table.json'
RENDEZVOUS = 'EDVR_RENDEZVOUS'   # the address at which the ranks connect, host:port


def on_npu(runtime, ranks, batch_size, log_dir):
    """The Plan of a job on NPUs; writes the rank table into `log_dir` (str) where none is given."""
    # one NPU needs no table: the variable may be set for all jobs of a host
    several = runtime.num_devices != 1 or len(ranks.hosts) > 1
    path = ranks.rank_table or (os.environ.get('RANK_TABLE_FILE') if several and not ranks.hosts else None)
    if path:
        table, local = _given(path, runtime.num_devices, ranks, batch_size)
    else:
        table, local = _made(runtime.num_devices, ranks, batch_size)
        if len(table) > 1:
            path = os.path.join(log_dir, TABLE_FILE)
            files.make_dir(log_dir)
            rank_table.save(table, path)
    # POD_NAME would replace RANK_ID as identity, and the logical device id the physical one
    common = dict(JOB_ID=os.environ.get('JOB_ID') or 'edvr', RANK_SIZE=str(len(table)), POD_NAME=None,
                  ASCEND_DEVICE_ID=None, RANK_TABLE_FILE=os.path.abspath(path) if path else None)
    environments = {rank.rank_id: dict(common, RANK_ID=str(rank.rank_id), DEVICE_ID=str(rank.device_id))
                    for rank in local}
    if len(table) == 1:
        return _alone(environments[0], ranks, path)
    meeting = '127.0.0.1:%d' % addresses.free_ports(1)[0]
    if len(local) < len(table):
        meeting = '%s:%d' % (table[0].server_id, ranks.port + RANKS)
    return Plan({rank: dict(changes, **{RENDEZVOUS: meeting}) for rank, changes in environments.items()}, {},
                ['rank table: %s' % path] + ['  rank %d: card %d (%s) of %s' % rank for rank in table])


def _alone(changes, ranks, path):
    """The Plan of one NPU, named by --device_ids or else by the environment."""
    named = [name for name in ('ASCEND_DEVICE_ID', 'DEVICE_ID') if name in os.environ]
    if named and not ranks.device_ids and not path:
        changes = {name: value for name, value in changes.items() if name not in ('ASCEND_DEVICE_ID', 'DEVICE_ID')}
    unused = None if path else os.environ.get('RANK_TABLE_FILE')
    return Plan({}, changes, ['RANK_TABLE_FILE=%s is passed over: one NPU needs none; --num_devices=0 trains on all '
                              'that it gives to this host' % unused] if unused else [])


def _given(path, count, ranks, batch_size):
    """(ranks of the job, those of this host) of a rank table that is there: lists of rank_table.Rank."""
    if ranks.device_ids:
        raise UserError('--device_ids is for jobs whose rank table is made at the start; here it is %s' % path)
    table = rank_table.read(path)
    servers = list(dict.fromkeys(rank.server_id for rank in table))
    server = servers[addresses.this_host(servers, ranks.this_host, 'the rank table %s' % path)]
    local = [rank for rank in table if rank.server_id == server]
    if count not in (0, len(local)):
        raise UserError('--num_devices=%d, but the rank table %s gives %s to this host (%s); the same whole batch is %s'
                        % (count, path, plural(len(local), 'card'), server,
                           equal_recipe(count, len(local), batch_size)))
    present = npu_cards.present()
    absent = [rank.device_id for rank in local if present and rank.device_id not in present]
    if absent:
        raise UserError('the rank table %s gives card %s to this host (%s), which has %s'
                        % (path, ', '.join(map(str, absent)), server, ', '.join(map(str, present))))
    return table, local


def _made(count, ranks, batch_size):
    """The same for a table that the hosts of the job make together from the addresses of their cards."""
    ids = npu_cards.choose(count, ranks.device_ids, lambda found: 'the same whole batch is '
                           + equal_recipe(count, len(found), batch_size))
    hosts, place = hosts_of(ranks)
    if len(hosts) * len(ids) == 1:
        alone = [rank_table.Rank(0, ids[0], '', hosts[0])]
        return alone, alone
    own = addresses.address_of(hosts[place]) if ranks.hosts else addresses.own_address()
    everyone = [dict(server=own, cards=sorted(npu_cards.addresses(ids).items()))]
    if len(hosts) > 1:
        everyone = rendezvous.all_gather(everyone[0], place, len(hosts), (hosts[0], ranks.port + LAUNCHERS),
                                         ranks.start_timeout)
    cards = [(card, address, host['server']) for host in everyone for card, address in host['cards']]
    table = [rank_table.Rank(number, *card) for number, card in enumerate(cards)]
    return table, [rank for rank in table if rank.server_id == own]
