"""A double of moxing, the library of ModelArts: OBS is the folder MOXING_DOUBLE; see moxing.file."""
from moxing import file

__all__ = ['file']
