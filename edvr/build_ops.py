"""Builds the compiled convolutions for this TensorFlow and this machine, and prints the path of the library.

    python -m edvr.build_ops

The first training or restoration on a CPU builds them too. This program is for container images and clusters, where
they are built in advance.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from edvr import flags


def main() -> None:
    """Builds the library if it is not there, and loads it."""
    from edvr.ops import native_library
    print(native_library.build())
    native_library.load()


def run() -> None:
    """Runs the program."""
    flags.run(main)


if __name__ == '__main__':
    run()
