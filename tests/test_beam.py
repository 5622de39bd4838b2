"""Apache Beam packs and restores the bytes of the local pool; killed and repeated workers change nothing."""
import glob
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from facts import check_facts, raises_facts
from helpers import smooth_frames
from packed import write_clips, write_video

from data_tools.base import beam_runner, files, processes
from data_tools.base.errors import UserError
from data_tools.media import images
from data_tools.packing import finishing, pack, shard_writer, tasks
from data_tools.packing import job as packing_job
from data_tools.packing.config import PackConfig
from data_tools.packing.scratch import Scratch
from edvr.config.infer import InferConfig
from edvr.config.restoration import RestoreConfig
from edvr.output.infer_job import prepare, run, run_with_beam
from edvr.restore.restorer import Restorer
from edvr.sharing.workers import ThisProcess

pytest.importorskip('apache_beam', reason='Apache Beam is not installed (scripts/test.sh --beam)')

TWO_PROCESSES = '--direct_running_mode=multi_processing --direct_num_workers=2'


def digests(folder):
    """{path below a folder: checksum of the file}, hidden files too."""
    found = {}
    for path, _, names in os.walk(str(folder)):
        for name in names:
            with open(os.path.join(path, name), 'rb') as file:
                found[os.path.relpath(os.path.join(path, name), str(folder))] = hashlib.sha1(file.read()).hexdigest()
    return found


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('source') / 'clips', (30, 30))


def config_of(source, folder, **values):
    return PackConfig(**dict(dict(data_dir=str(source), output_dir=str(folder), num_frames=3, num_shards=20,
                                  encoding='tiles', workers=1), **values))


@pytest.fixture(scope='module')
def local(source, tmp_path_factory):
    """The files that the local pool packs: {name: checksum}."""
    folder = tmp_path_factory.mktemp('local') / 'set'
    pack.pack_set(config_of(source, folder))
    return digests(folder)


def test_a_killed_worker_process_changes_nothing(source, local, tmp_path):
    """Two worker processes, of which one is killed in the middle: the same command ends well, with the same bytes."""
    done = str(tmp_path / 'set' / 'shard-*.tfrecord')
    process = subprocess.Popen(
        [sys.executable, '-m', 'data_tools.make_tfrecords', '--data_dir=' + source, '--num_frames=3',
         '--num_shards=20', '--encoding=tiles', '--output_dir=%s' % (tmp_path / 'set'), '--runner=DirectRunner',
         '--beam_options=' + TWO_PROCESSES], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        universal_newlines=True)
    try:
        while not glob.glob(done) and process.poll() is None:
            time.sleep(0.01)
        workers = processes.descendants('sdk_worker_main')
        assert len(workers) >= 2   # a shell may stand above each
        os.kill(workers[-1], signal.SIGKILL)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert 'a worker process of DirectRunner was killed; its unfinished work is repeated' in err
    assert 'shards kept' in out and '60 windows in 20 shards' in out
    assert digests(tmp_path / 'set') == local
    assert processes.descendants('sdk_worker_main') == []


# a runner of Beam given as a class, as a runner from elsewhere: it gets GroupByKey for Reshuffle
OTHER_RUNNER = 'apache_beam.runners.direct.direct_runner.BundleBasedDirectRunner'


def test_a_runner_that_is_given_as_a_class(source, local, checkpoint, tmp_path):
    pack.pack_set(config_of(source, tmp_path / 'set', runner=OTHER_RUNNER))
    assert digests(tmp_path / 'set') == local
    os.makedirs(str(tmp_path / 'in' / '000'))
    for index, frame in enumerate(smooth_frames(3, 14, 18)):
        images.write_png(str(tmp_path / 'in' / '000' / ('%03d.png' % index)), frame)
    config = InferConfig(input=str(tmp_path / 'in'), output=str(tmp_path / 'out'), stretch=2, runner=OTHER_RUNNER)
    assert run_with_beam(RestoreConfig(checkpoint=checkpoint, device='cpu'), config) == 3
    assert [name for name in sorted(digests(tmp_path / 'out')) if name.endswith('.png')] == [
        '%03d.png' % index for index in range(3)]   # the folder of the only clip


