"""The version of the distribution, which contains `data_tools` and `edvr`."""
__version__ = '1.0.0'
