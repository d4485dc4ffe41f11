"""The batch pipeline around the Moebius model: sources, masks, Ray Data flow, sinks, manifest."""
