"""What a run folder holds, and how a command behaves: records of runs, checkpoints, status, messages and exit codes."""
