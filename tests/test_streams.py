"""Which stream of a video is the film, what becomes of the others, alpha, and interlaced frames anywhere."""
import subprocess

import numpy as np
import pytest
from facts import check_facts, raises_facts
from PIL import Image
from test_video import make

from data_tools.base.errors import UserError
from data_tools.media import clips, ffmpeg, streams, video
from edvr.output import containers
from edvr.output.video_writer import VideoWriter

HALF = "color=red:size=32x24:rate=10,format=rgba,geq=r='255-X-9*N':g=0:b=0:a='if(lt(X,16)*gte(N,2),%s,255)'"
WITH_ALPHA = {'.mov': ['-c:v', 'qtrle'], '.png.mov': ['-c:v', 'png'],
              '.4444.mov': ['-c:v', 'prores_ks', '-profile:v', '4444', '-pix_fmt', 'yuva444p10le'],
              '.webm': ['-c:v', 'libvpx-vp9', '-pix_fmt', 'yuva420p'],
              '.vp8.webm': ['-c:v', 'libvpx', '-pix_fmt', 'yuva420p', '-auto-alt-ref', '0'],
              '.mkv': ['-c:v', 'ffv1', '-pix_fmt', 'yuva420p']}


def run(*arguments):
    subprocess.run(ffmpeg.command('-loglevel', 'error', '-y', *map(str, arguments)), check=True)
    return str(arguments[-1])


@pytest.mark.parametrize('suffix', sorted(WITH_ALPHA))
def test_videos_that_are_transparent_in_places_are_refused(tmp_path, suffix):
    for alpha in ('0', '255'):
        path = run('-f', 'lavfi', '-i', HALF % alpha, '-frames:v', 4, *WITH_ALPHA[suffix], tmp_path / (alpha + suffix))
        if alpha == '255':   # opaque everywhere, as for images
            assert video.inspect(path).num_frames == 4
            continue
        with raises_facts(UserError, path, 'transparent', 'frame 2', 'background'):
            video.inspect(path)


def test_transparent_gifs_are_refused_and_others_are_read(tmp_path):
    frames = [Image.new('P', (16, 16), colour) for colour in (0, 1, 1)]
    for frame in frames:
        frame.putpalette([250, 0, 0, 0, 250, 0, 0, 0, 250])
    frames[2].paste(2, (0, 0, 8, 8))
    frames[0].save(str(tmp_path / 'a.gif'), save_all=True, append_images=frames[1:], duration=100, disposal=2,
                   transparency=2, optimize=False)
    with raises_facts(UserError, 'a.gif', 'transparent', 'frame 2'):
        video.inspect(str(tmp_path / 'a.gif'))
    assert video.inspect(make(tmp_path / 'b.gif', frames=4)).num_frames == 4


def cover(tmp_path):
    Image.new('RGB', (20, 20), (9, 90, 200)).save(str(tmp_path / 'cover.jpg'))
    return str(tmp_path / 'cover.jpg')


def test_the_film_is_the_default_video_stream_not_a_cover(tmp_path, capsys):
    first = make(tmp_path / 'first.mkv', '-c:v', 'ffv1', size='48x32')
    second = make(tmp_path / 'second.mkv', '-c:v', 'ffv1', frames=5)
    path = run('-i', first, '-i', second, '-map', 0, '-map', 1, '-c', 'copy', '-disposition:v:0', 0,
               '-disposition:v:1', 'default', tmp_path / 'both.mkv')
    info = video.inspect(path)
    assert (info.film, info.num_frames, info.width) == (1, 5, 32)
    np.testing.assert_array_equal(list(video.decode(info)), list(video.decode(video.inspect(second))))
    clip, = clips.find_clips(path, need_gt=False)
    assert clip.length == 5
    check_facts(capsys.readouterr().out, 'both.mkv', 'video stream 1', 0)
    plan = containers.plan(info, containers.container_of('a.mkv'))
    text, = plan.lost
    check_facts(text, 'video ffv1', 'stream 0', 'one video stream is restored')


def test_a_picture_before_the_film_is_no_film(tmp_path):
    film = make(tmp_path / 'film.mp4', '-pix_fmt', 'yuv420p', frames=4)
    path = run('-i', cover(tmp_path), '-i', film, '-map', 0, '-map', 1, '-c', 'copy', '-disposition:v:0',
               'attached_pic', tmp_path / 'a.mp4')
    info = video.inspect(path)
    assert (info.num_frames, info.width, info.streams[info.film]) == (4, 32, ('video', 'h264'))
    assert ('cover', 'mjpeg') in info.streams
    assert streams.film([streams.Stream('cover', 'mjpeg', True)]) is None


@pytest.mark.parametrize('suffix, kept', [('.mp4', True), ('.mkv', True), ('.mov', False), ('.webm', False)])
def test_covers_are_kept_where_the_container_can_hold_them(tmp_path, suffix, kept):
    film = make(tmp_path / 'film.mp4', '-f', 'lavfi', '-i', 'sine=duration=0.2', '-pix_fmt', 'yuv420p', '-c:a', 'aac',
                frames=4)
    path = run('-i', film, '-i', cover(tmp_path), '-map', 0, '-map', 1, '-c', 'copy', '-disposition:v:1',
               'attached_pic', tmp_path / 'in.mp4')
    info = video.inspect(path)
    with VideoWriter(tmp_path / ('a' + suffix), info.rate, source=info) as writer:
        for frame in video.decode(info):
            writer.write(frame)
    written = video.inspect(str(tmp_path / ('a' + suffix)))
    assert (('cover', 'mjpeg') in written.streams) == kept and written.num_frames == 4 and len(written.audio) == 1
    assert any('cover mjpeg' in text for text in writer.plan.lost) != kept


def test_interlaced_frames_are_found_after_progressive_ones(tmp_path):
    plain = make(tmp_path / 'a.ts', '-c:v', 'mpeg2video', '-q:v', '2', size='64x48', frames=30)
    combed = make(tmp_path / 'b.ts', '-vf', 'tinterlace=interleave_top,setfield=tff', '-c:v', 'mpeg2video', '-q:v', '2',
                  '-flags', '+ildct+ilme', size='64x48', frames=12)
    path = tmp_path / 'c.ts'
    path.write_bytes((tmp_path / 'a.ts').read_bytes() + (tmp_path / 'b.ts').read_bytes())
    assert video.inspect(plain).interlaced is None
    assert video.inspect(combed).interlaced == 0
    found = video.inspect(str(path), allow_damaged=True).interlaced
    assert 28 <= found <= 31


def test_pictures_that_give_no_frame_are_named(tmp_path, capsys):
    """A piece that begins at an open group of pictures: the ones shown before its first need what is not there."""
    whole = run('-f', 'lavfi', '-i', 'testsrc=size=64x48:rate=25:duration=1', '-c:v', 'libx265', '-x265-params',
                'open-gop=1:keyint=8:min-keyint=8:bframes=3:b-adapt=0:scenecut=0:log-level=error',
                tmp_path / 'whole.mkv')
    run('-i', whole, '-c', 'copy', '-f', 'segment', '-segment_time', 0.3, tmp_path / 'piece%d.mkv')
    path = str(tmp_path / 'piece1.mkv')
    assert (video.inspect(whole).missing, video.inspect(path).missing) == (0, 3)
    clips.find_clips(path, need_gt=False)
    check_facts(capsys.readouterr().out, path, 3, '0.321', 'no frame')
