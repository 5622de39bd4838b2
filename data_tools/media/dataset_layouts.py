"""Layouts of data sets: which folder or video contains the frames of which clip.

A pattern is a path under the root in which `*` is the name of a clip (two of them are joined by `_`), {s} the scale and
{base} the name of the base. It matches a folder of images, or a video of that name with any suffix. The layouts are
tried in the order of LAYOUTS; a new layout is one entry there.
"""
import os
import re
import typing

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import lmdb_source, video

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
LIST_SUFFIXES = ('.txt', '.lst', '.list')
# files and folders of operating systems, network storage and file systems; names that begin with a dot are theirs too
_NOT_OURS = ('thumbs.db', 'ehthumbs.db', 'desktop.ini', 'icon\r', '__macosx', 'network trash folder', 'temporary items',
             '$recycle.bin', 'system volume information', 'lost+found', '@eadir', '@tmp', '@recycle',
             '@recently-snapshot', '#recycle', '#snapshot', '~snapshot')


class NothingFoundError(UserError):
    """Reports that no clip has the sides that are searched; what is there can be read."""


class Layout(typing.NamedTuple):
    """One way to lay out a data set.

    Attributes:
      bases: folders under the root to search.
      gt: patterns of GT under a base.
      lq: patterns of LQ under a base by the kind of LQ, in the order of preference; those of a kind begin in the order
        of `gt`. Several kinds are alternatives for the same GT: the first pattern that leads to clips is taken. If
        there is only one kind, its patterns may be mixed.
      scales: the scales that the layout is for.
      lists: file names of the lists of clips that come with the data set, in the root or in a base: {'train': name,
        'test': name}.
      merge: advice for a clip that exists twice.
    """
    bases: typing.Tuple[str, ...]
    gt: typing.Tuple[str, ...]
    lq: typing.Dict[str, typing.Tuple[str, ...]]
    scales: typing.Tuple[int, ...] = (1, 2, 3, 4)
    lists: typing.Dict[str, str] = {}
    merge: str = ''

    def patterns(self, side: str) -> typing.Tuple[str, ...]:
        """Returns the patterns of a side, 'gt' or 'lq'; those of LQ in the order of preference."""
        return self.gt if side == 'gt' else sum(self.lq.values(), ())

    def lq_pattern(self, gt_pattern: str, kind: str) -> str:
        """Returns the pattern of the LQ of a kind that belongs to the GT of a pattern."""
        patterns = self.lq[kind] if kind in self.lq else self.patterns('lq')
        return patterns[self.gt.index(gt_pattern)]


_MERGE_REDS = ' (python -m data_tools.regroup_reds merges the parts of REDS)'
LAYOUTS = {
    'clips': Layout(('', 'images'), ('truth/*', 'gt/*', '*/truth', '*/gt'),
                    {'any': ('blur{s}/*', 'lq/*', '*/blur{s}', '*/lq')}),
    'REDS': Layout(('', 'train', 'val'), ('train_sharp/*', 'val_sharp/*'),
                   {'any': ('train_sharp_bicubic/X{s}/*', 'val_sharp_bicubic/X{s}/*',
                            'train_blur_bicubic/X{s}/*', 'val_blur_bicubic/X{s}/*')},
                   scales=(2, 3, 4), merge=_MERGE_REDS),
    'REDS for deblurring': Layout(('', 'train', 'val'), ('train_sharp/*', 'val_sharp/*'),
                                  {'any': ('train_blur/*', 'val_blur/*', 'train_blur_comp/*', 'val_blur_comp/*')},
                                  scales=(1,), merge=_MERGE_REDS),
    'Vid4, UDM10, SPMCS': Layout(('',), ('GT/*', '*/truth'),
                                 {'BI': ('BIx{s}/*', '*/input{s}'), 'BD': ('BDx{s}/*',)}),
    'Vimeo-90K': Layout(('', 'vimeo_septuplet'), ('sequences/*/*', 'GT/*/*'),
                        {'BI': ('../{base}_matlabLRx{s}/sequences/*/*', 'BIx{s}/*/*'),
                         'BD': ('../{base}_BDLRx{s}/sequences/*/*', 'BDx{s}/*/*', 'sequences_BD/*/*')},
                        lists={'train': 'sep_trainlist.txt', 'test': 'sep_testlist.txt'}),
}
_BARE = Layout(('', 'images'), ('*', 'sequences/*/*'), {'any': ('*', 'sequences/*/*')})   # only GT or only LQ
_GIVEN = Layout(('',), (), {'any': ('*', '*/*')})   # LQ under lq_folder


