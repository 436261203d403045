"""RayClusterFleets and RayClusterReplicaSets: looked at, decided in `orchestration.fleets`, written here."""
