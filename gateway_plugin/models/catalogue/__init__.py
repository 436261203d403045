"""What is served, as one list: decided here without I/O, from the pod table, the registry and what is remembered.

pods, engines' own lists --observing--> World --catalogue--> Snapshot --pages--> bytes
                                          registry, remembered --^         `--changes--> events
"""
