/// A port of a network card that can make virtual functions, with all that is known of it at one moment.
public struct EthernetCard: Sendable, Hashable {
  public var function: PCIFunction
  public var sriov: SRIOVCapability
  /// Of the port itself, in the namespace that was asked.
  public var link: Link
  /// Which of the function's ports it is, from zero.
  public var devicePort: UInt32
  public var identity: StableIdentity
  /// Sorted by index. Two ports of one function share them.
  public var virtualFunctions: [VirtualFunction]

  public struct VirtualFunction: Sendable, Hashable {
    public var position: SRIOVFunction
    /// Nil: the card's driver tells nothing of its functions.
    public var settings: VirtualFunctionSettings?
    /// Its interface, if it is in the namespace that was asked: not one that a container or a virtual machine has.
    public var link: Link?
  }
}

/// The interfaces of a network namespace, and the cards among them that can make virtual functions, at one moment.
public struct EthernetInventory: Sendable, Hashable {
  /// Sorted by index.
  public var links: [Link]
  /// Sorted by address and port.
  public var cards: [EthernetCard]
}

/// Finds the cards of a host and their functions, from the links of one namespace and sysfs.
public struct EthernetDiscovery: Sendable {
  private let sysfs: Sysfs
  private let netlink: any NetlinkTransport

  private let identities: IdentityMemory

  public init(_ sysfs: Sysfs, _ netlink: any NetlinkTransport, identities: IdentityMemory = IdentityMemory()) {
    self.sysfs = sysfs
    self.netlink = netlink
    self.identities = identities
  }

  /// One dump of rtnetlink and some reading: the time goes with the number of functions. A card without a serial number in
  /// its configuration space is asked for its vital product data once, which can take a second.
  ///
  /// A card that goes meanwhile is left out.
  public func look() throws(NetlinkError) -> EthernetInventory {
    let replies = try netlink.dump(VirtualFunctionControl.everything)
    var settings: [Int32: [VirtualFunctionState]] = [:]
    var all: [Link] = []
    var links: [PCIAddress: [Link]] = [:]
    for reply in replies {
      if let (card, functions) = VirtualFunctionState.list(reply) { settings[card] = functions }
      guard var link = Link(reply) else { continue }
      link.pciAddress = link.pciAddress ?? sysfs.pciAddress(ofInterface: link.name)
      all.append(link)
      if let address = link.pciAddress { links[address, default: []].append(link) }
    }
    let slots = sysfs.slotLabels()
    let cards = physicalFunctions(links).flatMap { function -> [EthernetCard] in
      guard let capability = function.sriov else { return [] }
      return (links[function.address] ?? []).filter { !$0.isRepresentor }.compactMap { link in
        guard let facts = identities.facts(of: link, sysfs, slots: slots) else { return nil }
        return EthernetCard(
          function: function, sriov: capability, link: link, devicePort: facts.port, identity: facts.identity,
          virtualFunctions: virtualFunctions(capability, settings[link.index] ?? [], links))
      }
    }
    return EthernetInventory(
      links: all.sorted { $0.index < $1.index },
      cards: cards.sorted { ($0.function.address, $0.devicePort) < ($1.function.address, $1.devicePort) })
  }

  /// Those of the interfaces' functions that can make others. Cards that have some come first, since those are no cards and
  /// need not be looked at: of all interfaces they may be most.
  private func physicalFunctions(_ links: [PCIAddress: [Link]]) -> [PCIFunction] {
    var virtual: Set<PCIAddress> = []
    var functions: [PCIFunction] = []
    func look(_ address: PCIAddress) {
      guard sysfs.exists("\(address.sysfsPath)/sriov_totalvfs"), let function = sysfs.pciFunction(address) else {
        return
      }
      functions.append(function)
      virtual.formUnion(function.sriov?.functions.map(\.address) ?? [])
    }
    for (address, links) in links where Self.count(links) > 0 { look(address) }
    for (address, links) in links where Self.count(links) == 0 && !virtual.contains(address) { look(address) }
    return functions
  }

  private static func count(_ links: [Link]) -> UInt32 { links.lazy.compactMap(\.virtualFunctionCount).max() ?? 0 }

  private func virtualFunctions(
    _ capability: SRIOVCapability, _ states: [VirtualFunctionState], _ links: [PCIAddress: [Link]]
  ) -> [EthernetCard.VirtualFunction] {
    var settings: [UInt32: VirtualFunctionSettings] = [:]
    for state in states { settings[state.index] = state.settings }
    return capability.functions.map {
      EthernetCard.VirtualFunction(position: $0, settings: settings[$0.index], link: links[$0.address]?.first)
    }
  }
}

extension Link {
  /// A port of the card's internal switch that stands for a function somebody else uses.
  public var isRepresentor: Bool { portName.map { PortFlavour($0).isRepresentor } ?? false }
}

extension Sysfs {
  /// Where the device of an interface is, for kernels before 5.14, whose rtnetlink does not tell.
  public func pciAddress(ofInterface name: String) -> PCIAddress? {
    linkName("class/net/\(name)/device").flatMap { PCIAddress($0) }
  }
}
