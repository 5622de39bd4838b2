"""Whether a checkpoint's files are whole."""
import glob
import os

import numpy as np
import tensorflow.compat.v1 as tf


def defect(prefix):
    """What is wrong with the checkpoint's files, str; None when it is whole."""
    try:
        reader = tf.train.NewCheckpointReader(prefix)
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        return 'its index cannot be read (%s)' % str(error).split('\n')[0]
    # strings (a TensorFlow 2 checkpoint has one) have no fixed size
    promised = sum(int(np.prod(shape)) * tf.as_dtype(dtypes[name]).size for name, shape in shapes.items()
                   if tf.as_dtype(dtypes[name]) != tf.string)
    held = sum(os.path.getsize(path) for path in glob.glob(glob.escape(prefix) + '.data-*'))
    if held < promised:
        return 'its data has %d bytes where the index promises %d' % (held, promised)
    return None
