"""The record and the manifest: writer and reader both use them."""
