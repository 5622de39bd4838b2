"""The rank table that HCCL reads: which Ascend devices, in which servers, have which rank."""
from __future__ import annotations

import collections
import ipaddress
import json
import re
from typing import TYPE_CHECKING, NamedTuple

from data_tools.base import files, schema
from data_tools.base.config import ConfigError
from data_tools.base.errors import UserError
from data_tools.base.files import atomic_path

if TYPE_CHECKING:
    from edvr.config.rank_table import RankTableConfig


class Rank(NamedTuple):
    """A rank of a job.

    Attributes:
      rank_id: the number of the rank in the job.
      device_id: the number of the card in its server.
      device_ip: the address of the card's network port.
      server_id: the address of the server.
    """
    rank_id: int
    device_id: int
    device_ip: str
    server_id: str


_NUMBER = schema.Text('[0-9]{1,9}', 'a number in quotes')
_DEVICE = schema.Record(_others=True, device_id=_NUMBER, device_ip=schema.Text(), rank_id=_NUMBER)
_SERVER = schema.Record(_others=True, server_id=schema.Text(), device=schema.ListOf(_DEVICE, least=1))
_TABLE = schema.Record(_others=True, version=schema.Text(), status=schema.Text(), server_count=_NUMBER,
                       server_list=schema.ListOf(_SERVER, least=1))


def write(config: RankTableConfig) -> list[Rank]:
    """Writes the table that `config` describes and returns its ranks. Raises UserError if HCCL would refuse it."""
    ranks = make(config)
    save(ranks, config.output)
    return ranks


def save(ranks: list[Rank], path: str) -> None:
    """Writes a table. Raises UserError if HCCL would refuse it."""
    wrong = problems(ranks)
    if wrong:
        raise ConfigError(wrong)
    with atomic_path(path) as partial, open(partial, 'w') as file:
        file.write(to_json(ranks))


def make(config: RankTableConfig) -> list[Rank]:
    """Returns the ranks that `config` describes."""
    ranks: list[Rank] = []
    for index, host in enumerate(config.hosts):
        if config.hccn_conf:
            addresses = read_hccn_conf(config.hccn_conf[index])
            missing = [device for device in config.device_ids if device not in addresses]
            if missing:
                raise UserError('%s has no address_%d=; it has devices %s' % (
                    config.hccn_conf[index], missing[0], ', '.join(map(str, sorted(addresses)))))
            devices = [(device, addresses[device]) for device in config.device_ids or sorted(addresses)]
        else:
            count = len(config.device_ips) // len(config.hosts)
            ips = config.device_ips[index * count:(index + 1) * count]
            ids = config.device_ids or tuple(range(count))
            if len(ids) != count:
                raise UserError('--device_ids names %d devices, --device_ips has %d for each host' % (len(ids), count))
            devices = list(zip(ids, ips))
        ranks += [Rank(len(ranks) + number, device, ip, host) for number, (device, ip) in enumerate(devices)]
    return ranks


def read_hccn_conf(path: str) -> dict[int, str]:
    """Returns {device id: address} of the lines `address_N=IP`. Raises UserError naming the file."""
    try:
        with open(path) as file:
            found = re.findall(r'^\s*address_(\d+)\s*=\s*(\S+)', file.read(), re.MULTILINE)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError('%s cannot be read: %s' % (path, error)) from None
    if not found:
        raise UserError('%s has no line such as address_0=192.168.100.101' % path)
    return {int(device): address for device, address in found}


def to_json(ranks: list[Rank]) -> str:
    """Returns the text of the table, format version 1.0. All values are strings, as HCCL requires."""
    servers: dict[str, list[dict[str, str]]] = {}
    for rank in ranks:
        servers.setdefault(rank.server_id, []).append(dict(
            device_id=str(rank.device_id), device_ip=rank.device_ip, rank_id=str(rank.rank_id)))
    return json.dumps(dict(
        version='1.0', server_count=str(len(servers)), status='completed',
        server_list=[dict(server_id=server, device=devices) for server, devices in servers.items()]), indent=2) + '\n'


def read(path: str) -> list[Rank]:
    """Returns the ranks of a table, in order of rank.

    Raises:
      UserError: naming the file and everything that HCCL would refuse.
    """
    advice = 'scripts/rank_tables has examples and python -m edvr.rank_table makes one'
    try:
        with files.open_regular(path) as file:
            table = json.loads(file.read().decode('utf-8-sig'))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError('the rank table %s cannot be read: %s; %s' % (path, error, advice)) from None
    schema.check(table, _TABLE, 'the rank table %s is not of format 1.0' % path, advice)
    ranks = [Rank(int(device['rank_id']), int(device['device_id']), device['device_ip'], server['server_id'])
             for server in table['server_list'] for device in server['device']]
    header = [('version', table['version'], '1.0'), ('status', table['status'], 'completed'),
              ('server_count', int(table['server_count']), len(table['server_list']))]
    wrong = ['%s is %r; it must be %r' % item for item in header if item[1] != item[2]] + problems(ranks)
    if wrong:
        raise UserError('the rank table %s: %s' % (path, '; '.join(wrong)))
    return sorted(ranks)


def problems(ranks: list[Rank]) -> list[str]:
    """Returns a text for each reason for which HCCL would refuse the table."""
    wrong = []
    ids = sorted(rank.rank_id for rank in ranks)
    if ids != list(range(len(ranks))) or not ranks:
        wrong.append('rank_id must be 0, 1, ... without gap or repetition; found %s' % ids)
    unique: dict[str, list[object]] = {
        'device_ip': [rank.device_ip for rank in ranks],
        'device_id within a server': [(rank.server_id, rank.device_id) for rank in ranks]}
    for what, keys in unique.items():
        repeated = [key for key, count in collections.Counter(keys).items() if count > 1]
        if repeated:
            wrong.append('%s must be unique; repeated: %s' % (what, ', '.join(map(str, repeated))))
    for address in sorted({rank.device_ip for rank in ranks} | {rank.server_id for rank in ranks}):
        try:
            ipaddress.ip_address(address)
        except ValueError:
            wrong.append('%r is not an IP address' % address)
    return wrong
