"""What everything else stands on: names of plugins, their contracts, errors, files, jobs and metrics."""
