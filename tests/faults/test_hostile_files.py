"""Files from elsewhere that lie: JSON that was edited, names that lead out of a folder, archives, servers, pickles."""
import contextlib
import importlib.util
import json
import os
import pickle
import stat
import types
import zipfile

import pytest
import tensorflow.compat.v1 as tf
from archives import FRAMES, archive
from file_damage import json_faults
from helpers import smooth_frames, tiny_checkpoint
from packed import edit_json, pack, write_clips, write_video
from test_deinterlacing import make_fields
from test_download_reds import BODY, server  # noqa: F401 fixture

from data_tools.base import files
from data_tools.lq import writer
from data_tools.media import video_scan
from data_tools.media.frames import VideoFrames
from data_tools.media.shots import ShotRule
from data_tools.packing import verification
from data_tools.packing.config import PackConfig
from data_tools.packing.pack import pack_set
from data_tools.record.manifest import Manifest
from data_tools.reds import http_fetch
from data_tools.reds.unzip import unzip
from edvr.config import ModelConfig
from edvr.config.export import InterfaceConfig
from edvr.exporting import description
from edvr.exporting.graphs import WholeGraph
from edvr.launch import rank_table
from edvr.launch.rank_table import Rank
from edvr.output import records
from edvr.output.folders import folder_of
from edvr.pytorch import pth_file

OUTSIDE = ['../x', '../../etc/passwd', '/etc/passwd', 'a/../../x', '~/x', 'x\0y', '$(touch x)', '-rf', 'x\ny', '']


def test_rank_table(campaign, tmp_path):
    path = str(tmp_path / 'table.json')
    text = rank_table.to_json([Rank(0, 0, '192.168.1.1', '10.0.0.1'), Rank(1, 0, '192.168.1.2', '10.0.0.2')])
    json_faults(campaign, path, text, 'rank table', lambda: rank_table.read(path))
    for name in OUTSIDE:
        for key in ('server_id', 'device_ip', 'rank_id', 'device_id'):
            table = json.loads(text)
            server_entry = table['server_list'][1]
            (server_entry if key == 'server_id' else server_entry['device'][0])[key] = name
            files.write_json(path, table)
            # a server may have any name of one line, for it is no path
            is_name = key == 'server_id' and name != '' and name.isprintable()
            campaign.attempt('rank table: path in it', lambda: rank_table.read(path), lambda _, ok=is_name: ok, name,
                             [path])


def test_description_of_a_graph(campaign, tmp_path):
    path = str(tmp_path / 'EDVR.json')
    with tf.Graph().as_default() as graph:
        tf.identity(tf.placeholder(tf.uint8, name='L_input'), name='SR_output')
    data = graph.as_graph_def().SerializeToString()
    (tmp_path / 'EDVR.pb').write_bytes(data)
    content = description.describe({WholeGraph(ModelConfig(), InterfaceConfig()): dict(
        sha256=description.checksum(data))}, dcn_impl='tf')
    json_faults(campaign, path, json.dumps(content), 'graph description',
                lambda: description.read(str(tmp_path / 'EDVR.pb')))


def test_records_of_earlier_work(campaign, tmp_path):
    """Of restored frames and of LQ on disk: what does not equal the settings is not continued."""
    path, settings = str(tmp_path / '.restoration.json'), dict(scale=4, network='a', size=[3, 4])
    json_faults(campaign, path, json.dumps(settings), 'record of a restoration',
                lambda: records.check_unchanged(path, settings, 'frames', str(tmp_path)))
    folder = str(tmp_path / 'lq')
    os.mkdir(folder)
    path, record = os.path.join(folder, writer.RECORD), dict(scale=4, frames=2, source='0')
    clip = types.SimpleNamespace(length=2, gt=types.SimpleNamespace(name='{:08d}'.format))

    def prepare():
        first = writer._prepare(folder, clip, record, False)
        assert files.read_json(path) == record and first == 0
    json_faults(campaign, path, json.dumps(record), 'record of make_lq', prepare)


