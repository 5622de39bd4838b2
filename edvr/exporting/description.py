"""The files of an export and the JSON file that describes them; written and read here."""
import glob
import hashlib
import os
import typing

import tensorflow.compat.v1 as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from data_tools.base import files, schema
from data_tools.base.errors import UserError
from edvr.config import ModelConfig
from edvr.config.export import InterfaceConfig
from edvr.exporting import allowed_ops
from edvr.exporting.graphs import PARTS, WHOLE, Graph

FORMATS, VERSION = {WHOLE: 'edvr-graph', PARTS: 'edvr-graph-parts'}, 1
DRAFT = '.export-'   # prefix of the folders beside an export that is being written, see `publishing`
_PARTS_JSON = '_parts.json'
_ADVICE = 'it was cut or edited, or is of another program: export again'

# the classes of model and interface check the fields inside them
_COMMON: typing.Dict[str, typing.Any] = dict(
    _others=True, dcn_impl=schema.Text(), model=schema.MapOf(schema.Anything()),
    interface=schema.MapOf(schema.Anything()))
_GRAPH: typing.Dict[str, typing.Any] = dict(_others=True, sha256=schema.Text())
_FIELDS = {WHOLE: schema.Record(**dict(_COMMON, **_GRAPH)),
           PARTS: schema.Record(parts=schema.Record({kind.NAME: schema.Record(**_GRAPH) for kind in PARTS}),
                                **_COMMON)}


class Files(typing.NamedTuple):
    """The paths of an export.

    Attributes:
      kinds: WHOLE or PARTS.
      graphs: a path for each of `kinds`; that of a SavedModel is a folder.
      sidecar: of the description.
    """
    kinds: typing.Tuple[typing.Type[Graph], ...]
    graphs: typing.Tuple[str, ...]
    sidecar: str

    @property
    def entries(self) -> typing.Tuple[str, ...]:
        """Returns the paths that publishing moves; the description is the first or lies in the folder."""
        return self.graphs if _is_folder(self.graphs[0]) else (self.sidecar,) + self.graphs

    @property
    def identifying(self) -> str:
        """Returns the file whose size and time stand for the export: a whole graph, or the description of parts."""
        return _content_file(self.graphs[0]) if self.kinds == WHOLE else self.sidecar


class Exported(typing.NamedTuple):
    """An export that was read.

    Attributes:
      graphs: what each graph is, with its nodes.
      model: configuration of the network.
      interface: configuration of the graphs' inputs and outputs.
      content: the whole description.
    """
    graphs: typing.Dict[Graph, tf.GraphDef]
    model: ModelConfig
    interface: InterfaceConfig
    content: dict


def whole_files(path: str) -> Files:
    """Returns the files of a whole graph: `path`, and EDVR.json beside EDVR.pb or among the assets of a SavedModel."""
    if _is_folder(path):
        return Files(WHOLE, (path,), os.path.join(path, 'assets.extra', 'EDVR.json'))
    # an ONNX file may lie beside a frozen graph of the same name
    return Files(WHOLE, (path,), (path if path.endswith('.onnx') else os.path.splitext(path)[0]) + '.json')


def parts_files(stem: str) -> Files:
    """Returns the files of parts; for the stem 'EDVR': EDVR_features.pb, EDVR_restore.pb and EDVR_parts.json."""
    return Files(PARTS, tuple(stem + kind.SUFFIX for kind in PARTS), stem + _PARTS_JSON)


def find(path: str) -> Files:
    """Returns the files of the export that a path names: a graph, or any of the three files of parts.

    A .pb with its own description is a whole graph, even if its name ends like that of a part.
    """
    whole = whole_files(path)
    if not os.path.isfile(whole.sidecar) or path.endswith(_PARTS_JSON):
        for suffix in [kind.SUFFIX for kind in PARTS] + [_PARTS_JSON]:
            if path.endswith(suffix):
                return parts_files(path[:-len(suffix)])
    return whole


def is_exported(path: str) -> bool:
    """Returns whether a path names an exported graph, which need not exist.

    An exported graph is a `.pb` file, the description of an export in parts, or the folder of a SavedModel.
    """
    path = str(path)
    return path.endswith(('.pb', _PARTS_JSON)) or os.path.isfile(os.path.join(path, 'saved_model.pb'))


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) or not path.endswith(('.pb', '.onnx', '.json'))


def _content_file(path: str) -> str:
    """Returns the file with the nodes of a graph."""
    return os.path.join(path, 'saved_model.pb') if _is_folder(path) else path


def describe(graphs: typing.Dict[Graph, dict], **facts: typing.Any) -> dict:
    """Returns the content of the description.

    Args:
      graphs: what each graph is, with further JSON values about it (checksum, atc command, ...).
      **facts: further JSON values about the export (checkpoint, TensorFlow, ...).
    """
    kinds: typing.Tuple[typing.Type[Graph], ...] = tuple(type(graph) for graph in graphs)
    first = next(iter(graphs))
    model = first.model
    content = dict(facts, format=FORMATS[kinds], version=VERSION, num_frames=model.num_frames, scale=model.scale,
                   upscale=model.upscale, size_multiple=model.size_multiple, interface=first.interface.to_dict(),
                   model=model.to_dict())
    if kinds == WHOLE:
        return dict(content, input=first.inputs[0].to_json(), output=first.outputs[0].to_json(), **graphs[first])
    return dict(content, parts={graph.NAME: dict(of_graph, inputs=[end.to_json() for end in graph.inputs],
                                                 outputs=[end.to_json() for end in graph.outputs])
                                for graph, of_graph in graphs.items()})


