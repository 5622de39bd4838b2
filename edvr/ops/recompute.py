"""Less memory for more time: values are freed after the forward pass and computed again for the backward pass.

tf.recompute_grad does not accept the reference variables of TensorFlow 1.15; this function does.
"""
import itertools
import typing

import tensorflow.compat.v1 as tf

_COUNTER = itertools.count()


def recompute(function: typing.Callable, inputs: typing.Sequence[tf.Tensor]) -> typing.Tuple[list, typing.Any]:
    """Returns `function(*inputs)`, whose intermediate values are freed after the forward pass.

    Args:
      function: (*tensors) -> (list of float tensors, anything); makes its variables by tf.get_variable, and is
        called once more, with the same variables, when gradients are taken. It must be deterministic.
      inputs: list of float tensors.
    Returns:
      What `function` returns; gradients with respect to inputs and variables are unchanged.
    """
    inputs = list(inputs)
    used = {}

    def remember(getter: typing.Callable, name: str, *args: typing.Any, **kwargs: typing.Any) -> tf.Tensor:
        # every use of a variable reads this one tensor, so that its gradient can be returned below
        if name not in used:
            used[name] = tf.identity(getter(name, *args, **kwargs))
        return used[name]

    scope = tf.get_variable_scope()
    with tf.variable_scope(scope, custom_getter=remember):
        outputs, rest = function(*inputs)
    names = list(used)
    arguments = inputs + [used[name] for name in names]

    def gradient(op: tf.Operation, *dy: tf.Tensor) -> typing.List[typing.Optional[tf.Tensor]]:
        gradients = list(dy[:len(outputs)])
        with tf.control_dependencies(gradients):   # not before the backward pass reaches this point
            again = [tf.identity(argument) for argument in arguments]
        values = dict(zip(names, again[len(inputs):]))
        with tf.variable_scope(scope, custom_getter=lambda getter, name, *args, **kwargs: values[name]):
            outputs_again, _ = function(*again[:len(inputs)])
        # None: no gradient enters the graph of the forward pass, so none of its values is kept for one
        return [None] * len(outputs) + tf.gradients(outputs_again, again, gradients)

    name = 'EdvrRecompute%d' % next(_COUNTER)
    tf.RegisterGradient(name)(gradient)
    with tf.get_default_graph().gradient_override_map({'IdentityN': name}):
        identical = tf.identity_n(list(outputs) + arguments)
    return identical[:len(outputs)], rest
