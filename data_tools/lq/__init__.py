"""LQ clips written from GT clips or videos."""
