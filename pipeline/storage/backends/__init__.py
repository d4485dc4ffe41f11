"""Kinds of storages, one file each; :class:`pipeline.storage.storage.Storage` chooses by the uri."""
