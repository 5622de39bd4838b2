"""Writes the golden files of this folder: a small one of each released format, by the programs of version 1.0.0.

They were written by revision aeeefeb, the last one before the modules were renamed, with TensorFlow 1.15.5 and 2.15.1:

    cd SOURCES                                       # a tree of the version whose formats are to be kept
    python3.7  .../tests/conformance/make_golden.py FOLDER    # TensorFlow 1.15
    python3.11 .../tests/conformance/make_golden.py FOLDER    # TensorFlow 2.15, with torch, onnx and onnxruntime

Files of a released version are never made again: a later version must read these. A new format adds files.

Beside the archives, `clip.npz` holds a clip and what the checkpoints restore of it, `losses.json` the losses and PSNR
of the two steps that continued each training directory, `crops.json` checksums of the first crops of each set.

Weights, averages and optimizer slots are replaced by periodic patterns of few values after the training, so that the
archives are small. Everything else in them is as the programs have written it, except for the name of the host.
"""
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
NETWORK = ('--num_frames=3', '--channels=8', '--deform_groups=2', '--num_extract_block=1', '--num_reconstruct_block=1')
RECIPE = NETWORK + ('--batch_size=2', '--patch_size=8', '--deterministic', '--dcn_impl=tf', '--save_every=2',
                    '--cosine_periods=8', '--log_every=1', '--summary_every=1', '--learning_rate=1e-4', '--val_dir=')
SAVED, LAST = 2, 4       # steps: of the golden checkpoint, and of the run that continued it
GT = 48, 64              # height and width of the clips in the records
CLIP = 8, 12             # LQ height and width of the golden clip
RECORDS = 'raw_given', 'raw_made', 'tiles_given', 'tiles_made'
PERIOD = 251             # of the patterns: prime, so that it fits no axis of a weight


