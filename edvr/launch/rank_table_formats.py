"""The formats of rank tables: template 1, versions 1.0 and 1.2, which HCCL reads, and template 2 of ModelArts."""
from __future__ import annotations

import collections
import ipaddress
import os
from typing import Any, Iterable, NamedTuple, Sequence

from data_tools.base import schema
from data_tools.base.errors import UserError

VERSIONS = ('1.0', '1.2')   # 1.2 is that of Atlas A3: it has the fields of 1.0
COMPLETED = 'completed'
SUFFIX = '.json'            # HCCL reads no file with another end
NO_ADDRESS = '-1'           # of a card that needs none: in version 1.2 all cards are in one super pod
SERVER_ID_LENGTH = 64       # characters at most
_ADVICE = 'scripts/rank_tables has examples and python -m edvr.rank_table makes one'


class Rank(NamedTuple):
    """Describes a rank of a job.

    Attributes:
      rank_id: the number of the rank in the job.
      device_id: the number of the card in its server.
      device_ip: the address of the card's network port.
      server_id: the name of the server, unique in the job; often its address.
    """
    rank_id: int
    device_id: int
    device_ip: str
    server_id: str


class Server(NamedTuple):
    """Describes a server of a job, which may be a pod: several pods of a node have the same server_id.

    Attributes:
      ranks: its ranks.
      address: the address at which ranks on other servers find it; '' if the table has none.
      names: addresses and names by which a process knows that it runs there, those of a pod before those of its node.
    """
    ranks: tuple[Rank, ...]
    address: str
    names: tuple[str, ...]


class Table(NamedTuple):
    """Holds a rank table.

    Attributes:
      servers: in the order of the file.
      content: what HCCL has to read, for JSON: template 1.
      file: path of the file.
      for_hccl: whether HCCL reads the file as it is.
    """
    servers: tuple[Server, ...]
    content: dict[str, Any]
    file: str
    for_hccl: bool

    @property
    def ranks(self) -> list[Rank]:
        """Returns the ranks of all servers, in order of rank."""
        return sorted(rank for server in self.servers for rank in server.ranks)

    @property
    def first(self) -> Server:
        """Returns the server of rank 0."""
        return min(self.servers, key=lambda server: min(server.ranks))


_NUMBER = schema.Text('[0-9]{1,9}', 'a number in quotes')
_DEVICE = schema.Record({'device_ip': schema.Text()}, _others=True, device_id=_NUMBER, rank_id=_NUMBER)
_SERVER = schema.Record({'container_ip': schema.Text(), 'host_ip': schema.Text()}, _others=True,
                        server_id=schema.Text(), device=schema.ListOf(_DEVICE, least=1))
_TEMPLATE_1 = schema.Record(_others=True, version=schema.Text(), status=schema.Text(), server_count=_NUMBER,
                            server_list=schema.ListOf(_SERVER, least=1))

_INSTANCE = schema.Record(_others=True, pod_name=schema.Text(), server_id=schema.Text(), devices=schema.ListOf(
    schema.Record(_others=True, device_id=_NUMBER, device_ip=schema.Text()), least=1))
_GROUP = schema.Record({'device_count': _NUMBER, 'instance_count': _NUMBER}, _others=True,
                       instance_list=schema.ListOf(_INSTANCE, least=1))
_TEMPLATE_2 = schema.Record(_others=True, status=schema.Text(), group_count=_NUMBER,
                            group_list=schema.ListOf(_GROUP, least=1))


def status_of(value: Any) -> str:
    """Returns the `status` of the content of a file; '' if it has none."""
    status = value.get('status') if isinstance(value, dict) else None
    return status if isinstance(status, str) else ''


def check_version(value: Any, path: str) -> None:
    """Raises UserError if the content of a file is of another version, whose fields differ."""
    version = value.get('version') if isinstance(value, dict) else None
    if version is not None and version not in VERSIONS:
        raise UserError('the rank table %s is of version %s; it must be 1.0 or 1.2 (2.0, of the Ascend 950, has other '
                        'fields): let the operator of the cluster write one of these' % (path, version))


def parse(value: Any, path: str) -> Table:
    """Returns the table that the content of a file states.

    Args:
      value: decoded JSON.
      path: the file, for errors.
    Raises:
      UserError: naming the file and everything that HCCL would refuse.
    """
    check_version(value, path)
    if isinstance(value, dict) and 'group_list' in value:
        schema.check(value, _TEMPLATE_2, 'the rank table %s is not of template 2' % path, _ADVICE)
        servers, wrong = _of_groups(value)
        content = content_of(sorted(rank for server in servers for rank in server.ranks))
    else:
        schema.check(value, _TEMPLATE_1, 'the rank table %s is not of format 1.0 or 1.2' % path, _ADVICE)
        servers, wrong = _of_servers(value)
        content = _merged(value)
    table = Table(tuple(servers), content, path, content is value and is_name_for_hccl(path))
    if value['status'] != COMPLETED:
        wrong.insert(0, 'status is %r; it must be %r' % (value['status'], COMPLETED))
    wrong += problems(table.ranks, [])
    if wrong:
        raise UserError('the rank table %s: %s' % (path, '; '.join(wrong)))
    return table


