"""PyTorch checkpoints of EDVR and the variables of this project: names, layouts, and the architecture.

Both sides are dicts of NumPy arrays: `state` has the public key names (pcd_align.dcn_pack.l1.weight), `weights` the
variable names under `edvr/` (pcd_align/dcn_pack/l1/weight). Three families of keys are read: today's reference
implementation's, the authors' first release's, and mmediting's (`generator.`); the first is written.

What changes besides names: convolutions go from [out, in, kh, kw] to [kh, kw, in, out]; offset convolutions from
(dy, dx) pairs to all dx, all dy; convolutions in front of a pixel shuffle from (c, dy, dx) to (dy, dx, c).
"""
import re
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from data_tools.base.errors import UserError
from edvr.config import ConfigError, ModelConfig
from edvr.network import networks
from edvr.network.base import SCOPE
from edvr.network.reconstruction import stages

POINTS = 9
NETWORKS = ('edvr',)   # that the reference implementation has too
KEYS = ('params', 'params_ema', 'state_dict')   # of the weights in a file
AUTO = 'auto'
PREFIXES = ('module.', 'generator.', 'module.generator.')

# The authors' first release and mmediting, as (pattern, replacement) on whole keys; those of the reference stay.
_RENAMES: List[Tuple['re.Pattern[str]', Any]] = [(re.compile(pattern), replacement) for pattern, replacement in [
    # mmediting: activated convolutions hold theirs as `.conv`
    (r'^(.*)\.conv\.(weight|bias)$', r'\1.\2'),
    (r'^pcd_alignment\.', 'pcd_align.'),
    (r'^feat_l([23])_conv([12])\.', r'conv_l\1_\2.'),
    (r'^upsample([12])\.upsample_conv\.', r'upconv\1.'),
    # the first release
    (r'^fea_L([23])_conv([12])\.', r'conv_l\1_\2.'),
    (r'^pcd_align\.L([123])_(offset_conv[123])\.', r'pcd_align.\2.l\1.'),
    (r'^pcd_align\.L([12])_fea_conv\.', r'pcd_align.feat_conv.l\1.'),
    (r'^pcd_align\.L([123])_dcnpack\.', r'pcd_align.dcn_pack.l\1.'),
    (r'\.conv_offset_mask\.', '.conv_offset.'),
    (r'^tsa_fusion\.', 'fusion.'),
    # there the reference frame's embedding is the second one
    (r'^fusion\.tAtt_1\.', 'fusion.temporal_attn2.'),
    (r'^fusion\.tAtt_2\.', 'fusion.temporal_attn1.'),
    (r'^fusion\.fea_fusion\.', 'fusion.feat_fusion.'),
    (r'^fusion\.sAtt_([1-5])\.', r'fusion.spatial_attn\1.'),
    (r'^fusion\.sAtt_L([123])\.', r'fusion.spatial_attn_l\1.'),
    (r'^fusion\.sAtt_add_([12])\.', r'fusion.spatial_attn_add\1.'),
    (r'^recon_trunk\.', 'reconstruction.'),
    (r'^HRconv\.', 'conv_hr.'),
    (r'^pre_deblur\.conv_first_1\.', 'predeblur.conv_first.'),
    (r'^pre_deblur\.conv_first_([23])\.', lambda match: 'predeblur.stride_conv_hr%d.' % (int(match.group(1)) - 1)),
    (r'^pre_deblur\.deblur_L([23])_conv\.', r'predeblur.stride_conv_l\1.'),
    (r'^pre_deblur\.RB_L1_([1-5])\.', lambda match: 'predeblur.resblock_l1.%d.' % (int(match.group(1)) - 1)),
    (r'^pre_deblur\.RB_L2_([12])\.', r'predeblur.resblock_l2_\1.'),
    (r'^pre_deblur\.RB_L3_1\.', 'predeblur.resblock_l3.'),
    (r'^pre_deblur\.', 'predeblur.'),
]]
_IGNORED = re.compile(r'^(step_counter|.*\.num_batches_tracked)$')   # the step counter of mmediting

