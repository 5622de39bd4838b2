"""Validation of checkpoints during training: PSNR of clips, and a picture of one frame, in TensorBoard."""
import time
from typing import Any, List

import numpy as np

from data_tools.media.clips import Clip
from data_tools.media.comparison import side_by_side
from data_tools.media.frames import Decoder
from data_tools.media.imresize import enlarge
from edvr.config import TrainingConfig
from edvr.config.restoration import EvaluateConfig
from edvr.evaluation import measure
from edvr.restore import pixels
from edvr.restore.restorer import Restorer
from edvr.tensorboard.curves import BICUBIC
from edvr.tensorboard.run_record import RunRecord
from edvr.training.hooks.checkpoint_saver import CheckpointStore

SHOWN = 360   # largest side of a picture in pixels of GT: TensorBoard shows three of them in a card


class Validation:
    """A listener of `checkpoint_saver.Checkpoints`. It restores clips with each checkpoint, in its own session."""

    def __init__(self, clips: List[Clip], training: TrainingConfig, device: str, record: RunRecord,
                 store: CheckpointStore) -> None:
        """Prepares the validation.

        Args:
          clips: with LQ and GT, not empty.
          device: the device that restores, 'cpu' or 'gpu'.
          record: for PSNR and pictures.
          store: keeps the best checkpoint.
        """
        self._clips, self._config = clips, training
        self._device, self._record, self._store = device, record, store
        store.measures(measure.digest(clips, self._options()))
        self._bicubic: Any = None   # PSNR of bicubic interpolation, after the first validation

    def __call__(self, prefix: str, step: int, previous: int) -> None:
        evaluates, shows = (every and step // every > previous // every
                            for every in (self._config.eval_every, self._config.image_every))
        if not (evaluates or shows):
            return
        with Restorer(prefix, device=self._device) as restorer:
            if shows:
                self._show(restorer, step)
            if evaluates:
                self._evaluate(restorer, prefix, step)

    def _evaluate(self, restorer: Restorer, prefix: str, step: int) -> None:
        began = time.time()
        config = self._options(bicubic=self._bicubic is None)
        with Decoder() as lq_decoder, Decoder() as gt_decoder:
            results = [measure.evaluate_clip(restorer, clip, config, decoders=(lq_decoder, gt_decoder))
                       for clip in self._clips]
        numbers = measure.comparable(results)
        psnr, self._bicubic = numbers['edvr_psnr'], numbers.get('bicubic_psnr', self._bicubic)
        best = self._store.keep_best(prefix, psnr)
        self._record.scalars(step, {'validation/psnr': psnr, 'validation/psnr_best': self._store.best_psnr,
                                    BICUBIC: self._bicubic})
        print('validation: step %d, %d frames of %d clips, PSNR %.4f dB%s, bicubic %.4f dB, %.1f s'
              % (step, sum(len(result.frames) for result in results), len(results), psnr, ' (best)' if best else '',
                 self._bicubic, time.time() - began), flush=True)

    def _options(self, bicubic: bool = False) -> EvaluateConfig:
        return EvaluateConfig(max_frames=self._config.eval_frames, ssim=False, bicubic=bicubic)

    def _show(self, restorer: Restorer, step: int) -> None:
        """Writes a picture of the centre of the centre frame of the first clip, beside the input and the truth."""
        clip = self._clips[0]
        index = clip.length // 2
        lq, gt = next(clip.lq.read(index)), next(clip.gt.read(index))
        sr = next(restorer.restore_clip(clip.lq.read(), clip.length, index))
        panels = (('input (bicubic)', enlarge(lq, restorer.config.upscale)), ('restored', pixels.to_uint8(sr)),
                  ('truth', gt))
        self._record.image(step, 'validation/sample', side_by_side([(text, _centre(image)) for text, image in panels]))


def _centre(image: np.ndarray) -> np.ndarray:
    """Returns the centre of a picture, at most SHOWN pixels high and wide."""
    top, left = (max(0, (size - SHOWN) // 2) for size in image.shape[:2])
    return image[top:top + SHOWN, left:left + SHOWN]
