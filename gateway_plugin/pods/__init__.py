"""Where pods come from: an endpoints file that is watched, with host names resolved."""
