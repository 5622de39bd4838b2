"""Names with spaces, quotes, commands, newlines, dashes, wildcards and Unicode, through every program and script.

A program has to do its work with such a name, or report it; it never takes it for an option, a pattern or a command.
"""
import json
import os
import subprocess

import forked
import pytest
from conftest import ROOT
from helpers import smooth_frames, tiny_checkpoint
from packed import write_clips, write_video

from data_tools.media.images import write_png

NAMES = ['$(touch pwned) `touch pwned` "it\'s"; touch pwned', '-rf', 'new\nline', '--help', 'äöü ☃ 視 \U0001f600',
         '%s %d {0} %(x)s', 'a,b', '*?[1]', '~', 'back\\slash', 'x\udcff', 'a:b=c#d']
MORE = ['&|<>', '.hidden', 'file:x', 'tab\there', "'", '"', '...', 'nbsp\u00a0', 'e\u0301', '$HOME', '!x', '{a,b}']
FIRST = 'shard-00000-of-00001.tfrecord'


def judge(campaign, kind, done, description, folder, wanted):
    """harmless: it has made the files `wanted`; reported: one line says what is wrong; else a defect."""
    pwned = [path for path, _, names in os.walk(str(folder)) if 'pwned' in names]
    missing = [name for name in wanted if not os.path.exists(os.path.join(str(folder), name))]
    assert not pwned and not os.path.exists(os.path.join(ROOT, 'pwned')), 'a name was run as a command'
    if done is not None and done.returncode == 0 and 'Traceback' not in done.stderr:
        campaign.record(kind, 'silent' if missing else 'harmless', '%s: %s is missing' % (description, missing))
    else:
        campaign.judge(kind, done, description)


def programs(name, video):
    """(program, arguments, what it makes) for every program; each uses what those before it have made."""
    def inside(*parts):
        return os.path.join(name, *parts)
    tiny = ['--num_frames=3', '--patch_size=8', '--batch_size=1']
    return [
        ('data_tools.make_sample_clips', ['--output_dir=' + inside('drawn'), '--num_clips=1', '--num_frames=3',
                                          '--gt_size=64x64', '--num_workers=1'], [inside('drawn')]),
        ('data_tools.make_lq', ['--data_dir=' + inside('gt'), '--output_dir=' + inside('lq'), '--workers=1'],
         [inside('lq')]),
        ('data_tools.make_tfrecords', ['--data_dir=' + inside('clips'), '--output_dir=' + inside('set'), '--workers=1',
                                       '--num_frames=3', '--num_shards=1', '--exclude='],
         [inside('set', 'manifest.json'), inside('set', FIRST)]),
        ('data_tools.check_tfrecords', ['--data_dir=' + inside('set'), '--source=' + inside('clips')], []),
        ('data_tools.regroup_reds', ['--root_dir=' + inside('reds'), '--partial', '--lq=none'],
         [inside('reds', 'images', 'truth', '000'), inside('reds', 'sets', 'train.json')]),
        ('data_tools.download_reds', ['--root_dir=' + inside('reds'), '--train_sharp', '--retries=1',
                                      '--base_url=http://127.0.0.1:9/' + name], []),
        ('edvr.inspect_data', ['--data_dir=' + inside('set'), '--source=' + inside('clips'),
                               '--patch_size=8', '--output_dir=' + inside('sheets')],
         [inside('sheets', 'crops.png'), inside('sheets', 'clips.png')]),
        ('edvr.rank_table', ['--hosts=10.0.0.1', '--device_ips=1.1.1.1', '--output=' + inside('table.json')],
         [inside('table.json')]),
        ('edvr.train', ['--data_dir=' + inside('set'), '--model_dir=' + inside('run'), '--steps=1', '--channels=8',
                        '--deform_groups=2', '--num_extract_block=1', '--num_reconstruct_block=1', '--device=cpu',
                        '--kernels=tf'] + tiny, [inside('run', 'model.ckpt-1.index')]),
        ('edvr.evaluate', ['--checkpoint=' + inside('model'), '--data_dir=' + inside('clips'), '--device=cpu',
                           '--kernels=tf', '--json=' + inside('scores.json')],
         [inside('scores.json')]),
        ('edvr.export', ['--checkpoint=' + inside('model'), '--output=' + inside('EDVR.pb')],
         [inside('EDVR.pb'), inside('EDVR.json')]),
        ('edvr.infer', ['--checkpoint=' + inside('EDVR.pb'), '--input=' + inside('clips', 'blur4', name),
                        '--output=' + inside('out'), '--device=cpu', '--kernels=tf'],
         [inside('out', '00000000.png')]),
        ('edvr.infer', ['--checkpoint=' + inside('model'), '--input=' + video, '--output=' + name + ' x4.mp4',
                        '--device=cpu', '--kernels=tf'], [name + ' x4.mp4']),
        ('edvr.benchmark_page', ['--input_dir=' + inside('benchmarks')], [inside('benchmarks', 'README.md')])]


