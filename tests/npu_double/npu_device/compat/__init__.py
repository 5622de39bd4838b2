enabled = False


def enable_v1():
    """Registers the device for graphs of TensorFlow 1: without it the Estimator computes on the CPU."""
    global enabled
    enabled = True
