"""The devices of a job over Ascend hosts."""
import dataclasses
from typing import Iterator, Tuple

from data_tools.base.config import Config, option


@dataclasses.dataclass(frozen=True)
class RankTableConfig(Config):
    """The devices of a job."""

    TITLE = 'rank table'

    hosts: Tuple[str, ...] = option((), 'IP address of each server, by which the others reach it')
    device_ips: Tuple[str, ...] = option((), 'IP address of the network port of each device, host by host; equally '
                                             'many for each host')
    hccn_conf: Tuple[str, ...] = option((), 'instead of --device_ips: the /etc/hccn.conf of each host, in the order of '
                                            'the hosts; its lines address_N= give the addresses')
    device_ids: Tuple[int, ...] = option((), 'devices to use on each host; empty means 0, 1, ... for --device_ips, '
                                             'and all devices of the files for --hccn_conf', low=0)
    output: str = option('', 'file to write', path='output')

    def problems(self) -> Iterator[str]:
        if not self.hosts:
            yield 'hosts is empty; it must be the IP address of each server, such as 10.0.0.10'
        if not self.output:
            yield 'output is empty; it must be the file to write'
        if bool(self.device_ips) == bool(self.hccn_conf):
            yield 'one of device_ips and hccn_conf must be given, and not both'
        elif self.hccn_conf and len(self.hccn_conf) != len(self.hosts):
            yield ('hccn_conf has %d files for %d hosts; there must be one for each'
                   % (len(self.hccn_conf), len(self.hosts)))
        elif self.device_ips and self.hosts and len(self.device_ips) % len(self.hosts):
            yield ('device_ips has %d addresses, which %d hosts cannot share equally'
                   % (len(self.device_ips), len(self.hosts)))
