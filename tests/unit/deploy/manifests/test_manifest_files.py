"""What the objects say, fits together, and fits the standalone configuration and the plugin."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import yaml

from deploy.manifests.checks import rendered_by_digest
from deploy.manifests.documents import read
from deploy.manifests.paths import CHART, GATEWAY, ROOT, SAMPLES
from gateway_plugin.endpoints.endpoint_table import EndpointTable
from gateway_plugin.http.admin import NOTHING_THERE
from gateway_plugin.settings.settings import Settings
from gateway_plugin.tools.envoy_config.local_replies import local_replies
from gateway_plugin.tools.envoy_config.model import EnvoyConfig, Model
from gateway_plugin.tools.envoy_config.render import lua_file, render

if TYPE_CHECKING:
    from tests.unit.deploy.manifests.conftest import Objects

STANDALONE = yaml.safe_load(render(EnvoyConfig(), "/x")["envoy.yaml"])
HCM = STANDALONE["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
EXT_PROC = next(item["typed_config"] for item in HCM["http_filters"] if item["name"] == "envoy.filters.http.ext_proc")


def pod_of(workload: Any) -> Any:
    return workload["spec"]["template"]["spec"]


def environment(objects: Objects, name: str) -> dict[str, Any]:
    (container,) = pod_of(objects.get("Deployment", name))["containers"]
    return {item["name"]: item.get("value") for item in container["env"]}


def test_the_kustomization_was_rendered_from_this_chart():
    assert rendered_by_digest().errors == ()


def test_every_file_is_in_the_kustomization():
    listed = yaml.safe_load((GATEWAY / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(path.name for path in GATEWAY.glob("*.yaml") if path.stem != "kustomization")


def test_versions_agree():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
    texts = [path.read_text() for path in [*GATEWAY.glob("*.yaml"), *SAMPLES.glob("*.yaml")]]
    images = {line.split()[1] for text in texts for line in text.splitlines() if " image: gateway-plugin" in line}
    assert images == {f"gateway-plugin:{version}"}


# As in the standalone configuration -------------------------------------------------------------------------------


def test_control_headers_are_removed(objects: Objects):
    early = objects.get("ClientTrafficPolicy")["spec"]["headers"]["earlyRequestHeaders"]
    mutations = HCM["early_header_mutation_extensions"][0]["typed_config"]["mutations"]
    removed = [mutation["remove"] for mutation in mutations]
    # Envoy Gateway can remove by prefix; Envoy itself drops most of these from strangers.
    assert early["removeOnMatch"] == [{"type": "Prefix", "value": "x-envoy-"}]
    assert early["remove"] == [name for name in removed if not name.startswith("x-envoy-")]


def test_the_longest_body_fits_the_plugin(objects: Objects):
    text = objects.get("ClientTrafficPolicy")["spec"]["connection"]["bufferLimit"]
    limit = int(text.removesuffix("Mi")) << 20
    assert limit == EnvoyConfig().body_limit_bytes < Settings().listeners.grpc_max_message_bytes


def test_who_waits_has_the_same_deadlines_and_bounds(objects: Objects):
    spec, config = objects.get("ClientTrafficPolicy")["spec"], EnvoyConfig()
    times = spec["timeout"]["http"]
    assert times["requestHeadersReceivedTimeout"] == f"{config.header_seconds:.0f}s"
    assert (
        times["requestReceivedTimeout"]
        == f"{config.upload_seconds:.0f}s"
        == f"{Settings().overload.upload_seconds:.0f}s"
    )
    assert times["streamIdleTimeout"] == f"{config.idle_timeout_seconds:.0f}s"
    assert objects.get("BackendTrafficPolicy")["spec"]["timeout"]["http"]["streamIdleTimeout"] == "3600s"
    assert times["idleTimeout"] == HCM["common_http_protocol_options"]["idle_timeout"]
    http2 = HCM["http2_protocol_options"]
    assert spec["http2"]["maxConcurrentStreams"] == http2["max_concurrent_streams"]
    assert spec["http2"]["initialStreamWindowSize"] == f"{http2['initial_stream_window_size'] >> 10}Ki"
    assert spec["http2"]["initialConnectionWindowSize"] == f"{http2['initial_connection_window_size'] >> 20}Mi"
    assert spec["connection"]["connectionLimit"]["value"] == config.max_connections


def test_ext_proc_is_asked_alike(objects: Objects):
    (ours,) = objects.get("EnvoyExtensionPolicy")["spec"]["extProc"]
    assert ours["messageTimeout"] == "5s"
    assert EXT_PROC["message_timeout"] == "5.0s"
    assert ours["failOpen"] is EXT_PROC["failure_mode_allow"] is False
    assert ours["metadata"]["writableNamespaces"] == EXT_PROC["metadata_options"]["receiving_namespaces"]["untyped"]
    assert ours["processingMode"] == {"allowModeOverride": True, "request": {"body": "Buffered"}}
    retry = EXT_PROC["grpc_service"]["retry_policy"]
    assert ours["backendSettings"]["retry"]["retryOn"]["triggers"] == retry["retry_on"].split(",")
    assert ours["backendSettings"]["retry"]["numRetries"] == retry["num_retries"]


def test_requests_are_tried_again_alike(objects: Objects):
    rendered = yaml.safe_load(render(EnvoyConfig(models=(Model("m", ("10.0.0.1:1",)),)), "/x")["routes.yaml"])
    routes = rendered["resources"][0]["virtual_hosts"][0]["routes"]
    theirs = next(route["route"]["retry_policy"] for route in routes if route["name"] == "model/m")
    ours = objects.get("BackendTrafficPolicy")["spec"]["retry"]
    assert ours["retryOn"]["triggers"] == theirs["retry_on"].split(",")
    assert ours["retryOn"]["httpStatusCodes"] == theirs["retriable_status_codes"]
    assert ours["numRetries"] == theirs["num_retries"] == Settings().routing.target_candidates - 1


def test_envoys_errors_are_worded_alike(objects: Objects):
    said = {json.loads(rule["response"]["body"]["inline"])["error"]["message"] for rule in overrides(objects)}
    unlike = {reply.message for reply in local_replies(1)} - said
    # What Envoy Gateway says elsewhere or cannot say: the route for unknown models; statuses that clients cause; which
    # of Envoy's reasons a 503 has.
    assert unlike == {
        "The request body is longer than 1 bytes.",
        "The gateway has more to do than it can. Try again.",
        "Unknown path or model.",
        "%LOCAL_REPLY_BODY%",
    }


def overrides(objects: Objects) -> list[Any]:
    rules: list[Any] = objects.get("BackendTrafficPolicy")["spec"]["responseOverride"]
    return rules


def test_the_lua_script_is_ours(objects: Objects):
    assert objects.get("ConfigMap", "gateway-plugin-lua")["data"]["lua"].strip() == lua_file().read_text().strip()


def test_generations_in_flight_are_not_capped(objects: Objects):
    (ext_proc,) = objects.get("EnvoyExtensionPolicy")["spec"]["extProc"]
    (logging,) = objects.get("EnvoyProxy")["spec"]["telemetry"]["accessLog"]["settings"]
    als = logging["sinks"][0]["als"]["backendSettings"]
    for breaker in (objects.get("BackendTrafficPolicy")["spec"], ext_proc["backendSettings"], als):
        assert set(breaker["circuitBreaker"].values()) == {1_000_000}


# The plugin in its Deployment -------------------------------------------------------------------------------------


def test_ports_are_the_plugins(objects: Objects):
    settings = Settings()
    (container,) = pod_of(objects.get("Deployment"))["containers"]
    ports = {item["name"]: item["containerPort"] for item in container["ports"]}
    assert ports == {
        "grpc": settings.listeners.grpc_port,
        "http-api": settings.listeners.api_port,
        "http-ops": settings.listeners.ops_port,
    }


def test_a_stopping_plugin_has_time_to_drain(objects: Objects):
    drain_seconds = int(environment(objects, "gateway-plugin")["GATEWAY_DRAIN_SECONDS"])
    grace = pod_of(objects.get("Deployment"))["terminationGracePeriodSeconds"]
    assert grace > drain_seconds + Settings().process.drain_grace_seconds


def test_there_are_two_replicas(objects: Objects):
    scaler = objects.get("HorizontalPodAutoscaler")["spec"]
    assert scaler["minReplicas"] == 2
    assert scaler["scaleTargetRef"]["name"] == objects.get("Deployment")["metadata"]["name"]
    assert "replicas" not in objects.get("Deployment")["spec"], "kubectl apply would undo the autoscaler"


def test_passwords_come_from_the_secret(every_object: Objects):
    assert every_object.of("Secret") == []
    for workload in [*every_object.of("Deployment"), *every_object.of("StatefulSet")]:
        for item in pod_of(workload)["containers"][0].get("env", []):
            if "PASSWORD" in item["name"] or "TOKEN" in item["name"]:
                assert "secretKeyRef" in item["valueFrom"], item["name"]


def test_containers_may_do_little(objects: Objects):
    for workload in [*objects.of("Deployment"), *objects.of("StatefulSet")]:
        pod = pod_of(workload)
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


# Rights and reach -------------------------------------------------------------------------------------------------


def test_the_plugin_only_reads(objects: Objects):
    for rule in objects.get("ClusterRole")["rules"]:
        allowed = {"create"} if rule["resources"] == ["events"] else {"list", "watch"}
        assert set(rule["verbs"]) <= allowed, rule


def test_nobody_may_do_everything_or_read_secrets(objects: Objects):
    for role in objects.of("ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
            assert not {"secrets", "configmaps"} & set(rule["resources"])


def test_the_users_api_is_not_routed(objects: Objects):
    rules = [rule for route in objects.of("HTTPRoute") for rule in route["spec"]["rules"]]
    paths = [match["path"] for rule in rules for match in rule["matches"]]
    models, everything = ({"type": "PathPrefix", "value": path} for path in ("/v1/models", "/"))
    assert paths == [models, *[{"type": "Exact", "value": "/health"}] * 2, everything]
    unknown = objects.get("HTTPRoute", "gateway-plugin-unknown")["spec"]["rules"][0]
    (rewritten,) = unknown["filters"]
    assert rewritten["urlRewrite"] == {"path": {"type": "ReplaceFullPath", "replaceFullPath": NOTHING_THERE}}


def test_services_and_policies_select_pods_and_ports_that_exist(objects: Objects):
    pods = [item["spec"]["template"] for kind in ("Deployment", "StatefulSet") for item in objects.of(kind)]

    def ports_of(selector: dict[str, str]) -> set[str]:
        (pod,) = [pod for pod in pods if selector.items() <= pod["metadata"]["labels"].items()]
        return {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}

    for service in objects.of("Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports_of(service["spec"]["selector"])
    for policy in objects.of("NetworkPolicy"):
        ports = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert ports <= ports_of(policy["spec"]["podSelector"]["matchLabels"])
    for budget in objects.of("PodDisruptionBudget"):
        assert ports_of(budget["spec"]["selector"]["matchLabels"])


def test_only_envoy_and_monitoring_reach_the_plugin(objects: Objects):
    envoy, helm_test, monitoring = objects.get("NetworkPolicy")["spec"]["ingress"]
    assert [port["port"] for port in helm_test["ports"]] == ["http-api"]
    labels = envoy["from"][0]["podSelector"]["matchLabels"]
    assert labels["gateway.envoyproxy.io/owning-gateway-name"] == objects.get("Gateway")["metadata"]["name"]
    assert labels["gateway.envoyproxy.io/owning-gateway-namespace"] == objects.get("Gateway")["metadata"]["namespace"]
    assert [port["port"] for port in monitoring["ports"]] == ["http-ops"]


# Samples ----------------------------------------------------------------------------------------------------------


def test_the_sample_route_has_every_inference_path():
    route = next(item for item in read(SAMPLES / "model-route.yaml") if item["kind"] == "HTTPRoute")
    matches = route["spec"]["rules"][0]["matches"]
    paths = [{"type": "RegularExpression", "value": pattern} for pattern in EndpointTable().patterns()]
    assert [match["path"] for match in matches] == paths


def test_sample_pods_carry_the_labels(every_object: Objects):
    for workload in every_object.of("Deployment"):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        if workload["metadata"]["namespace"] != "default":
            continue
        assert labels["model.aibrix.ai/name"] == workload["metadata"]["labels"]["model.aibrix.ai/name"]
        (container,) = pod_of(workload)["containers"]
        assert labels["model.aibrix.ai/port"] == str(container["ports"][0]["containerPort"])
        assert labels["model.aibrix.ai/engine"] == "vllm"


def test_two_gpu_types_are_one_model():
    both = read(SAMPLES / "two-gpu-types.yaml")
    labels = [item["spec"]["template"]["metadata"]["labels"] for item in both]
    assert len({item["model.aibrix.ai/name"] for item in labels}) == 1
    assert len({item["gpu"] for item in labels}) == 2
