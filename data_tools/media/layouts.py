"""Directory layouts of data sets: which folder holds the frames of which clip."""
import os

from data_tools.base.errors import UserError

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
_NOT_OURS = ('thumbs.db', 'desktop.ini', '__macosx')   # what systems leave in folders; names with a leading dot too


def entries(folder):
    """os.DirEntry of what is in a folder, without what operating systems leave there; [] where there is no folder."""
    if not os.path.isdir(folder):
        return []
    try:
        with os.scandir(folder) as found:
            return [entry for entry in found if entry.name[0] != '.' and entry.name.lower() not in _NOT_OURS]
    except OSError as error:
        raise UserError('cannot list %s: %s' % (folder, error.strerror)) from None


def is_folder(entry):
    """Whether an os.DirEntry is a folder, or a link to one. Raises UserError for a link that leads to itself."""
    try:
        return entry.is_dir()
    except OSError as error:
        raise UserError('cannot read %s: %s; remove it' % (entry.path, error.strerror)) from None


def folders(folder):
    return [entry for entry in entries(folder) if is_folder(entry)]


def _has_images(folder):
    return any(entry.name.lower().endswith(IMAGE_SUFFIXES) and not is_folder(entry) for entry in entries(folder))


def find_folders(root, scale, need_gt, need_lq):
    """{'gt': {name: folder}, 'lq': {name: folder}} of the asked sides, from the first kind of layout that has any."""
    wanted = [side for side, needed in (('gt', need_gt), ('lq', need_lq)) if needed]
    own = {'gt': ('truth', 'gt'), 'lq': ('blur%d' % scale, 'lq')}
    for layouts in (_own_layouts, _reds_layouts, _bare_layouts):
        sides = {side: {} for side in wanted}
        for side, name, folder in layouts(root, scale, wanted, own):
            known = sides[side].setdefault(name, folder)
            if os.path.realpath(known) != os.path.realpath(folder):
                raise UserError('clip %s is there twice: %s and %s; keep one, or give the folder above the one you mean'
                                '%s' % (name, known, folder, ' (python -m data_tools.regroup_reds merges the parts of '
                                        'REDS)' if layouts is _reds_layouts else ''))
        if any(sides.values()):
            return sides
    raise UserError('%s: no clips of %s frames found; expected %s' % (
        root, ' and '.join(side.upper() for side in wanted),
        ' with '.join('%s/NAME/*.png' % own[side][0] for side in wanted)))


def _own_layouts(root, scale, wanted, own):
    for base in (root, os.path.join(root, 'images')):
        for side in wanted:
            for kind in own[side]:
                for entry in folders(os.path.join(base, kind)):
                    yield side, entry.name, entry.path
        for clip in folders(base):
            for side in wanted:
                for kind in own[side]:
                    folder = os.path.join(clip.path, kind)
                    # a folder of frames; truth/truth/NAME would be a layout inside a layout
                    if clip.name not in own['gt'] + own['lq'] and os.path.isdir(folder) and not folders(folder):
                        yield side, clip.name, folder


def _reds_layouts(root, scale, wanted, own):
    for base in (root, os.path.join(root, 'train'), os.path.join(root, 'val')):
        for part in ('train', 'val'):
            lq = ['blur', 'blur_comp'] if scale == 1 else ['sharp_bicubic/X%d' % scale, 'blur_bicubic/X%d' % scale]
            kinds = {'gt': [part + '_sharp'], 'lq': ['%s_%s' % (part, kind) for kind in lq]}
            for side in wanted:
                for kind in kinds[side]:
                    for entry in folders(os.path.join(base, kind)):
                        yield side, entry.name, entry.path


def _bare_layouts(root, scale, wanted, own):
    if len(wanted) == 1:
        for base in (root, os.path.join(root, 'images')):
            for entry in folders(base):
                if entry.name not in own['gt'] + own['lq'] and _has_images(entry.path):
                    yield wanted[0], entry.name, entry.path
        if _has_images(root):
            yield wanted[0], os.path.basename(os.path.abspath(root)), root
