"""The formats of exported graphs: how each is written, and run for comparison with its checkpoint."""
import importlib
import os
import typing

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import saved_model_pb2

from data_tools.base.errors import UserError
from edvr.config.export import OPEN, ExportConfig
from edvr.exporting import ascend, description, loading
from edvr.exporting.graphs import End, Graph, no_deprecations
from edvr.exporting.loading import FrozenGraph, FrozenParts, WindowRunner
from edvr.network import networks
from edvr.ops.onnx import IR_VERSION, OPSET, OnnxOps

Runnable = typing.Union[FrozenGraph, FrozenParts, 'OnnxGraph']


class Frozen:
    """A binary GraphDef with the weights as constants.

    Attributes:
      limits: type of the output -> the largest difference from the checkpoint. A float graph may compute sums in
        another order, a uint8 graph may round to the next level.
    """
    limits = {'float32': 1e-5, 'uint8': 1.001 / 255}

    def write(self, path: str, graph: Graph, graph_def: tf.GraphDef) -> None:
        """Writes a graph to a path that does not exist, or replaces a file."""
        with open(path, 'wb') as file:
            file.write(graph_def.SerializeToString(deterministic=True))

    def facts(self, path: str, graph: Graph, graph_def: tf.GraphDef, config: ExportConfig) -> dict:
        """Returns what the description says of a graph of this format; path: where the graph will lie."""
        return dict(ops=sorted({node.op for node in graph_def.node}),
                    atc=ascend.atc_command(path, graph, config))

    def load(self, files: description.Files, graph: Graph) -> Runnable:
        """Loads written files; graph: the first of them. A `with` block closes what it returns."""
        return loading.load(files.graphs[0])


class SavedModel(Frozen):
    """A folder for TensorFlow Serving, with the weights as constants."""

    def write(self, path: str, graph: Graph, graph_def: tf.GraphDef) -> None:
        with no_deprecations(), tf.Graph().as_default() as built, tf.Session() as session:
            tf.import_graph_def(graph_def, name='')
            ends = [{end.name: tf.saved_model.build_tensor_info(built.get_tensor_by_name(end.name + ':0'))
                     for end in side} for side in (graph.inputs, graph.outputs)]
            serving = tf.saved_model.build_signature_def(*ends, method_name=tf.saved_model.PREDICT_METHOD_NAME)
            builder = tf.saved_model.Builder(path)
            builder.add_meta_graph_and_variables(session, [tf.saved_model.SERVING],
                                                 {tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: serving})
            builder.save()
        content = os.path.join(path, 'saved_model.pb')
        with open(content, 'rb') as file:
            saved = saved_model_pb2.SavedModel.FromString(file.read())
        with open(content, 'wb') as file:   # the builder writes maps in any order
            file.write(saved.SerializeToString(deterministic=True))
        os.mkdir(os.path.join(path, 'assets.extra'))   # of the description

    def facts(self, path: str, graph: Graph, graph_def: tf.GraphDef, config: ExportConfig) -> dict:
        return dict(ops=sorted({node.op for node in graph_def.node}))


class Onnx(Frozen):
    """Writes an ONNX file; the packages onnx and onnxruntime are optional.

    Attributes:
      half: whether weights and values between the first and the last node are float16.
    """

    def __init__(self, half: bool = False) -> None:
        self.half = half
        # onnxruntime has other kernels, with other rounding; float16 has 11 bits: one level
        self.limits = {'float32': 4e-3, 'uint8': 2.001 / 255} if half else {'float32': 1e-4, 'uint8': 1.001 / 255}

    def write(self, path: str, graph: Graph, graph_def: tf.GraphDef) -> None:
        onnx = _package('onnx')
        weights = {node.name: tf.make_ndarray(node.attr['value'].tensor) for node in graph_def.node
                   if node.op == 'Const' and node.name.endswith(('/weight', '/bias'))}
        proto = _model_proto(onnx, weights, graph, self.half)
        onnx.checker.check_model(proto, full_check=True)
        with open(path, 'wb') as file:
            file.write(proto.SerializeToString(deterministic=True))

    def facts(self, path: str, graph: Graph, graph_def: tf.GraphDef, config: ExportConfig) -> dict:
        return dict(opset=OPSET, precision='float16' if self.half else 'float32')

    def load(self, files: description.Files, graph: Graph) -> Runnable:
        return OnnxGraph(files.graphs[0], graph)


def _model_proto(onnx: typing.Any, weights: typing.Dict[str, np.ndarray], graph: Graph, half: bool) -> typing.Any:
    """Builds the ONNX model of a WholeGraph with weights, dict of float32 arrays by the names of variables."""
    ops, (given,), (restored,) = OnnxOps(onnx, weights, half), graph.inputs, graph.outputs
    shape = [None if size == OPEN else size for size in given.shape]
    lq = ops.input(given.name, shape, given.dtype, graph.model.num_frames)
    ops.output(networks.build(graph.model).restore(ops, lq).sr, restored.name, restored.dtype)

    def info(end: End, axes: typing.Sequence[str]) -> typing.Any:
        types = {'uint8': onnx.TensorProto.UINT8, 'float32': onnx.TensorProto.FLOAT}
        sizes = [axis if size == OPEN else size for axis, size in zip(axes, end.shape)]
        return onnx.helper.make_tensor_value_info(end.name, types[end.dtype], sizes)

    proto = onnx.helper.make_graph(ops.nodes, 'EDVR', [info(given, given.axes.split())],
                                   [info(restored, ['N', 'sH', 'sW', 'C'])], ops.constants)
    return onnx.helper.make_model(proto, producer_name='edvr', ir_version=IR_VERSION,
                                  opset_imports=[onnx.helper.make_opsetid('', OPSET)])


FORMATS = dict(frozen=Frozen(), saved_model=SavedModel(), onnx=Onnx())   # the names of config.export.FORMATS


def format_of(config: ExportConfig) -> Frozen:
    """Returns the format of an export."""
    return Onnx(half=True) if config.half else FORMATS[config.format]


class OnnxGraph(WindowRunner):
    """An ONNX file in onnxruntime on the CPU."""

    def __init__(self, path: str, graph: Graph) -> None:
        """Raises UserError if onnxruntime is not installed or cannot run the file."""
        runtime = _package('onnxruntime')
        self.path, self.config, self.interface = path, graph.model, graph.interface
        try:
            self._session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
        except Exception as error:   # the errors of onnxruntime have no common base class
            raise UserError('onnxruntime %s cannot run the network, so the export cannot be verified: %s. The network '
                            'needs DeformConv on the CPU: install a newer onnxruntime (1.32 has it)'
                            % (runtime.__version__, str(error).splitlines()[0])) from None

    def _run(self, feed: loading.Feed) -> np.ndarray:
        return self._session.run(None, feed)[0]

    def __enter__(self) -> 'OnnxGraph':
        return self

    def __exit__(self, *unused: typing.Any) -> None:
        pass


def _package(name: str) -> typing.Any:
    """Returns the module `onnx` or `onnxruntime`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError('--format=onnx needs the packages onnx and onnxruntime, and %s cannot be imported (%s): '
                        "pip install '.[onnx]' in the folder of this project installs versions that fit TensorFlow; "
                        'others may replace its NumPy and protobuf' % (name, error)) from None
