"""Zip archives for tests."""
import io
import zipfile


def archive(members):
    """Bytes of a zip of {name or ZipInfo: bytes}."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w') as file:
        for name, content in members:
            file.writestr(name, content)
    return data.getvalue()


FRAMES = [('train/train_sharp/%03d/%08d.png' % (clip, t), b'%d %d' % (clip, t) * 50) for clip in (0, 1) for t in (0, 1)]
