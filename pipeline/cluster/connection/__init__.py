"""The connection to Ray: joining or starting a cluster, its nodes, and what differs between releases of Ray."""
