"""Objects as kubelets and controllers write them, with what tests care about."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

PREFIX = "model.aibrix.ai"


def pod(name: str, model: str | None = "m", ip: str = "", *, ready: bool = True, **more: Any) -> Json:
    """A pod that serves a model. `more`: labels, annotations, env (of its container), port, phase, ips."""
    labels = dict(more.get("labels") or {})
    if model is not None:
        labels[f"{PREFIX}/name"] = model
    if "port" in more:
        labels[f"{PREFIX}/port"] = str(more["port"])
    ips = more.get("ips", [ip] if ip else [])
    env = [{"name": key, "value": value} for key, value in (more.get("env") or {}).items()]
    return {
        "metadata": {"name": name, "labels": labels, "annotations": dict(more.get("annotations") or {})},
        "spec": {"containers": [{"name": "engine", "image": "engine", "env": env}]},
        "status": {
            "phase": more.get("phase", "Running"),
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            **({"podIP": ips[0], "podIPs": [{"ip": one} for one in ips]} if ips else {}),
        },
    }


def readiness(ready: bool) -> Json:
    """A patch, as a kubelet makes it when a probe changes its mind."""
    return {"status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}


def adapter(name: str, instances: list[str], base_model: str = "m") -> Json:
    """A LoRA adapter on pods."""
    return {"metadata": {"name": name}, "spec": {"baseModel": base_model}, "status": {"instances": instances}}
