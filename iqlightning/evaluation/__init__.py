"""What is found out about a policy: figures of played episodes, value maps; nothing here logs or trains."""
