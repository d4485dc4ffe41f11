"""Signs results by C2PA (Content Credentials), with the package of the extra ``c2pa``."""