def run(module, *arguments):
    """The output of a program of the version in the working directory; runs in FOLDER."""
    result = subprocess.run([sys.executable, '-m', module] + [str(argument) for argument in arguments],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    print(result.stdout, flush=True)
    result.check_returncode()
    return result.stdout


def clip(length, height, width, phase):
    """uint8 [length, height, width, 3]: a moving coloured pattern of few values, which compresses well."""
    y, x = np.mgrid[:height, :width] * 64. / height
    frames = [[8 + 7 * np.sin(.31 * x + phase + channel + .4 * t) * np.cos(.23 * y - channel + .3 * t)
               for channel in range(3)] for t in range(length)]
    return (np.moveaxis(np.round(frames), 1, -1) * 16).astype(np.uint8)


def pattern(name, shape, size):
    """float32 of `shape` in {-size, 0, size}, the same for a name everywhere."""
    values = np.random.RandomState(0).randint(-1, 2, PERIOD)
    start = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    return (np.resize(np.roll(values, start % PERIOD), shape) * size).astype(np.float32)


def weight(name, shape):
    """The golden weights of a variable: layers keep the size of their input, offsets are about a pixel."""
    fan_in = int(np.prod(shape[:-1])) if len(shape) > 1 else 256
    size = 2. ** np.round(np.log2(fan_in ** -.5))
    return pattern(name, shape, size * (.125 if 'conv_last' in name else 8. if 'conv_offset' in name else 1.))


def replace_values(directory):
    """Replaces the weights in the checkpoint of a training directory by the golden ones; all names and types stay."""
    import tensorflow.compat.v1 as tf
    prefix = os.path.join(directory, 'model.ckpt-%d' % SAVED)
    reader = tf.train.NewCheckpointReader(prefix)
    names = reader.get_variable_to_shape_map()
    averaged = any(name.endswith('/ExponentialMovingAverage') for name in names)
    with tf.Graph().as_default(), tf.Session() as session:
        for name in sorted(names):
            value = reader.get_tensor(name)
            base, _, kind = name.rpartition('/')
            if kind == 'Adam':
                value = pattern(name, value.shape, .125)
            elif kind == 'Adam_1':
                value = np.ones_like(value)
            elif kind == 'ExponentialMovingAverage':
                value = weight(base, value.shape)
            elif name.startswith('edvr/') and value.ndim:   # not the golden weights where those are the averages
                value = weight(name, value.shape) * np.float32(.875 if averaged else 1.)
            tf.get_variable(name, initializer=value, use_resource=False)
        session.run(tf.global_variables_initializer())
        for path in glob.glob(prefix + '.*'):
            os.remove(path)
        tf.train.Saver(save_relative_paths=True).save(session, prefix, write_meta_graph=False)
    for path in glob.glob(os.path.join(directory, 'best', 'model.ckpt*')):
        shutil.copyfile(os.path.join(directory, os.path.basename(path)), path)


def train(tag, name, *options):
    """A training directory at step SAVED, and its log up to LAST; returns {step: [loss, PSNR]} after SAVED."""
    directory = '%s_tf%s' % (name, tag)
    common = RECIPE + ('--data_dir=raw_given', '--model_dir=' + directory) + options
    run('edvr.train', *(common + ('--steps=%d' % SAVED,)))
    replace_values(directory)
    for path in glob.glob(os.path.join(directory, 'model.ckpt-0.*')):
        os.remove(path)
    path = os.path.join(directory, 'config.json')
    with open(path) as file:
        config = json.load(file)
    for session in config['sessions']:
        session['host'] = re.sub(r'^[^,]*', 'host', session['host'])
    with open(path, 'w') as file:
        json.dump(config, file, indent=2, sort_keys=True)
    archive(directory, directory)
    shutil.copytree(directory, 'continued')
    text = run('edvr.train', *(RECIPE + ('--data_dir=raw_given', '--model_dir=continued') + options
                               + ('--steps=%d' % LAST,)))
    shutil.rmtree('continued')
    return {step: [float(loss), float(psnr)] for step, loss, psnr in
            re.findall(r'Step:(\d+), .*loss:([\d.]+).*psnr:([\d.]+)', text)}


def archive(title, *names):
    """Writes TITLE.tar.xz of files and folders in the working directory, without TensorBoard's events."""
    def plain(member):
        if 'tfevents' in member.name:
            return None
        member.mtime = member.uid = member.gid = 0
        member.uname = member.gname = ''
        return member

    with tarfile.open(title + '.tar.xz', 'w:xz') as file:
        for name in names:
            file.add(name, filter=plain)


def make_records():
    """Four sets of TFRecords: both encodings, LQ given and made by blurring, with noise."""
    from PIL import Image
    for number in range(2):
        gt = clip(3, *GT, phase=number)
        for side, frames in (('truth', gt), ('blur4', gt[:, ::4, ::4])):
            folder = os.path.join('clips', side, '%03d' % number)
            os.makedirs(folder)
            for t, frame in enumerate(frames):
                Image.fromarray(frame).save(os.path.join(folder, '%08d.png' % t))
    shutil.copytree(os.path.join('clips', 'truth'), 'truth')
    for encoding in ('raw', 'tiles'):
        common = ('--encoding=' + encoding, '--num_frames=3', '--num_shards=2') + (
            ('--lq_tile=8', '--gt_tile=16') if encoding == 'tiles' else ())
        run('data_tools.make_tfrecords', '--data_dir=clips', '--output_dir=%s_given' % encoding, *common)
        run('data_tools.make_tfrecords', '--data_dir=truth', '--output_dir=%s_made' % encoding, '--make_lq',
            '--degradation=bd', '--lq_noise=gaussian', *common)
        for kind in ('given', 'made'):
            archive(*['%s_%s' % (encoding, kind)] * 2)
    archive('clips', 'clips')


def crops(folder):
    """SHA-256 of the LQ and GT crops of the first steps with a set of TFRecords."""
    import tensorflow.compat.v1 as tf

    from edvr.config import DataConfig
    from edvr.data.input_pipeline import train_dataset
    digest = hashlib.sha256()
    with tf.Graph().as_default(), tf.Session() as session:
        dataset = train_dataset(DataConfig(data_dir=folder, batch_size=2, patch_size=8, deterministic=True), 3, 4, 2)
        batch = tf.data.make_one_shot_iterator(dataset).get_next()
        for _ in range(4):
            (lq, gt) = session.run((batch[0]['lq'], batch[1]))
            digest.update(lq.tobytes() + gt.tobytes())
    return digest.hexdigest()


def make_restoration(source):
    """A restoration that was stopped before its last frame: the folder of frames with its record."""
    from PIL import Image
    os.makedirs('lq')
    for t, frame in enumerate(clip(3, *CLIP, phase=.5)):
        Image.fromarray(frame).save(os.path.join('lq', '%08d.png' % t))
    run('edvr.infer', '--checkpoint=' + source, '--input=lq', '--output=restored', '--dcn_impl=tf')
    os.remove(os.path.join('restored', '00000002.png'))
    archive('restoration', 'lq', 'restored')


def restore(path, **options):
    """What the version restores of the golden clip, float32 [3, 4H, 4W, 3], by stock operations."""
    from edvr import Restorer
    with Restorer(path, dcn_impl='tf', **options) as restorer:
        return restorer.restore(clip(3, *CLIP, phase=.5), np.float32)


def main():
    folder = os.path.abspath(sys.argv[1])
    sys.path.insert(0, os.getcwd())
    os.environ['PYTHONPATH'] = os.getcwd()
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    import tensorflow.compat.v1 as tf
    tag = '.'.join(tf.__version__.split('.')[:2])
    first = not os.path.exists('clips')
    if first:
        make_records()
    losses = dict(plain=train(tag, 'plain'), averaged=train(
        tag, 'averaged', '--ema_decay=0.9', '--val_dir=clips', '--eval_every=2', '--eval_frames=1'))
    source = 'averaged_tf' + tag
    if first:
        with open('losses.json', 'w') as file:
            json.dump(losses, file, indent=2, sort_keys=True)
        with open('crops.json', 'w') as file:
            json.dump({name: crops(name) for name in RECORDS}, file, indent=2, sort_keys=True)
        np.savez_compressed('clip.npz', frames=clip(3, *CLIP, phase=.5), sr=restore(source),
                            sr_without_average=restore(source, use_ema=False)[1])
    export = ('edvr.export', '--checkpoint=' + source)
    frozen, parts, saved_model = ('%s_tf%s' % (kind, tag) for kind in ('frozen', 'parts', 'saved_model'))
    run(*(export + ('--output=%s.pb' % frozen,)))
    archive(frozen, frozen + '.pb', frozen + '.json')
    run(*(export + ('--parts', '--output=%s.pb' % parts)))
    archive(parts, parts + '_parts.json', parts + '_features.pb', parts + '_restore.pb')
    run(*(export + ('--format=saved_model', '--output=' + saved_model)))
    archive(saved_model, saved_model)
    if first:
        run(*(export + ('--dcn_impl=npu', '--batch_size=1', '--height=%d' % CLIP[0], '--width=%d' % CLIP[1],
                        '--output=ascend.pb')))
        archive('ascend', 'ascend.pb', 'ascend.json')
        make_restoration(source)
    else:
        run(*(export + ('--format=onnx', '--output=network.onnx')))
        archive('onnx', 'network.onnx', 'network.onnx.json')
        run('edvr.export_weights', '--checkpoint=' + source, '--output=pytorch.pth')
        archive('pytorch', 'pytorch.pth')


if __name__ == '__main__':
    main()
