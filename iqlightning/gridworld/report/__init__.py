"""What a report shows of GridWorld: maps beside the exact optimum, visits, rewards, success, failures, episodes."""