@pytest.mark.parametrize('steps, spread', [('DirectRunner', 'Reshuffle'), (OTHER_RUNNER, 'GroupByKey')])
def test_only_runners_given_as_a_class_lack_reshuffle(steps, spread):
    import apache_beam as beam
    pipeline = beam.Pipeline(runner=OTHER_RUNNER)
    beam_runner.spread(pipeline | beam.Create(range(3)), 'spread', steps)
    names = []

    class Visitor(beam.pipeline.PipelineVisitor):
        def enter_composite_transform(self, node):
            names.append((node.full_label, type(node.transform).__name__))   # Create has a Reshuffle inside

        def visit_transform(self, node):
            names.append((node.full_label, type(node.transform).__name__))

    pipeline.visit(Visitor())
    assert ('spread', spread) in names


def test_videos_in_rounds_and_a_range_of_shards(tmp_path, capsys):
    """GT of videos goes through the scratch, where there is room for it only in rounds."""
    for number in range(2):
        os.makedirs(str(tmp_path / 'videos' / ('truth%d' % number)))
        write_video(tmp_path / 'videos' / ('truth%d' % number) / 'v.mkv', smooth_frames(12, 32, 48, seed=number))
    listed = tmp_path / 'list.txt'
    listed.write_text('videos/truth0\nvideos/truth1\n')
    common = dict(make_lq=True, num_shards=6, encoding='raw', split_shots=False)
    pack.pack_set(config_of(listed, tmp_path / 'local', **common))
    rooms = (24 * 3 * 32 * 48 / 16 + 9 * 3 * 32 * 48) / 1e9   # LQ of all, and GT of nine frames of the 24
    beam = dict(common, runner='DirectRunner', scratch_gb=rooms)
    pack.pack_set(config_of(listed, tmp_path / 'beam', shard_range='0:2', **beam))
    assert not (tmp_path / 'beam' / 'manifest.json').exists()
    before = os.stat(str(tmp_path / 'beam' / 'shard-00001-of-00006.tfrecord')).st_mtime_ns
    capsys.readouterr()
    pack.pack_set(config_of(listed, tmp_path / 'beam', **beam))
    out = capsys.readouterr().out
    assert 'at a time' in out and '4 shards written' in out and '2 of 6 shards exist already' in out
    assert os.stat(str(tmp_path / 'beam' / 'shard-00001-of-00006.tfrecord')).st_mtime_ns == before
    assert digests(tmp_path / 'beam') == digests(tmp_path / 'local')
    pack.pack_set(config_of(listed, tmp_path / 'beam', **beam))
    assert 'is already complete' in capsys.readouterr().out


@pytest.fixture
def plan(source, tmp_path):
    """A job that is prepared and not begun: (beam_pool.Round, sizes)."""
    from data_tools.packing import beam_pool
    config = config_of(source, tmp_path / 'set')
    found, shots = pack.find_source(config.replace(exclude=''))
    job = packing_job.describe_job(config, found, shots)
    packing_job.prepare_output(config.output_dir, job)
    wanted = range(job['num_shards'])
    scratch = Scratch(str(tmp_path / 'own scratch'), config.output_dir, wanted, job)
    todo = tasks.shard_tasks(found, job, config.output_dir, wanted)
    return beam_pool.Round(todo, [], {}, scratch, config.output_dir, job), finishing.sizes_of(found)


def test_a_worker_decodes_what_its_own_scratch_lacks_and_keeps_a_whole_shard(plan, local):
    from data_tools.packing import beam_pool
    worker = beam_pool._Pack(beam_runner.Packed(plan[0]))
    worker.setup()
    assert list(worker.process(3)) == [(None, 3)]   # no step has decoded anything before
    name = 'shard-00003-of-00020.tfrecord'
    assert digests(plan[0].folder)[name] == local[name]
    before = os.stat(os.path.join(plan[0].folder, name)).st_mtime_ns
    files.remove(plan[0].scratch.folder)
    assert list(worker.process(3)) == [(None, 3)]   # as a runner repeats an element
    assert os.stat(os.path.join(plan[0].folder, name)).st_mtime_ns == before


