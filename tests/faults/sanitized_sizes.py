"""Runs every compiled operator with its gradients on images of all sizes from 1 to 20, with channels that leave tails.

tests/faults/sanitized.sh runs it with a library that has sanitizers, which end the process at the first error.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import numpy as np

from data_tools.base import files

tf = files.tensorflow()
SIZES, POINTS = range(1, 21), 9


class Case:
    """Describes an operator of one set of attributes and its gradients.

    Attributes:
      ends: what is run.
      feeds: function(random array of a shape, N, H, W) -> {placeholder: value}.
    """

    def __init__(self, result, inputs, feeds):
        # compute that has no gradient is run forwards only
        gradients = [] if inputs is None else tf.gradients(result, inputs)
        self.ends, self.feeds = [result] + gradients, feeds


def convolutions(native_ops, dtype, computes, c, cout):
    for compute in computes:
        for kernel, block, slope in ((3, 1, .1), (3, 2, .1), (1, 1, 1.), (5, 1, 0.)):
            out, also = cout * block ** 2, 1 + c // 2
            x, other, residual = (tf.placeholder(dtype, [None, None, None, size]) for size in (c, also, out))
            weight, bias = tf.placeholder(dtype, [kernel, kernel, c + also, out]), tf.placeholder(dtype, [out])
            result = native_ops.conv([x, other], weight, bias, slope=slope, residual=residual, block=block,
                                     compute=compute)

            def feeds(draw, n, h, w, ends=(x, other, weight, bias, residual), kernel=kernel, out=out, also=also):
                return dict(zip(ends, (draw(n, h, w, c), draw(n, h, w, also), draw(kernel, kernel, c + also, out),
                                       draw(out), draw(n, h, w, out))))
            yield Case(result, [x, other, weight, bias, residual] if compute == 'exact' else None, feeds)


def deformable(native_ops, dtype, c, out):
    for groups in (1, 2):
        sizes = c * groups, 2 * groups * POINTS, groups * POINTS
        inputs = [tf.placeholder(dtype, [None, None, None, size]) for size in sizes] + [
            tf.placeholder(dtype, [3, 3, c * groups, out]), tf.placeholder(dtype, [out])]

        def feeds(draw, n, h, w, inputs=inputs, sizes=sizes):
            values = [draw(n, h, w, size) for size in sizes] + [draw(3, 3, sizes[0], out), draw(out)]
            values[1] *= 8   # many sampling points lie outside
            values[1].flat[::97] = np.nan
            values[1].flat[1::89] = 1e30
            return dict(zip(inputs, values))
        yield Case(native_ops.deform_conv(*inputs, groups), inputs, feeds)


def enlargements(native_ops, dtype, c):
    for factor in (2, 3, 4):
        x = tf.placeholder(dtype, [None, None, None, c])
        yield Case(native_ops.upsample(x, factor), [x], lambda draw, n, h, w, x=x: {x: draw(n, h, w, c)})


def main():
    from edvr.ops import native_ops
    tf.disable_eager_execution()
    rng, tried = np.random.RandomState(0), 0
    for dtype, computes in ((tf.float32, ('exact', 'fast')), (tf.float64, ('exact',))):
        def draw(*shape, dtype=dtype.as_numpy_dtype):
            return rng.standard_normal(shape).astype(dtype)
        for channels in SIZES:   # the gradients need them when they are built; each size gets one number of them
            out = 1 + (3 * channels) % 20
            with tf.Graph().as_default(), tf.Session() as session:
                cases = [*convolutions(native_ops, dtype, computes, channels, out),
                         *deformable(native_ops, dtype, channels, out), *enlargements(native_ops, dtype, channels)]
                for height, width in [(h, w) for h in SIZES for w in SIZES if 1 + (7 * h + 3 * w) % 20 == channels]:
                    for case in cases:
                        session.run(case.ends, case.feeds(draw, 1 + tried % 2, height, width))
                        tried += 1
    print('%d runs of operators: no error' % tried)


if __name__ == '__main__':
    main()