class Place(typing.NamedTuple):
    """Describes the location of one side of a clip.

    Attributes:
      path: a folder of images, or a video.
      base: the base of the layout that contains it.
      pattern: the pattern of the layout that leads to it.
      parts: the text that each star of the pattern matches.
    """
    path: str
    base: str
    pattern: str
    parts: typing.Tuple[str, ...]


class Found(typing.NamedTuple):
    """The result of `find`.

    Attributes:
      sides: {'gt': {name: Place}, 'lq': {name: Place}} of the requested sides.
      layout: the layout that the data set has.
      lists: {'train': path, 'test': path} of the lists of clips that come with the data set.
      notes: for the user.
    """
    sides: typing.Dict[str, typing.Dict[str, Place]]
    layout: Layout
    lists: typing.Dict[str, str]
    notes: typing.List[str]


def entries(folder: str) -> typing.List['os.DirEntry[str]']:
    """Lists what is in a folder, without files of the operating system; [] if there is no folder.

    Raises:
      UserError: the folder cannot be read.
    """
    if not os.path.isdir(folder):
        return []
    try:
        with os.scandir(folder) as found:
            return [entry for entry in found if entry.name[0] != '.' and entry.name.lower() not in _NOT_OURS]
    except OSError as error:
        raise UserError('cannot list %s: %s' % (folder, error.strerror)) from None


def is_folder(entry: 'os.DirEntry[str]') -> bool:
    """Returns whether an entry is a folder, or a link to one. Raises UserError for a link that leads to itself."""
    try:
        return entry.is_dir()
    except OSError as error:
        raise UserError('cannot read %s: %s; remove it' % (entry.path, error.strerror)) from None


def is_video(path: str) -> bool:
    """Returns whether a path has the suffix of a video."""
    return path.lower().endswith(video.SUFFIXES)


def is_image(path: str) -> bool:
    """Returns whether a path has the suffix of an image."""
    return path.lower().endswith(IMAGE_SUFFIXES)


def is_list(path: str) -> bool:
    """Returns whether a path is a file that lists clips or data sets."""
    return os.path.isfile(path) and path.lower().endswith(LIST_SUFFIXES)


def check_file(path: str) -> None:
    """Raises UserError for a file without the suffix of a video or a list; a folder is one, too."""
    if os.path.isfile(path) and not (is_video(path) or is_list(path)):
        raise UserError('%s is %s; give a video (%s), a folder or a list (%s)'
                        % (path, _not_taken(path), ' '.join(video.SUFFIXES), ' '.join(LIST_SUFFIXES)))


def find(root: str, scale: int, need_gt: bool, need_lq: bool, lq_folder: str = '') -> Found:
    """Finds the clips of a data set, from the first layout that has any with all requested sides.

    Args:
      root: a folder, a video, or a list: a text file with such paths, one a line, and comments after #.
      scale: GT size / LQ size.
      need_gt, need_lq: the sides to find.
      lq_folder: the folder with the LQ of each clip, under the root or anywhere; '' finds it by the layout.
    Raises:
      NothingFoundError: no clip has these sides.
      UserError: a folder cannot be read, one clip is in two places.
    """
    if lmdb_source.is_lmdb(root):
        return _find_lmdb(root, need_gt, need_lq, lq_folder)
    if is_list(root):
        return _find_listed(root, scale, need_gt, need_lq, lq_folder)
    wanted = [side for side, needed in (('gt', need_gt), ('lq', need_lq)) if needed]
    check_file(root)
    if os.path.isfile(root) and len(wanted) == 1:
        name = _stem(root)
        return Found({wanted[0]: {name: Place(root, '', '*', (name,))}}, _BARE, {}, [])
    layouts = _layouts(scale)
    if len(wanted) == 1 or lq_folder:
        layouts['only GT or only LQ'] = _BARE
    half = None   # only GT or only LQ: returned if no layout has both, for the error that names the missing side
    for layout in layouts.values():
        found = _find_in(root, scale, wanted, layout, lq_folder)
        if all(found.sides.values()):
            found.notes.extend(_left_out(root, found))
            return found
        if half is None and any(found.sides[side] for side in wanted[:1 if lq_folder else 2]):
            half = found
    if half is not None:
        return half
    raise NothingFoundError(_nothing_found(root, scale, wanted, layouts))


