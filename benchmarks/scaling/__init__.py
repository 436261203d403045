"""GPU-hours against late first tokens, for autoscalers, over loads that change: in virtual time, with starting pods."""
