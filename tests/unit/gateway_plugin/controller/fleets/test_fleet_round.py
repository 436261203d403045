"""What users see of fleets: clusters, heads that serve, rollouts without a gap, and what is said."""

from __future__ import annotations

from gateway_plugin.controller.status_conditions import api_time
from tests.unit.gateway_plugin.controller.fleets.ray_world import START, RayWorld, fleet


async def up(replicas: int = 1) -> RayWorld:
    world = RayWorld(fleet(replicas))
    await world.look(20)
    assert len(world.serving()) == replicas
    return world


async def test_a_fleet_comes_up_and_says_so():
    world = await up(2)
    status = world.objects["RayClusterFleet"]["qwen-coder"]["status"]
    assert (status["replicas"], status["readyReplicas"], status["availableReplicas"]) == (2, 2, 2)
    assert status["scalingTargetSelector"] == (
        "orchestration.aibrix.ai/raycluster-fleet-name=qwen-coder,ray.io/node-type=head"
    )
    assert world.condition("Available") == ("True", "MinimumReplicasAvailable")
    assert world.condition("Progressing") == ("True", "NewReplicaSetAvailable")
    head = next(iter(world.objects["Pod"].values()))
    assert head["metadata"]["labels"]["orchestration.aibrix.ai/raycluster-fleet-name"] == "qwen-coder"
    assert head["metadata"]["labels"]["model.aibrix.ai/name"] == "qwen-coder"


async def test_a_second_look_writes_nothing():
    world = await up()
    writes = world.writes
    await world.look(5)
    assert world.writes == writes


async def test_a_rollout_never_has_fewer_than_it_must():
    world = await up(4)
    world.lowest_serving = 4
    world.set_image("vllm:2")
    await world.look(200)
    assert world.serving() == ["vllm:2"] * 4
    assert world.lowest_serving >= 3
    revisions = {
        one["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: one["spec"]["replicas"]
        for one in world.objects["RayClusterReplicaSet"].values()
    }
    assert revisions == {"1": 0, "2": 4}


async def test_one_cluster_rolls_by_surge():
    world = await up(1)
    world.lowest_serving = 1
    world.set_image("vllm:2")
    await world.look(60)
    assert world.serving() == ["vllm:2"]
    assert world.lowest_serving == 1


async def test_a_bad_image_leaves_the_old_one():
    world = await up(4)
    world.bad_images = {"vllm:bad"}
    world.set_image("vllm:bad")
    await world.look(300)
    assert len(world.serving()) >= 3
    assert set(world.serving()) == {"vllm:1"}
    assert world.condition("Progressing") == ("False", "ProgressDeadlineExceeded")
    made = world.made
    await world.look(300)
    assert world.made == made
    world.set_image("vllm:1")  # back again: the first set is the newest revision
    await world.look(100)
    assert world.serving() == ["vllm:1"] * 4
    newest = max(
        world.objects["RayClusterReplicaSet"].values(),
        key=lambda one: int(one["metadata"]["annotations"]["deployment.kubernetes.io/revision"]),
    )
    assert newest["spec"]["replicas"] == 4


async def test_recreate_has_a_gap_and_never_two():
    world = await up(1)
    world.set("strategy", {"type": "Recreate"})
    world.set_image("vllm:2")
    most = 0
    for _ in range(60):
        await world.look()
        most = max(most, len(world.objects["RayCluster"]))
    assert most == 1
    assert world.serving() == ["vllm:2"]


async def test_a_broken_worker_is_replaced_once():
    world = await up(2)
    first = next(iter(world.objects["RayCluster"]))
    world.break_worker(first)
    await world.look(10)
    assert world.made == 2  # not yet: a pod may come back
    await world.look(60)
    assert world.made == 3
    assert first not in world.objects["RayCluster"]
    assert len(world.serving()) == 2
    await world.look(100)
    assert world.made == 3


async def test_a_cluster_ends_its_requests_before_it_goes():
    world = await up(2)
    world.busy = dict.fromkeys(world.objects["Pod"], 3.0)
    world.set("replicas", 1)
    await world.look(20)
    assert len(world.serving()) == 1
    assert len(world.objects["RayCluster"]) == 2
    world.busy = {}
    await world.look(5)
    assert len(world.objects["RayCluster"]) == 1
    assert world.sent_to_the_dead == 0


async def test_history_is_bounded():
    world = await up(1)
    world.set("revisionHistoryLimit", 2)
    for number in range(2, 7):
        world.set_image(f"vllm:{number}")
        await world.look(60)
    assert len(world.objects["RayClusterReplicaSet"]) == 3


async def test_paused_it_does_not_roll():
    world = await up(2)
    world.set("paused", True)
    world.set_image("vllm:2")
    await world.look(40)
    assert world.serving() == ["vllm:1"] * 2
    assert world.condition("Progressing")[1] == "DeploymentPaused"
    world.set("paused", False)
    await world.look(100)
    assert world.serving() == ["vllm:2"] * 2


async def test_without_kuberay_it_says_so_and_goes_on_when_it_comes():
    world = RayWorld(fleet())
    world.kuberay = False
    await world.look(2)
    assert world.condition("Progressing") == ("False", "KubeRayMissing")
    world.kuberay = True
    await world.look(20)
    assert len(world.serving()) == 1


async def test_what_cannot_be_followed_is_said():
    raw = fleet()
    raw["spec"]["selector"] = {"matchLabels": {"model.aibrix.ai/name": "another"}}
    world = RayWorld(raw)
    await world.look(3)
    assert world.condition("Progressing") == ("False", "SelectorMismatch")
    assert world.made == 0


async def test_a_set_of_another_implementation_is_taken_over():
    world = await up(2)
    name, old = world.objects["RayClusterReplicaSet"].popitem()
    other = "qwen-coder-5d4f"
    old["metadata"]["name"] = other
    old["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] = "5d4f"
    world.objects["RayClusterReplicaSet"][other] = old
    made = world.made
    await world.look(30)
    assert list(world.objects["RayClusterReplicaSet"]) == [other]
    assert world.made == made
    assert name != other
    assert api_time(START).endswith("Z")


async def test_a_controller_that_starts_anew_goes_on():
    world = await up(4)
    world.set_image("vllm:2")
    await world.look(7)
    world.round = type(world.round)(world, clock=lambda: world.seconds, now=world.now)
    await world.look(200)
    assert world.serving() == ["vllm:2"] * 4


async def test_a_set_that_nobody_can_read_does_not_hold_up_the_others():
    world = await up(1)
    broken = {"metadata": {"name": "strange", "namespace": "default", "uid": "s"}, "spec": {"replicas": "many"}}
    world.objects["RayClusterReplicaSet"] = {"strange": broken, **world.objects["RayClusterReplicaSet"]}
    world.set("replicas", 2)
    await world.look(30)
    assert len(world.serving()) == 2
    assert len(world.round.failing) == 1
