"""Run a command with a Ray cluster of several nodes on this machine, which is gone afterwards.

    python scripts/pretended_cluster.py --nodes 3 -- harness run scaling --launcher ray

Every node declares its share of the cores and one token of exclusivity; the head runs nothing. Steps on different nodes
take turns on the machine (the launcher's option ``turns``), so that what is measured is undisturbed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys


def main() -> int:
    """Start the nodes, run the command with ``RAY_ADDRESS``, end the nodes, and return the command's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    os.environ |= {"RAY_worker_niceness": "0", "RAY_memory_monitor_refresh_ms": "0"}
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for number in range(asked.nodes):
            cluster.add_node(num_cpus=max(1, (os.cpu_count() or 1) // asked.nodes), resources={"measuring": 1},
                             node_name=f"node{number + 1}")  # fmt: skip
        return subprocess.run(asked.command, env={**os.environ, "RAY_ADDRESS": cluster.address}, check=False).returncode
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    sys.exit(main())
