"""Checkpoints on disk: the latest complete one, the network that it belongs to, its variables."""
import edvr.graph_mode  # noqa: F401 before any graph is built
from edvr.checkpoints.directory import (
    BASENAME,
    check_path,
    chosen,
    files_of,
    is_complete,
    keep_only,
    latest,
    prefixes,
    remove,
    state_problem,
    step_of,
    write_state,
)
from edvr.checkpoints.integrity import defect, names_in, reader_of, reading
from edvr.checkpoints.network_config import MODEL_FILE, load_model_config, save_model_config
from edvr.checkpoints.variables import EMA_SUFFIX, name_of, restore_map

__all__ = ['BASENAME', 'EMA_SUFFIX', 'MODEL_FILE', 'check_path', 'chosen', 'defect', 'files_of', 'is_complete',
           'keep_only', 'latest', 'load_model_config', 'name_of', 'names_in', 'prefixes', 'reader_of', 'reading',
           'remove', 'restore_map', 'save_model_config', 'state_problem', 'step_of', 'write_state']
