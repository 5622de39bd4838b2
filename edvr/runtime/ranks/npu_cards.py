"""The Ascend cards of this host: which there are, and the addresses of their network ports."""
import glob
import os
import re
import shutil
import subprocess

from data_tools.base.errors import UserError
from edvr.runtime.device_choice import NPU_FILES
from edvr.runtime.ranks import rank_table

HCCN_CONF = '/etc/hccn.conf'
HCCN_TOOL = '/usr/local/Ascend/driver/tools/hccn_tool'


def present():
    """Ids of the cards that the driver shows, sorted list of int; empty where it shows none (or in a container)."""
    return sorted(int(re.search(r'\d+$', path).group()) for path in glob.glob(NPU_FILES))


def addresses(ids):
    """{card id: address of its network port}, from /etc/hccn.conf or hccn_tool.

    Args:
      ids: list of int.
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


def _ask(ids):
    """What hccn_tool says: {card id: address}, without the cards that have none."""
    tool = shutil.which('hccn_tool') or HCCN_TOOL
    if not os.access(tool, os.X_OK):
        raise UserError('several NPUs need the addresses of their network ports, and there is neither %s nor '
                        'hccn_tool: write a rank table (python -m edvr.rank_table) and set RANK_TABLE_FILE' % HCCN_CONF)
    found = {}
    for card in ids:
        done = subprocess.run([tool, '-i', str(card), '-ip', '-g'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True)
        match = re.search(r'ipaddr:\s*(\S+)', done.stdout)
        if done.returncode == 0 and match:
            found[card] = match.group(1)
    return found