def test_names_in_a_manifest(campaign, tmp_path):
    """A shard has one possible name; names of clips are never paths."""
    folder = pack(write_clips(tmp_path / 'clips', (3,), (32, 32)), tmp_path / 'set', num_shards=1)
    with open(os.path.join(folder, 'manifest.json')) as file:
        text = file.read()
    for name in OUTSIDE:
        for change in (lambda values, name=name: values['shards'][0].update(name=name),
                       lambda values, name=name: values.update(shards=name),
                       lambda values, name=name: values.update(encoding=name)):
            with open(os.path.join(folder, 'manifest.json'), 'w') as file:
                file.write(text)
            edit_json(os.path.join(folder, 'manifest.json'), change)
            campaign.attempt('manifest: path in it', lambda: Manifest.read(folder), lambda _: False, name, [folder])


def writing(path):
    """Returns a filter of ffmpeg that writes a file."""
    return 'metadata=mode=add:key=x:value=y,metadata=mode=print:file=%s' % path


def test_cache_of_videos(campaign, tmp_path):
    """videos.json comes with a data set: an entry that is not one of a scan is ignored, no text becomes a filter."""
    source, cache, trap = str(tmp_path / 'a.mkv'), str(tmp_path / 'videos.json'), tmp_path / 'trap'
    write_video(source, smooth_frames(4, 32, 48))
    rule, text = ShotRule(), writing(trap)

    def scan(path):
        scanner = video_scan.Scanner(path)
        scanner.scan([(source, True)], rule)
        info = scanner.info(source)
        frames = VideoFrames(info, 0, info.num_frames, (info.height, info.width))
        return info, scanner.shots(frames, rule), [frame.tobytes() for frame in frames.read()]

    expected = scan(cache)
    (mark, entry), = files.read_json(cache).items()
    shots, = set(entry) - {'info'}
    assert scan(cache) == expected and files.read_json(cache) == {mark: entry}
    wrong = {key: [text, [], {}, -1, 2 ** 70, float('nan'), {'fraction': text}] for key in entry['info']}
    wrong['start'] = [value for value in wrong['start'] if value != -1]
    wrong['deinterlaced'] = [text, ['yadif', text], 1]
    for key in ('rate', 'time_base', 'pixel_aspect', 'last', 'missing_from'):
        wrong[key] = wrong[key] + [{'fraction': value} for value in ('1e999999999', '1/0', '9' * 5000, 'nan')]
    wrong['times'] = wrong['times'][:1] + [[0, 1], [text] * 4, 5]
    wrong['height'] = wrong['width'] = [0, 2 ** 26] + wrong['height']
    wrong['num_frames'] = [0, 2 ** 40] + wrong['num_frames']
    wrong['film'] = [9] + wrong['film']
    changed = [{mark: dict(entry, info=dict(entry['info'], **{key: value}))}
               for key in sorted(wrong) for value in wrong[key]]
    changed += [{mark: dict(entry, info=value)} for value in (text, [], {}, None, dict(entry['info'], other=1))]
    changed += [{mark: dict(entry, **{shots: value})} for value in (
        text, [], [[0, 2]], [[0, 9]], [[1, 4]], [[0, 2], [1, 4]], [[0, 4], [4, 4]], [[0, text]], [[-1, 4]], {})]
    changed += [{mark: value} for value in (text, [], None, 3)] + [[], text, {text: text}]
    for index in campaign.rng.permutation(len(changed))[:campaign.amount(8, len(changed))]:
        files.write_json(cache, changed[index])
        campaign.attempt('videos.json: wrong value', lambda: scan(cache), lambda found: found == expected,
                         str(changed[index])[:300])
        assert not trap.exists(), 'ffmpeg wrote it'
    for key in ('deinterlaced', 'curve', 'tonemap', 'matrix'):   # those that reached a filter
        files.write_json(cache, {mark: dict(entry, info=dict(entry['info'], **{key: text}))})
        assert scan(cache) == expected and not trap.exists()


