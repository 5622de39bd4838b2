"""Getting REDS: download, unzip, regroup."""