Arrays = Dict[str, np.ndarray]   # names -> values


def weights_key(checkpoint: Any, source: str, wanted: str = AUTO) -> Tuple[Optional[str], List[str]]:
    """Chooses the key of a loaded PyTorch checkpoint under which the weights are.

    Args:
      checkpoint: see `state_of`.
      source: the file's name for errors.
      wanted: one of KEYS; AUTO is the first of them that the file has, as in BasicSR.
    Returns:
      (the key, or None if the checkpoint is the state itself; all of KEYS that the file has).
    Raises:
      UserError: the file has no such key.
    """
    found = [key for key in KEYS if isinstance(checkpoint, dict) and isinstance(checkpoint.get(key), dict)
             and checkpoint[key]]
    if wanted not in [AUTO] + found:
        raise UserError('%s has no weights under %s; it has %s: leave out --param_key'
                        % (source, wanted, ' and '.join(found) or 'none of ' + ', '.join(KEYS)))
    return (wanted if wanted in found else found[0] if found else None), found


def state_of(checkpoint: Any, source: str, wanted: str = AUTO) -> Arrays:
    """Returns the float32 arrays of a loaded PyTorch checkpoint by the reference implementation's names.

    Args:
      checkpoint: the result of torch.load: the state itself, or a dict with it under one of KEYS.
      source: the file's name for errors.
      wanted: the key to take, see `weights_key`.
    Raises:
      UserError: it holds no state, or two keys mean the same.
    """
    chosen, _ = weights_key(checkpoint, source, wanted)
    checkpoint = checkpoint[chosen] if chosen else checkpoint
    if not isinstance(checkpoint, dict) or not checkpoint or not all(
            isinstance(key, str) and hasattr(value, 'shape') for key, value in checkpoint.items()):
        raise UserError('%s holds no weights: expected a dict of tensors, or one under params, params_ema or '
                        'state_dict' % source)
    state: Arrays = {}
    origin: Dict[str, Any] = {}
    for key, value in checkpoint.items():
        name = rename(key)
        if _IGNORED.match(name):
            continue
        if name in state:
            raise UserError('%s: keys %s and %s both mean %s' % (source, origin[name], key, name))
        state[name], origin[name] = np.asarray(value, np.float32), key
    return state


def rename(key: str) -> str:
    """Returns the reference implementation's name for a key of any of the families."""
    for prefix in sorted(PREFIXES, key=len, reverse=True):
        if key.startswith(prefix):
            key = key[len(prefix):]
            break
    for pattern, replacement in _RENAMES:
        key = pattern.sub(replacement, key)
    return key


def infer_config(state: Arrays, source: str) -> ModelConfig:
    """Returns the ModelConfig that `state` belongs to, from names and shapes alone.

    Raises:
      UserError: a key is missing or its shape fits no EDVR; the text names it and the file `source`.
    """
    def shape(name):
        if name not in state:
            raise UserError('%s: no key %s; this is not an EDVR known here' % (source, name))
        if state[name].ndim != 4 or not state[name].size:
            raise UserError('%s: %s has shape %s; it must be a convolution of 4 dimensions above 0'
                            % (source, name, state[name].shape))
        return state[name].shape

    def blocks(name):
        found = {key.split('.')[1] for key in state if key.startswith(name + '.')}
        return len(found)

    with_predeblur = any(key.startswith('predeblur.') for key in state)
    with_tsa = 'fusion.feat_fusion.weight' in state
    hr_in = ('predeblur.stride_conv_hr1.weight' if with_predeblur else 'conv_first_1.weight') in state
    channels = shape('conv_l2_1.weight')[0]
    fused = shape('fusion.feat_fusion.weight' if with_tsa else 'fusion.weight')[1]
    scale = 4 if 'upconv2.weight' in state else round((shape('upconv1.weight')[0] / shape('conv_hr.weight')[1]) ** 0.5)
    try:
        return ModelConfig(num_frames=fused // channels, scale=scale, channels=channels,
                           deform_groups=shape('pcd_align.cas_dcnpack.conv_offset.weight')[0] // (3 * POINTS),
                           num_extract_block=blocks('feature_extraction'),
                           num_reconstruct_block=blocks('reconstruction'), with_tsa=with_tsa,
                           with_predeblur=with_predeblur, hr_in=hr_in)
    except ConfigError as error:
        raise UserError('%s: the shapes of its weights describe no EDVR: %s' % (source, error)) from None


