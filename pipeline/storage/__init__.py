"""One interface to local disks, S3 and other storages."""
