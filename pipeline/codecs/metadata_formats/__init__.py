"""The formats of metadata that several containers hold: EXIF, XMP, ICC, Photoshop; and JPEGs inside other bytes."""
