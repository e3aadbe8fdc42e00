"""What can be said of a policy: figures of episodes, stability, the recovered reward; nothing here logs or trains."""
