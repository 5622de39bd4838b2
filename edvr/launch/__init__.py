"""The processes of a job: plans for each kind of device, start and end of processes, rank tables, rendezvous."""
