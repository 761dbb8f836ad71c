import Messages

@testable import Selectors

/// A card with functions of its own, of which three are in use.
let card = EndNode {
  $0.id = "ethernet/52:54:00:00:00:01"
  $0.deviceClass = "ethernet"
  $0.name = "host-a/eth1"
  $0.labels = ["rack": "r9", "example.com/tier": "gold", "wan": ""]
  $0.roots = [
    Root {
      $0.host = "host-a"
      $0.numaNode = 1
    }
  ]
  $0.physicalFunction = PhysicalFunction {
    $0.controllingHost = "host-a"
    $0.driver = "mlx5_core"
    $0.firmware = "22.31.1014"
    $0.serialNumber = "MT2116X08512"
    $0.eswitchMode = "switchdev"
    $0.offers = ["representors", "rate-nodes"]
    $0.functionCount = FunctionCount { $0.maximum = 16 }
  }
  $0.capacity = Capacity {
    $0.functions = 8
    $0.bitsPerSecond = 25_000_000_000
  }
  $0.used = Capacity {
    $0.functions = 3
    $0.bitsPerSecond = 10_000_000_000
  }
  $0.capabilities = Capabilities {
    $0.paths = [.direct, .mediated]
    $0.mediators = ["vxlan"]
    $0.consumers = ["host", "network_namespace"]
    $0.attributes = ["ethernet.mtu"]
    $0.maximumMtu = 9000
    $0.byPath = [
      PathCapabilities {
        $0.path = .direct
        $0.consumers = ["virtual_machine"]
        $0.attributes = [
          AttributeSupport {
            $0.attribute = "ethernet.vlan"
            $0.support = .supported
          },
          AttributeSupport {
            $0.attribute = "ethernet.trust"
            $0.support = .refused
          },
        ]
      }
    ]
  }
  $0.health = Health { $0.state = .healthy }
}

/// A disk that two hosts see, a quarter of which is in use.
let disk = EndNode {
  $0.id = "sas/5000c500a0b1c2d3"
  $0.deviceClass = "sas"
  $0.name = "host-b/sda"
  $0.labels = ["rack": "r10"]
  $0.roots = ["host-b", "host-c"].map { name in Root { $0.host = name } }
  $0.physicalFunction = PhysicalFunction { $0.controllingHost = "host-b" }
  $0.capacity = Capacity {
    $0.sizeBytes = 1 << 40
    $0.operationsPerSecond = 1000
    $0.bytesPerSecond = 100_000_000
  }
  $0.used = Capacity {
    $0.functions = 2
    $0.sizeBytes = 1 << 38
    $0.operationsPerSecond = 400
  }
  $0.capabilities = Capabilities {
    $0.paths = [.direct, .directSoftware, .mediated]
    $0.consumers = ["host", "file_server"]
    $0.blockSizeBytes = 4096
    $0.multiRoot = true
  }
  $0.health = Health {
    $0.state = .unhealthy
    $0.message = "it is hot"
  }
}

func matches(_ text: String, _ node: EndNode) throws -> Bool {
  try Selector(text, Vocabulary<EndNode>.endNodes).matches(node)
}

/// What is wrong with a condition; nil if nothing is.
func problem(with text: String) -> SelectorError? {
  do throws(SelectorError) {
    _ = try Selector(text, Vocabulary<EndNode>.endNodes)
    return nil
  } catch {
    return error
  }
}

func contradiction(in text: String) -> SelectorError? {
  try? Selector(text, Vocabulary<EndNode>.endNodes).contradiction
}
