"""Shows data before a week of training: contact sheets as PNG and on TensorBoard, and a table of the clips.

    python -m edvr.inspect_data --data_dir=tfrecords          random crops LQ | GT after augmentation, the clips
    python -m edvr.inspect_data --source=videos               first and last frame of each shot; writes shots.json
    tensorboard --logdir=inspection

shots.json can be edited and given to make_tfrecords, evaluate and infer as --shots.
"""
import os
import sys

if not __package__:   # started by its path
    sys.path[0] = os.path.dirname(sys.path[0])

from data_tools.base import program
from data_tools.media import clips
from edvr import flags
from edvr.config import DataConfig
from edvr.config.inspection import InspectConfig


def main() -> None:
    """Writes the contact sheets, and prints the table."""
    config, data = flags.build_all(InspectConfig, DataConfig)
    if config.source and not program.started().gives('data_dir'):
        data = data.replace(data_dir='')
    if config.source:   # before TensorFlow is loaded
        clips.check_given(config.source)
    from data_tools.media.images import write_png
    from edvr.data import inspection
    from edvr.tensorboard.event_writer import EventWriter
    sheets, lines = inspection.look(config, data)
    with EventWriter(config.output_dir) as events:
        for name, image in sorted(sheets.items()):
            write_png(os.path.join(config.output_dir, name + '.png'), image)
            events.image(0, 'inspection/' + name, image)
    print('\n'.join(lines))
    print('%s: %s' % (config.output_dir, ', '.join(name + '.png' for name in sorted(sheets))))


def run() -> None:
    """Runs the program."""
    flags.run(main, InspectConfig, DataConfig)


if __name__ == '__main__':
    run()
