"""`edvr.infer` with segments of 2 frames, and a pause after each restored frame: so that a kill finds it at work.

    python tests/faults/restore_slowly.py FLAGS        RESTORE_PAUSE in the environment: seconds
"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from edvr import infer
from edvr.output import segments, video_writer
from edvr.restore.restorer import Restorer


def slowly(restore_clip):
    def restored(*args, **kwargs):
        for sr in restore_clip(*args, **kwargs):
            yield sr
            time.sleep(float(os.environ.get('RESTORE_PAUSE', 0)))
    return restored


def main():
    Restorer.restore_clip = slowly(Restorer.restore_clip)
    writer = video_writer.VideoWriter.__init__
    writer.__defaults__ = tuple(2 if value == segments.FRAMES else value for value in writer.__defaults__)
    infer.run()


if __name__ == '__main__':
    main()
