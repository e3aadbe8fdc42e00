"""What is found out about runs once they are over: reports, experiments over many of them, speed, portable files."""
