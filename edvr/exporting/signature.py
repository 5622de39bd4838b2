"""The description of an exported graph, a JSON file beside it: its inputs, outputs, weights. Written and read here."""
import hashlib
import os

from data_tools.base import files, schema
from data_tools.base.errors import UserError
from edvr.config import ModelConfig
from edvr.config.export import OPEN, InterfaceConfig

INPUT, OUTPUT = 'L_input', 'SR_output'
FORMAT, VERSION = 'edvr-graph', 1
ADVICE = 'it was cut or edited, or is of another program: export again'
# the classes of model and interface check the fields inside them
_FIELDS = schema.Record(_others=True, sha256=schema.Text(), dcn_impl=schema.Text(),
                        model=schema.MapOf(schema.Anything()), interface=schema.MapOf(schema.Anything()))


def values(dtype, output=False):
    """Describes the range of pixel values."""
    if dtype == 'uint8':
        return '0 to 255, integers' + (', rounded and clipped' if output else '')
    return '0 to 1' + (', not clipped: may lie a little outside' if output else '')


def describe(model, interface, **facts):
    """The content of the JSON file as a dict.

    Args:
      model: ModelConfig. interface: InterfaceConfig.
      **facts: further JSON values about the graph (checksum, TensorFlow, ...).
    """
    ends = {
        'input': describe_end(INPUT, interface.input_dtype, interface.input_shape(model.num_frames),
                              'N T H W C' if interface.input_rank == 5 else 'N*T H W C'),
        'output': describe_end(OUTPUT, interface.output_dtype, interface.output_shape(model.upscale), 'N H W C',
                               output=True)}
    return dict(facts, format=FORMAT, version=VERSION, num_frames=model.num_frames, scale=model.scale,
                upscale=model.upscale, size_multiple=model.size_multiple, interface=interface.to_dict(),
                model=model.to_dict(), **ends)


def describe_end(name, dtype, shape, axes, output=False):
    """Describes the input or output of a graph, dict of JSON values; axes: a word for each, such as 'N H W C'."""
    return dict(name=name, tensor=name + ':0', dtype=dtype, shape=shape, axes=axes, channels='RGB',
                values=values(dtype, output))


def report_weights(log, content):
    """Logs the kind of weights of a graph, if they are moving averages."""
    if content['moving_average']:
        log('weights     moving averages')


def report_end(log, title, end):
    """Logs the input or output of a graph in a line; end: see `describe_end`."""
    shape = ', '.join('?' if size == OPEN else str(size) for size in end['shape'])
    log('%-11s %s %s [%s] %s' % (title, end['name'], end['dtype'], shape, ', '.join(
        end[fact] for fact in ('axes', 'channels', 'values') if fact in end)))


def sidecar_path(path):
    """The path of the JSON file of a graph: EDVR.json beside EDVR.pb; in a SavedModel among its extra assets."""
    if os.path.isdir(path):
        return os.path.join(path, 'assets.extra', 'EDVR.json')
    # an ONNX file may lie beside a frozen graph of the same name
    return path + '.json' if path.endswith('.onnx') else os.path.splitext(path)[0] + '.json'


def read(path, data):
    """Reads the description of a graph, and checks it against the bytes of the graph.

    Args:
      path: of the graph. data: its bytes.
    Returns:
      (ModelConfig, InterfaceConfig, the whole description: dict).
    Raises:
      UserError: there is no such file, its format or version is another, or the checksum of the bytes differs.
    """
    sidecar = sidecar_path(path)
    if not os.path.isfile(sidecar):
        raise UserError('%s needs the description that export wrote with it, %s, which does not exist: copy the two '
                        'together' % (path, sidecar))
    content = read_content(sidecar, FORMAT, _FIELDS)
    if content['sha256'] != checksum(data):
        raise UserError('%s is not the file that %s describes (their SHA-256 differ): one of the two is damaged or of '
                        'another export; export again' % (path, sidecar))
    return configs(content, sidecar) + (content,)


def read_content(sidecar, kind, fields):
    """Reads a description: dict. kind: its `format`. fields: its schema.Record. Raises UserError, see `read`."""
    content = files.read_json(sidecar)
    if not isinstance(content, dict) or content.get('format') != kind:
        raise UserError('%s does not describe an exported EDVR graph: export again' % sidecar)
    if content.get('version') != VERSION:
        raise UserError('%s has version %r, this program reads version %d: export again'
                        % (sidecar, content.get('version'), VERSION))
    schema.check(content, fields, sidecar, ADVICE)
    return content


def configs(content, sidecar):
    """(ModelConfig, InterfaceConfig) of the description in the file `sidecar`. Raises UserError that names the file."""
    try:
        return ModelConfig.from_dict(content['model']), InterfaceConfig.from_dict(content['interface'])
    except UserError as error:
        raise UserError('%s: %s: %s' % (sidecar, error, ADVICE)) from None


def checksum(data):
    """SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()