def _find_lmdb(root, need_gt, need_lq, lq_folder):
    """Returns the clips of an LMDB, and of that with their LQ."""
    if need_gt and need_lq and not lmdb_source.is_lmdb(lq_folder):
        raise UserError('%s is an LMDB with one image for each frame: name the LMDB with its LQ by --lq_folder%s, or '
                        'make LQ with --make_lq' % (root, ' (%s is none)' % lq_folder if lq_folder else ''))
    sides = {'gt': root} if need_gt else {}
    if need_lq:
        sides['lq'] = lq_folder or root
    found = {side: {name: Place(frames.path, '', '*', (name,)) for name, frames in lmdb_source.find(path).items()}
             for side, path in sides.items()}
    for name in set(found.get('lq', {})) - set(found.get('gt', found.get('lq', {}))):
        del found['lq'][name]   # of other clips
    return Found(found, _BARE, {}, [])


def _find_in(root, scale, wanted, layout, lq_folder):
    """Searches one layout: Found; its sides may be empty."""
    found = Found({side: {} for side in wanted}, layout, {}, [])
    for side in wanted:
        patterns = layout.patterns(side)
        if side == 'lq' and lq_folder:
            _add(found, side, _matches(root, lq_folder, _GIVEN.patterns('lq'), _GIVEN, scale))
            _add(found, side, _matches(root, '', ['*/' + lq_folder], _GIVEN, scale))
        elif side == 'lq' and len(layout.lq) > 1:
            kinds = [_matches(root, base, [pattern], layout, scale) for pattern in patterns for base in layout.bases]
            kinds = [kind for kind in kinds if kind]
            if kinds:
                _add(found, side, kinds[0])
                found.notes.extend(_other_kinds(kinds))
        else:
            for base in layout.bases:
                _add(found, side, _matches(root, base, patterns, layout, scale))
    for part, name in layout.lists.items():
        for base in layout.bases:
            path = os.path.join(root, base, name)
            if os.path.isfile(path):
                found.lists.setdefault(part, path)
    return found


def _left_out(root, found):
    """Yields a note that names what lies beside the clips and is none, with the reasons."""
    clips = [place for places in found.sides.values() for place in places.values()]
    taken = {os.path.abspath(path) for path in [place.path for place in clips] + list(found.lists.values())}
    # a pattern such as */lq has other folders beside each clip, and sequences/*/* very many
    parents = {os.path.dirname(os.path.abspath(place.path)) for place in clips
               if re.match(r'[^*]*\*$', place.pattern) and place.path != os.path.join(root, place.base)}
    reasons: typing.Dict[str, typing.List[str]] = {}
    for folder in sorted(parents):
        for entry in sorted(entries(folder), key=lambda entry: entry.name):
            if entry.path not in taken and not (is_folder(entry) and any(
                    path.startswith(entry.path + os.sep) for path in taken)):
                reasons.setdefault(_not_taken(entry.path), []).append(os.path.relpath(entry.path, root))
    if reasons:
        yield 'not taken from %s: %s' % (root, '; '.join(
            '%s%s (%s)' % (', '.join(names[:4]), ', ... %d in all' % len(names) if len(names) > 4 else '', reason)
            for reason, names in reasons.items()))


