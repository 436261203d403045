"""Every check, by name. One whose tool or schemas are missing is skipped, and says how to get them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.manifests import chart, core, fragment, translation
from deploy.manifests.documents import Object, build, differences, identity, parse, read
from deploy.manifests.paths import CRDS, GATEWAY, MONITORING, SAMPLES, XDS
from deploy.manifests.schemas import Definitions
from deploy.manifests.tools import INSTALL, ToolError, installed
from deploy.manifests.tools import run as run_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Kinds that others define and whose schemas are not at hand.
_UNKNOWN = {"ModelAdapter"}

VARIANTS: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "all of it": (
        "serviceMonitor.enabled=true",
        "image.pullSecrets[0].name=registry",
        "plugin.nodeSelector.pool=cpu",
        "controller.settings.resync_seconds=60",
    ),
    "little of it": (
        "controller.enabled=false",
        "networkPolicy.enabled=false",
        "plugin.autoscaling.enabled=false",
        "gatewayClass.create=false",
        "gatewayClass.name=eg",
        "gateway.jsonErrors=false",
        "gateway.serviceType=ClusterIP",
    ),
    "no Lua": ("plugin.settings.accounting=ext_proc",),
    "TLS": ("gateway.tlsSecretName=tls",),
    "Redis elsewhere": ("redis.enabled=false", "redis.external.host=redis.example", "redis.external.port=6380"),
    "two namespaces": ("namespaces={models,more-models}",),
    "behind two proxies": ("gateway.trustedHops=2",),
    "fail open": ("gateway.failOpen=true", "gateway.serviceType=LoadBalancer"),
}
"""Values that the chart is checked with."""

_NOT_TRANSLATED = {"little of it", "TLS"}
"""They lean on what is not in the chart: a GatewayClass, a certificate."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found."""

    errors: tuple[str, ...] = ()
    note: str = ""
    skipped: bool = False

    @property
    def mark(self) -> str:
        """In one word."""
        return "FAILED" if self.errors else "skipped" if self.skipped else "ok"


def run() -> Iterator[tuple[str, Result]]:
    """The checks, one after the other."""
    for name, check, tools in _CHECKS:
        missing = [tool for tool in tools if not installed(tool)]
        if missing:
            hints = "; ".join(f"{tool} is not on PATH ({INSTALL[tool]})" for tool in missing)
            yield name, Result(note=hints, skipped=True)
            continue
        try:
            yield name, check()
        except ToolError as error:
            yield name, Result((str(error),))


def static_objects() -> list[Object]:
    """All objects in files."""
    samples = [item for file in sorted(SAMPLES.glob("*.yaml")) for item in read(file)]
    return [*build(GATEWAY), *build(MONITORING), *samples]


def schema_errors(objects: Iterable[Object], definitions: Definitions) -> Iterator[str]:
    """What an API server would say against these objects."""
    for item in objects:
        if item["kind"] in _UNKNOWN:
            continue
        found = definitions.errors(item) if definitions.knows(item) else core.errors(item)
        yield from (f"{identity(item)}: {error}" for error in found)


def _files_fit_schemas() -> Result:
    return _fit_schemas(static_objects())


def _variants_fit_schemas() -> Result:
    objects = [item for values in VARIANTS.values() for item in chart.objects(*values)]
    return _fit_schemas(list({json.dumps(item, sort_keys=True): item for item in objects}.values()))


def _fit_schemas(objects: list[Object]) -> Result:
    if not CRDS.is_dir():
        return Result(note=f"no schemas in {CRDS}; set GATEWAY_CRDS", skipped=True)
    errors = tuple(schema_errors(objects, Definitions(CRDS)))
    return Result(errors, f"{len(objects)} objects")


def rendered_by_digest() -> Result:
    """Whether the chart is the one that the kustomization was rendered from; needs no tool."""
    same = chart.DIGEST.read_text(encoding="utf-8").strip() == chart.digest()
    return Result(() if same else ("the chart has changed since; run `make manifests`",))


def _rendered() -> Result:
    files = chart.rendered_files()
    stale = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    return Result(tuple(f"{path.name} is not what the chart renders; run `make manifests`" for path in stale))


def _same_objects() -> Result:
    rendered = chart.objects("serviceMonitor.enabled=true")
    kustomized = parse(run_tool("kustomize", GATEWAY)) + build(MONITORING)
    # Helm makes the namespace with --create-namespace.
    ours = [item for item in kustomized if item["kind"] != "Namespace"]
    return Result(tuple(differences(rendered, ours)), f"{len(ours)} objects")


def _translated() -> Result:
    made = translate_files()
    return Result(tuple(translation.problems(made)), f"{len(made.routes)} routes, {len(made.clusters)} clusters")


def _variants_translated() -> Result:
    errors = []
    for name, values in VARIANTS.items():
        objects = chart.objects(*values)
        if name not in _NOT_TRANSLATED:
            errors += [f"{name}: {line}" for line in translation.not_accepted(translation.translate(objects).output)]
    return Result(tuple(errors))


def _templates_are_current() -> Result:
    files = fragment.templates(translate_files())
    stale = [name for name, text in files.items() if (XDS / "templates" / name).read_text(encoding="utf-8") != text]
    return Result(tuple(f"{name} is not what egctl makes; run `make manifests`" for name in stale))


def translate_files() -> translation.Translation:
    """What Envoy Gateway makes of the kustomization and one model's route."""
    return translation.translate([*build(GATEWAY), *read(SAMPLES / "model-route.yaml")])


_CHECKS: list[tuple[str, Callable[[], Result], tuple[str, ...]]] = [
    ("files fit the schemas", _files_fit_schemas, ()),
    ("the chart fits the schemas, with many values", _variants_fit_schemas, ("helm",)),
    ("the kustomization is of this chart", rendered_by_digest, ()),
    ("the kustomization is what the chart renders", _rendered, ("helm",)),
    ("chart and kustomization are the same objects", _same_objects, ("helm", "kustomize")),
    ("Envoy Gateway accepts it, and does what requests need", _translated, ("egctl",)),
    ("Envoy Gateway accepts the chart with many values", _variants_translated, ("helm", "egctl")),
    ("the tests' xDS is what Envoy Gateway makes", _templates_are_current, ("egctl",)),
]
