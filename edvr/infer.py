"""Restores clips and videos with a trained network or an exported graph.

    python -m edvr.infer --checkpoint=train --input=clips --output=restored            PNG frames, a folder per clip
    python -m edvr.infer --checkpoint=EDVR.pb --input=movie.mp4 --output=movie_x4.mp4   a video, with its audio
    ffmpeg -i A -f yuv4mpegpipe - | python -m edvr.infer --checkpoint=train --input=- --output=- | ffmpeg -i - B

All devices of the host share the frames; with --runner Apache Beam restores the clips, on many machines. An interrupted
run continues: the same command restores what is missing, frames of a folder, segments of a video.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from data_tools.base.config import PIPE
from data_tools.media import clips
from edvr import flags
from edvr.config.host import HostConfig
from edvr.config.infer import InferConfig
from edvr.config.restoration import RestoreConfig
from edvr.output import containers
from edvr.sharing import share_files


def main() -> None:
    """Restores the clips or the video."""
    config, restore_config, host = flags.build_all(InferConfig, RestoreConfig, HostConfig)
    is_worker = share_files.given()
    if not is_worker:   # before TensorFlow is loaded
        containers.is_video_name(config.output)
        if config.input != PIPE:
            clips.check_given(config.input, config.tonemap)
    from edvr.output import infer_job
    from edvr.restore.network_info import NetworkInfo
    from edvr.sharing import workers
    if is_worker:
        workers.do_share(restore_config)
        return
    if config.runner:
        workers.take_one_device(restore_config.device, host, '--runner')
        infer_job.run_with_beam(restore_config, config)
        return
    if config.pipe:
        workers.check_one_device(host, config.pipe)
    plan = workers.plan_workers(restore_config, host, alone=bool(config.preview or config.pipe))
    network = NetworkInfo.at(restore_config.checkpoint, restore_config.trust_graph)
    job = infer_job.prepare(network, restore_config, config)   # before the network is loaded
    with workers.open_workers(plan, restore_config, network) as found:
        if config.preview:
            infer_job.preview(job, found.network)
        else:
            infer_job.run(job, found)


def run() -> None:
    """Runs the program."""
    flags.run(main, InferConfig, RestoreConfig, HostConfig)


if __name__ == '__main__':
    run()