def _not_taken(path):
    """Returns why a file or folder is no clip."""
    if os.path.isdir(path):
        videos = sum(is_video(entry.name) for entry in entries(path))
        return ('a folder without images; its videos are clips if it is given itself' if videos else
                'a folder without images')
    if is_image(path):
        return 'a single image; the frames of a clip are in a folder'
    return 'a file without the suffix of a video'


def _other_kinds(kinds):
    """Yields a note where there are several kinds of LQ."""
    names = []
    for (_, place), *_ in kinds:
        fixed = [part for part in place.pattern.split('/') if part != '*']
        name = os.path.normpath(os.path.join(place.base, *fixed))
        if name not in names:
            names.append(name)
    if len(names) > 1:
        yield 'LQ is taken from %s; --lq_folder=%s takes the other' % (names[0], names[1])


def _add(found, side, matches):
    for name, place in matches:
        known = found.sides[side].setdefault(name, place)
        if os.path.realpath(known.path) != os.path.realpath(place.path):
            raise UserError('clip %s exists twice: %s and %s; keep one, or give the folder above the right one%s%s'
                            % (name, known.path, place.path, ', or choose with --lq_folder' if side == 'lq' else '',
                               found.layout.merge))


def _matches(root, base, patterns, layout, scale):
    """Returns (name, Place) of all clips that patterns lead to under a base of a root: list."""
    folder, matches = os.path.join(root, base), []
    name_of_base = os.path.basename(os.path.abspath(folder))
    # a folder such as truth is the name of a side; truth/truth/NAME would be a layout inside a layout
    taken = {_filled(pattern, scale).split('/')[0] for side in ('gt', 'lq') for pattern in layout.patterns(side)}
    for pattern in (_filled(pattern, scale, name_of_base) for pattern in patterns):
        parts = pattern.split('/')
        for path, stars in _walk(folder, parts, ()):
            if not ((parts[0] == '*' and stars[0] in taken) or (layout is _BARE and not _has_frames(path))):
                matches.append(('_'.join(stars), Place(path, base, pattern, stars)))
        if layout is _BARE and pattern == '*' and os.path.isdir(folder) and _has_frames(folder):
            matches.append((name_of_base, Place(folder, base, pattern, (name_of_base,))))
    return matches


def _walk(folder, parts, stars):
    """Yields (path, stars) of everything under a folder that the parts of a pattern lead to."""
    head, rest = parts[0], parts[1:]
    if head == '*':
        for entry in entries(folder):
            if is_folder(entry):
                yield from _step(entry.path, rest, stars + (entry.name,))
            elif not rest and is_video(entry.name):
                yield entry.path, stars + (_stem(entry.name),)
        return
    path = os.path.normpath(os.path.join(folder, '..')) if head == '..' else os.path.join(folder, head)
    if os.path.isdir(path):
        yield from _step(path, rest, stars)
    elif not rest:
        for entry in entries(folder):
            if is_video(entry.name) and _stem(entry.name) == head:
                yield entry.path, stars


def _step(path, rest, stars):
    if rest:
        yield from _walk(path, rest, stars)
    elif _has_frames(path) or not any(is_folder(entry) for entry in entries(path)):
        yield path, stars


def _has_frames(path):
    if os.path.isfile(path):
        return is_video(path)
    return any(is_image(entry.name) and not is_folder(entry) for entry in entries(path))


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def _layouts(scale):
    return {title: layout for title, layout in LAYOUTS.items() if scale in layout.scales}


def _filled(pattern, scale, base='vimeo_septuplet'):
    return pattern.replace('{s}', str(scale)).replace('{base}', base)


