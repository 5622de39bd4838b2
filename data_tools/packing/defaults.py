"""The defaults of packing that depend on the clips: the folder for the shards, and the excluded clips."""
import os
from typing import List, Tuple

from data_tools.base import paths
from data_tools.base.errors import UserError
from data_tools.media import lmdb_source, splits
from data_tools.packing.config import PackConfig


def resolve_defaults(config: PackConfig) -> Tuple[PackConfig, List[str]]:
    """Sets the options that the command line leaves open.

    Args:
      config: PackConfig.
    Returns:
      (PackConfig, list of str: a line for each default that is used).
    Raises:
      UserError: data_dir is a file or an LMDB and output_dir is not given.
    """
    notes = []
    if not config.output_dir:
        if os.path.isfile(config.data_dir) or lmdb_source.is_lmdb(config.data_dir):
            raise UserError('--output_dir is not given; it must be the folder for the shards, because --data_dir=%s is '
                            '%s' % (config.data_dir, 'a file' if os.path.isfile(config.data_dir) else 'an LMDB'))
        config = config.replace(output_dir=paths.shards_of(config.data_dir))
        notes.append('shards: ' + config.output_dir)
    if config.exclude == splits.AUTO:
        out = splits.Choice(None, '') if config.clips else splits.held_out(config.data_dir)
        config = config.replace(exclude=','.join(out.names or ()))
        if out.names:
            notes.append('left out: %s (%s; --exclude= packs them too)' % (', '.join(out.names), out.reason))
    return config, notes
