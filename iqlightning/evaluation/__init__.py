"""What can be said of a policy: played episodes, stability, the recovered reward; nothing here logs or trains."""
