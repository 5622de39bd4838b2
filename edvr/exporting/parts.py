"""An export in two parts: a graph from a frame to its features, and one from the features of a window to a frame.

To restore a clip, the first graph runs once for each frame, and its results are kept for the windows that need them.
Each level of each frame is a separate input of the second graph, so results can stay on the device without a copy.
"""
import collections
import os

import tensorflow.compat.v1 as tf

from data_tools.base import schema
from data_tools.base.errors import UserError
from edvr.config.export import OPEN
from edvr.exporting import freezing, loading, signature
from edvr.exporting.signature import INPUT, OUTPUT
from edvr.network import edvr as network

FORMAT = 'edvr-graph-parts'
LEVELS = ('features_l1', 'features_l2', 'features_l3')   # whole, half and quarter resolution
_SUFFIXES = dict(features='_features.pb', restore='_restore.pb', sidecar='_parts.json')

_PART = schema.Record(_others=True, sha256=schema.Text())
_FIELDS = schema.Record(_others=True, dcn_impl=schema.Text(), model=schema.MapOf(schema.Anything()),
                        interface=schema.MapOf(schema.Anything()), parts=schema.Record(features=_PART, restore=_PART))

Paths = collections.namedtuple('Paths', 'features restore sidecar')


def paths(stem):
    """The three files of an export; for the stem 'EDVR': EDVR_features.pb, EDVR_restore.pb and EDVR_parts.json."""
    return Paths(**{name: stem + suffix for name, suffix in _SUFFIXES.items()})


def stem_of(path):
    """The stem of an export in parts, from any of its three files; None for other names.

    A .pb with its own description is a whole graph, even if its name has one of the suffixes.
    """
    for suffix in _SUFFIXES.values():
        if path.endswith(suffix):
            whole = suffix.endswith('.pb') and os.path.isfile(signature.sidecar_path(path))
            return None if whole else path[:-len(suffix)]
    return None


def graph_file(path):
    """The file that identifies an exported graph: the graph itself, the graph in a folder, the description of parts."""
    if os.path.isdir(path):
        return os.path.join(path, 'saved_model.pb')
    stem = stem_of(path)
    return path if stem is None else paths(stem).sidecar


def in_window(level, index):
    """Name of the input of the restoring graph for a level of frame `index` of the window, str."""
    return '%s_t%d' % (level, index)


def feature_shapes(model, interface):
    """[1, h, w, C] of the three levels; list of lists of int, OPEN for sizes that are not fixed."""
    reduction = model.size_multiple // 4   # hr_in: features have a quarter of the size of the input
    return [[1] + [OPEN if size == OPEN else size // (reduction * factor)
                   for size in (interface.height, interface.width)] + [model.channels] for factor in (1, 2, 4)]


def inputs(model, interface):
    """The inputs of both graphs: ({name: shape} of the features graph, {name: shape} of the restoring graph)."""
    frame = {INPUT: [1, interface.height, interface.width, 3]}
    window = {in_window(level, index): shape for index in range(model.num_frames)
              for level, shape in zip(LEVELS, feature_shapes(model, interface))}
    return frame, dict(window, **frame)


def build_features(model, interface):
    """Adds the features graph to the default graph: a frame in, its three levels out."""
    frame = freezing.placeholder(interface.input_dtype, inputs(model, interface)[0][INPUT], INPUT)
    for level, name in zip(network.extract_features(frame, model), LEVELS):
        tf.identity(level, name=name)


def build_restore(model, interface, dcn_impl):
    """Adds the restoring graph to the default graph: the levels of a window and its centre frame in, a frame out."""
    shapes = inputs(model, interface)[1]
    centre = freezing.placeholder(interface.input_dtype, shapes[INPUT], INPUT)
    stacks = [tf.stack([freezing.placeholder('float32', shapes[in_window(level, index)], in_window(level, index))
                        for index in range(model.num_frames)], axis=1) for level in LEVELS]
    freezing.name_output(network.restore_features(stacks, centre, model, dcn_impl).sr, interface)


def feed(pyramids, centre, interface):
    """The inputs of the restoring graph for one window, dict of names -> arrays.

    Args:
      pyramids: T tuples of the three levels, float32 [1, h, w, C]. centre: uint8 [H, W, 3].
    """
    values = {in_window(level, index): value for index, pyramid in enumerate(pyramids)
              for level, value in zip(LEVELS, pyramid)}
    return dict(values, **{INPUT: loading.as_input(centre[None], interface)})


def describe(model, interface, checksums, commands, **facts):
    """The content of the JSON file beside the two graphs, a dict.

    Args:
      model: ModelConfig. interface: InterfaceConfig.
      checksums, commands: dicts, 'features' and 'restore' -> SHA-256, atc command or None.
      **facts: further JSON values for the description.
    """
    taken = dict(zip(('features', 'restore'), inputs(model, interface)))
    image = [1] + interface.output_shape(model.upscale)[1:]
    given = dict(features=[_level(name, shape) for name, shape in zip(LEVELS, feature_shapes(model, interface))],
                 restore=[signature.describe_end(OUTPUT, interface.output_dtype, image, 'N H W C', output=True)])
    return dict(facts, format=FORMAT, version=signature.VERSION, interface=interface.to_dict(), model=model.to_dict(),
                num_frames=model.num_frames, upscale=model.upscale, size_multiple=model.size_multiple,
                parts={part: dict(inputs=[_input(name, shape, interface) for name, shape in taken[part].items()],
                                  outputs=given[part], sha256=checksums[part], atc=commands[part])
                       for part in taken})


def _level(name, shape):
    return dict(name=name, tensor=name + ':0', dtype='float32', shape=shape, axes='N h w C', values='features')


def _input(name, shape, interface):
    if name == INPUT:
        return signature.describe_end(name, interface.input_dtype, shape, 'N H W C')
    return _level(name, shape)


def read(stem):
    """Reads the graphs of an export in parts, and checks them against their description.

    Args:
      stem: see `paths`.
    Returns:
      ({'features': GraphDef, 'restore': GraphDef}, ModelConfig, InterfaceConfig, the whole description: dict).
    Raises:
      UserError: one of the three files is missing, damaged, or of another export.
    """
    files = paths(stem)
    for path in files:
        if not os.path.isfile(path):
            raise UserError('%s is missing: an export in two parts consists of %s: copy all three together'
                            % (path, ', '.join(files)))
    content = signature.read_content(files.sidecar, FORMAT, _FIELDS)
    graphs = {}
    for part, path, ends in (('features', files.features, LEVELS), ('restore', files.restore, (INPUT, OUTPUT))):
        data = loading.read_bytes(path)
        if content['parts'][part]['sha256'] != signature.checksum(data):
            raise UserError('%s is not the file that %s describes (their SHA-256 differ): the parts are of different '
                            'weights or exports, or one is damaged: export again' % (path, files.sidecar))
        graphs[part] = loading.parse_graph(path, data, ends)
    return (graphs,) + signature.configs(content, files.sidecar) + (content,)
