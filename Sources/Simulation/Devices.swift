import Messages

func ethernetPlugin() -> Plugin {
  Plugin {
    $0.name = "ethernet"
    $0.deviceClass = "ethernet"
    $0.state = .serving
    $0.mediatorsOffered = ["vxlan"]
    $0.mediatorsAccepted = ["vxlan"]
  }
}

func sataPlugin() -> Plugin {
  Plugin {
    $0.name = "sata"
    $0.deviceClass = "sata"
    $0.state = .serving
    $0.mediatorsOffered = ["nbd"]
    $0.mediatorsAccepted = ["nbd"]
  }
}

func card(_ id: String, on localName: String = "eth1", functions: UInt32 = 4, queues: UInt32 = 0) -> EndNode {
  EndNode {
    $0.id = id
    $0.deviceClass = "ethernet"
    $0.roots = [Root { $0.localName = localName }]
    $0.health = Health { $0.state = .healthy }
    $0.capacity = Capacity {
      $0.functions = functions
      $0.bitsPerSecond = 10_000_000_000
      $0.queues = queues
    }
    $0.capabilities = Capabilities {
      $0.paths = [.directSoftware, .mediated]
      $0.mediators = ["vxlan"]
      $0.consumers = ["host", "network_namespace"]
      $0.attributes = [
        "ethernet.mac_address", "ethernet.mtu", "ethernet.max_transmit_bits_per_second",
        "ethernet.max_receive_bits_per_second", "ethernet.min_transmit_bits_per_second",
        "ethernet.queues",
      ]
      $0.minimumMtu = 68
      $0.maximumMtu = 9000
    }
  }
}

func disk(_ id: String, on localName: String = "sda", sizeBytes: UInt64 = 1 << 30, hosts: UInt32 = 0) -> EndNode {
  EndNode {
    $0.id = id
    $0.deviceClass = "sata"
    $0.roots = [Root { $0.localName = localName }]
    $0.health = Health { $0.state = .healthy }
    $0.capacity = Capacity {
      $0.sizeBytes = sizeBytes
      $0.hosts = hosts
    }
    $0.capabilities = Capabilities {
      $0.paths = [.directSoftware, .mediated]
      $0.mediators = ["nbd"]
      $0.consumers = ["host"]
      $0.attributes = ["block.size_bytes", "block.read_only"]
      $0.blockSizeBytes = 4096
    }
  }
}

func servedEndNode(of assignment: Assignment) -> EndNode {
  var node = disk(
    assignment.function, on: "iov/\(assignment.claim)", sizeBytes: assignment.attributes?.block?.sizeBytes ?? 0)
  node.source = assignment.claim
  node.capabilities?.consumers = ["host", "file_server"]
  return node
}

/// A disk that can be handed over as it is, or in parts.
func versatileDisk(_ id: String, sizeBytes: UInt64 = 1 << 30, operations: UInt64 = 0) -> EndNode {
  var node = disk(id, on: "sdv", sizeBytes: sizeBytes)
  node.capacity?.operationsPerSecond = operations
  node.capabilities?.paths = [.direct, .directSoftware, .mediated]
  node.capabilities?.consumers = ["host", "container", "virtual_machine"]
  node.capabilities?.attributes +=
    BlockAttributes.limits + [
      "block.burst_factor", "block.burst_seconds", "block.min_operations_per_second", "block.min_bytes_per_second",
    ]
  return node
}

/// A disk that several hosts see.
func sharedDisk(_ id: String, on localName: String = "sdm", sizeBytes: UInt64 = 1 << 30) -> EndNode {
  var node = versatileDisk(id, sizeBytes: sizeBytes)
  node.roots = [Root { $0.localName = localName }]
  node.capabilities?.multiRoot = true
  return node
}

let sharedID = "sata/LUN"
