"""Which LoRA adapters should be loaded where."""
