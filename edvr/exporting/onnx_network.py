"""The network in ONNX operations, from the weights of a frozen graph. Images are NCHW; sizes may be open.

Letters: N windows, T frames, H W size, C channels, G deform groups.
"""
import numpy as np

from edvr.config.export import OPEN
from edvr.exporting.graphs import INPUT, OUTPUT
from edvr.network.edvr import SCOPE

OPSET = 19        # the first opset with DeformConv
IR_VERSION = 9    # the version of the same release
_SLOPE = 0.1


def model_proto(onnx, weights, model, interface):
    """Builds the ONNX model.

    Args:
      onnx: the module.
      weights: dict, names of variables -> float32 arrays, convolutions [k, k, C_in, C_out].
      model: ModelConfig. interface: InterfaceConfig.
    Returns:
      onnx.ModelProto.
    """
    types = {'uint8': onnx.TensorProto.UINT8, 'float32': onnx.TensorProto.FLOAT}
    graph = Graph(onnx, weights, model)
    graph.build(types, interface)

    def end(name, dtype, shape, axes):
        sizes = [axis if size == OPEN else size for axis, size in zip(axes, shape)]
        return onnx.helper.make_tensor_value_info(name, types[dtype], sizes)

    axes = ['N', 'T', 'H', 'W', 'C'] if interface.input_rank == 5 else ['N*T', 'H', 'W', 'C']
    proto = onnx.helper.make_graph(
        graph.nodes, 'EDVR', [end(INPUT, interface.input_dtype, interface.input_shape(model.num_frames), axes)],
        [end(OUTPUT, interface.output_dtype, interface.output_shape(model.upscale), ['N', 'sH', 'sW', 'C'])],
        graph.constants)
    return onnx.helper.make_model(proto, producer_name='edvr', ir_version=IR_VERSION,
                                  opset_imports=[onnx.helper.make_opsetid('', OPSET)])


