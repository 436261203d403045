"""ModelAdapters: loaded where they should be, told how it stands. Places and steps are in `orchestration/adapters/`."""
