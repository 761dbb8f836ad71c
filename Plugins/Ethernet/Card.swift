import FunctionPluginKit
import Glibc
import LinuxDevices
import Services

/// An interface of this host that the configuration shares: an end node.
struct Card: Sendable {
  var id: String
  var link: Link
  var selection: InterfaceSelection
  /// Of the link or of the configuration; nil: neither says.
  var bitsPerSecond: UInt64?
  var driver: String?

  /// The address that the card was made with, as it survives what is done to the interface.
  static func identity(of link: Link) -> String? {
    guard let address = [link.permanentMACAddress, link.macAddress].compactMap({ $0 }).first(where: { !$0.isZero })
    else { return nil }
    return "ethernet/\(address)"
  }

  var smallestMTU: UInt32 { max(68, link.minimumMTU) }
  /// A macvlan cannot be larger than the interface below it.
  var largestMTU: UInt32 { link.mtu }

  func endNode(host: String) -> EndNode {
    EndNode {
      $0.id = id
      $0.deviceClass = EthernetPlugin.deviceClass
      $0.name = "\(host)/\(link.name)"
      $0.labels = selection.labels
      $0.roots = [
        Root {
          $0.host = host
          $0.localName = link.name
          $0.numaNode = Self.numaNode(of: link.name)
        }
      ]
      $0.physicalFunction = PhysicalFunction {
        $0.controllingHost = host
        $0.driver = driver ?? ""
      }
      $0.capacity = Capacity {
        $0.functions = selection.functions
        $0.bitsPerSecond = bitsPerSecond ?? 0
      }
      $0.capabilities = Self.capabilities
      $0.capabilities?.minimumMtu = smallestMTU
      $0.capabilities?.maximumMtu = largestMTU
      $0.health = health
    }
  }

  /// What every card can do, whatever its size.
  static let capabilities = Capabilities {
    $0.paths = [.directSoftware, .mediated]
    $0.mediators = [EthernetPlugin.mediator]
    $0.consumers = ["host", "network_namespace"]
    $0.attributes = [
      "ethernet.mac_address", "ethernet.mtu", "ethernet.max_transmit_bits_per_second",
      "ethernet.max_receive_bits_per_second",
    ]
  }

  private var health: Health {
    Health {
      if !link.isUp {
        $0.state = .unhealthy
        $0.message = "\(link.name) is down: `ip link set \(link.name) up`"
      } else if !link.hasCarrier {
        $0.state = .unhealthy
        $0.message = "\(link.name) has no carrier: look at the cable and at the other end"
      } else if link.operationalState == .dormant || link.operationalState == .testing {
        $0.state = .unhealthy
        $0.message = "\(link.name) has a carrier and passes no packets yet: it is \(link.operationalState)"
      } else {
        // The kernel works the other states out from the carrier, up to a second after it.
        $0.state = .healthy
      }
    }
  }

  /// -1, and no file for what is on no bus, say that the card is near no processor in particular.
  private static func numaNode(of name: String) -> Int32? {
    let descriptor = open("/sys/class/net/\(name)/device/numa_node", O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: 16)
    let size = read(descriptor, &buffer, buffer.count)
    guard size > 0 else { return nil }
    let digits = buffer[..<size].prefix { $0 != UInt8(ascii: "\n") }
    return Int32(String(decoding: digits, as: UTF8.self)).flatMap { $0 < 0 ? nil : $0 }
  }
}

extension EthernetFunctions {
  /// The cards that are there, by the number of their interface; of two with one identity only the first.
  func cards() throws -> [Card] {
    var identities: Set<String> = []
    return try route.links().sorted { $0.index < $1.index }.compactMap { link in
      guard let selection = selection(of: link), let id = Card.identity(of: link), identities.insert(id).inserted else {
        return nil
      }
      let speed = try selection.bitsPerSecond ?? route.speedBitsPerSecond(of: link.name)
      return try Card(
        id: id, link: link, selection: selection, bitsPerSecond: speed, driver: route.driver(of: link.name))
    }
  }

  /// The interface of an end node, found anew each time: names and numbers change.
  func cardLink(_ endNode: String) throws -> Link {
    let links = try route.links().sorted { $0.index < $1.index }.filter { selection(of: $0) != nil }
    if let link = links.first(where: { Card.identity(of: $0) == endNode }) { return link }
    let present = links.compactMap { link in Card.identity(of: link).map { "\($0) (\(link.name))" } }
    throw PluginError(
      .notFound,
      "host \(hostName) has no end node \(endNode): "
        + (present.isEmpty ? "no interface that the configuration selects is there" : present.joined(separator: ", ")))
  }

  /// Loopback and what we made ourselves are no end nodes, whatever the pattern says.
  private func selection(of link: Link) -> InterfaceSelection? {
    guard link.isEthernet, !link.isLoopback, FunctionNames.function(inAlias: link.alias) == nil else { return nil }
    return configuration.endNodes.first { $0.selects(link.name) }
  }
}
