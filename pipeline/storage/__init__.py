"""Files on local disks, S3 and other storages, behind one interface."""