def test_job_in_a_manifest(campaign, tmp_path):
    """Checks what a manifest says of the packing before it becomes a filter, a path or a list of frames."""
    videos, folder, trap = tmp_path / 'videos', str(tmp_path / 'set'), tmp_path / 'trap'
    videos.mkdir()
    make_fields(videos / 'a.mkv', 8)
    pack_set(PackConfig(data_dir=str(videos), output_dir=folder, num_frames=3, num_shards=1, make_lq=True, workers=1,
                        deinterlace='yadif'))
    path = os.path.join(folder, 'manifest.json')
    values = files.read_json(path)
    assert values['job']['deinterlace'] == ['yadif', 'frame'] and not verification.check_set(folder, source=str(videos))
    text = writing(trap)
    changes = [dict(deinterlace=value) for value in ([text + ',yadif', 'field'], ['yadif', text], ['yadif', 'other'],
                                                     ['other', 'frame'], ['ivtc'], 'yadif', [1, 2], {})]
    changes += [dict(clips=clips) for clips in ([['a', 2 ** 31 - 1]], [['a', 3]], [['a', 4], ['b', 4]])]
    changes += [dict(fill=text), dict(lq_folder='a\0b'), dict(ffmpeg=text + '\n'), dict(ffmpeg=5)]
    changes += [dict(degradation=dict(kind='bicubic', **made)) for made in (
        dict(resize=text), dict(resize='other'), dict(noise=[text]), dict(noise=['other']), dict(crf=[9, 3]))]
    for change in changes:
        files.write_json(path, dict(values, job=dict(values['job'], **change)))
        campaign.attempt('manifest: wrong job', lambda: verification.check_set(folder, source=str(videos)),
                         lambda _: False, str(change), list(change) + ['deinterlacing', 'job.windows'])
        assert not trap.exists(), 'ffmpeg wrote it'


def test_names_of_clips(campaign, tmp_path):
    """Checks that the name of a clip, which becomes a folder, never leads out of the output."""
    for name in ['..', '.'] + [name for name in OUTSIDE if '/' in name or not name or '\0' in name]:
        campaign.attempt('clip: path in its name', lambda name=name: folder_of(
            str(tmp_path), types.SimpleNamespace(name=name), False), lambda _: False, name, [str(tmp_path)])
    assert folder_of(str(tmp_path), types.SimpleNamespace(name='..a'), False) == str(tmp_path / '..a')


def special(name, kind):
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


def test_archives_that_want_out(campaign, tmp_path):
    """Slips, links, devices, bombs, overlong and doubled names: nothing is written anywhere."""
    path, root = str(tmp_path / 'a.zip'), tmp_path / 'inside' / 'root'
    good = FRAMES[0][0]
    members = [[('../' * depth + name.lstrip('/'), b'x')] for depth in (1, 3) for name in OUTSIDE if name]
    outside = tmp_path / 'outside'
    outside.mkdir()
    members += [[(name, b'x')] for name in OUTSIDE[:-1] + ['C:\\x', '\\\\host\\x', 'train/../../x', './x', 'a//b']]
    members += [[(special(good, kind), b'/etc')] for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO,
                                                              stat.S_IFSOCK)]
    members += [[(special('train', stat.S_IFLNK), str(outside).encode()), (good, b'x')],
                [(good, b'x'), (good + '/y', b'x')], [('downloads/train_sharp.done', b'x')], [(good, bytes(50 << 20))]]
    for index, others in enumerate(members):
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
            for name, content in FRAMES[1:] + others:
                file.writestr(name, content, zipfile.ZIP_DEFLATED)
        campaign.attempt('archive: slip, link or bomb', lambda: unzip(path, str(root), ('train/train_sharp',)),
                         lambda _: False, '%d: %r' % (index, others[0][0]), [path])
        assert not os.path.exists(str(tmp_path / 'inside')), 'something was written'
    assert not os.listdir(str(outside)) and not os.path.exists(str(tmp_path / 'x'))


class Lie:
    """An answer of a server that lies: status, headers, and what it sends."""

    def __init__(self, status, headers, body, cut=False):
        self.status, self.headers, self.body, self.cut = status, headers, body, cut

    def __call__(self, handler):
        handler.send_response(self.status)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        with contextlib.suppress(OSError):
            handler.wfile.write(self.body)


