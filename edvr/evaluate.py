"""Evaluates a trained network on clips with ground truth: PSNR and SSIM, beside those of bicubic interpolation.

    python -m edvr.evaluate --checkpoint=runs/1p --data_dir=REDS/train --clips=REDS4
    python -m edvr.evaluate --checkpoint=runs/1p --data_dir=REDS/train --clips=REDS4 --watch     follows a training

All devices of the host share the frames; the numbers do not depend on how many there are.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from data_tools.base import staging
from data_tools.base.errors import UserError
from data_tools.media import clips as media_clips
from edvr import flags
from edvr.config.host import HostConfig
from edvr.config.restoration import EvaluateConfig, RestoreConfig
from edvr.sharing import share_files


def main() -> None:
    """Evaluates the clips once, or each new checkpoint."""
    restore_config, config, host = flags.build_all(RestoreConfig, EvaluateConfig, HostConfig)
    is_worker = share_files.given()
    if config.data_dir and not is_worker:   # before TensorFlow is loaded
        media_clips.check_given(config.data_dir)
    from edvr.evaluation import clip_set, watch
    from edvr.restore.network_info import NetworkInfo
    from edvr.sharing import workers
    if is_worker:
        workers.do_share(restore_config)
        return
    clip_set.make_ready(config)
    if config.watch:
        if staging.is_copy(restore_config.checkpoint):
            raise UserError('--watch with --checkpoint=obs://...: the copy does not change; run it on the machine that '
                            'trains, or evaluate without --watch')
        workers.take_one_device(restore_config.device, host, '--watch')
        watch.follow(restore_config, config, clip_set.load,
                     lambda restorer, clips: clip_set.evaluate_and_write(workers.ThisProcess(restorer), clips,
                                                                         restore_config, config))
        return
    plan = workers.plan_workers(restore_config, host)
    network = NetworkInfo.at(restore_config.checkpoint, restore_config.trust_graph)
    clips = clip_set.load(config, network.config.upscale)   # before the network is loaded
    with workers.open_workers(plan, restore_config, network) as found:
        clip_set.evaluate_and_write(found, clips, restore_config, config)


def run() -> None:
    """Runs the program."""
    flags.run(main, RestoreConfig, EvaluateConfig, HostConfig)


if __name__ == '__main__':
    run()
