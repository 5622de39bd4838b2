"""The processes of a job: which rank this is, how ranks are started, rank tables."""
