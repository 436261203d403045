"""KVCaches: their objects are decided in `orchestration.kvcache`, written and watched here."""
