"""Evaluates a trained network on clips with ground truth: PSNR and SSIM, beside those of bicubic interpolation.

    python -m edvr.evaluate --checkpoint=runs/1p --data_dir=REDS/train --clips=REDS4
    python -m edvr.evaluate --checkpoint=runs/1p --data_dir=REDS/train --clips=REDS4 --watch     follows a training
"""
from edvr import flags
from edvr.config.restoration import EvaluateConfig, RestoreConfig
from edvr.restoration.evaluation import clip_set, watch
from edvr.restoration.restorer import Restorer


def main():
    restore_config, config = flags.build_all(RestoreConfig, EvaluateConfig)
    clip_set.make_folders(config)
    if config.watch:
        watch.follow(restore_config, config, clip_set.load,
                     lambda restorer, clips: clip_set.evaluate_and_write(restorer, clips, restore_config, config))
        return
    with Restorer.from_config(restore_config) as restorer:
        clips = clip_set.load(config, restorer.config.upscale)
        clip_set.evaluate_and_write(restorer, clips, restore_config, config)


if __name__ == '__main__':
    flags.run(main, RestoreConfig, EvaluateConfig)
