"""Events of the catalogue, POSTed to those who asked for them: signed, retried, and never in anybody's way."""
