"""Speed of labelling on a Dask cluster of two workers against one process: ``python benchmarks/dask_labels.py``.

Both sides compute the same PESQ labels in turns, and the best time of each counts. The cluster runs on this machine and
is started before. Two idle cores are needed.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

from distributed import LocalCluster
from pesq_labels import make_jobs
from timing import in_turns, print_table

from speechtools.measures.labels import label


def bench_labels(num_files: int = 500, seconds: float = 3.0, repeats: int = 3) -> list[tuple]:
    """Return the row of the table."""
    with (
        tempfile.TemporaryDirectory() as name,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
    ):
        folder, runs = Path(name), itertools.count()
        jobs = make_jobs(folder, num_files, seconds)

        def labels(**options) -> dict[str, float]:
            return label(jobs, folder / f"run{next(runs)}" / "pesq.csv", progress=False, **options)

        if labels(dask=cluster.scheduler_address) != labels(num_workers=1):
            raise SystemExit("The labels of the cluster are not those of one process.")
        one_s, cluster_s = in_turns(
            lambda: labels(num_workers=1), lambda: labels(dask=cluster.scheduler_address), repeats=repeats
        )
    what = f"PESQ labels of {num_files} files of {seconds:g} s, two Dask workers"
    return [(what, f"{one_s:.2f} s one process", f"{cluster_s:.2f} s", f"{one_s / cluster_s:.2f}×", "≥ 1.8×")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print_table("Dask", bench_labels(arguments.files, repeats=arguments.repeats))