class Graph:
    """Collects nodes and constants. Each method adds what the function of the same name in `edvr.network` computes.

    Attributes:
      nodes: list of onnx.NodeProto. constants: list of onnx.TensorProto.
    """

    def __init__(self, onnx, weights, model):
        self._onnx, self._weights, self._model = onnx, weights, model
        self.nodes, self.constants, self._names = [], [], set()

    def build(self, types, interface):
        """Adds all nodes between the named input and the named output."""
        T, x = self._model.num_frames, INPUT
        if interface.input_dtype == 'uint8':
            x = self.op('Div', self.op('Cast', x, to=types['float32']), self.constant('levels', np.float32(255)))
        if interface.input_rank == 5:
            x = self.op('Reshape', x, self.op('Concat', self.ints(-1), self.op('Shape', x, start=2), axis=0))
        frames = self.op('Transpose', x, perm=[0, 3, 1, 2])
        aligned = self.align(self.extract_features(frames))
        sr = self.reconstruct(self.fuse(aligned), self.centre(self.windows(frames, T)))
        sr = self.op('Transpose', sr, perm=[0, 2, 3, 1])
        if interface.output_dtype == 'uint8':
            sr = self.op('Round', self.op('Mul', sr, self.constant('levels', np.float32(255))))
            sr = self.op('Clip', sr, self.constant('black', np.float32(0)), self.constant('levels', np.float32(255)))
            sr = self.op('Cast', sr, to=types['uint8'])
        self.nodes.append(self._onnx.helper.make_node('Identity', [sr], [OUTPUT]))

    # operations

    def op(self, kind, *inputs, outputs=1, **attributes):
        """Adds a node; returns the name of its output, or the names of several."""
        number = len(self.nodes)
        names = ['%s_%d' % (kind, number)] if outputs == 1 else ['%s_%d_%d' % (kind, number, i) for i in range(outputs)]
        self.nodes.append(self._onnx.helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, name, value):
        """The name of a constant, which is added once."""
        if name not in self._names:
            self._names.add(name)
            self.constants.append(self._onnx.numpy_helper.from_array(np.array(value, order='C'), name))
        return name

    def ints(self, *values):
        return self.constant('ints_' + '_'.join(map(str, values)), np.array(values, np.int64))

    def kernel(self, name, part=slice(None), order=None):
        """The weight of a convolution as [C_out, C_in, k, k]. part: slice of input channels. order: of the outputs."""
        weight = self._weights['%s/%s/weight' % (SCOPE, name)][:, :, part].transpose(3, 2, 0, 1)
        suffix = '' if part == slice(None) else '/%s:%s' % (part.start or 0, part.stop or '')
        return self.constant(name + '/weight' + suffix, weight if order is None else weight[order])

    def bias(self, name, order=None):
        value = self._weights['%s/%s/bias' % (SCOPE, name)]
        return self.constant(name + '/bias', value if order is None else value[order])

    def conv(self, x, name, stride=1, activation=None, order=None):
        """See `edvr.ops.layers.conv2d`; a list is concatenated."""
        x = self.op('Concat', *x, axis=1) if isinstance(x, list) else x
        return self.activate(self._conv(x, self.kernel(name, order=order), self.bias(name, order), stride), activation)

    def _conv(self, x, kernel, bias=None, stride=1):
        size = next(list(value.dims)[-1] for value in self.constants if value.name == kernel)
        inputs = [x, kernel] + ([bias] if bias else [])
        return self.op('Conv', *inputs, kernel_shape=[size] * 2, pads=[size // 2] * 4, strides=[stride] * 2)

    def activate(self, x, activation='lrelu'):
        if activation is None:
            return x
        return self.op('Relu', x) if activation == 'relu' else self.op('LeakyRelu', x, alpha=_SLOPE)

    def upsample(self, x, factor):
        return self.op('Resize', x, '', self.constant('x%d' % factor, np.array([1, 1, factor, factor], np.float32)),
                       mode='linear', coordinate_transformation_mode='half_pixel')

    def windows(self, x, frames):
        """[N*T, C, H, W] -> [N, T, C, H, W]."""
        return self.op('Reshape', x, self.op('Concat', self.ints(-1, frames), self.op('Shape', x, start=1), axis=0))

    def images(self, x, channels=None):
        """[N, T, C, H, W] -> [N*T, C, H, W]; with `channels` (T*C) -> [N, T*C, H, W]."""
        sizes = self.op('Shape', x, start=2 if channels is None else 3)
        first = self.ints(-1) if channels is None else self.ints(-1, channels)
        return self.op('Reshape', x, self.op('Concat', first, sizes, axis=0))

    def centre(self, x):
        """[N, T, C, H, W] -> [N, C, H, W], the window's centre frame."""
        return self.op('Gather', x, self.constant('centre', np.array(self._model.num_frames // 2, np.int64)), axis=1)

    def conv_with_reference(self, x, reference, name):
        C, T = self._model.channels, self._model.num_frames
        shared = self._conv(reference, self.kernel(name, slice(C, None)), self.bias(name))
        y = self.windows(self._conv(x, self.kernel(name, slice(0, C))), T)
        y = self.op('Add', y, self.op('Unsqueeze', shared, self.ints(1)))
        return self.activate(self.images(y))

    def residual_block(self, x, name):
        return self.op('Add', self.conv(self.conv(x, name + '/conv1', activation='relu'), name + '/conv2'), x)

    def residual_blocks(self, x, count, name, first=0):
        for index in range(first, first + count):
            x = self.residual_block(x, '%s/%d' % (name, index))
        return x

    # stages

    def first_features(self, x):
        """See `edvr.network.predeblur`."""
        if self._model.with_predeblur:
            return self.conv(self.predeblur(x), 'conv_1x1')
        if not self._model.hr_in:
            return self.conv(x, 'conv_first', activation='lrelu')
        for index, stride in ((1, 1), (2, 2), (3, 2)):
            x = self.conv(x, 'conv_first_%d' % index, stride, 'lrelu')
        return x

    def predeblur(self, x):
        def name(layer):
            return 'predeblur/' + layer

        l1 = self.conv(x, name('conv_first'), activation='lrelu')
        for layer in ('stride_conv_hr1', 'stride_conv_hr2') if self._model.hr_in else ():
            l1 = self.conv(l1, name(layer), 2, 'lrelu')
        l2 = self.conv(l1, name('stride_conv_l2'), 2, 'lrelu')
        l3 = self.conv(l2, name('stride_conv_l3'), 2, 'lrelu')
        l3 = self.upsample(self.residual_block(l3, name('resblock_l3')), 2)
        l2 = self.op('Add', self.residual_block(l2, name('resblock_l2_1')), l3)
        l2 = self.upsample(self.residual_block(l2, name('resblock_l2_2')), 2)
        l1 = self.op('Add', self.residual_blocks(l1, 2, name('resblock_l1')), l2)
        return self.residual_blocks(l1, 3, name('resblock_l1'), first=2)

    def extract_features(self, frames):
        """See `edvr.network.edvr`."""
        l1 = self.residual_blocks(self.first_features(frames), self._model.num_extract_block, 'feature_extraction')
        l2 = self.conv(self.conv(l1, 'conv_l2_1', 2, 'lrelu'), 'conv_l2_2', activation='lrelu')
        l3 = self.conv(self.conv(l2, 'conv_l3_1', 2, 'lrelu'), 'conv_l3_2', activation='lrelu')
        return l1, l2, l3

    def align(self, levels):
        """See `edvr.network.alignment`; [N*T, C, H, W]."""
        references = [self.centre(self.windows(level, self._model.num_frames)) for level in levels]
        up_offset = up_feature = None
        for index, level in ((2, 'l3'), (1, 'l2'), (0, 'l1')):
            offset = self.conv_with_reference(levels[index], references[index], 'pcd_align/offset_conv1/' + level)
            offset = self.conv(offset if up_offset is None else [offset, up_offset],
                               'pcd_align/offset_conv2/' + level, activation='lrelu')
            if up_offset is not None:
                offset = self.conv(offset, 'pcd_align/offset_conv3/' + level, activation='lrelu')
            feature = self.dcn_pack(levels[index], offset, 'pcd_align/dcn_pack/' + level)
            if up_feature is None:
                feature = self.activate(feature)
            else:
                feature = self.conv([feature, up_feature], 'pcd_align/feat_conv/' + level,
                                    activation='lrelu' if index else None)
            if index:
                up_offset = self.op('Mul', self.upsample(offset, 2), self.constant('two', np.float32(2)))
                up_feature = self.upsample(feature, 2)
        offset = self.conv_with_reference(feature, references[0], 'pcd_align/cas_offset_conv1')
        offset = self.conv(offset, 'pcd_align/cas_offset_conv2', activation='lrelu')
        return self.activate(self.dcn_pack(feature, offset, 'pcd_align/cas_dcnpack'))

    def dcn_pack(self, x, offset_features, name):
        G = self._model.deform_groups
        # the network has [all dx | all dy | all mask], ONNX (dy, dx) point by point: the convolution gives this order
        dx = np.arange(9 * G)
        order = np.concatenate([np.stack([9 * G + dx, dx], axis=1).ravel(), 18 * G + dx])
        packed = self.conv(offset_features, name + '/conv_offset', order=order)
        offset, mask = self.op('Split', packed, self.ints(18 * G, 9 * G), outputs=2, axis=1)
        return self.op('DeformConv', x, self.kernel(name), offset, self.bias(name), self.op('Sigmoid', mask),
                       kernel_shape=[3, 3], pads=[1] * 4, offset_group=G)

    def fuse(self, aligned):
        """See `edvr.network.fusion`; [N, C, H, W]."""
        T, C = self._model.num_frames, self._model.channels
        windows = self.windows(aligned, T)
        if not self._model.with_tsa:
            return self.conv(self.images(windows, T * C), 'fusion')
        reference = self.op('Unsqueeze', self.conv(self.centre(windows), 'fusion/temporal_attn1'), self.ints(1))
        embedding = self.windows(self.conv(aligned, 'fusion/temporal_attn2'), T)
        correlation = self.op('ReduceSum', self.op('Mul', embedding, reference), self.ints(2), keepdims=1)
        stacked = self.images(self.op('Mul', windows, self.op('Sigmoid', correlation)), T * C)
        return self.spatial_attention(self.conv(stacked, 'fusion/feat_fusion', activation='lrelu'), stacked)

    def spatial_attention(self, feature, stacked):
        def conv(x, name, activation='lrelu'):
            return self.conv(x, 'fusion/spatial_attn' + name, activation=activation)

        attention = conv(self.pools(conv(stacked, '1')), '2')
        level = conv(self.pools(conv(attention, '_l1')), '_l2')
        level = self.upsample(conv(level, '_l3'), 2)
        attention = self.op('Add', conv(attention, '3'), level)
        attention = conv(self.upsample(conv(attention, '4'), 2), '5', None)
        shift = conv(conv(attention, '_add1'), '_add2', None)
        gate = self.op('Mul', self.op('Sigmoid', attention), self.constant('two', np.float32(2)))
        return self.op('Add', self.op('Mul', feature, gate), shift)

    def pools(self, x):
        sizes = dict(kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2])
        return [self.op('MaxPool', x, **sizes), self.op('AveragePool', x, count_include_pad=1, **sizes)]

    def reconstruct(self, feature, centre):
        """See `edvr.network.reconstruction`; [N, 3, s*H, s*W]."""
        factor = 4 if self._model.hr_in else self._model.scale
        x = self.residual_blocks(feature, self._model.num_reconstruct_block, 'reconstruction')
        for name in ('upconv1', 'upconv2') if factor == 4 else ('upconv1',):
            x = self.conv(x, name, activation='lrelu')
            x = self.op('DepthToSpace', x, blocksize=2 if factor == 4 else factor, mode='DCR')
        x = self.conv(self.conv(x, 'conv_hr', activation='lrelu'), 'conv_last')
        return self.op('Add', x, centre if self._model.hr_in else self.upsample(centre, self._model.scale))