def of_graph(content: dict, kind: typing.Union[Graph, typing.Type[Graph]]) -> dict:
    """Returns the values of a description that are about one graph: `sha256`, `atc`, ..."""
    return content if kind.NAME == WHOLE[0].NAME else content['parts'][kind.NAME]


def read(path: str, trust_graph: bool = False) -> Exported:
    """Reads an export and checks it against its description.

    Args:
      path: of the export: a file of it, or its folder.
      trust_graph: whether graphs may have operations that exports do not contain.
    Raises:
      UserError: a file is missing, damaged, of another export or of another program; a graph has another operation.
    """
    of_export = find(path)
    content = _read_content(of_export) if os.path.isfile(of_export.sidecar) else None
    if content is None and _is_folder(path):
        raise _missing(of_export, of_export.sidecar)
    read_graphs = {}
    for kind, graph in zip(of_export.kinds, of_export.graphs):
        wanted = None if content is None else of_graph(content, kind)['sha256']
        data = _read_bytes(of_export, graph, wanted)
        read_graphs[kind] = parse_graph(graph, data, kind.NODES)
        if not trust_graph:
            allowed_ops.check(graph, read_graphs[kind])
    if content is None:
        raise _missing(of_export, of_export.sidecar)
    try:
        model, interface = ModelConfig.from_dict(content['model']), InterfaceConfig.from_dict(content['interface'])
    except UserError as error:
        raise UserError('%s: %s: %s' % (of_export.sidecar, error, _ADVICE)) from None
    return Exported({kind(model, interface): graph_def for kind, graph_def in read_graphs.items()}, model, interface,
                    content)


def _read_content(of_export: Files) -> dict:
    content, kind = files.read_json(of_export.sidecar), FORMATS[of_export.kinds]
    if not isinstance(content, dict) or content.get('format') != kind:
        raise UserError('%s does not describe an exported EDVR graph: export again' % of_export.sidecar)
    if content.get('version') != VERSION:
        raise UserError('%s has version %r, this program reads version %d: export again'
                        % (of_export.sidecar, content.get('version'), VERSION))
    schema.check(content, _FIELDS[of_export.kinds], of_export.sidecar, _ADVICE)
    return content


def _read_bytes(of_export: Files, graph: str, wanted: typing.Optional[str]) -> bytes:
    """Returns the bytes of a graph, with the checksum `wanted` unless that is None.

    A graph that is missing or differs is looked for in the folder of a publication that was killed.
    """
    path, found = _content_file(graph), False
    kept = os.path.join(glob.escape(os.path.dirname(path)), DRAFT + '*', '*', glob.escape(os.path.basename(path)))
    for candidate in [path] + (glob.glob(kept) if wanted else []):
        try:
            with files.open_regular(candidate) as file:
                data = file.read()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UserError('%s cannot be read: %s' % (candidate, error.strerror)) from None
        if wanted in (None, checksum(data)):
            return data
        found = True
    if found:
        raise UserError('%s is not the file that %s describes (their SHA-256 differ): one of them is damaged, or they '
                        'are of different weights or exports: export again' % (graph, of_export.sidecar))
    raise _missing(of_export, graph)


def _missing(of_export: Files, path: str) -> UserError:
    return UserError('%s is missing: the export consists of %s: copy them together'
                     % (path, ', '.join(of_export.graphs + (of_export.sidecar,))))


def parse_graph(path: str, data: bytes, nodes: typing.Iterable[str]) -> tf.GraphDef:
    """Reads the nodes of a graph. Of a SavedModel nothing else is read: no initialization, variables or assets.

    Args:
      path: of a frozen graph or the folder of a SavedModel.
      data: bytes of the file with the nodes.
      nodes: names of nodes that must exist.
    Raises:
      UserError: the bytes are not a graph, or a node is missing.
    """
    graph_def = _serving_graph(path, data) if _is_folder(path) else _parsed(
        tf.GraphDef(), data, '%s is not a frozen graph (a binary GraphDef): give the .pb that edvr.export wrote' % path)
    missing = sorted(set(nodes) - {node.name for node in graph_def.node})
    if missing:
        raise UserError('%s has no node %s: it is not a graph that edvr.export wrote'
                        % (path, ' and no node '.join(missing)))
    return graph_def


def _serving_graph(path: str, data: bytes) -> tf.GraphDef:
    saved = _parsed(SavedModel(), data, '%s is not a SavedModel: give the folder that edvr.export wrote' % path)
    for meta_graph in saved.meta_graphs:
        if list(meta_graph.meta_info_def.tags) == [tf.saved_model.SERVING]:
            return _without_defaults(meta_graph.graph_def, meta_graph.meta_info_def.stripped_op_list)
    raise UserError('%s has no graph for serving: give the folder that edvr.export wrote' % path)


def _without_defaults(graph_def: tf.GraphDef, op_list: typing.Any) -> tf.GraphDef:
    """Removes attributes with the default values of the TensorFlow that wrote them: an older one may not know them."""
    defaults = {op.name: {attr.name: attr.default_value for attr in op.attr if attr.HasField('default_value')}
                for op in op_list.op}
    for node in graph_def.node:
        for name, value in defaults.get(node.op, {}).items():
            if name in node.attr and node.attr[name] == value:
                del node.attr[name]
    return graph_def


def _parsed(message: typing.Any, data: bytes, failure: str) -> typing.Any:
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise UserError(failure) from None
    return message


def checksum(data: bytes) -> str:
    """Returns the SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def checksum_of(graph: str) -> str:
    """Returns the SHA-256 of the file with the nodes of a graph, in hex."""
    with open(_content_file(graph), 'rb') as file:
        return checksum(file.read())
