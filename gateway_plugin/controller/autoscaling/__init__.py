"""PodAutoscalers: what they ask for, what pods tell, what is written. The formulas are in `orchestration/scaling/`."""