def lq_place(place: Place, scale: int, kind: str) -> str:
    """Returns the path for LQ made from the GT at a place, relative to the root (it may begin with `..`).

    Args:
      kind: kind of LQ, such as 'BI' or 'BD', for layouts that have several.
    """
    for layout in _layouts(scale).values():
        if place.pattern in layout.gt:
            above = os.path.basename(os.path.abspath(place.path).rpartition('/sequences/')[0]) or 'vimeo_septuplet'
            path = os.path.join(place.base, _filled(layout.lq_pattern(place.pattern, kind), scale, above))
            for star in place.parts:
                path = path.replace('*', star, 1)
            return os.path.normpath(path)
    return '_'.join(place.parts)


def read_list(path: str) -> typing.List[str]:
    """Reads the paths that a list names; relative ones are relative to the folder of the list.

    Raises:
      UserError: the list cannot be read, or is empty.
    """
    try:
        lines = [line.partition('#')[0].strip() for line in files.read_text(path).split('\n')]
    except (OSError, ValueError) as error:
        raise UserError('cannot read the list %s: %s' % (path, error)) from None
    paths = [os.path.join(os.path.dirname(path), line) for line in lines if line]
    if not paths:
        raise UserError('%s lists nothing; write one path per line: a folder of clips, a folder of images or a video'
                        % path)
    return paths


def _find_listed(root, scale, need_gt, need_lq, lq_folder):
    found = Found({side: {} for side, need in (('gt', need_gt), ('lq', need_lq)) if need}, _BARE, {}, [])
    for path in read_list(root):
        if not os.path.exists(path):
            raise UserError('%s names %s, which does not exist; paths are relative to the folder of the list'
                            % (root, path))
        if is_list(path):
            raise UserError('%s names the list %s; a list contains folders and videos' % (root, path))
        part = find(path, scale, need_gt, need_lq, lq_folder)
        found.notes.extend(note for note in part.notes if note not in found.notes)
        before = _parent_name(path)
        taken = {name for side in found.sides.values() for name in side}
        for side, places in part.sides.items():
            for name, place in places.items():
                place = place._replace(base='', pattern='*', parts=(name,))
                # day1/a.mp4 and day2/a.mp4 are two clips
                unique = '%s_%s' % (before, name) if name in taken else name
                if found.sides[side].setdefault(unique, place) is not place:
                    raise UserError('%s names two clips %s: %s and %s; rename one'
                                    % (root, unique, found.sides[side][unique].path, place.path))
    return found


def _parent_name(path):
    path = os.path.abspath(path)
    return os.path.basename(path if os.path.isdir(path) and not _has_frames(path) else os.path.dirname(path))


def _nothing_found(root, scale, wanted, layouts):
    tried = []
    for title, layout in layouts.items():
        sides = [' or '.join(_filled(pattern, scale, 'vimeo_septuplet').replace('*', 'NAME')
                             for pattern in layout.patterns(side)) for side in wanted]
        tried.append('%s: %s' % (title, ' with '.join(sides)))
    text = '%s: no clips of %s frames found. Layouts tried: %s. NAME is a folder of images (%s) or a video (%s). ' % (
        root, ' and '.join(side.upper() for side in wanted), '; '.join(tried), ' '.join(IMAGE_SUFFIXES),
        ' '.join(video.SUFFIXES))
    text += 'Found instead: %s' % _contents(root)
    if len(wanted) == 2:
        alone = _find_in(root, scale, ['gt'], _BARE, '').sides['gt']
        if alone:
            text += '. %d clips have one side only: if that is GT, --make_lq makes LQ from it, or --lq_folder ' \
                    'names the folder with LQ' % len(alone)
    return text


def _contents(folder):
    """Describes the content of a folder."""
    kinds: typing.Dict[str, typing.List[str]] = {'folders': [], 'videos': [], 'images': [], 'other files': []}
    for entry in sorted(entries(folder), key=lambda entry: entry.name):
        kind = 'folders' if is_folder(entry) else 'videos' if is_video(entry.name) else (
            'images' if is_image(entry.name) else 'other files')
        kinds[kind].append(entry.name)
    parts = ['%d %s (%s%s)' % (len(names), kind, ', '.join(names[:4]), ', ...' if len(names) > 4 else '')
             for kind, names in kinds.items() if names]
    return ', '.join(parts) or 'nothing'
