"""Writes ONNX files with onnx, and runs them with onnxruntime for comparison; both packages are optional."""
import importlib

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr.exporting import loading, onnx_network, signature

LIMITS = {'float32': 1e-4, 'uint8': 1.001 / 255}   # onnxruntime has other kernels, with other rounding


def package(name):
    """The module `onnx` or `onnxruntime`. Raises UserError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError('--format=onnx needs the packages onnx and onnxruntime, and %s cannot be imported (%s): '
                        'pip install onnx onnxruntime' % (name, error)) from None


def write(path, graph_def, model, interface):
    """Writes the network with the weights of a frozen graph; returns the checksum of its bytes, str.

    Args:
      path: of the file. graph_def: GraphDef. model: ModelConfig. interface: InterfaceConfig.
    """
    onnx = package('onnx')
    weights = {node.name: tf.make_ndarray(node.attr['value'].tensor) for node in graph_def.node
               if node.op == 'Const' and node.name.endswith(('/weight', '/bias'))}
    proto = onnx_network.model_proto(onnx, weights, model, interface)
    onnx.checker.check_model(proto, full_check=True)
    data = proto.SerializeToString()
    with open(path, 'wb') as file:
        file.write(data)
    return signature.checksum(data)


class OnnxGraph:
    """An ONNX file in onnxruntime on the CPU.

    Attributes:
      config: ModelConfig. interface: InterfaceConfig.
    """

    def __init__(self, path, model, interface):
        """Raises UserError if onnxruntime is not installed or cannot run the file."""
        runtime = package('onnxruntime')
        self.config, self.interface = model, interface
        try:
            self._session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
        except Exception as error:   # the errors of onnxruntime have no common base class
            raise UserError('onnxruntime %s cannot run the network, so the export cannot be verified: %s. The network '
                            'needs DeformConv on the CPU: install a newer onnxruntime (1.32 has it)'
                            % (runtime.__version__, str(error).splitlines()[0])) from None

    def run(self, windows):
        """float32 [N, sH, sW, 3] of uint8 [N, T, H, W, 3]."""
        count = self.interface.batch_size
        results = []
        for start in range(0, len(windows), max(count, 1)):
            part = windows[start:start + max(count, 1)]
            given = loading.as_input(loading.filled(part, count), self.interface)
            sr, = self._session.run(None, {signature.INPUT: given})
            results.append(loading.as_float(sr)[:len(part)])
        return np.concatenate(results)
