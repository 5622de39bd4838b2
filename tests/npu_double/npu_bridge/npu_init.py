"""What `from npu_bridge.npu_init import *` would load: here, that the package is whole."""
