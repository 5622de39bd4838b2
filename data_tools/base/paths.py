"""The default paths of all programs, and the commands that make missing inputs.

The input of each program is the output of the one before it, so all of them run without arguments.
"""
import os

from data_tools.base.errors import UserError

SOURCES = 'data/REDS'                        # clips: images/truth, images/blur4, sets/train.json, sets/val.json
SHARDS = os.path.join(SOURCES, 'tfrecords')
RUN = 'outputs/edvr'                         # a training run: checkpoints, configuration, TensorBoard events
FRAMES = os.path.join(RUN, 'test')           # restored frames

SAMPLE_MARK = 'sample_clips.json'            # make_sample_clips leaves it in its folder


def shards_of(sources: str) -> str:
    """Returns the folder for the shards of a folder of clips."""
    return os.path.join(sources, os.path.basename(SHARDS))


def sources_of(shards: str) -> str:
    """Returns the folder of the clips that a folder of shards was made from, if it was made by default."""
    return os.path.dirname(os.path.normpath(shards)) or '.'


def inside(folder: str, name: str) -> str:
    """Returns the path of an entry of a folder. Raises UserError if the name, such as `..`, leads elsewhere."""
    if name in ('', os.curdir, os.pardir) or any(sign and sign in name for sign in (os.sep, os.altsep, '\0')):
        raise UserError('%r cannot be the name of a file or folder in %s: rename the clip' % (name, folder))
    return os.path.join(folder, name)


def check_no_samples(folder: str) -> None:
    """Raises UserError if a folder for REDS holds sample clips."""
    if os.path.exists(os.path.join(folder, SAMPLE_MARK)):
        raise UserError('%s holds clips drawn by data_tools.make_sample_clips, which must not be mixed with REDS: '
                        'remove it, or give another folder' % folder)


def how_to_make_sources(path: str) -> str:
    """Returns the remedy for a missing folder of clips."""
    return ('bash scripts/prepare_reds.sh downloads and prepares REDS; python -m data_tools.make_sample_clips '
            '--output_dir=%s draws clips for tests' % path)


def how_to_make_shards(path: str) -> str:
    """Returns the remedy for a missing set of shards."""
    return 'python -m data_tools.make_tfrecords%s makes it' % (
        '' if os.path.normpath(path) == SHARDS else ' --output_dir=' + path)


def how_to_make_run(path: str) -> str:
    """Returns the remedy for a missing training run."""
    return 'python -m edvr.train%s makes one' % ('' if os.path.normpath(path) == RUN else ' --model_dir=' + path)