def test_the_last_step_waits_for_all_shards_and_may_be_repeated(plan, local):
    from data_tools.packing import beam_pool
    work, sizes = plan
    worker = beam_pool._Pack(beam_runner.Packed(work))
    worker.setup()
    finish = beam_pool._Finish(work.folder, sizes, work.job)
    for number in range(len(work.tasks)):
        finish.process(None)
        assert not finishing.is_finished(work.folder)
        list(worker.process(number))
    part = shard_writer.part_path(work.folder, 0, work.job)
    kept = files.read_json(part)
    finish.process(None)
    files.write_json(part, kept)   # as if it had been killed between two steps
    finish.process(None)
    assert digests(work.folder) == local
    files.remove(work.scratch.folder)
    assert list(worker.process(0)) == [(None, 0)]   # repeated after the end: the shard is kept
    assert digests(work.folder) == local


def test_another_ffmpeg_than_that_of_the_job_is_refused(plan):
    from data_tools.packing import beam_pool
    worker = beam_pool._Pack(beam_runner.Packed(plan[0]._replace(job=dict(plan[0].job, ffmpeg='0.1'))))
    worker.setup()
    with raises_facts(UserError, 'ffmpeg', '0.1', 'install the same'):
        next(worker.process(0))


def test_a_frame_that_does_not_decode_is_reported_in_one_line(tmp_path):
    source = write_clips(tmp_path / 'clips', (4,))
    path = os.path.join(source, 'truth', '000', '00000002.png')
    with open(path, 'r+b') as file:
        file.truncate(os.path.getsize(path) // 2)
    with pytest.raises(UserError, match='^frame %s[^\n]*$' % path):
        pack.pack_set(config_of(source, tmp_path / 'set', num_shards=2, runner='DirectRunner'))
    assert not (tmp_path / 'set' / 'manifest.json').exists()


def test_a_corpus_is_restored_in_clips_and_stretches(checkpoint, tmp_path, capsys):
    for name, count in (('000', 7), ('001', 2)):
        os.makedirs(str(tmp_path / 'in' / name))
        for index, frame in enumerate(smooth_frames(count, 14, 18, seed=count)):
            images.write_png(str(tmp_path / 'in' / name / ('%03d.png' % index)), frame)
    restoring = RestoreConfig(checkpoint=checkpoint, device='cpu')
    with Restorer(checkpoint) as restorer:
        run(prepare(restorer, restoring, InferConfig(input=str(tmp_path / 'in'), output=str(tmp_path / 'local'))),
            ThisProcess(restorer))
    capsys.readouterr()
    config = InferConfig(input=str(tmp_path / 'in'), output=str(tmp_path / 'beam'), stretch=3, runner='DirectRunner',
                         progress='json')
    assert run_with_beam(restoring, config) == 9
    said, states = capsys.readouterr()
    assert '4 pieces of 2 clips; DirectRunner loaded the network 1 times' in said
    states = [json.loads(line) for line in states.splitlines() if line.startswith('{')]
    assert (states[-1]['stage'], states[-1]['done']) == ('restoring', 9)
    assert digests(tmp_path / 'beam') == digests(tmp_path / 'local')

    os.remove(str(tmp_path / 'beam' / '000' / '004.png'))   # of the stretch from 3 to 6
    assert run_with_beam(restoring, config) == 1
    assert '1 pieces of 1 clips' in capsys.readouterr().out
    assert run_with_beam(restoring.replace(device='npu', soc_version='Ascend310P3'), config) == 0
    check_facts(capsys.readouterr().out, 'nothing to do', 'deformable convolutions on Ascend 310P')
    assert digests(tmp_path / 'beam') == digests(tmp_path / 'local')
    with raises_facts(UserError, '--runner', 'folders', '--output=', 'video'):
        run_with_beam(restoring, config.replace(output=str(tmp_path / 'a.mp4')))
