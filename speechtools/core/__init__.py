"""What all other packages build on: names of plugins, their contracts, errors, files, jobs and metrics."""