def variable_shapes(config: ModelConfig) -> Dict[str, Tuple[int, ...]]:
    """Returns the shapes (tuples) of the network's variables by their names, without the scope `edvr/`."""
    return {name[len(SCOPE) + 1:]: shape for name, shape in networks.variable_shapes(config).items()}


def to_weights(state: Arrays, config: ModelConfig, source: str) -> Arrays:
    """Converts the reference's weights to the project's.

    Raises:
      UserError: a key is missing, unknown or of another shape; the text names all such and the file `source`.
    """
    wanted = variable_shapes(config)
    names = {name.replace('/', '.') for name in wanted}
    problems = ['missing: %s' % name for name in sorted(names - set(state))]
    problems += ['unknown: %s' % name for name in sorted(set(state) - names)]
    weights = {}
    for name in sorted(names & set(state)):
        key = name.replace('.', '/')
        shape = torch_shape(wanted[key])
        if state[name].shape != shape:
            problems.append('%s has shape %s, expected %s' % (name, state[name].shape, shape))
        else:
            weights[key] = _permute(key, _from_torch(state[name]), config, inverse=False)
    if problems:
        raise UserError('%s does not fit the network its shapes describe (%s): %s'
                        % (source, describe(config), '; '.join(problems)))
    return weights


def to_state(weights: Arrays, config: ModelConfig) -> Arrays:
    """Converts the project's weights to the reference's: the inverse of `to_weights`, bit for bit."""
    return {key.replace('/', '.'): _to_torch(_permute(key, value, config, inverse=True))
            for key, value in weights.items()}


def torch_shape(shape: Tuple[int, ...]) -> Tuple[int, ...]:
    """Returns the shape in PyTorch of a weight or bias of the given shape."""
    return tuple(shape[index] for index in (3, 2, 0, 1)) if len(shape) == 4 else tuple(shape)


def _from_torch(value):
    return np.ascontiguousarray(value.transpose(2, 3, 1, 0)) if value.ndim == 4 else value


def _to_torch(value):
    return np.ascontiguousarray(value.transpose(3, 2, 0, 1)) if value.ndim == 4 else value


def _permute(key, value, config, inverse):
    """Converts the output channels (last axis) of some layers to this project's order, or back."""
    order = channel_order(key, config)
    if order is None:
        return value
    return value[..., np.argsort(order) if inverse else order]


def channel_order(key: str, config: ModelConfig) -> Optional[np.ndarray]:
    """Returns the index of each output channel of a layer in PyTorch's order, int array; None for equal orders."""
    layer = key.rsplit('/', 1)[0]
    if layer.endswith('/conv_offset'):
        pairs = np.arange(2 * POINTS * config.deform_groups).reshape(-1, 2)   # a (dy, dx) per group and point
        masks = np.arange(2, 3) * POINTS * config.deform_groups + np.arange(POINTS * config.deform_groups)
        return np.concatenate([pairs[:, 1], pairs[:, 0], masks])
    for name, channels, factor in stages(config):
        if layer == name:
            return np.arange(channels * factor ** 2).reshape(channels, factor ** 2).T.reshape(-1)
    return None


def describe(config: ModelConfig) -> str:
    """Returns the fields of a configuration as text."""
    return ', '.join('%s=%s' % item for item in sorted(config.to_dict().items()))