def test_a_server_that_lies(campaign, server, tmp_path):  # noqa: F811
    """Lengths, ranges, versions, statuses, redirections: the final name never appears with other bytes."""
    size, values = len(BODY), ['-1', '1e9', '\u00b2', '9' * 40, '', '0x10', '1,1', 'nan', '18446744073709551616']
    lies = [Lie(200, {'Content-Length': value}, BODY) for value in values]
    lies += [Lie(206, {'Content-Range': value, 'Content-Length': str(size)}, BODY) for value in (
        'bytes 0-9/10', 'bytes 5-%d/%d' % (size - 1, size), 'bytes 0-%d/*' % size, 'bytes */%d' % size, 'bytes 9-1/5',
        'lines 0-1/2', 'bytes \u00b2-3/4', 'bytes 0-99999999999999999999/99999999999999999999', '')]
    lies += [Lie(416, {'Content-Range': value}, b'') for value in ('bytes */0', 'bytes */9', 'x', 'bytes */\u00b2')]
    lies += [Lie(status, {}, b'no') for status in (204, 205, 300, 304, 400, 401, 403, 404, 410, 451, 500, 503, 599)]
    lies += [Lie(302, {'Location': value}, b'') for value in ('/file.bin', 'file:///etc/passwd', 'ftp://x/y', '', '//',
                                                              'gopher://x', 'http://[::1', 'javascript:x')]
    lies += [Lie(200, {'Content-Length': str(size + 5), 'ETag': '"x"'}, BODY),
             Lie(200, {'Content-Length': str(size), 'Content-Encoding': 'gzip'}, BODY),
             Lie(200, {'Transfer-Encoding': 'chunked'}, b'zz\r\nnot chunks\r\n'),
             Lie(200, {'Transfer-Encoding': 'chunked'}, b'ffffffffffffffff\r\nx')]
    lies += [Lie(200, {'Content-Length': str(size), 'X-%d' % index: 'y' * 70000}, BODY) for index in range(2)]
    picked = campaign.rng.permutation(len(lies))[:campaign.amount(12, len(lies))]
    for index in picked:
        server.answer = lies[index]
        for start in (b'', BODY[:1000]):   # from the start, and to continue
            path = str(tmp_path / ('%d-%d.bin' % (index, len(start))))
            if start:
                with open(path + files.PARTIAL, 'wb') as file:
                    file.write(start)
                files.write_json(path + files.PARTIAL + '.json', dict(
                    url=server.url + '/file.bin', size=size, version='"x"'))

            def fetch(path=path):
                http_fetch.fetch(server.url + '/file.bin', path, 0, 0., 5.)
                with open(path, 'rb') as file:
                    return file.read()
            # a body without any declared length, or of the declared one, is all that can be known of the file
            campaign.attempt('HTTP server that lies', fetch, lambda found: found == BODY, '%d: %s %s' % (
                index, lies[index].status, lies[index].headers), [server.url, path, 'file.bin'])
            assert not os.path.exists(path), 'a wrong file has the final name'


class Payload:
    """Pickled, it runs `function(*arguments)` on loading."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


@pytest.mark.skipif(importlib.util.find_spec('torch') is None, reason='PyTorch is not installed')
def test_pickles_run_nothing(campaign, tmp_path):
    """A file with code is refused before it is run."""
    import torch
    trap = str(tmp_path / 'trap')
    payloads = [Payload(os.system, 'touch ' + trap), Payload(open, trap, 'w'), Payload(exec, 'open(%r, "w")' % trap),
                Payload(eval, '__import__("os").mkdir(%r)' % trap), Payload(os.mkdir, trap)]
    for index, payload in enumerate(payloads):
        path = str(tmp_path / ('%d.pth' % index))
        for save in (torch.save, lambda value, path: files.write_bytes(path, pickle.dumps(value)),
                     lambda value, path: files.write_bytes(path, archive([('archive/data.pkl', pickle.dumps(value)),
                                                                          ('archive/version', b'3\n')]))):
            for value in (payload, {'params': payload}, {'params': {'conv_first.weight': payload}}, [payload]):
                save(value, path)
                campaign.attempt('.pth with code', lambda path=path: pth_file.load(path), lambda _: False, path, [path])
                assert not os.path.exists(trap), 'it ran'


def test_checkpoint_files_that_are_links_out(campaign, tmp_path):
    """A checkpoint's state file that names a checkpoint elsewhere is not followed."""
    from edvr import checkpoints
    tiny_checkpoint(tmp_path / 'mine', step=3)
    other = tiny_checkpoint(tmp_path / 'other', seed=1, step=9)
    for name in (other, '../other/model.ckpt-9', '/dev/zero', '\0', '$(touch x)'):
        (tmp_path / 'mine' / 'checkpoint').write_text('model_checkpoint_path: %s\n' % json.dumps(name))
        campaign.attempt('checkpoint state file: path in it', lambda: checkpoints.chosen(str(tmp_path / 'mine')),
                         lambda prefix: prefix == str(tmp_path / 'mine' / 'model.ckpt-3'), name)
