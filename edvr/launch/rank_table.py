"""The rank table that HCCL reads: which Ascend devices, in which servers, have which rank."""
from __future__ import annotations

import codecs
import json
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any

from data_tools.base import files
from data_tools.base.config import ConfigError
from data_tools.base.errors import UserError
from data_tools.base.files import atomic_path
from edvr.launch import rank_table_formats as formats
from edvr.launch.rank_table_formats import Rank, Table, problems

if TYPE_CHECKING:
    from edvr.config.rank_table import RankTableConfig

__all__ = ['FILES', 'Rank', 'Table', 'load', 'make', 'problems', 'read', 'read_hccn_conf', 'save', 'save_content',
           'to_json', 'write']

FILES = ('hccl.json', 'jobstart_hccl.json')   # the names in a folder: of ascend-operator, of ModelArts
_PAUSE = .2         # seconds between two looks at a table that is being written
_NOTE_EVERY = 30.   # seconds between two lines about it
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CUT = 10.          # seconds that a file which is not JSON may take to become it: a writer needs moments


def write(config: RankTableConfig) -> list[Rank]:
    """Writes the table that `config` describes and returns its ranks. Raises UserError if HCCL would refuse it."""
    ranks = make(config)
    save(ranks, config.output)
    return ranks


def save(ranks: list[Rank], path: str) -> None:
    """Writes a table. Raises UserError if HCCL would refuse it."""
    wrong = problems(ranks, [rank.server_id for rank in ranks])
    if not formats.is_name_for_hccl(path):
        wrong.append('the file is %s, but HCCL reads only files whose name ends in %s: name it %s%s'
                     % (path, formats.SUFFIX, path, formats.SUFFIX))
    if wrong:
        raise ConfigError(wrong)
    save_content(formats.content_of(ranks), path)


def save_content(content: dict[str, Any], path: str) -> None:
    """Writes the content of a table."""
    with atomic_path(path) as partial, open(partial, 'w') as file:
        file.write(_text(content))


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
        found = re.findall(r'^\s*address_(\d+)\s*=\s*(\S+)', files.read_text(path), re.MULTILINE)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError('%s cannot be read: %s' % (path, error)) from None
    if not found:
        raise UserError('%s has no line such as address_0=192.168.100.101' % path)
    return {int(device): address for device, address in found}


def to_json(ranks: list[Rank]) -> str:
    """Returns the text of the table, format version 1.0. All values are strings, as HCCL requires."""
    return _text(formats.content_of(ranks))


def _text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + '\n'


def read(path: str) -> list[Rank]:
    """Returns the ranks of a complete table, in order of rank; see `load`."""
    return load(path).ranks


def load(path: str, timeout: float = 0.) -> Table:
    """Returns a table when its writer has completed it.

    A table that says another status than `completed`, is cut, or is absent is being written: this waits, and prints
    for what.

    Args:
      path: the file, or the folder in which a platform writes it (see FILES).
      timeout: seconds to wait; 0 takes the file as it is.
    Raises:
      UserError: naming the file and everything that HCCL would refuse, or its state at the end of the time.
    """
    began = noted = time.monotonic()
    while True:
        file, limit = _file_in(path), timeout
        try:
            (value, is_plain), state = _content(file), ''
            formats.check_version(value, file)
        except OSError as error:
            value, state = None, 'cannot be read: %s' % error
        except (ValueError, RecursionError) as error:
            value, state = None, 'cannot be read: %s' % error
            limit = min(timeout, _CUT) if os.path.getsize(file) else timeout
        status = formats.status_of(value)
        if not state and (status in ('', formats.COMPLETED) or not timeout):
            table = formats.parse(value, file)
            return table._replace(for_hccl=table.for_hccl and is_plain)
        state = state or 'has status %r, not %r' % (status, formats.COMPLETED)
        now = time.monotonic()
        if now - began >= limit:
            raise UserError('the rank table %s %s%s; scripts/rank_tables has examples and python -m edvr.rank_table '
                            'makes one' % (file, state, _after(limit)))
        if noted == began or now - noted >= _NOTE_EVERY:
            noted = now
            print('waiting for the rank table %s, which %s (for %.0f s at most, --start_timeout)'
                  % (file, state, limit - (now - began)), file=sys.stderr, flush=True)
        time.sleep(min(_PAUSE, timeout))


def _after(timeout: float) -> str:
    return ' after %.0f s (--start_timeout): see what the pods of the job wait for, such as cards that are not free' % (
        timeout) if timeout else ''


def _file_in(path: str) -> str:
    """Returns the file that `path` names; of a folder the one that is there, else the first of FILES."""
    if not os.path.isdir(path):
        return path
    found = [os.path.join(path, name) for name in FILES]
    return next((file for file in found if os.path.exists(file)), found[0])


def _content(path: str) -> tuple[Any, bool]:
    """Returns the value of a JSON file, and whether the file begins without a byte order mark, as HCCL needs it."""
    with files.open_regular(path) as file:
        data = file.read()
    return json.loads(files.decode_text(data)), not data.startswith(_MARKS)
