"""Compares an imported network with the reference implementation, if that is installed."""
import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr import checkpoints
from edvr.config import ModelConfig
from edvr.network import networks
from edvr.ops.stock import StockOps
from edvr.pytorch.state_dict import Arrays

EXACT = 1e-4   # the largest allowed difference; float32 sums are in another order


def restore_frame(prefix: str, config: ModelConfig, window: np.ndarray) -> np.ndarray:
    """Restores one window, uint8 [T, H, W, 3], with a checkpoint: float32 [s*H, s*W, 3]."""
    with tf.Graph().as_default(), tf.Session() as session:
        sr = networks.build(config).restore(StockOps(), tf.constant(window[np.newaxis])).sr
        tf.train.Saver(checkpoints.restore_map(prefix, tf.trainable_variables())).restore(session, prefix)
        return session.run(sr)[0]


def verify(prefix: str, state: Arrays, config: ModelConfig) -> str:
    """Compares a small forward pass with that of the reference implementation; returns the line to print.

    Args:
      prefix: of the imported checkpoint.
      state: its weights by the reference implementation's names.
      config: of its network.
    Raises:
      UserError: the results differ by EXACT or more.
    """
    try:
        import torch
        from basicsr.archs.edvr_arch import EDVR
    except ImportError as error:
        return 'not verified: the reference implementation cannot be imported (%s); pip install torch basicsr' % error
    if config.scale != 4 or (config.hr_in and not config.with_predeblur):
        return 'not verified: the reference implementation has no such network'
    size = config.size_multiple * 4
    window = np.random.RandomState(0).randint(0, 256, (config.num_frames, size, size, 3)).astype(np.uint8)
    model = EDVR(num_feat=config.channels, num_frame=config.num_frames, deformable_groups=config.deform_groups,
                 num_extract_block=config.num_extract_block, num_reconstruct_block=config.num_reconstruct_block,
                 hr_in=config.hr_in, with_predeblur=config.with_predeblur, with_tsa=config.with_tsa).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    with torch.no_grad():
        frames = torch.from_numpy(window.transpose(0, 3, 1, 2)[np.newaxis].astype(np.float32) / 255)
        theirs = model(frames)[0].numpy().transpose(1, 2, 0)
    difference = float(np.abs(restore_frame(prefix, config, window) - theirs).max())
    if not difference < EXACT:
        raise UserError('the imported network differs from the reference implementation by %g (allowed %g)'
                        % (difference, EXACT))
    return 'verified: largest difference from the reference implementation %.1e' % difference
