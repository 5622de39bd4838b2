"""Evaluates a trained network on clips with ground truth: PSNR and SSIM, beside those of bicubic interpolation.

    python -m edvr.evaluate --checkpoint=runs/1p --data_dir=REDS/train --clips=REDS4
    python -m edvr.evaluate --checkpoint=runs/1p --data_dir=REDS/train --clips=REDS4 --watch     follows a training

All devices of the host share the frames; the numbers do not depend on how many there are.
"""
from edvr import flags
from edvr.config.host import HostConfig
from edvr.config.restoration import EvaluateConfig, RestoreConfig
from edvr.evaluation import clip_set, watch
from edvr.sharing.workers import ThisProcess, open_workers, take_one_device


def main():
    restore_config, config, host = flags.build_all(RestoreConfig, EvaluateConfig, HostConfig)
    clip_set.make_folders(config)
    if config.watch:
        take_one_device(restore_config.device, host, '--watch')
        watch.follow(restore_config, config, clip_set.load,
                     lambda restorer, clips: clip_set.evaluate_and_write(ThisProcess(restorer), clips, restore_config,
                                                                         config))
        return
    with open_workers(restore_config, host) as workers:
        if workers:
            clips = clip_set.load(config, workers.network.config.upscale)
            clip_set.evaluate_and_write(workers, clips, restore_config, config)


if __name__ == '__main__':
    flags.run(main, RestoreConfig, EvaluateConfig, HostConfig)
