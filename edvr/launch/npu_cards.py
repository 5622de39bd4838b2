"""The Ascend cards of this host, and the addresses of their network ports."""
import functools
import glob
import os
import re
import shutil
from typing import Callable, Dict, Iterable, List, Sequence, Tuple

from data_tools.base import processes
from data_tools.base.errors import UserError
from edvr.launch import rank_table
from edvr.launch.plan import plural

NPU_FILES = '/dev/davinci[0-9]*'
HCCN_CONF = '/etc/hccn.conf'
HCCN_TOOL = '/usr/local/Ascend/driver/tools/hccn_tool'
TOOL_SECONDS = 30   # for npu-smi and hccn_tool, which a driver without a working card may hold
SMI_NAMES = {'Ascend910': '910_93'}   # npu-smi names the chips of Atlas A3 so; other names (910B3) are those of atc


# four cards of an Ascend 910 server that HCCL takes: a ring, or two of a ring and those that face them in the other
_FOURS = ('0123', '4567', '0145', '0246', '0347', '1256', '1357', '2367')


def faults_on_910(ranks: Iterable[rank_table.Rank]) -> Tuple[List[str], List[str]]:
    """Returns why HCCL refuses the cards of a job on Ascend 910, not on later chips.

    Args:
      ranks: those of the job.
    Returns:
      (faults, doubts): a text for each server that HCCL refuses, and for each that it refuses if HCCS joins its cards.
    """
    servers: Dict[str, List[int]] = {}
    for rank in ranks:
        servers.setdefault(rank.server_id, []).append(rank.device_id)
    faults, doubts = [], []
    for server, ids in servers.items():
        if len(ids) == 4 and ''.join(map(str, sorted(ids))) not in _FOURS:
            faults.append('cards %s of %s are no four cards that HCCL joins on Ascend 910: they must be one of %s (as '
                          'in --device_ids=0,1,2,3)' % (', '.join(map(str, sorted(ids))), server, ', '.join(_FOURS)))
        elif len(ids) not in (1, 2, 4, 8):
            doubts.append('HCCL refuses %s of %s on Ascend 910 if HCCS joins them, as in an Atlas 800: they must be 1, '
                          '2, 4 or 8' % (plural(len(ids), 'card'), server))
    return faults, doubts


def device_files() -> List[str]:
    """Returns the paths of the device files of the cards, sorted."""
    return sorted(glob.glob(NPU_FILES))


def present() -> List[int]:
    """Returns the ids of the cards that the driver lists, sorted; none if it lists none (also in a container)."""
    return sorted(int(path[len(path.rstrip('0123456789')):]) for path in device_files())


@functools.lru_cache(maxsize=None)
def chip() -> str:
    """Returns the chip of the first card by npu-smi, named as for atc, such as 910B3; '' if it names none."""
    tool = shutil.which('npu-smi')
    text = processes.answer([tool, 'info'], TOOL_SECONDS) if tool else None
    match = re.search(r'^\|\s*\d+\s+((?:Ascend)?\d{3}\w*)\s*\|', text or '', re.M)
    return SMI_NAMES.get(match.group(1), match.group(1)) if match else ''


def choose(count: int, ids: Sequence[int], advice: Callable[[List[int]], str]) -> List[int]:
    """Chooses the cards of this host to use. If the driver lists no cards, the host is assumed to have `count`.

    Args:
      count: number of cards; 0 for all.
      ids: the cards to choose from; empty for all that the driver lists.
      advice: returns the remedy if there are too few; its argument are the existing cards.
    Raises:
      UserError: there are fewer cards than requested.
    """
    there = present()
    found = list(ids or there or range(count or 1))
    if count > len(found):
        raise UserError('--num_devices=%d, but %s %s (%s); %s' % (
            count, '--device_ids names' if ids else 'this host has', plural(len(found), 'NPU'),
            ', '.join(map(str, found)), advice(found)))
    absent = sorted(set(found) - set(there)) if there else []
    if absent:
        raise UserError('--device_ids names card %d, but this host has %s' % (absent[0], ', '.join(map(str, there))))
    return found[:count or len(found)]


def addresses(ids: List[int]) -> Dict[int, str]:
    """Returns {card id: address of its network port}, from /etc/hccn.conf or hccn_tool.

    Raises:
      UserError: a card without an address, or no source of addresses.
    """
    if os.path.isfile(HCCN_CONF):
        found, source = rank_table.read_hccn_conf(HCCN_CONF), HCCN_CONF
    else:
        found, source = _ask(ids), 'hccn_tool'
    missing = [card for card in ids if card not in found]
    if missing:
        raise UserError('%s has no address for card %s (it has %s): set one with hccn_tool -i %d -ip -s address '
                        'ADDRESS netmask MASK, or train without this card (--num_devices, --device_ids)'
                        % (source, ', '.join(map(str, missing)), ', '.join(map(str, sorted(found))) or 'none',
                           missing[0]))
    return {card: found[card] for card in ids}


def _ask(ids: List[int]) -> Dict[int, str]:
    """Returns {card id: address} as hccn_tool reports them, without the cards that have none."""
    tool = shutil.which('hccn_tool') or HCCN_TOOL
    if not os.access(tool, os.X_OK):
        raise UserError('several NPUs need the addresses of their network ports, and there is neither %s nor '
                        'hccn_tool: write a rank table (python -m edvr.rank_table) and set RANK_TABLE_FILE' % HCCN_CONF)
    found = {}
    for card in ids:
        text = processes.answer([tool, '-i', str(card), '-ip', '-g'], TOOL_SECONDS)
        match = re.search(r'ipaddr:\s*(\S+)', text or '')
        if match:
            found[card] = match.group(1)
    return found
