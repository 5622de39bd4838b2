"""Restores clips and videos with a trained network or an exported graph.

    python -m edvr.infer --checkpoint=train --input=clips --output=restored            PNG frames, a folder per clip
    python -m edvr.infer --checkpoint=EDVR.pb --input=movie.mp4 --output=movie_x4.mp4   a video, with its audio

An interrupted run continues: in a folder at the first missing frame, in a video at the first missing segment. With
--runner the clips are restored by Apache Beam, on many machines.
"""
import signal
import sys

from edvr import flags
from edvr.config.infer import InferConfig
from edvr.config.restoration import RestoreConfig
from edvr.restoration import run
from edvr.restoration.restorer import Restorer


def main():
    # as an exception, so that partial files are removed
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(128 + signal.SIGTERM))
    config, restore_config = flags.build_all(InferConfig, RestoreConfig)
    if config.runner:
        run.restore_with_beam(restore_config, config)
        return
    run.check_output_name(config.output)   # before the network is loaded
    with Restorer.from_config(restore_config) as restorer:
        run.restore(restorer, restore_config, config)


if __name__ == '__main__':
    flags.run(main, InferConfig, RestoreConfig)