def is_name_for_hccl(path: str) -> bool:
    """Returns whether HCCL takes the name of a file; it looks at the end of a link's target."""
    return os.path.realpath(path).endswith(SUFFIX)


def content_of(ranks: Sequence[Rank]) -> dict[str, Any]:
    """Returns the table in format version 1.0, for JSON. All values are strings, as HCCL requires."""
    servers: dict[str, list[dict[str, str]]] = {}
    for rank in ranks:
        servers.setdefault(rank.server_id, []).append(dict(
            device_id=str(rank.device_id), device_ip=rank.device_ip, rank_id=str(rank.rank_id)))
    return dict(version='1.0', server_count=str(len(servers)), status=COMPLETED,
                server_list=[dict(server_id=server, device=devices) for server, devices in servers.items()])


def _merged(value: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of template 1 with each server_id once, as HCCL requires: pods of a node share it."""
    servers: dict[str, dict[str, Any]] = {}
    for server in value['server_list']:
        first = servers.setdefault(server['server_id'], dict(server, device=[]))
        first['device'] += server['device']
    if len(servers) == len(value['server_list']):
        return value
    for server in servers.values():
        server.pop('container_ip', None)   # that of one pod
    return dict(value, server_count=str(len(servers)), server_list=list(servers.values()))


def _of_servers(value: dict[str, Any]) -> tuple[list[Server], list[str]]:
    """Returns the servers of template 1, and what is wrong with its counts."""
    servers, wrong = [], _counts(('server_count', value['server_count'], len(value['server_list'])))
    # HCCL needs the addresses of cards only between servers
    absent = NO_ADDRESS if len({server['server_id'] for server in value['server_list']}) == 1 else ''
    for server in value['server_list']:
        ranks = tuple(Rank(int(device['rank_id']), int(device['device_id']), device.get('device_ip') or absent,
                           server['server_id']) for device in server['device'])
        addresses = [server[key] for key in ('container_ip', 'host_ip') if server.get(key)]
        wrong += _no_addresses(addresses)
        addresses.append(server['server_id'])
        servers.append(Server(ranks, next(filter(_is_address, addresses), ''), tuple(dict.fromkeys(addresses))))
    return servers, wrong


def _of_groups(value: dict[str, Any]) -> tuple[list[Server], list[str]]:
    """Returns the servers of template 2, and what is wrong with its counts. Ranks count over instances and devices."""
    servers: list[Server] = []
    wrong = _counts(('group_count', value['group_count'], len(value['group_list'])))
    if len(value['group_list']) > 1:
        wrong.append('group_list has %d groups; a job must be one group' % len(value['group_list']))
    instances = [instance for group in value['group_list'] for instance in group['instance_list']]
    for instance in instances:
        first = sum(len(server.ranks) for server in servers)
        ranks = tuple(Rank(first + number, int(device['device_id']), device['device_ip'], instance['server_id'])
                      for number, device in enumerate(instance['devices']))
        servers.append(Server(ranks, instance['server_id'] if _is_address(instance['server_id']) else '',
                              (instance['pod_name'], instance['server_id'])))
    for group in value['group_list']:
        members = group['instance_list']
        wrong += _counts(('instance_count', group.get('instance_count'), len(members)),
                         ('device_count', group.get('device_count'), sum(len(each['devices']) for each in members)))
    return servers, wrong


def _counts(*counts: tuple[str, str | None, int]) -> list[str]:
    return ['%s is %s; it must be %d, for so many are listed' % (name, stated, found)
            for name, stated, found in counts if stated is not None and int(stated) != found]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _no_addresses(texts: Iterable[str]) -> list[str]:
    return ['%r is not an IP address' % text for text in texts if not _is_address(text)]


def problems(ranks: list[Rank], addresses: Sequence[str]) -> list[str]:
    """Returns a text for each reason for which HCCL would refuse the table.

    Args:
      ranks: all ranks of the job.
      addresses: what must be IP addresses besides those of the cards.
    """
    wrong = []
    ids = sorted(rank.rank_id for rank in ranks)
    if ids != list(range(len(ranks))) or not ranks:
        wrong.append('rank_id must be 0, 1, ... without gap or repetition; found %s' % ids)
    without = [rank.rank_id for rank in ranks if not rank.device_ip]
    if without:
        wrong.append('device_ip is missing for rank %s; each card of several servers must have one'
                     % ', '.join(map(str, without)))
    cards = [rank.device_ip for rank in ranks if rank.device_ip not in ('', NO_ADDRESS)]
    unique: dict[str, list[object]] = {
        'device_ip': list(cards), 'device_id within a server': [(rank.server_id, rank.device_id) for rank in ranks]}
    for what, keys in unique.items():
        repeated = [key for key, count in collections.Counter(keys).items() if count > 1]
        if repeated:
            wrong.append('%s must be unique; repeated: %s' % (what, ', '.join(map(str, repeated))))
    for server in sorted({rank.server_id for rank in ranks}):
        if not 0 < len(server) <= SERVER_ID_LENGTH or not server.isprintable():
            wrong.append('server_id is %r, which has %d characters; it must have 1 to %d, which can be printed'
                         % (server, len(server), SERVER_ID_LENGTH))
    return wrong + _no_addresses(sorted(set(cards) | set(addresses)))