def make_inputs(root, name, video):
    """What the programs read: clips named like their folder, a part of REDS, a network, a result, a video."""
    folder = os.path.join(str(root), name)
    write_clips(os.path.join(folder, 'clips'), (4,), (32, 48))
    for side in ('truth', 'blur4'):
        os.rename(os.path.join(folder, 'clips', side, '000'), os.path.join(folder, 'clips', side, name))
    os.makedirs(os.path.join(folder, 'gt', 'truth', name))
    reds = [os.path.join(folder, 'reds', 'train', 'train_sharp', clip) for clip in ('000', '001')]
    for path in reds:
        os.makedirs(path)
    for index, frame in enumerate(smooth_frames(3, 32, 48)):
        write_png(os.path.join(folder, 'gt', 'truth', name, '%08d.png' % index), frame)
        for path in reds:
            write_png(os.path.join(path, '%08d.png' % index), frame)
    os.makedirs(os.path.join(folder, 'benchmarks'))
    with open(os.path.join(folder, 'benchmarks', name + '.json'), 'w') as file:
        json.dump({'machine': {}, 'results': [{'what': 'dcn', 'implementation': 'tf', 'ms': 1.}]}, file)
    tiny_checkpoint(os.path.join(folder, 'model'))
    made = os.path.join(str(root), 'made.mkv')
    write_video(made, smooth_frames(3, 16, 24))
    os.rename(made, os.path.join(str(root), video))


def run_programs(root, name, video, selected=lambda module, arguments: True):
    """Runs the programs in turn; yields (module, finished process or None, what it makes)."""
    make_inputs(root, name, video)
    for module, arguments, wanted in programs(name, video):
        if selected(module, arguments):
            yield module, forked.run(module, arguments, cwd=root), wanted


@pytest.mark.faults
def test_a_plain_name(tmp_path):
    """Every program does its work, so an error with another name is about that name. The download has no server."""
    for module, done, wanted in run_programs(tmp_path, 'plain', 'plain.mkv'):
        if module != 'data_tools.download_reds':
            assert done is not None and done.returncode == 0, done and done.stderr
            assert all((tmp_path / path).exists() for path in wanted), module


@pytest.mark.faults
@pytest.mark.parametrize('number', range(len(NAMES)))
def test_programs(campaign, tmp_path, number):
    name = NAMES[number]
    for module, done, wanted in run_programs(tmp_path, name, name + '.mkv'):
        judge(campaign, 'name: ' + module, done, '%r' % name, tmp_path, wanted)


def test_packing_and_restoring(campaign, tmp_path):
    """The share of every run: the programs that pass names on to others, with one name."""
    name = NAMES[0]

    def passes_on(module, arguments):
        return module == 'data_tools.make_tfrecords' or '.mkv' in ' '.join(arguments)
    for module, done, wanted in run_programs(tmp_path, name, '-' + name + '.mkv', passes_on):
        judge(campaign, 'name: ' + module, done, '%r' % name, tmp_path, wanted)


# script: the variables that it takes from the environment
SCRIPTS = {'prepare_reds.sh': ('DATA_DIR', 'TFRECORDS', 'BASE_URL', 'MODE', 'SPLIT', 'NUM_FRAMES'),
           'run_1p_train.sh': ('FLAGFILE',), 'run_8p_train.sh': ('FLAGFILE', 'SERVER_ID'),
           'run_evaluation.sh': ('DATA_DIR', 'DEVICE'), 'run_inference.sh': ('INPUT', 'OUTPUT', 'DEVICE'),
           'run_freeze.sh': ('OUTPUT',)}
STUB = '#!/usr/bin/env bash\nprintf "%s\\0" "$@" >> "$ARGUMENTS"\n'


def test_scripts(campaign, tmp_path):
    """Every value arrives unchanged as one word of the command line of the program."""
    python = tmp_path / 'py thon'
    python.write_text(STUB)
    python.chmod(0o755)
    for name in (NAMES + MORE)[:campaign.amount(2, None)]:
        for script, variables in SCRIPTS.items():
            path = tmp_path / 'arguments'
            path.write_bytes(b'')
            done = subprocess.run(
                ['bash', os.path.join(ROOT, 'scripts', script), '--model_dir=' + name], cwd=str(tmp_path),
                env=dict(os.environ, PYTHON=str(python), ARGUMENTS=str(path), **dict.fromkeys(variables, name)),
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            words = os.fsdecode(path.read_bytes()).split('\0')
            lost = [variable for variable in variables if not any(
                word in (name, name + '/tfrecords') or word.endswith('=' + name) for word in words)]
            sound = done.returncode == 0 and '--model_dir=' + name in words and not lost
            assert not any('pwned' in names for _, _, names in os.walk(str(tmp_path)))
            campaign.record('name: scripts', 'harmless' if sound else 'silent', '%s %r: lost %s, %s' % (
                script, name, lost, done.stderr))
