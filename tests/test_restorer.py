"""Streaming with kept features against whole windows; sizes, borders, bad input."""
import numpy as np
import pytest

from data_tools.windows import FILLS, window_indices
from edvr.restoration.restorer import Restorer
from tests.helpers import smooth_frames, tiny_checkpoint


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """{T: directory} of tiny networks."""
    folders = {}
    for num_frames in (5, 7):
        folders[num_frames] = str(tmp_path_factory.mktemp('t%d' % num_frames))
        tiny_checkpoint(folders[num_frames], num_frames=num_frames)
    return folders


def generate(frames):
    """A source of unknown length."""
    yield from frames


@pytest.mark.parametrize('num_frames', [5, 7])
def test_kept_features_give_what_whole_windows_give(checkpoints, num_frames):
    with Restorer(checkpoints[num_frames]) as restorer:
        engine = restorer._engine
        for length in (1, 2, num_frames - 1, num_frames, num_frames + 4):
            frames = smooth_frames(length, 8, 12, seed=length)
            for fill in FILLS:
                restorer._fill = fill
                streamed = list(restorer.restore_clip(generate(frames)))
                assert len(streamed) == length
                indices = [window_indices(i, length, num_frames, fill) for i in range(length)]
                whole = engine.run(frames[np.array(indices)])
                assert streamed[0].shape == (32, 48, 3) and streamed[0].dtype == np.float32
                np.testing.assert_allclose(np.stack(streamed), whole, atol=1e-5, rtol=0)
