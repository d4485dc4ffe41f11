"""What is to be done, compared with what the manifest holds."""
