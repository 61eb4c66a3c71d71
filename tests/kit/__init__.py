"""What several test files use: data, trials side by side, commands in processes of their own, servers. No test stands here."""
