"""The hooks that NPUEstimator adds."""
import tensorflow.compat.v1 as tf

from ...hccl import hccl_ops
from . import util


class NPUBroadcastGlobalVariablesHook(tf.train.SessionRunHook):
    """Sends the trainable variables of rank 0 to all ranks, and nothing else."""

    def __init__(self, root_rank=0, device=''):
        self._root_rank = root_rank

    def begin(self):
        variables = tf.trainable_variables()
        # as in the adapter, what is exchanged has the variables' names: ranks may differ in other operations
        values = hccl_ops.broadcast([tf.identity(variable, 'broadcast/' + variable.op.name) for variable in variables],
                                    self._root_rank)
        self._operation = tf.group(*[variable.assign(value) for variable, value in zip(variables, values)])

    def after_create_session(self, session, coord):
        session.run(self._operation)


class NPUCheckpointSaverHook(tf.train.CheckpointSaverHook):
    """Saves with a separate Saver, which keeps the last 5 and ignores the configuration."""

    def __init__(self, checkpoint_dir, save_secs=None, save_steps=None, saver=None, checkpoint_basename='model.ckpt',
                 scaffold=None, listeners=None):
        super().__init__(checkpoint_dir, save_secs, save_steps, saver, checkpoint_basename,
                         None if saver else scaffold or tf.train.Scaffold(), listeners)

    def begin(self):
        if self._saver is None:
            self._saver = tf.train.Saver()
        super().begin()

    def _get_saver(self):
        return self._saver


class SetIterationsVarHook(tf.train.SessionRunHook):
    """N steps for each session.run: the host sees the last one only."""

    def __init__(self, iterations_per_loop, train_op):
        self._loops, self._train_op = iterations_per_loop, train_op

    def begin(self):
        self._variables = util.loop_variables()

    def after_create_session(self, session, coord):
        self._variables['iterations_per_loop'].load(self._loops - 1, session)
        self._variables['one'].load(1, session)

    def before_run(self, run_context):
        for _ in range(self._loops - 1):
            run_context.session.run(self._train_op)


class NPUInfeedOutfeedSessionHook(tf.train.SessionRunHook):
    """Runs the result of host_call's function, once for each step that was sent out."""

    def __init__(self, dequeue_ops, channel_name=None):
        self._operations, self._channel_name = dequeue_ops, channel_name

    def after_run(self, run_context, run_values):
        run_context.session.run(self._operations)


class NPULogOutfeedSessionHook(tf.train.SessionRunHook):
    """Would carry tf.print of the device to stderr."""

    def __init__(self, output_stream):
        self._output_stream = output_stream
