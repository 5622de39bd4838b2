"""Writes, syncs, renames, opens, mkdirs and reads that fail below Python, in every program that writes files.

Whichever call fails: the program reports it in one line that names the path, what was there before is whole or replaced
as a whole, and the same command, run again, gives the bytes of an undisturbed run.
"""
import csv
import hashlib
import importlib.util
import json
import os
import re
import shutil

import failing_calls
import pytest
import tiny_training
from helpers import smooth_frames, tiny_checkpoint
from packed import pack, write_clips, write_video
from training_runs import PROGRAM, tensors

from data_tools.media.images import write_png
from edvr import checkpoints
from edvr.exporting import description
from edvr.pytorch import safetensors_file, state_dict
from edvr.pytorch import weights as weights_files

RESTORE = ['--device=cpu', '--kernels=tf', '--intra_op_threads=1']


def digests(folder):
    """{path: digest} of all files in a folder."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            with open(path, 'rb') as file:
                found[os.path.relpath(path, folder)] = hashlib.sha1(file.read()).hexdigest()
    return found


def numbers(folder):
    """As `digests`; of an evaluation without its times."""
    found = digests(folder)
    for name, read in (('e.json', json.load), ('e.csv', lambda file: list(csv.DictReader(file)))):
        if name in found:
            with open(os.path.join(folder, name)) as file:
                found[name] = json.dumps(_timeless(read(file)), sort_keys=True)
    page = os.path.join(folder, 'pictures', 'index.html')
    if os.path.exists(page):
        with open(page) as file:   # the table below the pictures has the time of a frame
            found['pictures/index.html'] = re.sub('<pre.*</pre>', '', file.read(), flags=re.DOTALL)
    return found


def _timeless(value):
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items()
                if not any(word in key for word in ('second', 'time', 'date', 'ms'))}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def sheets(folder):
    """As `digests`, without events, which hold times."""
    return {name: digest for name, digest in digests(folder).items() if 'tfevents' not in name}


def trained(folder):
    """The tensors of the newest checkpoint of a run, and the names of all files of checkpoints."""
    run = os.path.join(folder, 'run')
    if not checkpoints.prefixes(run):
        return {}
    found = {name: hashlib.sha1(value.tobytes()).hexdigest() for name, value in tensors(run).items()}
    return dict(found, files=[name for name in sorted(os.listdir(run)) if 'ckpt' in name or 'partial' in name])


class Scenario:
    """A program and what it writes.

    Attributes:
      program: module, or path of a file.
      arguments: function(input folder, output folder, version) -> list of str; version 'new' or 'old' selects what the
        output is made of.
      replaces: whether an output of the version 'old' is there before.
      view: function(output folder) -> {name: value} that two equal runs have in common.
      whole: whether the output is one thing: all of its files are old or all are new.
    """

    def __init__(self, program, arguments, replaces=False, view=digests, whole=False):
        self.program, self.arguments, self.replaces, self.view = program, arguments, replaces, view
        self.whole = whole


def drafts(folder):
    return [name for name in os.listdir(folder) if name.startswith(description.DRAFT)]


def exported(folder):
    """The graphs and the description that a reader of an export finds, which may lie in a draft beside."""
    path = next(os.path.join(folder, name) for name in ('EDVR.pb', 'EDVR_features.pb', 'EDVR')
                if os.path.exists(os.path.join(folder, name)))
    found = description.read(path)
    return json.dumps(found.content, sort_keys=True), [
        hashlib.sha1(graph.SerializeToString()).hexdigest() for graph in found.graphs.values()]


def export(name, *more):
    return Scenario('edvr.export', lambda source, out, version: [
        '--checkpoint=%s/%s' % (source, version), '--output=%s/%s' % (out, name)] + list(more),
        replaces=True, whole=True)


SCENARIOS = {
    'make_tfrecords': Scenario('data_tools.make_tfrecords', lambda source, out, version: [
        '--data_dir=%s/clips' % source, '--output_dir=%s/set' % out, '--num_frames=3', '--num_shards=2',
        '--encoding=tiles', '--workers=2']),
    'make_lq': Scenario('data_tools.make_lq', lambda source, out, version: [
        '--data_dir=%s/clips/truth' % source, '--output_dir=%s/lq' % out, '--workers=1']),
    'make_sample_clips': Scenario('data_tools.make_sample_clips', lambda source, out, version: [
        '--output_dir=%s/sample' % out, '--num_clips=1', '--num_frames=2', '--gt_size=64x64', '--num_workers=1']),
    'inspect_data': Scenario('edvr.inspect_data', lambda source, out, version: [
        '--data_dir=%s/set' % source, '--source=%s/clips' % source, '--output_dir=%s/inspection' % out,
        '--patch_size=8', '--crops=2', '--deterministic'], view=sheets),
    'train': Scenario(PROGRAM, lambda source, out, version: tiny_training.arguments(
        source + '/train_set', out + '/run', steps=4, save_every=2, keep_last=2), view=trained),
    'infer to a folder': Scenario('edvr.infer', lambda source, out, version: [
        '--checkpoint=%s/new' % source, '--input=%s/clip' % source, '--output=%s/frames' % out] + RESTORE),
    'infer to a video': Scenario('edvr.infer', lambda source, out, version: [
        '--checkpoint=%s/new' % source, '--input=%s/a.mkv' % source, '--output=%s/b.mkv' % out] + RESTORE),
    'evaluate': Scenario('edvr.evaluate', lambda source, out, version: [
        '--checkpoint=%s/%s' % (source, version), '--data_dir=%s/clips' % source, '--json=%s/e.json' % out,
        '--csv=%s/e.csv' % out, '--max_frames=2', '--nossim', '--comparison_dir=%s/pictures' % out] + RESTORE,
        replaces=True, view=numbers),
    'export frozen': export('EDVR.pb'),
    'export saved_model': export('EDVR', '--format=saved_model'),
    'export parts': export('EDVR.pb', '--parts'),
    'import_weights': Scenario('edvr.import_weights', lambda source, out, version: [
        '--from=%s/%s.safetensors' % (source, version), '--output_dir=%s/model' % out]),
    'export_weights': Scenario('edvr.export_weights', lambda source, out, version: [
        '--checkpoint=%s/%s' % (source, version), '--output=%s/x.safetensors' % out], replaces=True),
    'rank_table': Scenario('edvr.rank_table', lambda source, out, version: [
        '--hosts=10.0.0.%d' % (1 + (version == 'old')), '--device_ips=10.0.1.1,10.0.1.2', '--output=%s/t.json' % out],
        replaces=True),
}
if importlib.util.find_spec('onnxruntime'):
    SCENARIOS['export onnx'] = export('EDVR.onnx', '--format=onnx', '--height=16', '--width=16', '--batch_size=1')
if importlib.util.find_spec('torch'):
    SCENARIOS['export_weights, .pth'] = Scenario('edvr.export_weights', lambda source, out, version: [
        '--checkpoint=%s/%s' % (source, version), '--output=%s/x.pth' % out], replaces=True)

SHARE = ('rank_table', 'make_lq')   # what every run of the suite tries
pytestmark = pytest.mark.skipif(failing_calls.missing() != '', reason=failing_calls.missing() or 'g++')


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    return failing_calls.build(tmp_path_factory.mktemp('library'))


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """A folder with clips, which is all that the share of every run needs."""
    root = tmp_path_factory.mktemp('clips')
    write_clips(root / 'clips', (3, 3), (32, 32))
    return root


@pytest.fixture(scope='module')
def inputs(clips):
    """A folder of what the programs read."""
    root = clips
    for version, seed in (('new', 0), ('old', 1)):
        tiny_checkpoint(root / version, seed=seed)
        weights, config = weights_files.load(str(root / version))
        safetensors_file.save(str(root / (version + '.safetensors')), state_dict.to_state(weights, config))
    frames = smooth_frames(3, 16, 16)
    (root / 'clip').mkdir()
    for index, frame in enumerate(frames):
        write_png(str(root / 'clip' / ('%03d.png' % index)), frame)
    write_video(root / 'a.mkv', frames)
    pack(str(root / 'clips'), root / 'set', num_shards=2)
    tiny_training.make_set(root / 'train_set', windows=4, shards=2)
    return root


class Runs:
    """Runs of one scenario in a folder that always has the same name, as it stands in some outputs.

    Attributes:
      before, wanted: views of the output before and after an undisturbed run.
      read: what a reader of an export finds before and after.
      calls: {(kind, where): number}, `where` 'out' or 'in': calls of an undisturbed run.
    """

    def __init__(self, scenario, library, inputs, root):
        self.scenario, self._library, self._inputs = scenario, library, inputs
        self.folders, self._template = dict(out=str(root / 'out'), **{'in': str(root / 'in')}), str(root / 'template')
        os.mkdir(self._template)
        shutil.copytree(inputs, self.folders['in'])
        if scenario.replaces:
            os.mkdir(self.folders['out'])
            self._succeed('old')
            shutil.rmtree(self._template)
            os.rename(self.folders['out'], self._template)
        self.before, self.calls, self.read = scenario.view(self._template), {}, []
        readable = scenario.whole and 'EDVR.onnx' not in self.before
        if readable:
            self.read.append(exported(self._template))
        for where, kinds in (('out', failing_calls.KINDS[:-1]), ('in', ('read',))):
            self.restart()
            calls = self._succeed('new', where)
            self.calls.update({(kind, where): calls[kind] for kind in kinds})
        self.wanted = self.view()
        if readable:
            self.read.append(exported(self.folders['out']))

    def restart(self):
        """Makes the output as it is before."""
        shutil.rmtree(self.folders['out'], ignore_errors=True)
        shutil.copytree(self._template, self.folders['out'])

    def view(self):
        return self.scenario.view(self.folders['out'])

    def run(self, version='new', where='out', fault=('write', 0, 0, 0)):
        return failing_calls.run(self._library, self.scenario.program, self.scenario.arguments(
            self.folders['in'], self.folders['out'], version), self.folders[where], fault)

    def _succeed(self, version, where='out'):
        done, calls, _ = self.run(version, where)
        assert done is not None and done.returncode == 0, done and done.stderr
        return calls


def is_old_or_new(runs, said):
    """Whether no file under its final name has content of another kind than before or after an undisturbed run.

    An export whose files could neither be replaced nor put back leaves its draft, which `said`, the output of the
    program, names; a reader finds the old export or the new one.
    """
    found, known = runs.view(), (runs.before, runs.wanted)
    if runs.scenario.whole:
        if found in known:
            return True
        left = drafts(runs.folders['out'])
        if not (left and all(name in said for name in left)):
            return False
        return 'EDVR.onnx' in found or exported(runs.folders['out']) in runs.read   # no program reads ONNX
    return runs.scenario.view is trained or all(
        value in (runs.before.get(name), runs.wanted.get(name))
        for name, value in found.items() if name in runs.before or name in runs.wanted)


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=[] if name in SHARE else pytest.mark.faults) for name in sorted(SCENARIOS)])
def test_failing_calls(campaign, library, request, tmp_path, name):
    inputs = request.getfixturevalue('clips' if name in SHARE else 'inputs')
    runs = Runs(SCENARIOS[name], library, str(inputs), tmp_path)
    turn = 0
    for (kind, where), total in sorted(runs.calls.items()):
        for number in campaign.rng.permutation(total)[:campaign.amount(1, 4)]:
            turn += 1
            error = failing_calls.ERRORS[turn % 3] if kind != 'read' else failing_calls.errno.EIO
            fault = kind, int(number) + 1, (1, failing_calls.ALWAYS)[turn // 3 % 2], error
            runs.restart()
            done, _, failed = runs.run('new', where, fault)
            row = 'failing %s: %s' % (kind, name)
            described = '%s of %d, %s (failed: %d)' % (fault, total, where, failed)
            if done is not None and done.returncode == 0 and runs.view() == runs.wanted:
                campaign.record(row, 'harmless', described)
                continue
            campaign.judge(row, done, described, [runs.folders[where], os.path.basename(runs.folders[where])])
            if not is_old_or_new(runs, done.stderr if done else ''):
                campaign.record(row + ', left', 'silent', '%s: %s' % (described, sorted(set(
                    runs.view().items()) ^ set(runs.before.items()))[:6]))
            done = runs.run()[0]
            if done is None or done.returncode:
                campaign.judge(row + ', again', done, described)
                continue
            found = runs.view()
            others = sorted(key for key in set(found) | set(runs.wanted) if found.get(key) != runs.wanted.get(key))
            campaign.record(row + ', again', 'silent' if others else 'resumed', '%s: %s' % (described, others))


def test_the_library_fails_the_calls_that_it_is_asked_to(library, tmp_path):
    """Otherwise the other tests would try nothing."""
    program, out = tmp_path / 'program.py', tmp_path / 'out'
    program.write_text('import os, sys\n'
                       'for name in "abc":\n'
                       '    try:\n'
                       '        with open(os.path.join(sys.argv[1], name), "w") as file:\n'
                       '            file.write(name)\n'
                       '    except OSError as error:\n'
                       '        print(name, error.errno)\n')
    out.mkdir()
    done, calls, failed = failing_calls.run(library, str(program), [str(out)], out, ('open', 2, 1, 5))
    assert (done.returncode, done.stdout, failed) == (0, 'b 5\n', 1)
    assert (calls['open'], calls['write']) == (3, 2) and sorted(os.listdir(str(out))) == ['a', 'c']
    done, calls, failed = failing_calls.run(library, str(program), [str(out)], tmp_path / 'other', ('open', 1, 9, 5))
    assert (done.stdout, failed, calls['open']) == ('', 0, 0)
