"""TensorBoard's event files: complete, readable, never shared; a full disk is reported."""
import os
import resource

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from data_tools.base.errors import UserError
from edvr.tensorboard.event_writer import EventWriter
from edvr.tensorboard.run_events import RunEvents


def read(folder):
    """The events of each file in a folder, by the files' order in time: list of lists of tf.Event."""
    return [list(tf.train.summary_iterator(os.path.join(folder, name))) for name in sorted(os.listdir(folder))]


def test_events_are_there_at_once(tmp_path):
    image = np.random.RandomState(0).randint(0, 256, [4, 6, 3]).astype(np.uint8)
    folder = str(tmp_path / 'a' / 'b')
    with RunEvents(folder, 7) as events:
        events.text(7, 'configuration', '| a | b |')
        events.scalars(8, {'watch_data/share/a/b': .5, 'train/loss': 2.})
        events.image(9, 'picture', image)
        version, start, text, scalars, picture = read(folder)[0]
    assert version.file_version == 'brain.Event:2'
    assert (start.session_log.status, start.step) == (tf.SessionLog.START, 8)   # later points of before are hidden
    assert text.summary.value[0].metadata.plugin_data.plugin_name == 'text'
    assert text.summary.value[0].tensor.string_val[0] == b'| a | b |'
    assert [(value.tag, value.simple_value) for value in scalars.summary.value] == [
        ('train/loss', 2.), ('watch_data/share/a/b', .5)]
    assert all(value.metadata.summary_description for value in scalars.summary.value)
    assert (scalars.step, picture.step) == (8, 9) and scalars.wall_time > 1.6e9
    with tf.Graph().as_default(), tf.Session() as session:
        encoded = picture.summary.value[0].image.encoded_image_string
        np.testing.assert_array_equal(session.run(tf.image.decode_png(encoded)), image)


def test_writers_of_one_second_have_files_of_their_own(tmp_path):
    for _ in range(3):
        with EventWriter(str(tmp_path)) as events:
            events.scalars(1, {'loss': 1.})
    assert [len(events) for events in read(str(tmp_path))] == [2, 2, 2]


def test_no_folder_no_file():
    with EventWriter(None) as events:
        events.scalars(1, {'loss': 1.})


def test_full_disk_is_reported(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with EventWriter(str(tmp_path)) as events:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        try:
            with pytest.raises(UserError, match=r'cannot write .*tfevents.*: '):
                for step in range(100):
                    events.scalars(step, {'loss': 1.})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
