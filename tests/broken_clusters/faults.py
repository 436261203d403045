"""One fault each: what somebody did, what is told of it, and what `doctor` must say in its first line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.broken_clusters.changes import (
    MODELS,
    ROUTES,
    Change,
    condition,
    created,
    deleted,
    deployed,
    patched,
    told_of_policy,
    told_of_route,
    waiting_pod,
)

Json = dict[str, Any]

NAME, PORT = "model.aibrix.ai/name", "model.aibrix.ai/port"
_LABELS = {NAME: "broken", PORT: "8000"}


@dataclass(frozen=True, slots=True)
class Fault:
    """`code`, and every word of `mend`, stand in the first line.

    `told` is what others write then, on a cluster where they are. `old`: these objects are there for longer than
    anybody would wait. `missing`: kinds that the cluster does not have. `on_real`: made on a real cluster, too.
    """

    name: str
    code: str
    mend: tuple[str, ...]
    changes: tuple[Change, ...]
    told: tuple[Change, ...] = ()
    old: tuple[tuple[str, str, str], ...] = ()
    missing: tuple[str, ...] = ()
    is_controller_away: bool = False
    on_real: bool = False


def _scaled(name: str, replicas: int, kind: str = "deployments") -> tuple[Change, ...]:
    return (patched(kind, name, {"spec": {"replicas": replicas}}),)


def _unready(name: str, kind: str = "deployments") -> Change:
    return patched(kind, name, {"status": {"readyReplicas": 0}})


_OTHER_PROCESSOR = {"extProc": [{"backendRefs": [{"name": "another", "port": 9002}]}]}
_ON_ROUTE = {"targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "simulated-router"}]}
_HTTPS = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "nowhere"}]}}
_RIVAL = {
    "parentRefs": [{"name": "gateway-plugin"}],
    "rules": [
        {
            "matches": [
                {"path": {"type": "PathPrefix", "value": "/v1"}, "headers": [{"name": "model", "value": "simulated"}]}
            ]
        }
    ],
}


FAULTS = (
    Fault(
        "the Gateway API is not installed",
        "KindMissing",
        ("gateway.networking.k8s.io", "install the CRDs"),
        (),
        missing=("httproutes", "gateways", "referencegrants", "gatewayclasses"),
        is_controller_away=True,
    ),
    Fault("the Gateway was deleted", "GatewayMissing", ("create it",), (deleted("gateways", "gateway-plugin"),)),
    Fault(
        "the Gateway's class does not exist",
        "GatewayClassMissing",
        ("'nobody'", "create the GatewayClass"),
        (patched("gateways", "gateway-plugin", {"spec": {"gatewayClassName": "nobody"}}),),
        on_real=True,
    ),
    Fault(
        "the class belongs to another kind of gateway",
        "GatewayClassNotAccepted",
        ("example.com/other", "class of Envoy Gateway"),
        (
            created("gatewayclasses", "other", {"controllerName": "example.com/other"}, ""),
            patched("gateways", "gateway-plugin", {"spec": {"gatewayClassName": "other"}}),
        ),
        on_real=True,
    ),
    Fault(
        "no Envoy Gateway runs",
        "GatewayClassNotAccepted",
        ("no controller has accepted it", "check that Envoy Gateway runs"),
        (),
        told=(
            patched("gatewayclasses", "gateway-plugin", {"status": None}, ""),
            patched(
                "gateways",
                "gateway-plugin",
                {"status": {"conditions": [condition("Programmed", "Unknown", "Pending", "Waiting for controller")]}},
            ),
        ),
        old=(("gatewayclasses", "gateway-plugin", ""), ("gateways", "gateway-plugin", ROUTES)),
    ),
    Fault(
        "the listener's certificate is missing",
        "GatewayNotReady",
        ("'https'", "Secret"),
        (
            patched(
                "gateways",
                "gateway-plugin",
                {"spec": {"listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}, _HTTPS]}},
            ),
        ),
        told=(
            patched(
                "gateways",
                "gateway-plugin",
                {
                    "status": {
                        "listeners": [
                            {
                                "name": "https",
                                "conditions": [
                                    condition(
                                        "ResolvedRefs",
                                        "False",
                                        "InvalidCertificateRef",
                                        "Secret nowhere does not exist.",
                                    )
                                ],
                            }
                        ]
                    }
                },
            ),
        ),
        on_real=True,
    ),
    Fault(
        "Envoys have no address",
        "GatewayNotReady",
        ("AddressNotAssigned", "correct what the message names"),
        (),
        told=(
            patched(
                "gateways",
                "gateway-plugin",
                {
                    "status": {
                        "conditions": [
                            condition("Programmed", "False", "AddressNotAssigned", "No addresses have been assigned")
                        ]
                    }
                },
            ),
        ),
    ),
    Fault(
        "Lua is not allowed",
        "PolicyNotAccepted",
        ("extensionApis.enableLua: true",),
        (),
        told=(told_of_policy("envoyextensionpolicies", "Invalid", "Lua: feature is disabled by EnvoyGateway"),),
    ),
    Fault(
        "the extension policy was deleted",
        "EnvoyExtensionPolicyMissing",
        ("nothing is limited or routed", "install the chart"),
        (deleted("envoyextensionpolicies", "gateway-plugin"),),
        on_real=True,
    ),
    Fault(
        "the traffic policy was deleted",
        "BackendTrafficPolicyMissing",
        ("target-pod", "install the chart"),
        (deleted("backendtrafficpolicies", "gateway-plugin"),),
        on_real=True,
    ),
    Fault(
        "a policy on a model's route keeps the plugin out",
        "PolicyReplaced",
        ("simulated-router", "mergeType"),
        (created("envoyextensionpolicies", "mine", {**_ON_ROUTE, **_OTHER_PROCESSOR}, ROUTES),),
        on_real=True,
    ),
    Fault(
        "a policy on a model's route undoes the choice of pods",
        "PolicyReplaced",
        ("simulated-router", "mergeType"),
        (
            created(
                "backendtrafficpolicies", "mine", {**_ON_ROUTE, "timeout": {"tcp": {"connectTimeout": "1s"}}}, ROUTES
            ),
        ),
        on_real=True,
    ),
    Fault(
        "the plugin is scaled to zero",
        "PluginStopped",
        ("scaled to 0", "kubectl scale -n gateway-plugin-system deployment/gateway-plugin"),
        _scaled("gateway-plugin", 0),
        told=(told_of_policy("envoyextensionpolicies", "Invalid", "no ready endpoints for the referenced Service"),),
    ),
    Fault(
        "the plugin's Secret lacks a key",
        "PluginNotReady",
        ("couldn't find key admin-token", "create the Secret or the key"),
        (),
        told=(
            _unready("gateway-plugin"),
            waiting_pod(
                "plugin", "CreateContainerConfigError", "couldn't find key admin-token in Secret gateway-plugin"
            ),
            told_of_policy("envoyextensionpolicies", "Invalid", "no ready endpoints for the referenced Service"),
        ),
    ),
    Fault(
        "the plugin's image is nowhere",
        "PluginNotReady",
        ("ImagePullBackOff", "put the image where the nodes find it"),
        (),
        told=(_unready("gateway-plugin"), waiting_pod("plugin", "ImagePullBackOff", "Back-off pulling image")),
    ),
    Fault(
        "a setting stops the plugin",
        "PluginNotReady",
        ("exit code 2", "kubectl logs --previous"),
        (),
        told=(_unready("gateway-plugin"), waiting_pod("plugin", "CrashLoopBackOff", "back-off 5m0s", {"exitCode": 2})),
    ),
    Fault(
        "Redis is stopped",
        "RedisStopped",
        ("scaled to 0", "kubectl scale"),
        _scaled("gateway-plugin-redis", 0, "statefulsets"),
        on_real=True,
    ),
    Fault(
        "the controller is stopped",
        "ControllerStopped",
        ("new models get no route", "kubectl scale"),
        (*_scaled("gateway-plugin-controller", 0), deployed("broken", _LABELS, _LABELS)),
        is_controller_away=True,
        on_real=True,
    ),
    Fault(
        "pods are not labelled",
        "PodsWithoutModel",
        ("pod template",),
        (deployed("broken", _LABELS, {}),),
        on_real=True,
    ),
    Fault(
        "only pods are labelled",
        "PodsWithoutWorkload",
        ("add `model.aibrix.ai/name: broken` to the metadata of what makes them",),
        (
            created(
                "pods",
                "broken",
                {"containers": [{"name": "engine", "image": "none"}]},
                labels=_LABELS,
                annotations={"test/idle": "yes"},
            ),
        ),
        on_real=True,
    ),
    Fault(
        "the model's name is empty",
        "EmptyModelName",
        ("write",),
        (deployed("broken", {NAME: ""}, {NAME: ""}),),
        on_real=True,
    ),
    Fault(
        "the port is no number",
        "BadPort",
        ("'eighty'", "write a port from 1 to 65535"),
        (deployed("broken", {NAME: "broken", PORT: "eighty"}, {NAME: "broken", PORT: "eighty"}),),
        on_real=True,
    ),
    Fault(
        "the named Service does not exist",
        "ServiceMissing",
        ("Service default/nowhere", "create it"),
        (deployed("broken", _LABELS, _LABELS, {"model.aibrix.ai/service-name": "nowhere"}),),
        on_real=True,
    ),
    Fault(
        "the Service selects nothing of it",
        "ServiceMissesPods",
        ("app=other", "select by labels"),
        (
            created("services", "broken", {"selector": {"app": "other"}, "ports": [{"port": 8000}]}, labels=_LABELS),
            deployed("broken", _LABELS, _LABELS),
        ),
        on_real=True,
    ),
    Fault(
        "the Service has another port",
        "ServicePortMissing",
        ("8000", "add a port with targetPort"),
        (
            created("services", "broken", {"selector": {NAME: "broken"}, "ports": [{"port": 9999}]}, labels=_LABELS),
            deployed("broken", _LABELS, _LABELS),
        ),
        on_real=True,
    ),
    Fault(
        "the grant was deleted and nobody makes it anew",
        "RouteNotAccepted",
        ("RefNotPermitted", "correct what the message names"),
        (deleted("referencegrants", "gateway-plugin-system-reserved-referencegrant-in-default", MODELS),),
        told=(told_of_route("simulated-router", "ResolvedRefs", "RefNotPermitted", "no ReferenceGrant permits it"),),
        is_controller_away=True,
    ),
    Fault(
        "somebody else's route takes the model",
        "RivalRoute",
        ("'simulated'", "delete one of them"),
        (created("httproutes", "mine", _RIVAL, ROUTES),),
        on_real=True,
    ),
    Fault(
        "no pod of a model is ready",
        "NoReadyPods",
        ("see why the model's pods are not ready",),
        (),
        told=(told_of_route("simulated-router", "BackendsAvailable", "NoReadyEndpoints", "no endpoint is ready"),),
    ),
    Fault(
        "an adapter's base is not there",
        "AdapterWithoutBase",
        ("'gone'",),
        (created("modeladapters", "broken", {"baseModel": "gone"}),),
    ),
    Fault(
        "two spellings of one model",
        "SimilarModelNames",
        ("'Simulated'", "write one name"),
        (deployed("broken", {NAME: "Simulated", PORT: "8000"}, {NAME: "Simulated", PORT: "8000"}),),
        on_real=True,
    ),
)
