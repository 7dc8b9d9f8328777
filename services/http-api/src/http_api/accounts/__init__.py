"""People who sign in here: stock ``auth.User``, database sessions."""
