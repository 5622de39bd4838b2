"""Flags of the programs of `edvr`: those of `data_tools.base.flags`, and a malloc that suits TensorFlow."""
from data_tools.base import flags
from data_tools.base.flags import FLAGS, build, build_all, define
from edvr.runtime import host_memory

__all__ = ['FLAGS', 'build', 'build_all', 'define', 'run']


def run(main, *classes):
    """As `data_tools.base.flags.run`, with malloc tuned before TensorFlow allocates."""
    host_memory.tune_malloc()
    flags.run(main, *classes)
