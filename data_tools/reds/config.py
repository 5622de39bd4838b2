"""Options of the programs that download and arrange REDS."""
import dataclasses
import re
from typing import Iterator, List

from data_tools.base import paths
from data_tools.base.config import Config, option

# The dataset's author publishes it here. The older server of the laboratory has the same names:
# http://data.cv.snu.ac.kr:8008/webdav/dataset/REDS
BASE_URL = 'https://huggingface.co/datasets/snah/REDS/resolve/main'
LQ_KINDS = {'sharp_bicubic': 4, 'blur_bicubic': 4, 'blur': 1, 'blur_comp': 1, 'none': None}   # GT size / LQ size
MODES = ('link', 'move', 'copy')
SPLITS = ('reds4', 'official')


@dataclasses.dataclass(frozen=True)
class DownloadConfig(Config):
    """Which archives of REDS to download, and from where."""

    TITLE = 'download'

    root_dir: str = option(paths.SOURCES, 'folder to download and unpack to', shown='root', path='output')
    all: bool = option(False, 'every subset listed here')
    train_sharp: bool = option(False, 'GT, 240 clips')
    train_sharp_bicubic: bool = option(False, 'LQ of train_sharp, x4')
    train_blur: bool = option(False, 'train_sharp with motion blur')
    train_blur_bicubic: bool = option(False, 'LQ of train_blur, x4')
    train_blur_comp: bool = option(False, 'train_blur with compression')
    val_sharp: bool = option(False, 'GT, 30 clips')
    val_sharp_bicubic: bool = option(False, 'LQ of val_sharp, x4')
    val_blur: bool = option(False, 'val_sharp with motion blur')
    val_blur_bicubic: bool = option(False, 'LQ of val_blur, x4')
    val_blur_comp: bool = option(False, 'val_blur with compression')
    test_sharp_bicubic: bool = option(False, 'LQ of the test clips, whose GT is not public')
    test_blur: bool = option(False, 'test clips with motion blur')
    test_blur_bicubic: bool = option(False, 'LQ of test_blur, x4')
    test_blur_comp: bool = option(False, 'test_blur with compression')
    base_url: str = option(BASE_URL, 'address of the folder with the archives NAME.zip; another one for a mirror')
    checksums: str = option('', 'file of lines "digest  NAME.zip" (sha256sum, md5sum) to check against; it '
                            'must list each requested archive', path='input')
    unzip: bool = option(True, 'unpack; otherwise only download and check the archives')
    keep_zips: bool = option(False, 'keep the archives after unpacking')
    retries: int = option(8, 'consecutive attempts without a new byte before the download fails', low=1)
    timeout: float = option(60., 'seconds without data before an attempt fails', low=.1)

    @property
    def subsets(self) -> List[str]:
        """Returns the names of the requested archives."""
        return [field.name for field in dataclasses.fields(self)
                if field.name.startswith(('train_', 'val_', 'test_')) and (self.all or getattr(self, field.name))]

    def problems(self) -> Iterator[str]:
        if not self.root_dir:
            yield '--root_dir is missing: the folder to download to'
        if not self.subsets:
            yield ('nothing to download: name subsets as --train_sharp --train_sharp_bicubic (see --help), or take '
                   '--all')
        if not re.match(r'https?://[^/]', self.base_url):
            yield '--base_url=%s: it must begin with http:// or https://' % self.base_url


@dataclasses.dataclass(frozen=True)
class RegroupConfig(Config):
    """The folder of unpacked REDS, and the layout to convert it to."""

    TITLE = 'regrouping'

    root_dir: str = option(paths.SOURCES, 'folder into which data_tools.download_reds unpacked', shown='root',
                           path='output')
    output_dir: str = option('', 'folder for images/ and sets/; default: --root_dir', path='output')
    mode: str = option('link', 'link: symbolic links to the download, which must stay; move: the download is emptied; '
                       'copy: needs the same space again', choices=MODES)
    lq: str = option('sharp_bicubic', 'which subset is LQ: the bicubic ones are 4 times smaller than GT, the others '
                     'have its size and go to images/blur1; none: GT only', choices=tuple(sorted(LQ_KINDS)))
    split: str = option('reds4', 'held out: reds4 = 000, 011, 015, 020; official = 240..269', choices=SPLITS)
    partial: bool = option(False, 'accept that clips or frames are missing from the download')

    def problems(self) -> Iterator[str]:
        if not self.root_dir:
            yield '--root_dir is missing: the folder that data_tools.download_reds unpacked to'
