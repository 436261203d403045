"""The benchmark's polls say what the page would have said."""

from __future__ import annotations

from benchmarks.routing.cluster import Cluster, equal_pods
from benchmarks.routing.polling import samples
from benchmarks.routing.workloads import unshared
from gateway_plugin.pods.engines.metric_names import engine_named
from gateway_plugin.pods.engines.page import read_page
from simulator import SimulatedPod, render_metrics


def test_a_poll_reads_what_the_page_says():
    cluster = Cluster("random", equal_pods(1))
    cluster.run(unshared(30, per_second=3.0))
    (pod,) = cluster._pods.values()
    page = render_metrics(pod.engine, SimulatedPod(name="pod", model="m", metrics_generation="v1"), 0.0)
    read = read_page(page.encode(), engine_named("vllm"))
    polled = samples(pod.engine)
    assert {name: read[name] for name in polled} == polled
    assert cluster.table.columns.engine_prefill_tokens_per_second[0] > 0.0
