import FunctionPluginKit
import LinuxDevices
import Services
import Synchronization

/// An interface of this host that the configuration shares: an end node.
struct Card: Sendable {
  var id: String
  var link: Link
  var selection: InterfaceSelection
  /// Of the link or of the configuration; nil: neither says.
  var bitsPerSecond: UInt64?
  var driver: DriverDetails?
  /// What is on no PCI bus has none.
  var facts: IdentityFacts?
  /// Nil: the card makes no functions of its own.
  var own: OwnCard?
  /// How many functions of its own an operator wants it to make; nil: nobody has said so.
  var orderedFunctions: UInt32?
  /// Another end node is a port of the same device, which makes functions for both.
  var sharesFunctions = false
  /// Nil: its driver takes no part in devlink.
  var devlink: DevlinkCapabilities?
  var numaNode: Int32?

  var isCountSettable: Bool { !sharesFunctions && own.map { $0.capability.total > 0 } == true }

  /// An operator's word goes before the configuration. With two end nodes it would be two words about one number.
  var wantedFunctions: UInt32? { (sharesFunctions ? nil : orderedFunctions) ?? selection.virtualFunctions }

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
          $0.numaNode = numaNode
        }
      ]
      $0.physicalFunction = physicalFunction(host: host)
      $0.capacity = Capacity {
        $0.functions = selection.functions
        $0.hosts = selection.hosts ?? 0
        $0.bitsPerSecond = bitsPerSecond ?? 0
        $0.queues = selection.queues ?? 0
      }
      $0.capabilities = Self.capabilities
      $0.capabilities?.minimumMtu = smallestMTU
      $0.capabilities?.maximumMtu = largestMTU
      $0.health = health
    }
  }

  private func physicalFunction(host: String) -> PhysicalFunction {
    PhysicalFunction {
      $0.controllingHost = host
      $0.driver = driver?.driver ?? ""
      $0.firmware = driver?.firmwareVersion ?? ""
      $0.pciAddress = link.pciAddress?.description ?? ""
      $0.serialNumber = facts?.serialNumber?.description ?? facts?.productSerialNumber ?? ""
      $0.eswitchMode = devlink?.switchMode.map { "\($0)" } ?? ""
      if devlink?.hasRepresentors == true { $0.offers.append("representors") }
      if devlink?.hasRates == true { $0.offers.append("rate-nodes") }
      if devlink?.hasSubfunctions == true { $0.offers.append("scalable-functions") }
      $0.permanentAddress = (link.permanentMACAddress ?? driver?.permanentMACAddress)?.description ?? ""
    }
  }

  /// What every card can do, whatever its size.
  static let capabilities = Capabilities {
    $0.paths = [.directSoftware, .mediated]
    $0.mediators = [EthernetPlugin.mediator]
    $0.consumers = ["host", "network_namespace"]
    $0.attributes = [
      "ethernet.mac_address", "ethernet.mtu", "ethernet.max_transmit_bits_per_second",
      "ethernet.max_receive_bits_per_second", "ethernet.queues",
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
}

extension EthernetFunctions {
  /// The cards that are there, by the number of their interface; of two with one identity only the first.
  func cards() throws -> [Card] {
    var seen: Set<String> = []
    let inventory = try EthernetDiscovery(sysfs, route.socket, identities: identities).look()
    let chosen = inventory.links.compactMap {
      link -> (String, Link, InterfaceSelection)? in
      guard let selection = selection(of: link), let id = identity(of: link), seen.insert(id).inserted else {
        return nil
      }
      return (id, link, selection)
    }
    let devlink = inventory.cards.isEmpty ? [:] : devlinkCapabilities()
    let details = try route.driverDetails(of: chosen.map(\.1.name))
    let cards = try chosen.map { id, link, selection in
      try Card(
        id: id, link: link, selection: selection,
        bitsPerSecond: selection.bitsPerSecond ?? route.speedBitsPerSecond(of: link.name), driver: details[link.name],
        facts: identities.facts(of: link, sysfs),
        own: inventory.cards.first { $0.link.index == link.index }.map { OwnCard($0, endNode: id) },
        orderedFunctions: orderedFunctions(id),
        devlink: link.pciAddress.flatMap { devlink[$0] },
        numaNode: link.pciAddress.flatMap(sysfs.numaNode))
    }
    let ports = Dictionary(grouping: cards.compactMap(\.own?.address)) { $0 }.mapValues(\.count)
    return cards.map { card in
      var card = card
      card.sharesFunctions = card.own.map { ports[$0.address] ?? 1 > 1 } ?? false
      return card
    }
  }

  /// By card. Only shown: a driver that does not answer keeps no card from being used.
  private func devlinkCapabilities() -> [PCIAddress: DevlinkCapabilities] {
    let devices = (try? Devlink(in: namespace)?.devices()) ?? []
    return Dictionary(devices.compactMap { device in device.pciAddress.map { ($0, device.capabilities) } }) {
      first, _ in
      first
    }
  }

  /// The interface of an end node, found anew each time: names and numbers change.
  func cardLink(_ endNode: String) throws -> Link {
    let links = try route.links().sorted { $0.index < $1.index }.filter { selection(of: $0) != nil }
    if let link = links.first(where: { identity(of: $0) == endNode }) { return link }
    let present = links.compactMap { link in identity(of: link).map { "\($0) (\(link.name))" } }
    throw PluginError(
      .notFound,
      "host \(hostName) has no end node \(endNode): "
        + (present.isEmpty ? "no interface that the configuration selects is there" : present.joined(separator: ", ")))
  }

  /// By what the maker wrote into the card, where it is on a PCI bus; else by the address that the interface was made with.
  /// Either survives what is done to the interface.
  func identity(of link: Link) -> String? {
    if let identity = identities.facts(of: link, sysfs)?.identity {
      // A port without a serial number is known by its address, as an interface on no bus is.
      guard identity.rank == .permanentAddress else { return "ethernet/\(identity)" }
    }
    guard let address = [link.permanentMACAddress, link.macAddress].compactMap({ $0 }).first(where: { !$0.isZero })
    else { return nil }
    return "ethernet/\(address)"
  }

  /// What the card has in the end node: capabilities by path where it makes functions of its own, and how many.
  func endNode(_ card: Card) -> EndNode {
    var node = card.endNode(host: hostName)
    guard let own = card.own else { return node }
    node.physicalFunction?.functionCount = functionCount(of: card, own)
    node.physicalFunction?.quirks = own.quirks.notes.map { "\($0.reason) (\($0.source))" }
    var consumers = Card.capabilities.consumers + ["container"]
    if own.capability.functions.contains(where: { $0.iommuGroup != nil }) {
      consumers += ["virtual_machine", "user_space"]
    }
    let holders = holders(of: own)
    // What others have of them cannot be given to anybody; what functions of ours have is counted as theirs.
    let ours = table.holders(of: card.id)
    let foreign = UInt32(holders.keys.filter { ours[$0] == nil }.count)
    guard own.capability.count > foreign else { return node }
    node.capabilities?.paths.insert(.direct, at: 0)
    node.capabilities?.byPath = [
      PathCapabilities {
        $0.path = .direct
        $0.functions = own.capability.count - foreign
        $0.consumers = consumers
        $0.attributes = support(of: own)
        $0.minimumMtu = max(68, card.link.minimumMTU)
        $0.maximumMtu = card.link.maximumMTU
      }
    ]
    return node
  }

  /// Loopback, what we made ourselves, and functions of other cards are no end nodes, whatever the pattern says.
  private func selection(of link: Link) -> InterfaceSelection? {
    guard isCard(link) else { return nil }
    return configuration.endNodes.first { $0.selects(link.name) }
  }

  func isCard(_ link: Link) -> Bool {
    guard link.isEthernet, !link.isLoopback, !link.isRepresentor, FunctionNames.function(inAlias: link.alias) == nil
    else { return false }
    return link.pciAddress.map { sysfs.exists("\($0.sysfsPath)/physfn") } != true
  }
}
