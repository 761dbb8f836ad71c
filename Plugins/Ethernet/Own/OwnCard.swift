import FunctionPluginKit
import LinuxDevices
import Services

/// A card that makes functions of its own (SR-IOV), as it is now.
struct OwnCard: Sendable {
  var endNode: String
  /// The interface of the physical function.
  var link: Link
  var function: PCIFunction
  var capability: SRIOVCapability

  /// Of its functions, those in this host's namespace.
  var interfaces: [PCIAddress: Link]

  init(_ card: EthernetCard, endNode: String) {
    self.endNode = endNode
    link = card.link
    function = card.function
    capability = card.sriov
    interfaces = [:]
    for function in card.virtualFunctions { interfaces[function.position.address] = function.link }
  }

  /// Nil: the interface's device makes none.
  init?(_ link: Link, endNode: String, among links: [Link], _ sysfs: Sysfs) {
    guard let address = link.pciAddress, let function = sysfs.pciFunction(address), let capability = function.sriov
    else { return nil }
    self.endNode = endNode
    self.link = link
    self.function = function
    self.capability = capability
    interfaces = [:]
    for link in links { if let address = link.pciAddress { interfaces[address] = link } }
  }

  var address: PCIAddress { function.address }

  func virtualFunction(_ index: UInt32) -> SRIOVFunction? { capability.functions.first { $0.index == index } }
}

extension EthernetFunctions {
  /// Whether or not the configuration still selects it: what is in use of it is in use. Nil: it is not there, and so is
  /// nothing of it.
  func presentCard(_ endNode: String) throws -> OwnCard? {
    let links = try route.links()
    let link = links.first { $0.pciAddress != nil && isCard($0) && identity(of: $0) == endNode }
    return link.flatMap { OwnCard($0, endNode: endNode, among: links, sysfs) }
  }

  func ownCard(_ endNode: String) throws -> OwnCard {
    let link = try cardLink(endNode)
    guard let card = try OwnCard(link, endNode: endNode, among: route.links(), sysfs) else {
      throw PluginError(
        .failedPrecondition,
        "\(link.name) of host \(hostName) makes no functions of its own (SR-IOV): allow another path than direct")
    }
    return card
  }

  /// Who has each of the card's functions, by index, in words: functions of ours, and whoever else uses one.
  func holders(of card: OwnCard) -> [UInt32: String] {
    var holders = table.holders(of: card.endNode)
    for function in card.capability.functions where holders[function.index] == nil {
      guard let driver = function.driver else { continue }
      if DriverBinding.isVFIO(driver) {
        holders[function.index] = "a program or virtual machine, by \(driver)"
      } else if let link = card.interfaces[function.address] {
        if link.isUp { holders[function.index] = "host \(hostName), as \(link.name)" }
      } else if sysfs.exists("\(function.address.sysfsPath)/net") {
        // Its driver has made an interface, and that is not here.
        holders[function.index] = "somebody in another network namespace"
      }
    }
    return holders
  }

  // MARK: The interface of a virtual function

  /// Wherever it is. It knows its place by itself, as macvlans do not: it has no interface below it.
  func interface(of address: PCIAddress) throws -> FoundLink? {
    if let link = try route.links().first(where: { $0.pciAddress == address }) { return FoundLink(link: link) }
    let own = try route.namespaceID(of: namespace)
    for identifier in try route.namespaceIDs() where identifier != own {
      // The namespace may end between the two questions.
      guard let links = try? route.links(inNamespaceWithID: identifier) else { continue }
      if let link = links.first(where: { $0.pciAddress == address }) {
        return FoundLink(link: link, namespaceID: identifier)
      }
    }
    return nil
  }

  /// What drives the card's functions when the host's kernel uses them.
  func functionDriver(of card: OwnCard) -> String? {
    let bound = card.capability.functions.lazy.compactMap(\.driver).first { !DriverBinding.isVFIO($0) }
    return bound ?? table.driver(of: card.endNode) ?? card.function.driver.flatMap(Self.usualFunctionDriver)
  }

  /// By the driver of the physical function; the names of the kernel's own modules. A function that was never bound, as
  /// the card's `sriov_drivers_autoprobe` is off, says nothing of its driver.
  private static func usualFunctionDriver(_ driver: String) -> String? {
    switch driver {
    case "igb": "igbvf"
    case "ixgbe": "ixgbevf"
    case "i40e", "ice": "iavf"
    case "fm10k", "mlx5_core", "mlx4_core", "bnxt_en", "nfp", "sfc", "ionic", "qede", "hinic", "fun", "thunder-nic":
      driver
    case "cxgb4": "cxgb4vf"
    case "be2net": "be2net"
    case "enic": "enic"
    case "liquidio": "liquidio_vf"
    default: nil
    }
  }
}
