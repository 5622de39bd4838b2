"""The data set REDS: download, unzip, regroup."""
