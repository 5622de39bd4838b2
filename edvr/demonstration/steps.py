"""The programs of the demonstration, with their commands."""
import os
from typing import List

from edvr.demonstration.pipeline import Step

TRAIN_CLIPS, HELD_OUT_CLIPS = 10, ('010', '011')
FLAGFILE = 'flags/demo.cfg'


def steps(out: str, training_steps: int) -> List[Step]:
    """Returns the programs with their arguments, in order."""
    def path(*parts: str) -> str:
        return os.path.join(out, *parts)
    held_out = ','.join(HELD_OUT_CLIPS)
    lq_clip = path('clips', 'images', 'blur4', HELD_OUT_CLIPS[0])
    return [
        Step('clips', 'data_tools.make_sample_clips',
             ['--output_dir=' + path('clips'), '--num_clips=%d' % (TRAIN_CLIPS + len(HELD_OUT_CLIPS)),
              '--num_frames=12', '--gt_size=384x512', '--seed=1'], ['clips']),
        Step('tfrecords', 'data_tools.make_tfrecords',
             ['--data_dir=' + path('clips'), '--output_dir=' + path('tfrecords'), '--exclude=' + held_out],
             ['tfrecords']),
        Step('train', 'edvr.train',
             ['--flagfile=' + FLAGFILE, '--data_dir=' + path('tfrecords'), '--model_dir=' + path('model'),
              '--val_dir=' + path('clips'), '--val_clips=' + held_out,
              '--eval_every=%d' % max(1, training_steps // 2), '--eval_frames=3',
              '--image_every=%d' % max(1, training_steps // 2), '--steps=%d' % training_steps,
              '--cosine_periods=%d' % training_steps, '--override_config']),
        Step('evaluate', 'edvr.evaluate',
             ['--checkpoint=' + path('model'), '--data_dir=' + path('clips'), '--clips=' + held_out,
              '--json=' + path('evaluation.json'), '--comparison_dir=' + path('comparison')],
             ['comparison', 'evaluation.json']),
        Step('restore', 'edvr.infer',
             ['--checkpoint=' + path('model'), '--input=' + lq_clip, '--output=' + path('restored')], ['restored']),
        Step('export', 'edvr.export', ['--checkpoint=' + path('model'), '--output=' + path('EDVR.pb')],
             ['EDVR.pb', 'EDVR.json']),
        Step('restore_by_graph', 'edvr.infer',
             ['--checkpoint=' + path('EDVR.pb'), '--input=' + lq_clip, '--output=' + path('restored_by_graph')],
             ['restored_by_graph']),
    ]
