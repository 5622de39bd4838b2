"""The Ascend operator of the deformable convolution as a node of a graph that is written for atc and never run.

Only the adapter registers the operator, and its CPU kernel there is empty. So the graph is built without the operator:
a call of a function takes the place of each node, and `complete` replaces the call by the operator.
"""
import typing

import tensorflow.compat.v1 as tf

OPERATOR = 'DeformableOffsets'
MAX_WIDTH = 4096   # of its input times its kernel's width; documented by the vendor


def sample(x: tf.Tensor, offsets: tf.Tensor, kernel: int, deform_groups: int) -> tf.Tensor:
    """Adds the operator as `edvr.devices.adapter.sample`.

    Args:
      x: float32 [N, H, W, C].
      offsets: float32 [N, H, W, 3*G*K*K].
      kernel: K.
      deform_groups: G.
    Returns:
      [N, K*H, K*W, C]; `complete` has to be called with the graph.
    Raises:
      ValueError: height or width is not static.
    """
    N, H, W, _ = offsets.shape.as_list()
    if None in (H, W):
        raise ValueError('the offsets of the Ascend deformable convolution have shape %s; it needs static height and '
                         'width' % offsets.shape)
    K, C = kernel, x.shape.as_list()[-1]

    @tf.function(autograph=False)
    def placeholder_of_the_operator(x: tf.Tensor, offsets: tf.Tensor) -> tf.Tensor:
        return tf.zeros([tf.shape(x)[0], H * K, W * K, C], x.dtype) + 0. * (tf.reduce_sum(x) + tf.reduce_sum(offsets))

    with tf.name_scope('deformable_conv2d'):
        sampled = placeholder_of_the_operator(x, offsets)
        sampled.op._set_attr('_edvr_kernel', tf.AttrValue(i=K))
        sampled.op._set_attr('_edvr_groups', tf.AttrValue(i=deform_groups))
        sampled.set_shape([N, H * K, W * K, C])
        return sampled


def attributes(kernel: int, groups: int) -> typing.Dict[str, tf.AttrValue]:
    """Returns all attributes of the operator by name: CANN's defaults differ from TensorFlow's."""
    def numbers(*values: int) -> tf.AttrValue:
        return tf.AttrValue(list=tf.AttrValue.ListValue(i=values))

    pad = kernel // 2
    return dict(T=tf.AttrValue(type=tf.float32.as_datatype_enum), strides=numbers(1, 1, 1, 1),
                pads=numbers(pad, pad, pad, pad), ksize=numbers(kernel, kernel), dilations=numbers(1, 1, 1, 1),
                data_format=tf.AttrValue(s=b'NHWC'), deformable_groups=tf.AttrValue(i=groups),
                modulated=tf.AttrValue(b=True))


def complete(graph_def: tf.GraphDef) -> tf.GraphDef:
    """Returns a copy of a frozen graph with the operator in place of the calls, and without functions."""
    result = tf.GraphDef(node=graph_def.node, versions=graph_def.versions)
    for node in result.node:
        if '_edvr_kernel' in node.attr:
            facts = attributes(node.attr['_edvr_kernel'].i, node.attr['_edvr_groups'].i)
            node.op = OPERATOR
            node.attr.clear()
            for name, value in facts.items():
                node.attr[name].CopyFrom(value)
    return result
