"""The pages that people see: the console, and the look of sign-in."""
