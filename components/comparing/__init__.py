"""How candidates become a leaderboard: what is read of each, the declared rule, and the gates of promotion."""
