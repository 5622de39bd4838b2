"""The module of `from npu_bridge.npu_init import *`; here it only shows that the package is complete."""
