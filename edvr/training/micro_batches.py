"""The batch of a step in slices, one after the other: the gradients of the whole batch in the memory of one slice.

The slices are unrolled. A loop in the graph would be a loop inside that of `--iterations_per_loop`, and the device
compiles an operation once for all slices, because they have the same shapes.
"""
import contextlib
import itertools
import typing

import tensorflow.compat.v1 as tf

_COUNTER = itertools.count()


class MicroBatches:
    """Numbers of a batch that are sums over its slices, and a loss with the gradients of the whole batch.

    An optimizer that scales the loss must scale that of each slice, for else gradients underflow in float16. So the
    slices after the first are built when gradients are taken: `loss` has a gradient of its own, which gets the scale.

    Attributes:
      loss: float32 tensor [], to take gradients of, once. With several slices its value is 0.
      sums: list of float32 tensors [], the results of `compute` added over the slices; complete after gradients of
        `loss` are taken.
    """

    def __init__(self, compute: typing.Callable[..., typing.Sequence[tf.Tensor]], batch: typing.Sequence[tf.Tensor],
                 count: int, float32_scope: typing.Callable[[], typing.ContextManager] = contextlib.nullcontext
                 ) -> None:
        """Builds the first slice, and with it the variables.

        Args:
          compute: function(*slices) -> float32 tensors [], first the loss; it makes its variables by tf.get_variable.
          batch: tensors [N, ...]; `count` divides N.
          count: slices; 1 computes the batch at once.
          float32_scope: makes a context whose operations keep float32.
        """
        self._compute, self._float32_scope = compute, float32_scope
        self._slices = list(zip(*(tf.split(value, count) for value in batch))) if count > 1 else [tuple(batch)]
        self.sums = list(compute(*self._slices[0]))
        self.loss = self.sums[0] if count == 1 else self._with_gradient()

    def _with_gradient(self) -> tf.Tensor:
        first, variables, scope = self.sums[0], tf.trainable_variables(), tf.get_variable_scope()

        def gradient(op: tf.Operation, scale: tf.Tensor, *unused: tf.Tensor
                     ) -> typing.List[typing.Optional[tf.Tensor]]:
            totals = tf.gradients(first, variables, scale)
            for given in self._slices[1:]:
                # not before the gradients of the slices before it: their values are freed by then
                with tf.control_dependencies([total for total in totals if total is not None] + self.sums):
                    given = tuple(tf.identity(value) for value in given)
                with tf.variable_scope(scope, reuse=True):
                    values = self._compute(*given)
                gradients = tf.gradients(values[0], variables, scale)
                with self._float32_scope():
                    self.sums = [total + value for total, value in zip(self.sums, values)]
                    totals = [None if total is None else total + value for total, value in zip(totals, gradients)]
            return [None] + totals

        name = 'EdvrMicroBatches%d' % next(_COUNTER)
        tf.RegisterGradient(name)(gradient)
        with tf.get_default_graph().gradient_override_map({'IdentityN': name}):
            return tf.identity_n([tf.zeros([])] + [tf.convert_to_tensor(variable) for variable in variables])[0]
